import { availableOf, capacityOf, poolKeyOf } from "./books.ts";
import type { Eviction } from "./evictions.ts";
import { allowedDevices, deviceBlock } from "./fit.ts";
import type { Mib, Millis } from "./sample.ts";
import { type EngineState, hostPool, type PoolKey, type TicketHold, type TicketRecord } from "./state.ts";
import type { GpuUuid } from "./types.ts";

/**
 * Bounded overtaking. Later tickets may be served first while an earlier one does not fit, because otherwise memory lies idle;
 * but each time they take memory that it could have used, it is counted. After `maxOvertakes` of these, memory is held for
 * it: as many GPUs as it needs, the ones where least is missing, and host memory if it needs some. Whoever is behind it may
 * use these GPUs only beside it: as far as it fits together with those who came since. So it starts at the latest when those
 * have ended who were on the held GPUs when the hold began.
 *
 * The bound: at most `maxOvertakes` later requests take memory that a waiting ticket could have used before memory is held for
 * it, and none can delay it from then on. It holds nothing while it could not be served by GPUs that answer, or while its
 * client is away; grants of the permissive policy are not bound by it.
 */
export function holdFor(
  state: EngineState,
  ticket: TicketRecord,
  earlier: readonly TicketHold[],
  now: Millis,
): TicketHold | undefined {
  const req = ticket.workload.requirements;
  const pools = req.gpuCount === 0 ? new Set<PoolKey>() : keptOrChosen(state, ticket, earlier, now);
  if (pools !== ticket.heldPools) ticket.heldSince = state.nextToken;
  ticket.heldPools = pools;
  if (pools === undefined) return undefined;
  return { ticket, pools, since: ticket.heldSince, ramMb: ramHeld(ticket, pools) };
}

/**
 * What idle leases are taken back for: somebody smaller must not take the first piece of it while the rest is on its way. Held
 * until the memory of all of them was waited for.
 * @param isHeldFor it was overtaken often enough too, and host memory is held for it already.
 */
export function holdForEviction(ticket: TicketRecord, { pools }: Eviction, isHeldFor: boolean): TicketHold {
  return { ticket, pools, since: undefined, ramMb: isHeldFor ? undefined : ramHeld(ticket, pools) };
}

function ramHeld({ workload }: TicketRecord, pools: ReadonlySet<PoolKey>): Mib | undefined {
  const { gpuCount, vramMb, ramMb } = workload.requirements;
  const needed = ramMb + (pools.has(hostPool) ? vramMb * gpuCount : 0);
  return needed > 0 ? needed : undefined;
}

function keptOrChosen(
  state: EngineState,
  ticket: TicketRecord,
  earlier: readonly TicketHold[],
  now: Millis,
): ReadonlySet<PoolKey> | undefined {
  const usable = usablePools(state, ticket, now);
  const need = ticket.workload.requirements.gpuCount;
  const kept = ticket.heldPools;
  if (kept !== undefined && kept.size > 0 && [...kept].every((key) => usable.has(key))) return kept;
  const chosen = new Set<PoolKey>();
  let devices = 0;
  // What an earlier ticket waits for too comes last, and is held for both: whoever needs many GPUs must not end up holding none.
  const held = (key: PoolKey) => (earlier.some((h) => h.pools.has(key)) ? 1 : 0);
  for (const [key, u] of [...usable].sort((a, b) => held(a[0]) - held(b[0]) || b[1].available - a[1].available)) {
    if (devices >= need) break;
    chosen.add(key);
    devices += u.devices;
  }
  return devices >= need ? chosen : undefined;
}

/** Pools that could serve the ticket once they are empty, with how many of its devices each could. */
function usablePools(
  state: EngineState,
  ticket: TicketRecord,
  now: Millis,
): Map<PoolKey, { devices: number; readonly available: Mib }> {
  const { requirements: req } = ticket.workload;
  const out = new Map<PoolKey, { devices: number; readonly available: Mib }>();
  for (const device of allowedDevices(state, req)) {
    const key = poolKeyOf(device);
    const pool = state.pools.get(key);
    const capacity = pool === undefined ? undefined : capacityOf(state, pool);
    if (pool === undefined || capacity === undefined) continue;
    if (deviceBlock(device, pool, { now, ageLimitMs: state.settings.maxSampleAgeMs }) !== undefined) continue;
    const before = out.get(key);
    const devices = (before?.devices ?? 0) + 1;
    if (devices * req.vramMb > capacity) continue;
    out.set(key, { devices, available: availableOf(state, pool) ?? Number.MIN_SAFE_INTEGER });
  }
  return out;
}

/** True when a grant on these GPUs took memory that the ticket could have used. */
export function tookFrom(ticket: TicketRecord, gpus: readonly GpuUuid[], takesRam: boolean): boolean {
  const req = ticket.workload.requirements;
  if (takesRam && req.ramMb > 0) return true;
  return req.gpuCount > 0 && gpus.some((uuid) => req.gpuUuids.length === 0 || req.gpuUuids.includes(uuid));
}
