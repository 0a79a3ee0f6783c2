import type { GpuSample, HostSample, MachineSample, Mib } from "./sample.ts";
import { marginOf } from "./settings.ts";
import { type EngineState, type Holding, hostPool, type Pool, type PoolFigures, type PoolKey } from "./state.ts";

/**
 * The one ledger. For each pool, from one measurement with its own time:
 *
 *     outstanding = Σ max(0, reserved − resident)      promised, and not in the measurement yet
 *     claim       = Σ max(reserved, resident)          who outgrew a promise is charged what it uses
 *     foreign     = used − Σ resident                  processes that nobody leased to
 *     available   = min(free − outstanding, total − driver reserve − margin − claim − foreign)
 *
 * Numbers are signed and may go below zero; nothing here is clamped that a decision rests on.
 */

/** Where a device's memory is charged: unified parts share the host's, compute instances that of their GPU instance. */
export function poolKeyOf(gpu: GpuSample): PoolKey {
  return gpu.kind === "unified" ? hostPool : (gpu.poolId ?? gpu.uuid);
}

export function poolOf(state: EngineState, key: PoolKey): Pool {
  let pool = state.pools.get(key);
  if (pool === undefined) {
    pool = {
      key,
      devices: [],
      figures: undefined,
      lastTotalMb: undefined,
      lastReservedMb: 0,
      holdings: new Set(),
      outstandingMb: 0,
      claimedMb: 0,
      residentMb: 0,
      foreignMb: undefined,
      drainingMb: 0,
      foreignAtList: undefined,
      listAt: undefined,
    };
    state.pools.set(key, pool);
  }
  return pool;
}

/** Takes the figures of a new sample into every pool. Residents and sums are brought up to date by residents.ts. */
export function takeFigures(state: EngineState, sample: MachineSample): void {
  for (const pool of state.pools.values()) {
    pool.devices.length = 0;
    pool.figures = undefined;
  }
  for (const gpu of sample.gpus) poolOf(state, poolKeyOf(gpu)).devices.push(gpu);
  for (const pool of state.pools.values()) {
    pool.figures = pool.key === hostPool ? hostFigures(sample.host) : gpuFigures(pool.devices);
    remember(pool);
  }
  if (!state.pools.has(hostPool)) {
    const host = poolOf(state, hostPool);
    host.figures = hostFigures(sample.host);
    remember(host);
  }
}

function remember(pool: Pool): void {
  const f = pool.figures;
  if (f?.totalMb === undefined) return;
  pool.lastTotalMb = f.totalMb;
  pool.lastReservedMb = driverReserve(f);
}

function hostFigures(host: HostSample | undefined): PoolFigures | undefined {
  if (host === undefined) return undefined;
  const { totalMb, availableMb, observedAt } = host;
  return {
    observedAt,
    attribution: true,
    ...(totalMb === undefined ? {} : { totalMb }),
    ...(availableMb === undefined ? {} : { freeMb: availableMb }),
    ...(totalMb === undefined || availableMb === undefined ? {} : { usedMb: totalMb - availableMb }),
  };
}

function gpuFigures(devices: readonly GpuSample[]): PoolFigures | undefined {
  const device = devices.find((d) => d.health === "ok" && d.freeMb !== undefined) ?? devices[0];
  if (device === undefined) return undefined;
  const { totalMb, reservedMb, usedMb, freeMb, observedAt, attribution } = device;
  return {
    observedAt,
    attribution,
    ...(totalMb === undefined ? {} : { totalMb }),
    ...(reservedMb === undefined ? {} : { reservedMb }),
    ...(usedMb === undefined ? {} : { usedMb }),
    ...(freeMb === undefined ? {} : { freeMb }),
  };
}

/** Drivers before R510 do not name their reserve; what is neither used nor free is theirs. */
function driverReserve(f: PoolFigures): Mib {
  if (f.reservedMb !== undefined) return f.reservedMb;
  if (f.totalMb === undefined || f.usedMb === undefined || f.freeMb === undefined) return 0;
  return Math.max(0, f.totalMb - f.usedMb - f.freeMb);
}

/** What one request could get at most: total − driver reserve − margin. Undefined while the size was never known. */
export function capacityOf(state: EngineState, pool: Pool): Mib | undefined {
  if (pool.lastTotalMb === undefined) return undefined;
  const margin = pool.key === hostPool ? state.settings.ramMargin : state.settings.margin;
  return pool.lastTotalMb - pool.lastReservedMb - marginOf(margin, pool.lastTotalMb);
}

/** What a new request could get now. Undefined when it is not known. Says nothing about the age of the figures. */
export function availableOf(state: EngineState, pool: Pool): Mib | undefined {
  const capacity = capacityOf(state, pool);
  const free = pool.figures?.freeMb;
  if (capacity === undefined || free === undefined || pool.foreignMb === undefined) return undefined;
  return Math.min(free - pool.outstandingMb, capacity - pool.claimedMb - pool.foreignMb);
}

/** What a lease keeps others from using, over and above what is measured. */
export function outstandingOf(holding: Holding): Mib {
  return Math.max(0, holding.reservedMb - (holding.residentMb ?? 0));
}

/** Brings the sums of a pool up to date after its holdings, their residents or its figures changed. */
export function sum(pool: Pool): void {
  const used = pool.figures?.usedMb;
  let outstanding = 0;
  let claimed = 0;
  let resident = 0;
  let draining = 0;
  for (const h of pool.holdings) {
    const r = h.residentMb ?? 0;
    switch (h.lease.phase) {
      case "held":
      case "settling":
        outstanding += outstandingOf(h);
        claimed += Math.max(h.reservedMb, r);
        resident += r;
        if (h.lease.phase === "settling") draining += Math.max(h.reservedMb, r);
        break;
      case "orphan":
        outstanding += outstandingOf(h);
        claimed += outstandingOf(h);
        break;
      case "releasing":
        draining += stillDraining(h, used);
        break;
    }
  }
  // Use fell below what the last process list accounts for. Either a foreign process or one of ours gave memory back; until the
  // next list tells which, it is taken as ours, whose holder may take it again: foreign use stays what it was.
  const drop = pool.foreignAtList === undefined || used === undefined ? 0 : Math.max(0, pool.foreignAtList + resident - used);
  pool.outstandingMb = outstanding;
  pool.claimedMb = claimed;
  pool.residentMb = resident;
  pool.foreignMb = used === undefined ? undefined : Math.max(0, used - resident + Math.min(drop, resident));
  pool.drainingMb = draining;
}

/** Memory of an ended lease that is not seen to be back: what it had, less what use has fallen by since. */
export function stillDraining(holding: Holding, usedMb: Mib | undefined): Mib {
  const end = holding.lease.atEnd.get(holding.pool);
  if (end === undefined) return 0;
  const fallen = usedMb === undefined || end.usedMb === undefined ? 0 : Math.max(0, end.usedMb - usedMb);
  return Math.max(0, end.residentMb - fallen);
}
