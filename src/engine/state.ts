import type { AdmissionRule } from "./admission-rule.ts";
import { Durations } from "./durations.ts";
import type { Eviction, Evictions } from "./evictions.ts";
import { FairShare } from "./fair-share.ts";
import type { Forecast } from "./forecast.ts";
import { KeepValues } from "./keep-value.ts";
import type { Keeping } from "./keeping.ts";
import type { KeptStart } from "./kept-start.ts";
import type { GpuSample, MachineSample, Mib, Millis, ProcessKey } from "./sample.ts";
import type { Saves } from "./saves.ts";
import type { Served } from "./served.ts";
import type { Discipline, EngineSettings } from "./settings.ts";
import type { SharedReasons } from "./shared-reasons.ts";
import type { GpuUuid, Hold, LeasedGpu, LeaseEnd, LeaseId, TicketId, Workload } from "./types.ts";
import { WaitingLine } from "./waiting-line.ts";
import { noWakes, type Wakes } from "./wake.ts";

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
  /** Falls when the holder gives memory back; rises when it asks for it again. */
  reservedMb: Mib;
  residentMb?: Mib;
  /** When that was measured. */
  residentAt?: Millis;
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
  /**
   * Where growth is the estimate, none before this is its own. Its grant; or, taken up from an earlier life, when memory of leases that
   * had ended then is surely back: nobody knows those any more, and theirs would be taken for its own.
   */
  readonly growsFrom: Millis;
  readonly hold: Hold;
  /** False: whoever has not heard of the grant does not come back for it. */
  readonly isClaimable: boolean;
  readonly ttlMs: Millis;
  /** The longest that it was ever renewed for. */
  longestTtlMs: Millis;
  readonly overcommitted: boolean;
  /** The kind of work that it is, and how long that was thought to run when it was granted; see durations.ts. */
  readonly kind: string;
  readonly estimateMs: Millis;
  /** The part of the machine that it takes, 0 to 1: its largest share of any kind of memory. */
  readonly share: number;
  /** For which time its tenant has been charged lately; see charges.ts. */
  chargedFrom: Millis;
  chargedUntil: Millis;
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
  /** Since when no execution runs on it; before the first: since its grant. */
  idleSince: Millis;
  /** Set while its holder gives it back when asked: then it may be evicted when it is idle. */
  keeping: Keeping | undefined;
  /** Set while its holder is asked to give it back. */
  eviction: Eviction | undefined;
  /** Its holder gave memory back then: it is charged for what measurements show since. Until it asks for it again. */
  givenBackAt: Millis | undefined;
  /**
   * When its memory may have fallen by that, the last time, also once it has asked for it again: from the announcement (keep, not
   * ready) to the end. Until that is over `to` is Infinity; before the first time both are its grant.
   */
  gaveBack: { readonly from: Millis; readonly to: Millis };
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
  /** The kind of work that it is; see durations.ts. */
  readonly kind: string;
  /** What its tenant is charged when it is admitted, in ms of the whole machine; see fair-share.ts. */
  readonly cost: number;
  readonly requestId: string;
  /** As asked for; empty: the server's. */
  readonly policy: string;
  readonly submittedAt: Millis;
  readonly deadline: Millis | undefined;
  readonly pollIntervalMs: Millis;
  readonly ttlMs: Millis;
  readonly hold: Hold;
  /** How long its client may be away. */
  readonly graceMs: Millis;
  connected: boolean;
  /** While not connected: when its place is given up. */
  graceUntil: Millis | undefined;
  /** Pools that are held for it; kept while they can serve it, so that what it was promised does not wander. */
  heldPools: ReadonlySet<PoolKey> | undefined;
  /** The first token that was not given out yet when they were chosen. */
  heldSince: number;
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

/**
 * Memory held for a ticket that was overtaken often enough, or that idle leases are taken back for. Whoever is behind it may use
 * these pools only as far as it still fits: beside those who came since, once all others have left; or beside all who stay.
 */
export interface TicketHold {
  readonly ticket: TicketRecord;
  readonly pools: ReadonlySet<PoolKey>;
  /** Leases with this token or a later one came since. Undefined: leases are taken back for it, and nobody else is to leave. */
  readonly since: number | undefined;
  /** Host memory that must stay available for it; undefined: it needs none. */
  readonly ramMb: Mib | undefined;
}

