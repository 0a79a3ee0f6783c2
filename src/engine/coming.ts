import { stillDraining } from "./books.ts";
import type { Mib } from "./sample.ts";
import type { Holding, LeaseRecord, Pool, PoolKey } from "./state.ts";

/**
 * Memory that is on its way: of leases that are asked to go, and of those that have ended and are not seen to be free yet.
 * @param except leave these out.
 */
export function comingTo(pool: Pool, except?: ReadonlySet<LeaseRecord>): Mib {
  let mb = 0;
  for (const h of pool.holdings) {
    if (isLeaving(h.lease) && !except?.has(h.lease)) mb += comesBack(h, pool.figures?.usedMb);
  }
  return mb;
}

/** It is asked to go, or has ended and its memory is awaited. */
export function isLeaving({ phase, eviction }: LeaseRecord): boolean {
  return phase === "settling" || phase === "releasing" || (phase === "held" && eviction !== undefined);
}

function comesBack(h: Holding, usedMb: Mib | undefined): Mib {
  switch (h.lease.phase) {
    case "settling":
      return Math.max(h.reservedMb, h.residentMb ?? 0);
    case "releasing":
      return stillDraining(h, usedMb);
    default:
      return worthOf(h) ?? 0;
  }
}

/**
 * What a pool would have available without the lease; undefined: it was not measured, and nothing is counted on. What it was
 * promised and has not taken is off the books with it, so both count.
 */
export function worthOf(h: Holding): Mib | undefined {
  return h.residentMb === undefined ? undefined : Math.max(h.reservedMb, h.residentMb);
}

/** What would be available in each pool without these leases. */
export function worthOfAll(leases: Iterable<LeaseRecord>): Map<PoolKey, Mib> {
  const mb = new Map<PoolKey, Mib>();
  for (const lease of leases) {
    for (const h of lease.holdings) mb.set(h.pool, (mb.get(h.pool) ?? 0) + (worthOf(h) ?? 0));
  }
  return mb;
}
