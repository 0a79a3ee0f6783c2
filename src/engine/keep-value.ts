import type { Mib, Millis } from "./sample.ts";

/** A use counts half after this: popularity of last month is no reason to stay. */
const usualHalfLifeMs: Millis = 7 * 24 * 3_600_000;
/** Names whose uses are remembered, resident or not. */
const rememberedNames = 4_096;
/** So many are forgotten when there are more, so that names that never come again do not cost a look at all others each. */
const forgottenAtOnce = 256;
/** What a load is thought to take where it was never measured. */
export const unknownReloadMs: Millis = 10_000;
/** Bounds of what a load counts for: some of it is always lost, and a clock that went wrong once must not pin a worker for ever. */
const shortestReloadMs: Millis = 1;
const longestReloadMs: Millis = 24 * 3_600_000;
/**
 * The size where it is not known. A guess that is too small does harm: 1 MiB would make a worker thousands of times as dear per MiB
 * as all others, so that it never aged, and when it went at last, all others would have aged to nothing. One that is too large only
 * lets this one worker age sooner. So it is that of a model of usual size.
 */
export const unknownSizeMb: Mib = 4_096;
/** Smaller ones count as this, for the same reason: evicting a worker that holds almost nothing tells little about the price of memory. */
const smallestSizeMb: Mib = 64;

interface Name {
  /** Uses as of `usedAt`; each counts half after a half-life. */
  uses: number;
  usedAt: Millis;
  /** What is left of its worth, in ms per MiB: H − L. Undefined: never loaded or used, or forgotten. */
  worth: number | undefined;
  sizeMb: Mib;
}

/**
 * What it costs to lose each resident: greedy-dual with frequencies (Cao & Irani 1997, Cherkasova 1998).
 *
 * In its textbook form each resident has a value H = L + uses · reload time ÷ size, set when it is used. Whoever has the least goes,
 * and the age L rises to the H of whoever went. So one that is dear to load or much used stays longer, and nobody stays for ever: by
 * and by L reaches those that are not used.
 *
 * Only H − L ever matters. So there is no L here that grows: instead of raising it, what went is taken off the worth of all others
 * (the same rule, as Young's Landlord of 1998). What happened years ago is then in no figure any more, and cannot cost precision.
 *
 * Several residents of one name share its worth.
 */
export class KeepValues {
  readonly #halfLifeMs: Millis;
  readonly #names = new Map<string, Name>();

  /** @param halfLifeMs in which a use comes to count half; above 0. Infinity: uses count for ever. */
  constructor(halfLifeMs: Millis = usualHalfLifeMs) {
    this.#halfLifeMs = halfLifeMs;
  }

  /** How many names are remembered; at most 4,096. */
  get size(): number {
    return this.#names.size;
  }

  /** Counts a use. It does not have to be resident. Its cost follows with the next `touch`. */
  used(name: string, now: Millis): void {
    const known = this.#of(name, now);
    known.uses = this.#usesAt(known, now) + 1;
    known.usedAt = Math.max(known.usedAt, now);
  }

  /** How often it was used, where a use counts half after each half-life; 0 for a name that is not known. */
  usesOf(name: string, now: Millis): number {
    const known = this.#names.get(name);
    return known === undefined ? 0 : this.#usesAt(known, now);
  }

  /**
   * It was loaded or used: from here it is worth its uses times the load that it saves. Loading it counts as one use at least, so that
   * one that is loaded ahead of its first use is not the first to go.
   * @param worth `reloadMs`: how long it takes to load again. `sizeMb`: its memory, over all GPUs. Absent: not measured.
   */
  touch(name: string, worth: { readonly reloadMs?: Millis | undefined; readonly sizeMb?: Mib | undefined }, now: Millis): void {
    const known = this.#of(name, now);
    known.sizeMb = Math.max(smallestSizeMb, measured(worth.sizeMb) ?? unknownSizeMb);
    const reloadMs = Math.max(shortestReloadMs, Math.min(measured(worth.reloadMs) ?? unknownReloadMs, longestReloadMs));
    known.worth = (Math.max(1, this.#usesAt(known, now)) * reloadMs) / known.sizeMb;
  }

  /**
   * What it costs to lose it, in ms of loading: its uses times its reload time when it was last used, less what it has aged since. Never
   * negative; these are what the plan of an eviction adds up. One that was never touched counts as if it were touched now.
   */
  costOf(name: string, now: Millis): Millis {
    const known = this.#names.get(name);
    if (known?.worth !== undefined) return known.worth * known.sizeMb;
    return Math.max(1, this.usesOf(name, now)) * unknownReloadMs;
  }

  /**
   * These were evicted to make room: all others age by as much as the dearest of them, for its size, was still worth. Not for those
   * that ended for other reasons, which say nothing about the price of memory.
   */
  evicted(names: Iterable<string>): void {
    let rise = 0;
    for (const name of names) rise = Math.max(rise, this.#names.get(name)?.worth ?? 0);
    if (rise === 0) return;
    for (const known of this.#names.values()) {
      if (known.worth !== undefined) known.worth = Math.max(0, known.worth - rise);
    }
  }

  /** How often what was used, for `takeUp`. What residents are worth is not in it: they end with the server. */
  memo(): readonly (readonly [name: string, uses: number, usedAt: Millis])[] {
    return [...this.#names].map(([name, { uses, usedAt }]) => [name, uses, usedAt] as const);
  }

  takeUp(memo: ReturnType<KeepValues["memo"]>): void {
    for (const [name, uses, usedAt] of memo) this.#names.set(name, { uses, usedAt, worth: undefined, sizeMb: unknownSizeMb });
  }

  #of(name: string, now: Millis): Name {
    let known = this.#names.get(name);
    if (known === undefined) {
      if (this.#names.size >= rememberedNames) this.#forgetSome(now);
      known = { uses: 0, usedAt: now, worth: undefined, sizeMb: unknownSizeMb };
      this.#names.set(name, known);
    }
    return known;
  }

  /** Those with the least uses; among equals those that have been known for longest. */
  #forgetSome(now: Millis): void {
    const leastFirst = [...this.#names]
      .map(([name, known]) => ({ name, uses: this.#usesAt(known, now) }))
      .sort((a, b) => a.uses - b.uses);
    for (const { name } of leastFirst.slice(0, forgottenAtOnce)) this.#names.delete(name);
  }

  #usesAt({ uses, usedAt }: Name, now: Millis): number {
    return uses * 2 ** (-Math.max(0, now - usedAt) / this.#halfLifeMs);
  }
}

/** What is not a number, or negative, was not measured. */
function measured(value: number | undefined): number | undefined {
  return value !== undefined && Number.isFinite(value) && value >= 0 ? value : undefined;
}
