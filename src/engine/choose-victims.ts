import type { Mib, Millis } from "./sample.ts";
import type { PoolKey } from "./state.ts";

/** Among up to so many candidates the cheapest set is found for certain: at most 2^17 steps, a few ms. */
const exactUpTo = 16;
/** Sizes are taken in whole KiB, less where it is freed and more where it is missing: such sums are exact in any order. */
const grainsPerMib = 1_024;
/** Estimates of what a set costs at least are rounded; sets that cost the same must not be lost by it. */
const slack = 1 + 1e-9;

/** Somebody idle who may be asked to go. */
export interface Candidate {
  /** Differs from that of all other candidates. */
  readonly id: string;
  /** What it costs to lose it; not negative. */
  readonly costMs: Millis;
  /** What comes back in each pool when it goes, as measured. A pool that is absent: nothing that could be counted on. */
  readonly frees: ReadonlyMap<PoolKey, Mib>;
}

/** A candidate that helps. */
interface Item {
  readonly index: number;
  readonly id: string;
  readonly costMs: Millis;
  /** By pool, in the order of the needs. */
  readonly frees: readonly Mib[];
  /** Over all pools, also those that are not short. */
  readonly freedMb: Mib;
}

/** A set on the way to a cover. */
interface Taken {
  readonly items: readonly Item[];
  readonly costMs: Millis;
  readonly freedMb: Mib;
  /** What comes back, by pool. */
  readonly got: readonly Mib[];
}

/**
 * Who goes, so that what is missing comes back in every pool: the set that costs least in all; among those the one with the fewest
 * members, then the one that frees least, then by id. Nobody in it is needless. In order of id; empty when nothing is missing.
 * Undefined: not even all of them would be enough, and then nobody is to go.
 *
 * With more than 16 candidates that help nobody in it is needless either, but it may cost more than the least: where sizes are whole
 * MiB at most 1 + 1/2 + … + 1/m times as much, m being the most useful MiB that one candidate frees (Wolsey 1982). Mostly it is the
 * least.
 *
 * The answer does not depend on the order of what comes in.
 */
export function chooseVictims<C extends Candidate>(
  candidates: readonly C[],
  shortfall: ReadonlyMap<PoolKey, Mib>,
): readonly C[] | undefined {
  // What is not a number stays in: it can never be covered.
  const short = [...shortfall].filter(([, mb]) => !(mb <= 0));
  const needs = short.map(([, mb]) => Math.ceil(mb * grainsPerMib) / grainsPerMib);
  const items = candidates
    .map(({ id, costMs, frees }, index): Item => {
      let freedMb = 0;
      for (const mb of frees.values()) freedMb += counted(mb);
      return { index, id, costMs, frees: short.map(([pool]) => counted(frees.get(pool) ?? 0)), freedMb };
    })
    .filter((item) => item.frees.some((mb) => mb > 0));
  if (!isEnough(items.reduce(and, nothing(needs)).got, needs)) return undefined;
  items.sort((a, b) => inOrder(a, b, needs, nothing(needs).got));
  return [...bestCover(items, needs)].sort(compareIds).map((item) => candidates[item.index] as C);
}

/** What is not a size frees nothing. */
function counted(mb: Mib): Mib {
  return Number.isFinite(mb) && mb > 0 ? Math.floor(mb * grainsPerMib) / grainsPerMib : 0;
}

function nothing(needs: readonly Mib[]): Taken {
  return { items: [], costMs: 0, freedMb: 0, got: needs.map(() => 0) };
}

function and(taken: Taken, item: Item): Taken {
  return {
    items: [...taken.items, item],
    costMs: taken.costMs + item.costMs,
    freedMb: taken.freedMb + item.freedMb,
    got: taken.got.map((mb, q) => mb + (item.frees[q] ?? 0)),
  };
}

function isEnough(got: readonly Mib[], needs: readonly Mib[]): boolean {
  return needs.every((need, q) => (got[q] ?? 0) >= need);
}

/** Follows every set that may be the best one. `items` are in order, so that costs are always added in the same order. */
function cheapest(items: readonly Item[], needs: readonly Mib[]): readonly Item[] {
  const bounds = boundsOf(items, needs);
  // Of two sets of as many items the one that comes first by id has the larger sum of these: 1 for the first of all, then 1/2, 1/4 …
  const weights = new Map([...items].sort(compareIds).map((item, rank) => [item, 2 ** -rank]));
  const byIds = (taken: Taken) => taken.items.reduce((sum, item) => sum + (weights.get(item) ?? 0), 0);
  const comesBefore = (a: Taken, b: Taken) =>
    (a.costMs - b.costMs || a.items.length - b.items.length || a.freedMb - b.freedMb || byIds(b) - byIds(a)) < 0;
  let best: Taken | undefined;
  const follow = (taken: Taken, i: number): void => {
    if (isEnough(taken.got, needs)) {
      // Whoever came on top would only cost.
      if (best === undefined || comesBefore(taken, best)) best = taken;
      return;
    }
    const item = items[i];
    if (item === undefined || taken.costMs + atLeast(taken, bounds[i], needs) > (best?.costMs ?? Infinity) * slack) return;
    follow(and(taken, item), i + 1);
    // Without this one: then without those that are just like it too, because they come after it by id.
    let next = i + 1;
    while (isLike(item, items[next])) next++;
    follow(taken, next);
  };
  follow(nothing(needs), 0);
  return best?.items ?? [];
}

