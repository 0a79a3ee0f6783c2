import { sum } from "./books.ts";
import type { MachineSample, Mib, Millis, ProcessSample } from "./sample.ts";
import { type EngineState, type Holding, hostPool, type LeaseRecord, type Pool } from "./state.ts";

/**
 * Whose memory is it? Fills in what measurements show of each lease, and then the sums.
 *
 * With process figures, a lease is credited with the memory of its attached processes and their descendants; a lease without an
 * attached process is credited with nothing, because foreign memory that arrives after its grant looks the same, and to take it
 * for the lease's would promise the same bytes twice. Without process figures, what grew since the grant is the estimate.
 */
export function attribute(state: EngineState, sample: MachineSample): void {
  const measured = measuredByLease(state, sample);
  for (const pool of state.pools.values()) {
    if (pool.key === hostPool) creditTrees(pool, sample);
    else if (pool.figures?.attribution === true) creditProcesses(pool, sample, measured);
    else creditGrowth(pool);
    // Without figures of its own a pool cannot be paired with the list.
    pairWithList(pool, sample);
    sum(pool);
  }
}

type Measured = Map<LeaseRecord, Map<string, Mib | undefined>>;

/** Memory by lease and GPU. A process works for the nearest attached process among itself and its ancestors. */
function measuredByLease(state: EngineState, sample: MachineSample): Measured {
  const out: Measured = new Map();
  for (const process of sample.processes?.list ?? []) {
    const key = process.lineage.find((k) => state.processOwner.has(k));
    const lease = key === undefined ? undefined : state.processOwner.get(key);
    if (lease === undefined) continue;
    let byGpu = out.get(lease);
    if (byGpu === undefined) {
      byGpu = new Map();
      out.set(lease, byGpu);
    }
    const before = byGpu.has(process.gpuUuid) ? byGpu.get(process.gpuUuid) : 0;
    byGpu.set(process.gpuUuid, before === undefined || process.usedMb === undefined ? undefined : before + process.usedMb);
  }
  return out;
}

/** Its holder gave memory back, and this is what it has kept. Not by an estimate: its memory may have been taken for another's. */
function lower(h: Holding): void {
  const { givenBackAt } = h.lease;
  if (givenBackAt === undefined || h.residentMb === undefined || h.residentAt === undefined || h.residentAt <= givenBackAt)
    return;
  h.reservedMb = Math.min(h.reservedMb, h.residentMb);
}

function creditProcesses(pool: Pool, sample: MachineSample, measured: Measured): void {
  const list = sample.processes;
  for (const h of pool.holdings) {
    const { lease } = h;
    // A list from after the end accounts for it: what it may still have is foreign use in it.
    if (lease.phase === "settling" && list !== undefined && list.observedAt > (lease.endedAt ?? Infinity)) {
      setResident(h, 0, list.observedAt);
    }
    if (lease.phase !== "held" && lease.phase !== "orphan") continue;
    if (list === undefined || !tellsOf(lease, list, pool) || lease.processes.size === 0 || h.gpuUuid === undefined) {
      setResident(h, undefined);
      continue;
    }
    const byGpu = measured.get(lease);
    setResident(h, byGpu?.has(h.gpuUuid) ? byGpu.get(h.gpuUuid) : 0, list.observedAt);
    lower(h);
  }
}

/**
 * A list from before its grant tells nothing of a lease; nor does one from before it had given memory back, beside figures from after
 * it had begun to: it would be credited with memory that is free in these already.
 */
function tellsOf({ grantedAt, gaveBack }: LeaseRecord, { observedAt }: ProcessSample, pool: Pool): boolean {
  if (observedAt <= grantedAt) return false;
  const figuresAt = pool.figures?.observedAt ?? Infinity;
  return observedAt > gaveBack.to || figuresAt <= gaveBack.from || figuresAt <= observedAt;
}

function creditTrees(pool: Pool, sample: MachineSample): void {
  for (const h of pool.holdings) {
    const { lease } = h;
    if (lease.phase !== "held" && lease.phase !== "orphan") continue;
    const fresh = sample.host !== undefined && sample.host.observedAt > lease.grantedAt;
    let total: Mib | undefined = fresh && lease.processes.size > 0 ? 0 : undefined;
    for (const key of lease.processes) {
      const tree = sample.treeRam.get(key);
      total = total === undefined || tree === undefined ? undefined : total + tree;
    }
    setResident(h, total, sample.host?.observedAt);
    lower(h);
  }
}

/**
 * From the latest grant back to the earliest: growth since a grant belongs to that lease or to a later one, never to both, and
 * never for more than was reserved. What is left over counts as foreign, which errs towards refusing. Growth may also be memory of
 * a lease that has just ended and is not back yet, so nobody is credited with as much as those may still have.
 */
function creditGrowth(pool: Pool): void {
  const figures = pool.figures;
  const used = figures?.usedMb;
  const byGrant = [...pool.holdings].sort((a, b) => b.lease.token - a.lease.token);
  let taken = 0;
  for (const h of byGrant) if (h.lease.phase === "settling" || h.lease.phase === "releasing") taken += h.reservedMb;
  for (const h of byGrant) {
    const { lease } = h;
    if (lease.phase !== "held" && lease.phase !== "orphan") continue;
    if (figures === undefined || used === undefined || h.baselineMb === undefined || figures.observedAt <= lease.growsFrom) {
      setResident(h, undefined);
      continue;
    }
    // Others gave memory back: growth counts from the lowest point since the grant.
    h.baselineMb = Math.min(h.baselineMb, used);
    const credit = Math.min(h.reservedMb, Math.max(0, used - h.baselineMb - taken));
    taken += credit;
    setResident(h, credit, figures.observedAt);
  }
}

function setResident(h: Holding, mb: Mib | undefined, at?: Millis): void {
  if (mb === undefined) delete h.residentMb;
  else h.residentMb = mb;
  if (mb === undefined || at === undefined) delete h.residentAt;
  else h.residentAt = at;
}

/** The first sample with a new process list fixes how much of the use is foreign, until the next list. */
function pairWithList(pool: Pool, sample: MachineSample): void {
  const list = sample.processes;
  const used = pool.figures?.usedMb;
  if (pool.key === hostPool || pool.figures?.attribution !== true || list === undefined || used === undefined) {
    if (pool.figures?.attribution !== true || list === undefined) {
      pool.foreignAtList = undefined;
      pool.listAt = undefined;
    }
    return;
  }
  if (pool.listAt === list.observedAt) return;
  let resident = 0;
  for (const h of pool.holdings) {
    if (h.lease.phase === "held" || h.lease.phase === "settling") resident += h.residentMb ?? 0;
  }
  pool.listAt = list.observedAt;
  pool.foreignAtList = Math.max(0, used - resident);
}

/** A lease's resident memory stops being credited to it: from now on it is part of the foreign use of the last process list. */
export function disown(pool: Pool, holding: Holding): void {
  if (pool.foreignAtList !== undefined) pool.foreignAtList += holding.residentMb ?? 0;
}
