import { poolKeyOf } from "./books.ts";
import { type Candidate, chooseVictims } from "./choose-victims.ts";
import { comingTo, isLeaving, worthOf, worthOfAll } from "./coming.ts";
import { type Asking, contextOf } from "./context.ts";
import {
  allowedDevices,
  availableWithout,
  deviceBlock,
  exclusivityConflict,
  type FitContext,
  type Gone,
  placementFor,
  ramAvailable,
  tightestHold,
} from "./fit.ts";
import { judge } from "./judge.ts";
import { isToBeMeasured, mayEvict } from "./keeping.ts";
import { overLimit, quotaReason } from "./quota.ts";
import type { GpuSample, Mib, Millis } from "./sample.ts";
import { type EngineState, hostPool, type LeaseRecord, type Pool, type PoolKey } from "./state.ts";
import type { LeasedGpu, Workload } from "./types.ts";

/** Leases that would have to go so that a request fits, and where it would fit then. */
export interface EvictionPlan {
  /** At least one, in order of cost. */
  readonly victims: readonly LeaseRecord[];
  readonly gpus: readonly LeasedGpu[];
}

/** How the request is decided on once there is room. */
export interface Decider {
  readonly policy: string;
  readonly waitedMs: Millis;
}

/** What a plan is made from. */
interface Scope {
  readonly state: EngineState;
  readonly workload: Workload;
  readonly ctx: FitContext;
  readonly now: Millis;
  /** On its way already. */
  readonly coming: Gone;
  readonly idle: readonly LeaseRecord[];
  /** Its tenant is at a limit. */
  readonly isOverLimit: boolean;
}

/**
 * The plan is made before anybody is asked to go: the set of idle leases on the right GPUs that costs least to have again and whose
 * measured memory covers what is missing. Where not even all of them would be enough nobody goes (E10, E16); nor where it fits as
 * soon as memory that is on its way has come back, or where the policy would let it wait all the same. Undefined: nobody goes.
 */
export function planEviction(state: EngineState, asking: Asking, decider: Decider, now: Millis): EvictionPlan | undefined {
  const { workload } = asking;
  const idle = [...state.keepers].filter((lease) => mayEvict(state, lease, workload, now));
  if (idle.length === 0) return undefined;
  const ctx = contextOf(state, asking, now);
  const coming = comingBack(state);
  const isOverLimit = quotaReason(state, workload, coming.leases) !== undefined;
  const scope: Scope = { state, workload, ctx, now, coming, idle, isOverLimit };
  if (fitsWithout(scope, []) || !fitsWithout(scope, idle) || mayShowMore(scope)) return undefined;
  const victims = cheapest(scope);
  const gone = thinkAway(scope.coming, victims);
  const placed = placementFor(state, workload.requirements, { ...ctx, gone });
  if (placed === undefined || !isLetIn(scope, decider, gone)) return undefined;
  return { victims: byCost(scope, victims), gpus: placed.gpus };
}

/** Memory that is on its way: of leases that have ended, and of those that are asked to go already. */
function comingBack(state: EngineState): Gone {
  const mb = new Map([...state.pools.values()].map((pool) => [pool.key, comingTo(pool)]));
  return { leases: new Set([...state.leases.values()].filter(isLeaving)), mb };
}

function thinkAway(gone: Gone, leases: readonly LeaseRecord[]): Gone {
  const mb = new Map(gone.mb);
  for (const [key, worth] of worthOfAll(leases)) mb.set(key, (mb.get(key) ?? 0) + worth);
  return { leases: new Set([...gone.leases, ...leases]), mb };
}

/** Whether it fits when these go, and what is on its way has come back. */
function fitsWithout({ state, workload, ctx, coming }: Scope, leases: readonly LeaseRecord[]): boolean {
  const gone = thinkAway(coming, leases);
  if (quotaReason(state, workload, gone.leases) !== undefined) return false;
  return placementFor(state, workload.requirements, { ...ctx, gone }) !== undefined;
}

/** Somebody has just given memory back where it is needed. The next measurement shows how much, and then it may fit. */
function mayShowMore({ state, workload, now }: Scope): boolean {
  const { requirements: req } = workload;
  const pools = new Set(req.gpuCount > 0 ? allowedDevices(state, req).map(poolKeyOf) : []);
  if (req.ramMb > 0) pools.add(hostPool);
  return [...state.keepers].some((l) => isToBeMeasured(state, l, now) && l.holdings.some((h) => pools.has(h.pool)));
}

/** A policy that goes by more than the fit may let it wait when they have gone: then they would go for nothing. */
function isLetIn({ state, workload, ctx }: Scope, { policy, waitedMs }: Decider, gone: Gone): boolean {
  if (state.rules.get(policy)?.waitsForFit === true) return true;
  return judge(state, policy, { workload, mayWait: true, waitedMs }, { ...ctx, gone }).verdict === "admit";
}

