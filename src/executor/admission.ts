import type { LeaseView, Reason, Refusal, Requirements } from "../engine/types.ts";

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
}

export interface AdmissionRequest {
  /** Name of the plugin. */
  readonly name: string;
  readonly requirements: Requirements;
  readonly tenant: string;
  readonly priority: number;
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
