import type { ProcessRegister } from "./process-register.ts";

export interface WorkerCommand {
  /** The plugin's name. */
  readonly name: string;
  readonly argv: readonly string[];
  readonly cwd: string;
  /** The whole environment; nothing is inherited. */
  readonly env: Readonly<Record<string, string>>;
  /** "NAME=value" of `env` that no other process group has; finds descendants that made themselves strangers. */
  readonly marker?: string;
  /** Time that it gets to end by itself after SIGTERM, in ms. */
  readonly killGraceMs: number;
}

export interface WorkerOptions {
  /** Told of it before it gets its first message, and when nothing of it is left. */
  readonly register?: ProcessRegister;
  /** Time that it gets to answer a call that was cancelled, in ms; then it is no good any more. Default 10 s. */
  readonly cancelGraceMs?: number;
  /**
   * It did not answer to a cancellation: give it nothing more. With other calls under way, the cancelled one is over and whoever
   * keeps the worker ends it after them; without, it is being ended already. Where this is absent it is ended at once in both cases.
   */
  readonly onStuck?: () => void;
  /** Time that it gets to exit after it was asked to, in ms. Default 5 s. */
  readonly shutdownMs?: number;
  /** How long a call that takes nothing of its logs may hold it up, in ms. Default 30 s. */
  readonly slowReaderMs?: number;
  /** Told of what must not happen, such as a call that throws when it is told something; for the log. */
  readonly onError?: (error: unknown) => void;
}

export interface InitializeOptions {
  /** Longest time without a sign of progress, in ms. A sign is anything that it writes, and memory that grew. */
  readonly stallMs: number;
  /** Ends the loading, and the worker. */
  readonly signal: AbortSignal;
  onProgress(message: string, fraction: number | undefined): void;
  onLog(line: string, stderr: boolean): void;
  /** As in a WorkerCall. */
  ready?(): Promise<void> | undefined;
  tooSlow?(): void;
  /** Memory that it takes now, in MiB. Asked before it is held to have stalled; undefined when it is not known. */
  memoryMb?(): number | undefined;
}
