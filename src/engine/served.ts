import { availableOf, poolKeyOf } from "./books.ts";
import { deviceBlock } from "./fit.ts";
import type { Millis } from "./sample.ts";
import { asksEach, type EngineState } from "./state.ts";

/**
 * What the last pass found: as long as it is still so, another pass would find the same. Most measurements show nothing new, and
 * while many wait they would be the most frequent reason to look at the queue.
 */
export interface Served {
  /** The engine's version: rises with everything but measurements and time. */
  readonly version: number;
  readonly books: string;
  readonly at: Millis;
}

export function noteServed(state: EngineState, now: Millis): void {
  state.served = { version: state.version, books: booksOf(state, now), at: now };
}

/** True when a measurement or the passing of time may have changed what a pass would do. */
export function mayServeMore(state: EngineState, now: Millis): boolean {
  const { served, kept } = state;
  if (state.line.size === 0 || served === undefined || served.version !== state.version) return true;
  // A policy of somebody's own may go by the time or by anything.
  if (state.askedEach > 0 || asksEach(state, state.policy)) return true;
  // The kept start was an estimate, and it was wrong.
  if (kept !== undefined && kept.startsAt > served.at && kept.startsAt <= now) return true;
  return booksOf(state, now) !== served.books;
}

/** What every GPU and the host could give, and for whom its figures are fresh enough. */
function booksOf(state: EngineState, now: Millis): string {
  let books = "";
  for (const pool of state.pools.values()) {
    const age = now - (pool.figures?.observedAt ?? Number.NEGATIVE_INFINITY);
    let freshFor = age <= state.settings.maxSampleAgeMs ? 1 : 0;
    for (const ms of state.pollIntervals.keys()) if (age <= ms && age <= state.settings.maxSampleAgeMs) freshFor++;
    books += `${pool.key}=${availableOf(state, pool)},${pool.foreignMb},${pool.claimedMb}@${freshFor};`;
  }
  for (const device of state.sample?.gpus ?? []) {
    const pool = state.pools.get(poolKeyOf(device));
    const block = pool === undefined ? undefined : deviceBlock(device, pool, { now, ageLimitMs: Infinity });
    books += `${device.uuid}:${block?.kind ?? "ok"};`;
  }
  return books;
}
