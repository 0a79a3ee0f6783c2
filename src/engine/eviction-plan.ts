import { availableOf, poolKeyOf } from "./books.ts";
import { type Candidate, chooseVictims } from "./choose-victims.ts";
import { type Asking, contextOf } from "./context.ts";
import {
  allowedDevices,
  deviceBlock,
  exclusivityConflict,
  type FitContext,
  type Gone,
  placementFor,
  ramAvailable,
} from "./fit.ts";
import { mayEvict, worthOf, worthOfAll } from "./keeping.ts";
import { quotaReason } from "./quota.ts";
import type { GpuSample, Mib, Millis } from "./sample.ts";
import { type EngineState, hostPool, type LeaseRecord, type PoolKey } from "./state.ts";
import type { LeasedGpu } from "./types.ts";

/** Leases that would have to go so that a request fits, and where it would fit then. */
export interface EvictionPlan {
  /** At least one, in order of cost. */
  readonly victims: readonly LeaseRecord[];
  readonly gpus: readonly LeasedGpu[];
}

/**
 * The plan is made before anybody is asked to go: the set of idle leases on the right GPUs that costs least to have again and whose
 * measured memory covers what is missing. Where not even all of them would be enough nobody goes (E10, E16); nor where it fits as
 * soon as memory that is on its way has come back. Undefined: nobody goes.
 */
export function planEviction(state: EngineState, asking: Asking, now: Millis): EvictionPlan | undefined {
  const idle = [...state.keepers].filter((lease) => mayEvict(lease, asking.workload, now));
  if (idle.length === 0) return undefined;
  const ctx = contextOf(state, asking, now);
  const coming = comingBack(state);
  if (fitsWithout(state, asking, ctx, coming)) return undefined;
  const all = thinkAway(coming, idle);
  if (!fitsWithout(state, asking, ctx, all)) return undefined;
  const overLimit = freeLimit(state, asking, idle, coming, now);
  if (overLimit === undefined) return undefined;
  const away = thinkAway(coming, overLimit);
  const rest = idle.filter((lease) => !overLimit.includes(lease));
  const chosen = cheapest(state, asking, ctx, away, rest, now);
  if (chosen === undefined) return undefined;
  const victims = [...overLimit, ...chosen];
  const placed = placementFor(state, asking.workload.requirements, { ...ctx, gone: thinkAway(coming, victims) });
  if (placed === undefined || victims.length === 0) return undefined;
  return { victims, gpus: placed.gpus };
}

/** Memory that is on its way: of leases that have ended, and of those that are asked to go already. */
function comingBack(state: EngineState): Gone {
  const leaving = [...state.keepers].filter((lease) => lease.eviction !== undefined && lease.phase === "held");
  const mb = worthOfAll(leaving);
  for (const pool of state.pools.values()) {
    if (pool.drainingMb > 0) mb.set(pool.key, (mb.get(pool.key) ?? 0) + pool.drainingMb);
  }
  const leases = new Set(leaving);
  for (const lease of state.leases.values()) if (lease.phase === "settling") leases.add(lease);
  return { leases, mb };
}

function thinkAway(gone: Gone, leases: readonly LeaseRecord[]): Gone {
  const mb = new Map(gone.mb);
  for (const [key, worth] of worthOfAll(leases)) mb.set(key, (mb.get(key) ?? 0) + worth);
  return { leases: new Set([...gone.leases, ...leases]), mb };
}

function fitsWithout(state: EngineState, { workload }: Asking, ctx: FitContext, gone: Gone): boolean {
  if (quotaReason(state, workload, gone.leases) !== undefined) return false;
  return placementFor(state, workload.requirements, { ...ctx, gone }) !== undefined;
}

/** Leases of the tenant's own that keep it at its limit; undefined: not even all of them would help. */
function freeLimit(
  state: EngineState,
  { workload }: Asking,
  idle: readonly LeaseRecord[],
  coming: Gone,
  now: Millis,
): readonly LeaseRecord[] | undefined {
  const own = byCost(state, idle, now).filter((lease) => lease.workload.tenant === workload.tenant);
  const go: LeaseRecord[] = [];
  const isBlocked = () => quotaReason(state, workload, new Set([...coming.leases, ...go])) !== undefined;
  while (isBlocked()) {
    const next = own.shift();
    if (next === undefined) return undefined;
    go.push(next);
  }
  return go;
}