/** By pool, of an item and all after it: what they free, and the least cost of a MiB. */
type Bound = readonly { readonly restMb: Mib; readonly msPerMib: number }[];

function boundsOf(items: readonly Item[], needs: readonly Mib[]): readonly Bound[] {
  const bounds: Bound[] = [];
  let bound: Bound = needs.map(() => ({ restMb: 0, msPerMib: Infinity }));
  for (const { costMs, frees } of items.toReversed()) {
    bound = bound.map(({ restMb, msPerMib }, q) => {
      const mb = frees[q] ?? 0;
      return { restMb: restMb + mb, msPerMib: mb > 0 ? Math.min(msPerMib, costMs / mb) : msPerMib };
    });
    bounds.push(bound);
  }
  return bounds.reverse();
}

/** What the rest of the way costs at least; infinite where the rest is not enough. */
function atLeast(taken: Taken, bound: Bound | undefined, needs: readonly Mib[]): Millis {
  let costMs = 0;
  for (const [q, need] of needs.entries()) {
    const missing = need - (taken.got[q] ?? 0);
    if (missing <= 0) continue;
    const { restMb, msPerMib } = bound?.[q] ?? { restMb: 0, msPerMib: Infinity };
    if (restMb < missing) return Infinity;
    costMs = Math.max(costMs, missing * msPerMib);
  }
  return costMs;
}

/** The best among up to 16: those of a good cover, and those that come first besides. So never worse than that cover. */
function bestCover(items: readonly Item[], needs: readonly Mib[]): readonly Item[] {
  const good = goodCover(items, needs);
  if (good.length > exactUpTo) return good;
  const others = items.filter((item) => !good.includes(item)).slice(0, exactUpTo - good.length);
  const likely = new Set([...good, ...others]);
  const inOrderStill = items.filter((item) => likely.has(item));
  return cheapest(inOrderStill, needs);
}

/** The one that costs least for what it brings, one after the other; then those that turned out needless are let off, dearest first. */
function goodCover(items: readonly Item[], needs: readonly Mib[]): readonly Item[] {
  let { items: taken, got } = nothing(needs);
  const left = new Set(items);
  while (!isEnough(got, needs) && left.size > 0) {
    const next = [...left].reduce((best, item) => (inOrder(item, best, needs, got) < 0 ? item : best));
    left.delete(next);
    taken = [...taken, next];
    got = got.map((mb, q) => mb + (next.frees[q] ?? 0));
  }
  for (const item of [...taken].sort((a, b) => b.costMs - a.costMs || b.freedMb - a.freedMb || compareIds(b, a))) {
    const less = got.map((mb, q) => mb - (item.frees[q] ?? 0));
    if (!isEnough(less, needs)) continue;
    got = less;
    taken = taken.filter((other) => other !== item);
  }
  return taken;
}

/** Least cost for what it brings first; then whoever brings most, then whoever frees least in all, then by id. */
function inOrder(a: Item, b: Item, needs: readonly Mib[], got: readonly Mib[]): number {
  const [usefulA, usefulB] = [usefulMb(a, needs, got), usefulMb(b, needs, got)];
  if (usefulA === 0 || usefulB === 0) return usefulB - usefulA || compareIds(a, b);
  return a.costMs / usefulA - b.costMs / usefulB || usefulB - usefulA || a.freedMb - b.freedMb || compareIds(a, b);
}

/** What it brings of what is still missing. */
function usefulMb({ frees }: Item, needs: readonly Mib[], got: readonly Mib[]): Mib {
  return needs.reduce((sum, need, q) => sum + Math.max(0, Math.min(need - (got[q] ?? 0), frees[q] ?? 0)), 0);
}

function isLike(a: Item, b: Item | undefined): boolean {
  return b !== undefined && a.costMs === b.costMs && a.freedMb === b.freedMb && a.frees.every((mb, q) => mb === b.frees[q]);
}

function compareIds(a: Item, b: Item): number {
  return a.id === b.id ? 0 : a.id < b.id ? -1 : 1;
}
