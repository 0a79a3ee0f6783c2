import { availableOf, poolKeyOf } from "./books.ts";
import { deviceBlock, hostIsFresh, tightestHold } from "./fit.ts";
import type { Slack } from "./kept-start.ts";
import type { Room } from "./least-needs.ts";
import type { Mib, Millis } from "./sample.ts";
import { type EngineState, hostPool } from "./state.ts";

/**
 * The most that the machine could give to one ticket now, whoever it is: what does not fit in here does not fit, and need not be
 * looked at. Read anew whenever it is asked, because it shrinks as tickets are served.
 * @param isBehindHolds true: for those who come after every ticket that memory is held for.
 * @param slack for work that may still run at a kept start.
 */
export function roomOf(state: EngineState, now: Millis, isBehindHolds: () => boolean = () => false, slack?: Slack): Room {
  const isBlindAllowed = state.settings.whenBlind === "allow";
  const ageLimitMs = state.settings.maxSampleAgeMs;
  const freeByDevice = (): Mib[] => {
    const free: Mib[] = [];
    for (const device of state.sample?.gpus ?? []) {
      const pool = state.pools.get(poolKeyOf(device));
      if (pool === undefined) continue;
      const block = deviceBlock(device, pool, { now, ageLimitMs });
      if (block?.kind === "unknown" || block?.kind === "stale") {
        if (isBlindAllowed) free.push(Infinity);
      } else if (block === undefined) {
        const held = isBehindHolds() ? tightestHold(state, pool, state.holds) : undefined;
        const beside = slack?.gpuMb.get(device.uuid) ?? Infinity;
        free.push(Math.min(availableOf(state, pool) ?? -1, held?.besideMb ?? Infinity, beside));
      }
    }
    return free.sort((a, b) => b - a);
  };
  return {
    vramMb: (gpuCount) => freeByDevice()[gpuCount - 1] ?? -1,
    get ramMb() {
      const pool = state.pools.get(hostPool);
      const available = pool !== undefined && hostIsFresh(state, now) ? availableOf(state, pool) : undefined;
      return Math.min(available ?? (isBlindAllowed ? Infinity : -1), slack?.ramMb ?? Infinity);
    },
  };
}
