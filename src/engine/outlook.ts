import { availableOf, capacityOf, outstandingOf, poolKeyOf } from "./books.ts";
import { kindOf } from "./durations.ts";
import { hasDeadline } from "./evictions.ts";
import { deviceBlock } from "./fit.ts";
import { PlanGroups } from "./plan-groups.ts";
import { type PlanTask, planConstants } from "./plan-task.ts";
import { hasLimits } from "./quota.ts";
import type { GpuSample, Mib, Millis } from "./sample.ts";
import { type EngineState, type Holding, hostPool, type LeaseRecord, type PoolKey, type TicketRecord } from "./state.ts";
import { type Occupant, Timeline } from "./timeline.ts";
import type { GpuUuid, Requirements, Workload } from "./types.ts";

/** The machine now, as a timeline, with what is needed to go back and forth. */
export interface Scene {
  readonly timeline: Timeline;
  readonly pools: readonly PoolKey[];
  readonly devices: readonly GpuSample[];
  readonly positions: ReadonlyMap<GpuUuid, number>;
  /** What one GPU can be promised on average, and the host memory that goes with one. */
  readonly gpuMb: Mib;
  readonly ramMb: Mib;
  /** The same as far as it is certain: those who did not say when they end never do. */
  readonly certain: Timeline;
  /** A lease has ended whose memory is not seen to be free yet. */
  readonly isSettling: boolean;
  /** Every lease says when it ends. */
  readonly isDeclared: boolean;
  readonly likelySpread: number;
  readonly cautiousSpread: number;
  readonly groups: PlanGroups;
}

/** The machine as the books have it now. Of GPUs only those that take new work are in it. */
export function sceneOf(state: EngineState, now: Millis): Scene {
  const devices = (state.sample?.gpus ?? []).filter((d) => isUsable(state, d, now));
  const pools = [...new Set([...devices.map(poolKeyOf), hostPool])];
  const indexOf = new Map(pools.map((key, i) => [key, i]));
  const users = pools.map(() => 0);
  const locked = pools.map(() => 0);
  const occupants: GuessedOccupant[] = [];
  let isSettling = false;
  for (const lease of state.leases.values()) {
    const occupant = occupantOf(state, lease, indexOf, now);
    if (occupant === undefined) continue;
    if (lease.phase === "settling") isSettling = true;
    occupants.push(occupant);
    for (const pool of occupant.pools) {
      users[pool] = (users[pool] as number) + 1;
      if (occupant.exclusive) locked[pool] = (locked[pool] as number) + 1;
    }
  }
  occupants.sort(byEnd);
  const certainly = occupants.map((o) => (o.isGuess ? { ...o, endsAt: Infinity } : o)).sort(byEnd);
  const free = pools.map((key) => freeIn(state, key));
  const layout = { poolOf: devices.map((d) => indexOf.get(poolKeyOf(d)) as number), host: indexOf.get(hostPool) as number };
  const capacities = pools.map((key) => {
    const pool = state.pools.get(key);
    return pool === undefined ? undefined : capacityOf(state, pool);
  });
  const total = layout.poolOf.reduce((sum, pool) => sum + (capacities[pool] ?? 0), 0);
  return {
    timeline: new Timeline(layout, [...free], [...users], [...locked], occupants),
    certain: new Timeline(layout, free, users, locked, certainly),
    pools,
    devices,
    positions: new Map(devices.map((d, i) => [d.uuid, i])),
    gpuMb: devices.length === 0 ? 1 : Math.max(1, total / devices.length),
    ramMb: Math.max(1, (capacities[layout.host] ?? Infinity) / Math.max(1, devices.length)),
    isSettling,
    isDeclared: occupants.every((o) => !o.isGuess),
    likelySpread: state.durations.spread(planConstants.likelyShare),
    cautiousSpread: state.durations.spread(planConstants.cautiousShare),
    groups: new PlanGroups(),
  };
}

type GuessedOccupant = Occupant & { readonly isGuess: boolean };

/** Infinity − Infinity is not a number. */
function byEnd(a: Occupant, b: Occupant): number {
  return a.endsAt === b.endsAt ? 0 : a.endsAt - b.endsAt;
}

function isUsable(state: EngineState, device: GpuSample, now: Millis): boolean {
  const pool = state.pools.get(poolKeyOf(device));
  if (pool === undefined) return false;
  const block = deviceBlock(device, pool, { now, ageLimitMs: state.settings.maxSampleAgeMs });
  if (block === undefined) return true;
  return state.settings.whenBlind === "allow" && (block.kind === "unknown" || block.kind === "stale");
}

/** Where nothing is known and that is allowed, everything fits. */
function freeIn(state: EngineState, key: PoolKey): Mib {
  const pool = state.pools.get(key);
  const available = pool === undefined ? undefined : availableOf(state, pool);
  return available ?? (state.settings.whenBlind === "allow" ? Infinity : -1);
}

