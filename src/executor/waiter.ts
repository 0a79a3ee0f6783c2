import type { LeaseView } from "../engine/types.ts";
import type { QueuePlace } from "./admission.ts";
import type { MemoryLimit } from "./memory-profile.ts";
import type { Outcome } from "./outcome.ts";
import type { LoadedPlugin } from "./registry.ts";
import type { WorkerProcess } from "./worker-process.ts";

/** Somebody who waits for a worker. */
export interface Waiter {
  readonly plugin: LoadedPlugin;
  readonly tenant: string;
  readonly priority: number;
  readonly policy: string;
  /** Its time is over; it goes on only while its worker is being loaded. */
  readonly isLate: () => boolean;
  /** Where it stands. */
  queued(place: QueuePlace): void;
  admitted(lease: LeaseView, env: Readonly<Record<string, string>>): void;
  /** Its worker loads, and says this about it. */
  loading(message: string): void;
  log(line: string, stderr: boolean): void;
  /** Its worker ran out of memory while it loaded, and is started again with more. */
  triesAgain(): void;
  /** As in a RunContext. */
  ready(): Promise<void> | undefined;
  /** It has the worker, and is counted on its lease already. */
  give(use: WorkerUse): void;
  /** There is no worker for it. */
  fail(outcome: Outcome): void;
  /** As `fail`, where there is an error to tell instead of an outcome. */
  reject(error: unknown): void;
}

/** One execution's use of a worker. */
export interface WorkerUse {
  readonly worker: WorkerProcess;
  readonly lease: LeaseView;
  readonly env: Readonly<Record<string, string>>;
  /** Memory that loading took at most, for the first use after it; what was not measured is absent. */
  readonly loadPeak: MemoryLimit;
  /** The worker is no good any more: nobody else gets it, and it is ended when nobody uses it. */
  retire(): void;
  /** It is over. Idempotent. */
  done(): void;
}
