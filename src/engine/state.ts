import type { AdmissionRule } from "./admission-rule.ts";
import type { GpuSample, MachineSample, Mib, Millis, ProcessKey } from "./sample.ts";
import type { EngineSettings } from "./settings.ts";
import type { GpuUuid, Hold, LeasedGpu, LeaseEnd, LeaseId, TicketId, Workload } from "./types.ts";
import { WakeHeap } from "./wake-heap.ts";

/** Memory that is charged as one: a GPU, the devices of one MIG GPU instance, or the host (with unified GPUs in it). */
export type PoolKey = string;

/** The pool of host memory. Not a possible UUID. */
export const hostPool: PoolKey = "host";

/**
 * One lease's share of one pool.
 *
 * `residentMb` is what measurements show of it; undefined is not zero: nothing is known, so all of it is outstanding.
 */
export interface Holding {
  readonly lease: LeaseRecord;
  readonly pool: PoolKey;
  /** The device, when the holding is for one. */
  readonly gpuUuid?: GpuUuid;
  readonly reservedMb: Mib;
  residentMb?: Mib;
  /** Use of the pool at the time of the grant, where memory cannot be attributed and growth is the estimate. */
  baselineMb?: Mib;
}

/**
 * The life of a lease inside the engine.
 *
 * - `held`: somebody has it. Enters by a grant; leaves by release, expiry, end of its processes or stream, eviction.
 * - `orphan`: it expired while an attached process still runs. What is resident counts as foreign use; what is still
 *   outstanding stays charged, because the process may yet take it. Leaves when the processes have ended.
 * - `settling`: nobody has it any more, and no measurement is newer than its end. Charged in full, because the last measurement may
 *   be from before its memory was taken. Leaves with the first newer measurement of all its pools, or after the release lag where
 *   the last one is too old to be decided on anyway.
 * - `releasing`: newer measurements exist and decide; it is shown until its memory is seen to have come back, or the release
 *   lag has passed. Not charged.
 * - `ended`: over; remembered for a while for GetLease.
 */
export type LeasePhase = "held" | "orphan" | "settling" | "releasing" | "ended";

export interface LeaseRecord {
  readonly id: LeaseId;
  readonly token: number;
  readonly workload: Workload;
  readonly gpus: readonly LeasedGpu[];
  /** One for each GPU, and one for host memory when that was asked for. */
  readonly holdings: readonly Holding[];
  readonly requestId: string;
  readonly policy: string;
  readonly grantedAt: Millis;
  readonly hold: Hold;
  readonly ttlMs: Millis;
  readonly overcommitted: boolean;
  phase: LeasePhase;
  /** Undefined for `stream`. */
  expiresAt: Millis | undefined;
  /** Set while its client may not have heard of the grant: the moment at which it is taken back. */
  claimBy: Millis | undefined;
  /** Ids of unfinished executions. */
  readonly executions: Set<string>;
  /** Attached processes that still run. */
  readonly processes: Set<ProcessKey>;
  /** True once it had a process or an execution: then its memory may lag behind its end. */
  wasUsed: boolean;
  end: LeaseEnd | undefined;
  endedAt: Millis | undefined;
  /** For each pool: its use, and this lease's part of it, in the last measurement before the end. */
  readonly atEnd: Map<PoolKey, { readonly usedMb: Mib | undefined; readonly residentMb: Mib }>;
}

export interface TicketRecord {
  readonly id: TicketId;
  /** Order of arrival. */
  readonly seq: number;
  readonly workload: Workload;
  /** Equal for requests that fit in exactly the same cases. */
  readonly shape: string;
  readonly requestId: string;
  /** As asked for; empty: the server's. */
  readonly policy: string;
  readonly submittedAt: Millis;
  readonly deadline: Millis | undefined;
  readonly pollIntervalMs: Millis;
  readonly ttlMs: Millis;
  readonly hold: Hold;
  connected: boolean;
  /** While not connected: when its place is given up. */
  graceUntil: Millis | undefined;
  overtaken: number;
  /** Pools that are held for it; kept while they can serve it, so that what it was promised does not wander. */
  heldPools: ReadonlySet<PoolKey> | undefined;
  /** What a custom policy said when it last let the ticket wait; empty: nothing of its own. */
  policyMessage: string;
}