/** The set that costs least, on the GPUs where that is so. Nobody in it is needless. */
function cheapest(scope: Scope): readonly LeaseRecord[] {
  const { state, workload } = scope;
  const req = workload.requirements;
  const cost = (set: readonly LeaseRecord[]) => set.reduce((sum, lease) => sum + costOf(state, lease, scope.now), 0);
  const options = (req.gpuCount === 0 ? [] : allowedDevices(state, req))
    .map((device) => ({ device, set: victimsOn(scope, [device]) }))
    .filter((o): o is { device: GpuSample; set: readonly LeaseRecord[] } => o.set !== undefined)
    .sort((a, b) => cost(a.set) - cost(b.set) || a.set.length - b.set.length || a.device.index - b.device.index);
  const sets =
    req.gpuCount === 1
      ? options.map((o) => o.set)
      : // The GPUs that cost least by themselves, all at once, because a victim may be on several.
        [
          victimsOn(
            scope,
            options.slice(0, req.gpuCount).map((o) => o.device),
          ),
        ];
  // Where devices share memory, or somebody who comes first is in the way, the simple sum may be wrong.
  return withoutNeedless(scope, sets.find((set) => set !== undefined && fitsWithout(scope, set)) ?? scope.idle);
}

/** Less whoever is not needed, dearest first. */
function withoutNeedless(scope: Scope, enough: readonly LeaseRecord[]): readonly LeaseRecord[] {
  let set = enough;
  for (const lease of byCost(scope, enough).reverse()) {
    const less = set.filter((l) => l !== lease);
    if (fitsWithout(scope, less)) set = less;
  }
  return set;
}

/** Limits of the tenant are short like memory. Not possible pools. */
const limitOfGpus: PoolKey = " gpus";
const limitOfVram: PoolKey = " vram";

/** Who must go from these devices, for host memory and for the tenant's limits; undefined: nobody's going would be enough. */
function victimsOn(scope: Scope, devices: readonly GpuSample[]): readonly LeaseRecord[] | undefined {
  const { state, workload, ctx, coming, idle } = scope;
  const { requirements: req } = workload;
  const must = new Set<LeaseRecord>();
  const missing = new Map<PoolKey, Mib>();
  const need = (key: PoolKey, mb: Mib, room: Mib) => missing.set(key, (missing.get(key) ?? -room) + mb);
  if (scope.isOverLimit) {
    const { gpus, vramMb } = overLimit(state, workload, coming.leases);
    missing.set(limitOfGpus, gpus).set(limitOfVram, vramMb);
  }
  const ram = ramAvailable(state, { ...ctx, gone: coming });
  if (req.ramMb > 0 && ram !== undefined) need(hostPool, req.ramMb, ram);
  for (const device of devices) {
    const pool = state.pools.get(poolKeyOf(device));
    if (pool === undefined || deviceBlock(device, pool, ctx) !== undefined) return undefined;
    const room = pool.key === hostPool ? ram : roomOn(scope, pool);
    if (room === undefined) return undefined;
    for (;;) {
      const gone = { leases: new Set([...coming.leases, ...must]), mb: coming.mb };
      const rival = exclusivityConflict(pool, req.exclusive, gone);
      if (rival === undefined) break;
      if (!idle.includes(rival.lease)) return undefined;
      must.add(rival.lease);
    }
    need(pool.key, req.vramMb, room);
  }
  const others = idle.filter((lease) => !must.has(lease));
  for (const lease of must) {
    for (const [key, mb] of candidateOf(scope, lease).frees) {
      const short = missing.get(key);
      if (short !== undefined) missing.set(key, short - mb);
    }
  }
  const chosen = chooseVictims(
    others.map((lease) => candidateOf(scope, lease)),
    new Map([...missing].filter(([, mb]) => mb > 0)),
  );
  return chosen === undefined ? undefined : [...must, ...chosen.map((c) => c.lease)];
}

/** What may be had on a GPU once what is on its way has come back, beside what is held for those who come first. */
function roomOn({ state, ctx, coming }: Scope, pool: Pool): Mib | undefined {
  const available = availableWithout(state, pool, coming);
  const held = tightestHold(state, pool, ctx.holds, coming);
  return available === undefined || held === undefined ? available : Math.min(available, held.besideMb);
}

function candidateOf(
  { state, workload, now, isOverLimit }: Scope,
  lease: LeaseRecord,
): Candidate & { readonly lease: LeaseRecord } {
  const frees = new Map<PoolKey, Mib>();
  for (const h of lease.holdings) {
    const worth = worthOf(h);
    if (worth !== undefined) frees.set(h.pool, (frees.get(h.pool) ?? 0) + worth);
  }
  if (isOverLimit && lease.workload.tenant === workload.tenant) {
    const vramMb = lease.gpus.reduce((sum, g) => sum + g.vramMb, 0);
    frees.set(limitOfGpus, lease.gpus.length).set(limitOfVram, vramMb);
  }
  // Among equals whoever has been idle for longest goes; a whole number of so many digits sorts as a text does.
  const id = `${String(Math.floor(lease.idleSince)).padStart(16, "0")} ${lease.id}`;
  return { id, costMs: costOf(state, lease, now), frees, lease };
}

/** What it costs to lose it: see keep-value.ts. */
export function costOf(state: EngineState, lease: LeaseRecord, now: Millis): Millis {
  return state.keepValues.costOf(lease.workload.name, now);
}

function byCost({ state, now }: Scope, leases: readonly LeaseRecord[]): LeaseRecord[] {
  return [...leases].sort(
    (a, b) => costOf(state, a, now) - costOf(state, b, now) || a.idleSince - b.idleSince || a.token - b.token,
  );
}
