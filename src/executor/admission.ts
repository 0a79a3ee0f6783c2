import type { Millis } from "../engine/sample.ts";
import type { LeaseView, Reason, Refusal, Requirements } from "../engine/types.ts";
import type { MemoryLimit } from "./memory-profile.ts";

/**
 * The way from the executor to the gate. The executor never looks at memory; it asks, and is told yes, no, or where it
 * stands.
 */
export interface Admission {
  /**
   * Asks for a lease. Under a policy that does not wait it answers at once; under one that waits it calls `onQueued` with
   * position and reasons until it is granted, refused or timed out. An aborted signal leaves the queue and rejects with the
   * signal's reason. Throws a Failure for bad input, a full queue and a draining server.
   */
  admit(request: AdmissionRequest, signal: AbortSignal, onQueued: (place: QueuePlace) => void): Promise<Admitted>;
  /** Counts an execution on the lease as running, so that the lease is never evicted meanwhile. Answers its id. */
  startExecution(leaseId: string, token: number): string;
  /** Counts it as finished. Idempotent. */
  finishExecution(leaseId: string, executionId: string): void;
  /** Credits memory measured for this process and its descendants to the lease. False when the process is not visible. */
  attachProcess(leaseId: string, token: number, pid: number): boolean;
  /** Gives the lease back. Idempotent. */
  release(leaseId: string, token: number): void;
  /** Says what the worker on a lease is worth, and whether it may be evicted when it is idle. Throws a Failure when it is gone. */
  keep(leaseId: string, token: number, keeping: WorkerKeeping): void;
  /** Who is told about a lease, within the step that decides it: must return at once. */
  onLease(leaseId: string, on: LeaseListener): void;
  /** The worker on an idle lease has given memory back; it is charged for what measurements show from now on. */
  giveBack(leaseId: string, token: number): void;
  /** It needs again what it gave back. Undefined: it has it. Throws a Failure when the lease is gone. */
  refill(leaseId: string, token: number, policy: string): Refusal | undefined;
  /** As it is now; undefined when it is not known any more. */
  lease(leaseId: string): LeaseView | undefined;
  /** Watches what is measured for a lease. @param onGrowth it takes more than ever since the watch began. */
  watchMemory(leaseId: string, onGrowth?: () => void): MemoryWatch;
  /** The most that one GPU, and the host, could give if nothing else ran. */
  ceiling(): MemoryLimit;
}

export interface WorkerKeeping {
  readonly pinned: boolean;
  /** False while it gives memory back. */
  readonly ready: boolean;
  /** Undefined: the server's. */
  readonly minResidenceMs: Millis | undefined;
  /** What its last start took. */
  readonly reloadMs: Millis;
}

export interface LeaseListener {
  /** End the worker: somebody waits for its memory. Only while no execution runs on the lease. */
  evict(): void;
  /** The lease is over, whoever ended it. */
  ended(): void;
}

export interface MemoryWatch {
  /** The largest measured since the watch began; what was not measured is absent. */
  peak(): MemoryLimit;
  stop(): void;
  /**
   * What is watched is over, and a worker keeps its memory: tells the peak once something was measured since the watch began, soon
   * after at the latest, and stops.
   */
  finish(done: (peak: MemoryLimit) => void): void;
}

export interface AdmissionRequest {
  /** Name of the plugin. */
  readonly name: string;
  readonly requirements: Requirements;
  readonly tenant: string;
  readonly priority: number;
  readonly importance: number;
  /** Empty: the server's; permissive when that is unset. */
  readonly policy: string;
  /** Undefined: the server's default; 0: for ever. */
  readonly timeoutMs: number | undefined;
}

export interface QueuePlace {
  readonly position: number;
  readonly reasons: readonly Reason[];
}

/**
 * `env` is what the plugin's process gets besides its own. The lease is kept alive by the gate until `release`: the executor
 * is part of the server and need not renew.
 */
export type Admitted =
  | { readonly kind: "granted"; readonly lease: LeaseView; readonly env: Readonly<Record<string, string>> }
  | { readonly kind: "refused"; readonly refusal: Refusal }
  | { readonly kind: "timed-out"; readonly refusal: Refusal };
