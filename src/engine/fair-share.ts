import type { Millis } from "./sample.ts";

/** More than two years of one share. Keeps the sum over any line exact: 2^17 tickets at this cost are 2^53. */
const maxCost = 2 ** 36;
/** Half-lives after which amounts are brought back to the present, far from the 1,023 at which a double overflows. */
const renormaliseAfter = 500;
const sweepAtLeast = 64;

/**
 * What each tenant has used, in share·ms: a share is a part of the machine, so 1 share·ms is all of it for a millisecond.
 * Use is charged at admission and loses half its weight in each half-life.
 *
 * Units. Inside, amounts are inflated: a charge at `now` is kept times 2^(now / half-life), so that it never has to be touched
 * again to decay. Outside, everything is in the units of the moment that is asked about: `usageOf(tenant, now)` takes the
 * inflation off again with one factor for all, which keeps the order between tenants, and costs of waiting tickets, which do not decay, can
 * be added to it as they are. Both are whole numbers. So a sum is exact whatever the order it was made in, equal is equal, and the rounding of the
 * inflation is never seen.
 */
export class FairShare {
  readonly #halfLifeMs: Millis;
  /** Tenant → usage · 2^((moment − epoch) / half-life). */
  readonly #inflated = new Map<string, number>();
  #epoch: Millis = 0;
  #sweepAt = sweepAtLeast;
  #changes = 0;
  #factorAt: Millis = 0;
  #factor = 1;

  /** @param halfLifeMs 0: off, nobody has used anything and arrival decides. */
  constructor(halfLifeMs: Millis) {
    this.#halfLifeMs = halfLifeMs;
  }

  /** How many tenants are remembered: those with usage, and at most as many again that have none any more. */
  get size(): number {
    return this.#inflated.size;
  }

  /** Rises whenever a tenant's usage changes by more than decay, so that others may come first now. */
  get changes(): number {
    return this.#changes;
  }

  /** What a cost counts for: whole share·ms, not above 2^36; 0 when fair share is off, and for anything that is not a number. */
  weigh(cost: number): number {
    if (this.#halfLifeMs === 0 || !(cost > 0)) return 0;
    return Math.min(Math.round(cost), maxCost);
  }

  /** Usage in whole share·ms at `now`; 0 for a tenant that is not known. */
  usageOf(tenant: string, now: Millis): number {
    const inflated = this.#inflated.get(tenant);
    return inflated === undefined ? 0 : Math.round(inflated / this.#inflation(now));
  }

  /** The tenant was admitted with something that costs this much. */
  charge(tenant: string, cost: number, now: Millis): void {
    const weight = this.weigh(cost);
    if (weight === 0) return;
    this.#renormalise(now);
    this.#set(tenant, this.#kept(tenant, now) + weight * this.#inflation(now), now);
  }

  /** What every tenant has used as of `now`, for `takeUp`. */
  memo(now: Millis): readonly (readonly [string, number])[] {
    return [...this.#inflated.keys()]
      .map((tenant) => [tenant, this.usageOf(tenant, now)] as const)
      .filter(([, used]) => used > 0);
  }

  /** What an earlier life of the server had counted; it has decayed since. */
  takeUp(memo: readonly (readonly [string, number])[], savedAt: Millis, now: Millis): void {
    if (this.#halfLifeMs === 0) return;
    const left = 0.5 ** (Math.max(0, now - savedAt) / this.#halfLifeMs);
    this.#renormalise(now);
    for (const [tenant, used] of memo) this.#set(tenant, used * left * this.#inflation(now), now);
  }

  /** Part of an earlier charge was not used after all. Never makes the usage negative. `cost` is in units of `now`. */
  refund(tenant: string, cost: number, now: Millis): void {
    const weight = this.weigh(cost);
    if (weight === 0) return;
    this.#renormalise(now);
    this.#set(tenant, this.#kept(tenant, now) - weight * this.#inflation(now), now);
  }

  /** What has decayed to nothing counts as nothing, whether it was swept already or not. */
  #kept(tenant: string, now: Millis): number {
    return this.usageOf(tenant, now) === 0 ? 0 : (this.#inflated.get(tenant) ?? 0);
  }

  #set(tenant: string, inflated: number, now: Millis): void {
    this.#changes++;
    this.#inflated.set(tenant, inflated);
    if (!(inflated > 0) || this.usageOf(tenant, now) === 0) this.#inflated.delete(tenant);
    if (this.#inflated.size > this.#sweepAt) this.#sweep(now);
  }

  #sweep(now: Millis): void {
    for (const tenant of this.#inflated.keys()) {
      if (this.usageOf(tenant, now) === 0) this.#inflated.delete(tenant);
    }
    this.#sweepAt = Math.max(sweepAtLeast, 2 * this.#inflated.size);
  }

  #inflation(now: Millis): number {
    if (now !== this.#factorAt) {
      this.#factorAt = now;
      this.#factor = this.#halfLifeMs === 0 ? 1 : 2 ** Math.max(0, (now - this.#epoch) / this.#halfLifeMs);
    }
    return this.#factor;
  }

  /** Moves the epoch by whole half-lives: dividing by a power of two changes no digit. */
  #renormalise(now: Millis): void {
    const halfLives = Math.floor((now - this.#epoch) / this.#halfLifeMs);
    if (!(halfLives > renormaliseAfter)) return;
    const factor = 2 ** -halfLives;
    for (const [tenant, inflated] of this.#inflated) this.#inflated.set(tenant, inflated * factor);
    this.#epoch += halfLives * this.#halfLifeMs;
    this.#factorAt = Number.NaN;
    this.#sweep(now);
  }
}
