import type { Failure } from "./failure.ts";
import type { KeepingNews } from "./keeping.ts";
import type { RestoreEvent } from "./restore.ts";
import type { MachineSample, Mib, Millis, ProcessKey } from "./sample.ts";
import type { SaveEffect } from "./saves.ts";
import type { Discipline } from "./settings.ts";
import type { GpuUuid, Hold, LeaseEnd, LeaseId, LeaseView, Reason, Refusal, TicketId, TicketView, Workload } from "./types.ts";

/** A request for a lease. `id` is fresh and unique; ticket and lease are named after it. */
export interface Submit {
  readonly type: "submit";
  readonly id: string;
  /** `now`: Allocate, answered in this step. `wait`: WaitForResources, may become a ticket. */
  readonly mode: "now" | "wait";
  readonly workload: Workload;
  readonly requestId: string;
  /** Empty: the server's. */
  readonly policy: string;
  readonly ttlMs?: Millis;
  readonly hold: Hold;
  /** For `wait`: 0 waits for ever. */
  readonly timeoutMs?: Millis;
  readonly pollIntervalMs?: Millis;
  /** For `wait` with a request id: how long its client may be away; absent: as the settings say. */
  readonly graceMs?: Millis;
}

/** Everything that can happen to the engine. Time, ids and measurements come in from outside. */
export type EngineEvent =
  | Submit
  | { readonly type: "cancel"; readonly ticketId: TicketId }
  /** The client of a waiting ticket went away. */
  | { readonly type: "disconnect"; readonly ticketId: TicketId }
  /** A grant could not be told to its client. */
  | { readonly type: "undelivered"; readonly leaseId: LeaseId }
  | { readonly type: "renew"; readonly leaseId: LeaseId; readonly token: number; readonly ttlMs?: Millis }
  /** `token` 0 is not checked. */
  | { readonly type: "release"; readonly leaseId: LeaseId; readonly token: number; readonly why?: LeaseEnd }
  | { readonly type: "start-execution"; readonly leaseId: LeaseId; readonly token: number; readonly executionId: string }
  | { readonly type: "finish-execution"; readonly leaseId: LeaseId; readonly executionId: string }
  /** What the holder says of giving the lease back when it is idle; `keeping` undefined: it cannot be asked any more. */
  | { readonly type: "keep"; readonly leaseId: LeaseId; readonly token: number; readonly keeping: KeepingNews | undefined }
  /** The holder of an idle lease has given memory back, all that it could; it keeps the lease for the rest. */
  | { readonly type: "give-back"; readonly leaseId: LeaseId; readonly token: number }
  /** It wants to have again what it gave back, on the same GPUs; decided at once. `policy` empty: the server's. */
  | { readonly type: "refill"; readonly leaseId: LeaseId; readonly token: number; readonly policy: string }
  | { readonly type: "attach"; readonly leaseId: LeaseId; readonly token: number; readonly process: ProcessKey }
  | { readonly type: "process-exited"; readonly process: ProcessKey }
  | { readonly type: "sample"; readonly sample: MachineSample }
  /** `discipline` absent: it stays. */
  | { readonly type: "set-policy"; readonly policy: string; readonly discipline?: Discipline }
  | { readonly type: "drain" }
  /** Nothing new is promised from now on: why, in plain words. What was promised stays, and whoever waits waits. */
  | { readonly type: "suspend"; readonly why: string }
  | { readonly type: "resume" }
  | RestoreEvent
  /** Nothing but the passing of time. */
  | { readonly type: "tick" };

/** One lease that was taken back: what it was thought to free, and by how much the use of its pools fell. Unknown is absent. */
export interface EvictionVictim {
  readonly leaseId: LeaseId;
  readonly name: string;
  /** What it costs to have it again; see keep-value.ts. */
  readonly costMs: Millis;
  readonly why?: LeaseEnd;
  /** One for each GPU, and one for host memory. */
  readonly pools: readonly { readonly gpuUuid?: GpuUuid; readonly expectedMb?: Mib; readonly measuredMb?: Mib }[];
}

/** What the world is to be told or to do, in this order. A promise is written down before it is told. */
export type Effect =
  /** Comes first of a step's effects. */
  | SaveEffect
  | { readonly type: "queued"; readonly ticket: TicketView }
  | { readonly type: "granted"; readonly lease: LeaseView; readonly ticketId: TicketId | undefined; readonly waitedMs: Millis }
  | {
      readonly type: "refused";
      readonly workload: Workload;
      readonly ticketId: TicketId | undefined;
      readonly refusal: Refusal;
      readonly policy: string;
    }
  | {
      readonly type: "timed-out";
      readonly ticketId: TicketId;
      readonly workload: Workload;
      readonly waitedMs: Millis;
      readonly reasons: readonly Reason[];
    }
  /** The ticket ended without a decision: cancelled, abandoned, or the server drains. */
  | { readonly type: "withdrawn"; readonly ticketId: TicketId; readonly workload: Workload; readonly failure: Failure }
  | { readonly type: "renewed"; readonly leaseId: LeaseId; readonly expiresAt: Millis }
  /** The holder no longer has it. Its memory may still drain. */
  | { readonly type: "lease-ended"; readonly lease: LeaseView; readonly why: LeaseEnd }
  /** The holders of these are to give them back: for whom, and until when. */
  | {
      readonly type: "evict";
      readonly ticketId: TicketId;
      readonly reason: string;
      readonly deadline: Millis;
      readonly leases: readonly LeaseView[];
    }
  /** All of them have ended, and their memory was waited for. */
  | {
      readonly type: "evicted";
      readonly ticketId: TicketId;
      readonly reason: string;
      readonly tookMs: Millis;
      readonly victims: readonly EvictionVictim[];
    }
  /** The set of attached processes changed. */
  | { readonly type: "watch-processes"; readonly processes: readonly ProcessKey[] }
  /** Somebody waits for memory that a fresh measurement could show to be free. */
  | { readonly type: "refresh" }
  /** Places, reasons or books changed. */
  | { readonly type: "changed" }
  /** Figures of the machine may have changed; what those who wait were told has not. */
  | { readonly type: "measured" };

/** What whoever sent the event is answered at once. */
export type Reply =
  | { readonly type: "lease"; readonly lease: LeaseView }
  /** `resumed`: an earlier request with the same id made it. */
  | { readonly type: "ticket"; readonly ticketId: TicketId; readonly resumed: boolean }
  | { readonly type: "refused"; readonly refusal: Refusal }
  | { readonly type: "failure"; readonly failure: Failure }
  | { readonly type: "done" };

export interface Outcome {
  readonly reply: Reply;
  readonly effects: readonly Effect[];
}
