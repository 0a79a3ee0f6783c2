import type { JsonObject } from "./json.ts";
import type { Outcome } from "./outcome.ts";
import type { LoadedPlugin } from "./registry.ts";

/** One way of running plugins; there is one for each mode. */
export interface Runner {
  /** Makes an execution ready without starting anything. Throws INVALID_ARGUMENT for arguments that it cannot run with. */
  prepare(plugin: LoadedPlugin, args: JsonObject): Job;
}

/** One execution that has not begun. */
export interface Job {
  /**
   * Runs it on a lease. Resolves when it is over and nothing of it is left; an aborted signal ends it. Rejects only with what
   * `onStarted` threw, after ending what it had started.
   */
  run(context: RunContext): Promise<Outcome>;
}

export interface RunContext {
  /** What the lease gives to the environment. */
  readonly env: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  /** The process that does the work is there. */
  onStarted(pid: number): void;
  onLog(line: string, stderr: boolean): void;
  onProgress(message: string, fraction: number | undefined): void;
  onLoading(message: string): void;
  /** Undefined when more may be told; else a promise of when. Until then the plugin is not read from, so that it waits. */
  ready(): Promise<void> | undefined;
}