/** The set that costs least, on the GPUs where that is so. */
function cheapest(
  state: EngineState,
  asking: Asking,
  ctx: FitContext,
  away: Gone,
  idle: readonly LeaseRecord[],
  now: Millis,
): readonly LeaseRecord[] | undefined {
  if (fitsWithout(state, asking, ctx, away)) return [];
  const req = asking.workload.requirements;
  const on = (devices: readonly GpuSample[]) => victimsOn(state, asking, ctx, away, idle, devices, now);
  const isEnough = (set: readonly LeaseRecord[] | undefined): set is readonly LeaseRecord[] =>
    set !== undefined && fitsWithout(state, asking, ctx, thinkAway(away, set));
  const cost = (set: readonly LeaseRecord[]) => set.reduce((sum, lease) => sum + costOf(state, lease, now), 0);
  if (req.gpuCount === 0) {
    const set = on([]);
    return isEnough(set) ? set : undefined;
  }
  const options = allowedDevices(state, req)
    .map((device) => ({ device, set: on([device]) }))
    .filter((o): o is { device: GpuSample; set: readonly LeaseRecord[] } => o.set !== undefined)
    .sort((a, b) => cost(a.set) - cost(b.set) || a.set.length - b.set.length || a.device.index - b.device.index);
  if (req.gpuCount === 1) return options.map((o) => o.set).find(isEnough);
  // The GPUs that cost least by themselves, all at once, because a victim may be on several.
  const together = options.length < req.gpuCount ? undefined : on(options.slice(0, req.gpuCount).map((o) => o.device));
  return isEnough(together) ? together : withoutNeedless(state, asking, ctx, away, idle, now);
}

/** Where devices share memory or holds are in the way, the simple sum may be wrong: all of them, less whoever is not needed. */
function withoutNeedless(
  state: EngineState,
  asking: Asking,
  ctx: FitContext,
  away: Gone,
  idle: readonly LeaseRecord[],
  now: Millis,
): readonly LeaseRecord[] {
  let set = byCost(state, idle, now);
  for (const lease of byCost(state, idle, now).reverse()) {
    const less = set.filter((l) => l !== lease);
    if (fitsWithout(state, asking, ctx, thinkAway(away, less))) set = less;
  }
  return set;
}

/** Who must go from these devices, and for host memory; undefined: nobody's going would be enough. */
function victimsOn(
  state: EngineState,
  { workload }: Asking,
  ctx: FitContext,
  away: Gone,
  idle: readonly LeaseRecord[],
  devices: readonly GpuSample[],
  now: Millis,
): readonly LeaseRecord[] | undefined {
  const req = workload.requirements;
  const must = new Set<LeaseRecord>();
  const missing = new Map<PoolKey, Mib>();
  const need = (key: PoolKey, mb: Mib, available: Mib) =>
    missing.set(key, (missing.get(key) ?? -available - (away.mb.get(key) ?? 0)) + mb);
  if (req.ramMb > 0) {
    const available = ramAvailable(state, ctx);
    if (available !== undefined) need(hostPool, req.ramMb, available);
  }
  for (const device of devices) {
    const pool = state.pools.get(poolKeyOf(device));
    const available = pool === undefined ? undefined : availableOf(state, pool);
    if (pool === undefined || available === undefined || deviceBlock(device, pool, ctx) !== undefined) return undefined;
    for (;;) {
      const gone = { leases: new Set([...away.leases, ...must]), mb: away.mb };
      const rival = exclusivityConflict(pool, req.exclusive, gone);
      if (rival === undefined) break;
      if (!idle.includes(rival.lease)) return undefined;
      must.add(rival.lease);
    }
    need(pool.key, req.vramMb, available);
  }
  for (const [key, worth] of worthOfAll(must)) {
    const mb = missing.get(key);
    if (mb !== undefined) missing.set(key, mb - worth);
  }
  const chosen = chooseVictims(
    idle.filter((lease) => !must.has(lease)).map((lease) => candidateOf(state, lease, now)),
    new Map([...missing].filter(([, mb]) => mb > 0)),
  );
  if (chosen === undefined) return undefined;
  const ids = new Set(chosen.map((c) => c.id));
  return byCost(
    state,
    idle.filter((lease) => must.has(lease) || ids.has(lease.id)),
    now,
  );
}

function candidateOf(state: EngineState, lease: LeaseRecord, now: Millis): Candidate {
  const frees = new Map<PoolKey, Mib>();
  for (const h of lease.holdings) {
    const worth = worthOf(h);
    if (worth !== undefined) frees.set(h.pool, (frees.get(h.pool) ?? 0) + worth);
  }
  return { id: lease.id, costMs: costOf(state, lease, now), frees };
}

/** What it costs to lose it: see keep-value.ts. */
export function costOf(state: EngineState, lease: LeaseRecord, now: Millis): Millis {
  return state.keepValues.costOf(lease.workload.name, now);
}

function byCost(state: EngineState, leases: readonly LeaseRecord[], now: Millis): LeaseRecord[] {
  return [...leases].sort(
    (a, b) => costOf(state, a, now) - costOf(state, b, now) || a.idleSince - b.idleSince || a.token - b.token,
  );
}
