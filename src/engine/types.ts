/**
 * The words of the engine.
 *
 * - request: what somebody asks for.
 * - ticket: a request that waits.
 * - grant: the moment a request becomes a lease.
 * - lease: a claim on named GPUs and on host memory, with a time to live and a fencing token.
 * - holder: whoever has a lease.
 * - foreign use: memory held by processes that nobody leased to.
 * - outstanding: memory that is leased but not seen in measurements yet.
 * - refusal: a final no.
 * - never-fits: no, even on an empty machine.
 *
 * Sizes are MiB, times are milliseconds of the engine's clock.
 */

import type { Mib, Millis, ProcessKey } from "./sample.ts";

export type LeaseId = string;
export type TicketId = string;
export type GpuUuid = string;

/** What a piece of work needs. Validated at the boundary: whole numbers, none negative. */
export interface Requirements {
  /** GPUs needed, all or nothing; 0: none. */
  readonly gpuCount: number;
  /** On each of them; may be 0: a GPU, however little memory. */
  readonly vramMb: Mib;
  readonly ramMb: Mib;
  /** When not empty, only these. */
  readonly gpuUuids: readonly GpuUuid[];
  /** No other lease may share the GPUs. */
  readonly exclusive: boolean;
}

export interface Workload {
  readonly name: string;
  readonly requirements: Requirements;
  readonly tenant: string;
  /** Higher is served first. */
  readonly priority: number;
  /** An idle lease is evicted only for a request of at least its importance. Absent: 0. */
  readonly importance?: number;
  readonly expectedDurationMs?: Millis;
  readonly labels: Readonly<Record<string, string>>;
}

/** `stream`: the lease lives exactly as long as its holder's stream, and the gate ends it. */
export type Hold = "ttl" | "stream";

export type ReasonCode =
  | "INSUFFICIENT_GPU_MEMORY"
  | "INSUFFICIENT_SYSTEM_RAM"
  | "NO_GPU"
  | "GPU_STATS_UNAVAILABLE"
  | "GPU_UNHEALTHY"
  | "NEVER_FITS"
  | "BEHIND_IN_QUEUE"
  | "HELD_FOR_EARLIER_TICKET"
  | "WAITING_FOR_EVICTION"
  | "WAITING_FOR_RELEASE"
  | "QUOTA"
  | "DRAINING"
  | "POLICY";

/** Why a request waits or is refused, with the numbers behind it. A number that is not known is absent. */
export interface Reason {
  readonly code: ReasonCode;
  readonly message: string;
  readonly gpuUuid?: GpuUuid;
  readonly neededMb?: Mib;
  readonly availableMb?: Mib;
  readonly foreignMb?: Mib;
  readonly outstandingMb?: Mib;
  readonly heldBy?: readonly string[];
}

/** The largest request of the same shape that fits: the same number of GPUs out of the same list. */
export interface LargestFit {
  readonly gpuCount: number;
  readonly vramMb: Mib;
  readonly ramMb: Mib;
}

export interface Refusal {
  /** At least one. */
  readonly reasons: readonly Reason[];
  readonly largestThatFits?: LargestFit;
}

export type LeaseEnd = "released" | "expired" | "process-exited" | "stream-closed" | "evicted" | "unclaimed";

export interface LeasedGpu {
  readonly uuid: GpuUuid;
  readonly index: number;
  readonly vramMb: Mib;
}

/** A lease as the outside sees it: a copy, true at the moment it was made. */
export interface LeaseView {
  readonly id: LeaseId;
  readonly token: number;
  readonly workload: Workload;
  readonly gpus: readonly (LeasedGpu & { readonly residentMb?: Mib; readonly residentAt?: Millis })[];
  readonly ramMb: Mib;
  readonly residentRamMb?: Mib;
  /** When that was measured. */
  readonly residentRamAt?: Millis;
  readonly grantedAt: Millis;
  /** Absent for `stream`. */
  readonly expiresAt?: Millis;
  readonly ttlMs: Millis;
  readonly hold: Hold;
  readonly state: "idle" | "active" | "evicting" | "draining" | "ended";
  readonly end?: LeaseEnd;
  /** Its holder is asked to give it back: why, and when it ends otherwise (absent: it is ended by this server). */
  readonly eviction?: { readonly reason: string; readonly deadline?: Millis };
  readonly requestId: string;
  readonly executions: number;
  readonly policy: string;
  readonly processes: readonly ProcessKey[];
  readonly overcommitted: boolean;
}

/** A ticket as the outside sees it: a copy, true at the moment it was made. */
export interface TicketView {
  readonly id: TicketId;
  readonly requestId: string;
  readonly workload: Workload;
  /** 1 is next. */
  readonly position: number;
  readonly queueLength: number;
  readonly submittedAt: Millis;
  readonly waitedMs: Millis;
  /** Absent: waits for ever. */
  readonly deadline?: Millis;
  /** At least one. */
  readonly reasons: readonly Reason[];
  readonly policy: string;
  readonly connected: boolean;
  readonly overtaken: number;
  /** An upper bound for its start if nothing unexpected happens, where it can be known. */
  readonly eta?: Millis;
  /** When it is thought to start, where something is known that this can rest on. */
  readonly expectedStart?: Millis;
  /** What `expectedStart` rests on. */
  readonly estimateBasis?: EstimateBasis;
}

/** `declared`: durations that owners gave. `learned`: durations of work that has ended, at least in part. */
export type EstimateBasis = "declared" | "learned";

/** One tenant as the outside sees it: a copy. */
export interface TenantView {
  readonly tenant: string;
  readonly waiting: number;
  /** GPUs of its leases, counted once for each lease. */
  readonly gpus: number;
  readonly vramMb: Mib;
  /** What it has used, decayed: ms of the whole machine. */
  readonly usageMs: Millis;
  readonly maxGpus?: number;
  readonly maxVramMb?: Mib;
  readonly maxWaiting?: number;
}