export interface EngineState {
  settings: EngineSettings;
  readonly rules: ReadonlyMap<string, AdmissionRule>;
  /** Name of the policy; empty: unset. */
  policy: string;
  draining: boolean;
  /** Why nothing new is promised, in plain words; undefined: it is. What was promised stays. */
  suspended: string | undefined;
  /** What has to be written down of the present step; undefined: nothing outlives the server. */
  readonly saves: Saves | undefined;
  sample: MachineSample | undefined;
  readonly pools: Map<PoolKey, Pool>;
  /** Every lease that is not `ended`, in order of grant. */
  readonly leases: Map<LeaseId, LeaseRecord>;
  /** The last ones that ended, oldest first; bounded. */
  readonly ended: Map<LeaseId, LeaseRecord>;
  readonly tickets: Map<TicketId, TicketRecord>;
  /** The tickets in order of service. */
  readonly line: WaitingLine<TicketRecord>;
  readonly fairShare: FairShare;
  readonly durations: Durations;
  /** What the leases of each tenant have. */
  readonly running: Map<string, { gpus: number; vramMb: Mib }>;
  /** The moment for which tickets are in order: of the last pass. Between passes nobody's place moves by time alone. */
  orderAt: Millis;
  discipline: Discipline;
  /** Waiting tickets whose own policy must be asked about each of them. */
  askedEach: number;
  /** Verdicts so far: a request or a waiting ticket was looked at and granted, refused or left waiting. */
  verdicts: number;
  /** How long tickets that were served lately had waited, averaged. */
  usualWaitMs: Millis;
  /** tenant + NUL + request id → the ticket or lease that it made. */
  readonly requests: Map<string, { readonly ticketId?: TicketId; readonly leaseId?: LeaseId }>;
  readonly processOwner: Map<ProcessKey, LeaseRecord>;
  readonly executionsByName: Map<string, number>;
  /** Leases whose holders give them back when asked. */
  readonly keepers: Set<LeaseRecord>;
  /** What idle ones are worth. */
  readonly keepValues: KeepValues;
  readonly evictions: Evictions;
  holds: TicketHold[];
  /** What the last pass found. */
  served: Served | undefined;
  /** What measurements showed when those who wait were last told to look. */
  toldFigures: string | undefined;
  sharedReasons: SharedReasons | undefined;
  /** How many waiting tickets want figures no older than that. */
  readonly pollIntervals: Map<Millis, number>;
  /**
   * The first of those that the last pass chose to start and that wait only for memory of a lease that has ended to be seen free.
   * The choice was made on what will be free then; until the next measurement nobody else starts, or it would be made anew on less.
   */
  chosen: TicketRecord | undefined;
  /** By tenant: its ticket that waits for the tenant's limit and has been overtaken often enough; its others wait behind it. */
  readonly limitHeldFor: Map<string, TicketRecord>;
  /** The start that the last pass kept for the first ticket. */
  kept: KeptStart | undefined;
  /** When the queue is served again because of it. */
  keptWakeAt: Millis | undefined;
  readonly wakes: Wakes;
  nextToken: number;
  nextSeq: number;
  /** Rises whenever something changes that a ticket's place or reasons depend on. */
  version: number;
  /** When tickets are thought to start, worked out when somebody asks. */
  forecast: Forecast | undefined;
  /** What the capacity of the machine was when waiting tickets were last judged against it. */
  capacitySignature: string;
}

/**
 * @param rules every policy that can be named. Must hold `permissive`, `safety` and `queue`.
 * @param isSaved every step says what of it has to be written down.
 */
export function createState(
  settings: EngineSettings,
  rules: ReadonlyMap<string, AdmissionRule>,
  policy = "",
  isSaved = false,
): EngineState {
  const fairShare = new FairShare(settings.fairShareHalfLifeMs);
  return {
    settings,
    rules,
    policy,
    draining: false,
    suspended: undefined,
    saves: isSaved ? { leases: new Set(), tickets: new Set() } : undefined,
    sample: undefined,
    pools: new Map(),
    leases: new Map(),
    ended: new Map(),
    tickets: new Map(),
    line: new WaitingLine(fairShare),
    fairShare,
    durations: new Durations(),
    running: new Map(),
    orderAt: 0,
    discipline: settings.discipline,
    askedEach: 0,
    verdicts: 0,
    usualWaitMs: 0,
    requests: new Map(),
    processOwner: new Map(),
    executionsByName: new Map(),
    keepers: new Set(),
    keepValues: new KeepValues(),
    evictions: { byTicket: new Map(), underWay: new Set() },
    holds: [],
    served: undefined,
    toldFigures: undefined,
    sharedReasons: undefined,
    pollIntervals: new Map(),
    chosen: undefined,
    limitHeldFor: new Map(),
    kept: undefined,
    keptWakeAt: undefined,
    wakes: noWakes(),
    nextToken: settings.firstToken,
    nextSeq: 1,
    version: 0,
    forecast: undefined,
    capacitySignature: "",
  };
}

/** True for a policy that goes by more than the fit, so that it must be asked about every ticket on every event. Unset: no. */
export function asksEach(state: EngineState, policy: string): boolean {
  return policy !== "" && state.rules.get(policy)?.waitsForFit !== true;
}