/** Newest figures of a pool. Absent is not known. */
export interface PoolFigures {
  readonly totalMb?: Mib;
  readonly reservedMb?: Mib;
  readonly usedMb?: Mib;
  readonly freeMb?: Mib;
  readonly observedAt: Millis;
  readonly attribution: boolean;
}

export interface Pool {
  readonly key: PoolKey;
  /** Devices whose memory this is; empty for the host without unified GPUs. */
  readonly devices: GpuSample[];
  figures: PoolFigures | undefined;
  /** The last total and driver reserve that were known: capacity does not vanish with a measurement. */
  lastTotalMb: Mib | undefined;
  lastReservedMb: Mib;
  readonly holdings: Set<Holding>;
  /** Sums over `holdings`, kept by books.ts. */
  outstandingMb: Mib;
  claimedMb: Mib;
  residentMb: Mib;
  foreignMb: Mib | undefined;
  /** Memory of leases that have ended and is not seen to be back. */
  drainingMb: Mib;
  /** Foreign use when the newest process list was first paired with memory figures; see books.ts. */
  foreignAtList: Mib | undefined;
  listAt: Millis | undefined;
}

/** Memory held for a ticket that was overtaken often enough: nothing behind it may take these pools. */
export interface TicketHold {
  readonly ticket: TicketRecord;
  readonly pools: ReadonlySet<PoolKey>;
  /** Host memory that must stay available for it; undefined: it needs none. */
  readonly ramMb: Mib | undefined;
}

export interface EngineState {
  settings: EngineSettings;
  readonly rules: ReadonlyMap<string, AdmissionRule>;
  /** Name of the policy; empty: unset. */
  policy: string;
  draining: boolean;
  sample: MachineSample | undefined;
  readonly pools: Map<PoolKey, Pool>;
  /** Every lease that is not `ended`, in order of grant. */
  readonly leases: Map<LeaseId, LeaseRecord>;
  /** The last ones that ended, oldest first; bounded. */
  readonly ended: Map<LeaseId, LeaseRecord>;
  readonly tickets: Map<TicketId, TicketRecord>;
  /** Sorted by order of service. */
  readonly queue: TicketRecord[];
  readonly waitingByTenant: Map<string, number>;
  /** tenant + NUL + request id → the ticket or lease that it made. */
  readonly requests: Map<string, { readonly ticketId?: TicketId; readonly leaseId?: LeaseId }>;
  readonly processOwner: Map<ProcessKey, LeaseRecord>;
  readonly executionsByName: Map<string, number>;
  holds: TicketHold[];
  readonly wakes: WakeHeap;
  nextToken: number;
  nextSeq: number;
  /** Rises whenever something changes that a ticket's place or reasons depend on. */
  version: number;
  /** Places in the queue, worked out at `version` when somebody asks. */
  positions: { readonly version: number; readonly byTicket: ReadonlyMap<TicketId, number> };
  /** What the capacity of the machine was when waiting tickets were last judged against it. */
  capacitySignature: string;
}

/** @param rules every policy that can be named. Must hold `permissive`, `safety` and `queue`. */
export function createState(settings: EngineSettings, rules: ReadonlyMap<string, AdmissionRule>, policy = ""): EngineState {
  return {
    settings,
    rules,
    policy,
    draining: false,
    sample: undefined,
    pools: new Map(),
    leases: new Map(),
    ended: new Map(),
    tickets: new Map(),
    queue: [],
    waitingByTenant: new Map(),
    requests: new Map(),
    processOwner: new Map(),
    executionsByName: new Map(),
    holds: [],
    wakes: new WakeHeap(),
    nextToken: settings.firstToken,
    nextSeq: 1,
    version: 0,
    positions: { version: -1, byTicket: new Map() },
    capacitySignature: "",
  };
}
