import { chargeAgain, stopCharging } from "./charges.ts";
import type { Mib, Millis } from "./sample.ts";
import type { EngineState, LeaseRecord } from "./state.ts";
import type { Workload } from "./types.ts";

/**
 * Who gives a lease back when asked, and when that may be.
 *
 * - `worker`: a resident worker of this server, which ends it itself.
 * - `watcher`: another program that listens; it has until a deadline.
 */
export interface Keeping {
  readonly holder: "worker" | "watcher";
  /** Never evicted. */
  readonly pinned: boolean;
  /** False while it gives memory back: what it will hold is not known, and it is no victim. */
  readonly ready: boolean;
  /** Since when it can be asked, which is from when it was loaded: a minimum residence counts from here. */
  readonly readySince: Millis;
  readonly minResidenceMs: Millis;
  /** How long it takes to load it again, where that is known. */
  readonly reloadMs?: Millis;
}

/** What a holder says of itself. */
export type KeepingNews = Omit<Keeping, "readySince" | "minResidenceMs"> & { readonly minResidenceMs?: Millis };

/** Takes what the holder says; undefined: it does not listen any more. */
export function keep(state: EngineState, lease: LeaseRecord, news: KeepingNews | undefined, now: Millis): void {
  state.version++;
  if (news === undefined) {
    lease.keeping = undefined;
    state.keepers.delete(lease);
    chargeAgain(state, lease, now);
    return;
  }
  const before = lease.keeping;
  // From when it says that it gives memory back until it has, its memory may fall at any moment.
  if (!news.ready && lease.gaveBack.to !== Infinity) lease.gaveBack = { from: now, to: Infinity };
  if (news.ready && lease.gaveBack.to === Infinity) lease.gaveBack = { from: lease.gaveBack.from, to: now };
  const minResidenceMs = news.minResidenceMs ?? state.settings.minResidenceMs;
  lease.keeping = { ...news, minResidenceMs, readySince: before?.readySince ?? now };
  state.keepers.add(lease);
  if (before === undefined) noteWorth(state, lease, now);
  if (lease.executions.size === 0) stopCharging(state, lease, now);
  if (news.ready && stayUntil(lease.keeping) > now) staysFor(state, lease, lease.keeping);
}

/** Its holder has given back what it could; the next measurement shows how much. Announced by `keep`, not ready. */
export function giveBack(lease: LeaseRecord, now: Millis): void {
  lease.givenBackAt = now;
  const isAnnounced = lease.gaveBack.to === Infinity;
  lease.gaveBack = { from: isAnnounced ? lease.gaveBack.from : now, to: now };
}

/** What it gave back it loads again: from here its minimum residence counts anew. */
export function loadedAgain(state: EngineState, lease: LeaseRecord, now: Millis): void {
  if (lease.keeping === undefined) return;
  lease.keeping = { ...lease.keeping, readySince: now };
  staysFor(state, lease, lease.keeping);
}

function staysFor(state: EngineState, lease: LeaseRecord, keeping: Keeping): void {
  state.wakes.push({ at: stayUntil(keeping), kind: "resident-stays", id: lease.id });
}

/** Until when it stays, whoever waits. */
export function stayUntil(keeping: Keeping): Millis {
  return keeping.readySince + keeping.minResidenceMs;
}

/** It was used or loaded: from here on it is worth more to keep. */
export function noteWorth(state: EngineState, lease: LeaseRecord, now: Millis): void {
  if (lease.keeping === undefined) return;
  const { reloadMs } = lease.keeping;
  const sizeMb = sizeOf(lease);
  const worth = { ...(reloadMs === undefined ? {} : { reloadMs }), ...(sizeMb === undefined ? {} : { sizeMb }) };
  state.keepValues.touch(lease.workload.name, worth, now);
}

/** Memory that it takes, over all kinds; measured where that is known, else as it was promised. */
function sizeOf(lease: LeaseRecord): Mib | undefined {
  let total = 0;
  for (const h of lease.holdings) if (h.gpuUuid !== undefined || lease.gpus.length === 0) total += h.residentMb ?? h.reservedMb;
  return total > 0 ? total : undefined;
}

/** True for a lease that may be taken back now for this request. Choice and mark are one step, so that it is true when it goes. */
export function mayEvict(state: EngineState, lease: LeaseRecord, workload: Workload, now: Millis): boolean {
  const { keeping } = lease;
  return (
    keeping !== undefined &&
    lease.phase === "held" &&
    lease.executions.size === 0 &&
    lease.eviction === undefined &&
    keeping.ready &&
    !keeping.pinned &&
    (lease.workload.importance ?? 0) <= (workload.importance ?? 0) &&
    now >= stayUntil(keeping) &&
    !isToBeMeasured(state, lease, now)
  );
}

/** It has just given memory back, and no measurement shows what it has kept: that may be nothing, and it need not go. */
export function isToBeMeasured(state: EngineState, { givenBackAt, holdings }: LeaseRecord, now: Millis): boolean {
  if (givenBackAt === undefined || now - givenBackAt >= state.settings.releaseLagMs) return false;
  return holdings.some((h) => h.residentAt === undefined || h.residentAt <= givenBackAt);
}