function occupantOf(
  state: EngineState,
  lease: LeaseRecord,
  indexOf: ReadonlyMap<PoolKey, number>,
  now: Millis,
): GuessedOccupant | undefined {
  if (lease.phase === "releasing" || lease.phase === "ended") return undefined;
  const takes: { pool: number; mb: Mib }[] = [];
  const pools: number[] = [];
  for (const h of lease.holdings) {
    const pool = indexOf.get(h.pool);
    if (pool === undefined) continue;
    takes.push({ pool, mb: claimOf(h) });
    if (h.gpuUuid !== undefined) pools.push(pool);
  }
  if (takes.length === 0) return undefined;
  return { ...endOfLease(state, lease, now), takes, pools, exclusive: lease.workload.requirements.exclusive };
}

function claimOf(h: Holding): Mib {
  return h.lease.phase === "orphan" ? outstandingOf(h) : Math.max(h.reservedMb, h.residentMb ?? 0);
}

/** Work that is late by no more than this is still taken at its owner's word: nobody knows it to the second. */
const lateShare = 0.1;
const lateMs: Millis = 1_000;

/** How long a worker is thought to take to end. */
const leavesInMs: Millis = 1_000;

/** When a lease is thought to end, from now; a guess unless its owner said so and it is not late. */
function endOfLease(state: EngineState, lease: LeaseRecord, now: Millis): { endsAt: Millis; isGuess: boolean } {
  if (lease.phase === "orphan") return { endsAt: Infinity, isGuess: true };
  // Any measurement may show it to be free: whoever it is kept for could start at once.
  if (lease.phase === "settling") return { endsAt: 0, isGuess: false };
  const elapsed = now - lease.grantedAt;
  const said = lease.workload.expectedDurationMs;
  // A little late: it may end at any moment, but has not; only what has ended counts as free at 0.
  if (said !== undefined && elapsed <= said * (1 + lateShare) + lateMs)
    return { endsAt: Math.max(1, said - elapsed), isGuess: false };
  // It is asked to go.
  if (lease.eviction !== undefined)
    return { endsAt: hasDeadline(lease) ? Math.max(1, lease.eviction.deadline - now) : leavesInMs, isGuess: true };
  // Late: as likely as not it takes as long again.
  if (said !== undefined) return { endsAt: Math.max(1_000, elapsed - said), isGuess: true };
  return { endsAt: state.durations.remainingMs(lease.estimateMs, elapsed, planConstants.remainingShare), isGuess: true };
}

/** How long work is thought to take. */
function lastsOf(
  state: EngineState,
  workload: Workload,
  kind: string,
  scene: Pick<Scene, "likelySpread" | "cautiousSpread">,
): Pick<PlanTask, "likelyMs" | "cautiousMs" | "boundMs"> {
  const said = workload.expectedDurationMs;
  if (said !== undefined) return { likelyMs: said, cautiousMs: said, boundMs: said };
  const estimate = state.durations.estimateMs(kind);
  return { likelyMs: estimate * scene.likelySpread, cautiousMs: estimate * scene.cautiousSpread, boundMs: Infinity };
}

/** The same without a scene, for one piece of work. */
export function lastsNow(
  state: EngineState,
  workload: Workload,
  kind = kindOf(workload),
): Pick<PlanTask, "likelyMs" | "cautiousMs" | "boundMs"> {
  const { durations } = state;
  return lastsOf(state, workload, kind, {
    likelySpread: durations.spread(planConstants.likelyShare),
    cautiousSpread: durations.spread(planConstants.cautiousShare),
  });
}

/** A ticket as the plan sees it. */
export interface TicketTask extends PlanTask {
  readonly ticket: TicketRecord;
}

export function taskOf(state: EngineState, ticket: TicketRecord, scene: Scene, now: Millis): TicketTask {
  const req = ticket.workload.requirements;
  return {
    ticket,
    group: scene.groups.nameOf(ticket.workload.tenant, ticket.workload.priority),
    limited: hasLimits(state, ticket.workload.tenant) ? ticket.workload.tenant : undefined,
    gpuCount: req.gpuCount,
    vramMb: req.vramMb,
    ramMb: req.ramMb,
    exclusive: req.exclusive,
    devices: positionsOf(req, scene),
    ...lastsOf(state, ticket.workload, ticket.kind, scene),
    waitedMs: now - ticket.submittedAt,
    size: sizeOf(req, scene),
    isStrict: state.line.overtakenOf(ticket) >= state.settings.maxOvertakes,
    keptPools: keptPoolsOf(ticket, scene),
  };
}

function positionsOf(req: Requirements, scene: Scene): readonly number[] | undefined {
  if (req.gpuUuids.length === 0) return undefined;
  return req.gpuUuids.flatMap((uuid) => scene.positions.get(uuid) ?? []).sort((a, b) => a - b);
}

function sizeOf(req: Requirements, scene: Scene): number {
  const gpus = req.exclusive ? req.gpuCount : (req.gpuCount * req.vramMb) / scene.gpuMb;
  return Math.max(gpus, req.ramMb / scene.ramMb, 0.01);
}

function keptPoolsOf(ticket: TicketRecord, scene: Scene): ReadonlySet<number> | undefined {
  if (ticket.heldPools === undefined) return undefined;
  const kept = new Set<number>();
  for (const key of ticket.heldPools) {
    const at = scene.pools.indexOf(key);
    if (at !== -1) kept.add(at);
  }
  return kept.size === 0 ? undefined : kept;
}
