import { availableOf, poolKeyOf } from "./books.ts";
import { deviceBlock } from "./fit.ts";
import type { GpuSample, Mib, Millis } from "./sample.ts";
import { asksEach, type EngineState, hostPool, type Pool } from "./state.ts";

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
  for (const pool of state.pools.values())
    books += `${pool.key}=${availableOf(state, pool)},${pool.foreignMb},${pool.claimedMb}@${freshFor(state, pool, now)};`;
  for (const device of state.sample?.gpus ?? []) books += `${device.uuid}:${blockOf(state, device, now)};`;
  return books;
}

/** How many different demands on their age the pool's figures meet. */
function freshFor(state: EngineState, pool: Pool, now: Millis): number {
  const age = now - (pool.figures?.observedAt ?? Number.NEGATIVE_INFINITY);
  if (age > state.settings.maxSampleAgeMs) return 0;
  let count = 1;
  for (const ms of state.pollIntervals.keys()) if (age <= ms) count++;
  return count;
}

function blockOf(state: EngineState, device: GpuSample, now: Millis): string {
  const pool = state.pools.get(poolKeyOf(device));
  const block = pool === undefined ? undefined : deviceBlock(device, pool, { now, ageLimitMs: Infinity });
  return block?.kind ?? "ok";
}

/**
 * True when a measurement or the passing of time may have changed what those who wait are to be told. Most measurements change nothing
 * for them, and to find that out for each of ten thousand took a third of a core. Estimates that move only with the time are told with
 * the next heartbeat.
 */
export function mayBeNews(state: EngineState, now: Millis): boolean {
  if (state.line.size === 0) return false;
  const figures = figuresOf(state, now);
  if (state.toldFigures === figures) return false;
  state.toldFigures = figures;
  return true;
}

/** The host's memory is a little different at every look; a change by less than this part of it is told with the next heartbeat. */
const hostSteps = 128;

/** The numbers and words that reasons are made of. */
function figuresOf(state: EngineState, now: Millis): string {
  let figures = "";
  for (const pool of state.pools.values()) {
    const step = pool.key === hostPool ? (pool.figures?.totalMb ?? 0) / hostSteps : 0;
    const told = (mb: Mib | undefined) => (mb === undefined || step === 0 ? mb : Math.round(mb / step));
    const mb = [availableOf(state, pool), pool.foreignMb, pool.claimedMb, pool.outstandingMb, pool.drainingMb].map(told);
    figures += `${pool.key}=${mb.join()}@${freshFor(state, pool, now)};`;
  }
  for (const device of state.sample?.gpus ?? [])
    figures += `${device.uuid}:${blockOf(state, device, now)},${device.healthMessage ?? ""};`;
  return figures;
}
