import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Candidate, chooseVictims } from "../../src/engine/choose-victims.ts";

type Mb = Readonly<Record<string, number>>;

function candidate(id: string, costMs: number, frees: Mb): Candidate {
  return { id, costMs, frees: new Map(Object.entries(frees)) };
}

function ids(candidates: readonly Candidate[], shortfall: Mb): string[] | undefined {
  return chooseVictims(candidates, new Map(Object.entries(shortfall)))?.map((c) => c.id);
}

function covers(set: readonly Candidate[], shortfall: ReadonlyMap<string, number>): boolean {
  return [...shortfall].every(([pool, mb]) => set.reduce((sum, c) => sum + (c.frees.get(pool) ?? 0), 0) >= mb);
}

const costOf = (set: readonly Candidate[]) => set.reduce((sum, c) => sum + c.costMs, 0);
const freedBy = (set: readonly Candidate[]) =>
  set.reduce((sum, c) => sum + [...c.frees.values()].reduce((a, b) => a + b, 0), 0);

/** All sets, one after the other. */
function bestOfAll(candidates: readonly Candidate[], shortfall: ReadonlyMap<string, number>): string[] | undefined {
  const sorted = [...candidates].sort((a, b) => (a.id < b.id ? -1 : 1));
  let best: { key: (number | string)[]; ids: string[] } | undefined;
  for (let mask = 0; mask < 2 ** sorted.length; mask++) {
    const set = sorted.filter((_, i) => (mask >> i) & 1);
    if (!covers(set, shortfall)) continue;
    const key = [costOf(set), set.length, freedBy(set), ...set.map((c) => c.id)];
    if (best === undefined || isBefore(key, best.key)) best = { key, ids: set.map((c) => c.id) };
  }
  return best?.ids;
}

function isBefore(a: readonly (number | string)[], b: readonly (number | string)[]): boolean {
  for (const [i, value] of a.entries()) {
    const other = b[i];
    if (other !== undefined && value !== other) return value < other;
  }
  return false;
}

/** The least cost of a cover of at most two pools, by what has come back so far; all sizes whole. */
function leastCost(candidates: readonly Candidate[], shortfall: ReadonlyMap<string, number>): number {
  const [needA, needB] = [shortfall.get("A") ?? 0, shortfall.get("B") ?? 0];
  const least = new Map([["0,0", { a: 0, b: 0, cost: 0 }]]);
  for (const c of candidates) {
    for (const { a, b, cost } of [...least.values()]) {
      const to = {
        a: Math.min(needA, a + (c.frees.get("A") ?? 0)),
        b: Math.min(needB, b + (c.frees.get("B") ?? 0)),
        cost: cost + c.costMs,
      };
      const key = `${to.a},${to.b}`;
      if (to.cost < (least.get(key)?.cost ?? Infinity)) least.set(key, to);
    }
  }
  return least.get(`${needA},${needB}`)?.cost ?? Infinity;
}

interface Case {
  readonly candidates: readonly Candidate[];
  readonly shortfall: ReadonlyMap<string, number>;
}

function cases(opt: {
  n: [number, number];
  pools: string[];
  maxCost: number;
  maxFrees: number;
  maxNeed: number;
}): fc.Arbitrary<Case> {
  const mb = fc.option(fc.nat(opt.maxFrees), { freq: 4, nil: undefined });
  const frees = fc
    .tuple(...[...opt.pools, "other"].map((pool) => mb.map((size) => [pool, size] as const)))
    .map((pairs) => Object.fromEntries(pairs.flatMap(([pool, size]) => (size === undefined ? [] : [[pool, size]]))));
  const one = fc.record({ costMs: fc.nat(opt.maxCost), frees });
  return fc.record({
    candidates: fc.array(one, { minLength: opt.n[0], maxLength: opt.n[1] }).chain((list) =>
      fc
        .shuffledSubarray(
          list.map((_, i) => i),
          { minLength: list.length },
        )
        .map((order) => list.map(({ costMs, frees }, i) => candidate(`l-${order[i]}`, costMs, frees))),
    ),
    shortfall: fc
      .subarray(opt.pools, { minLength: 1 })
      .chain((pools) => fc.tuple(...pools.map((pool) => fc.tuple(fc.constant(pool), fc.nat(opt.maxNeed)))))
      .map((pairs) => new Map(pairs)),
  });
}

const few = cases({ n: [0, 10], pools: ["A", "B", "C"], maxCost: 4, maxFrees: 4, maxNeed: 9 });
const many = cases({ n: [24, 40], pools: ["A", "B"], maxCost: 40, maxFrees: 8, maxNeed: 30 });

describe("who goes", () => {
  it("is whoever costs least, not whoever is largest, nor the smallest that fits", () => {
    const idle = [candidate("large", 90, { A: 9000 }), candidate("x", 20, { A: 3000 }), candidate("y", 30, { A: 3500 })];
    expect(ids(idle, { A: 6000 })).toEqual(["x", "y"]);
    expect(ids(idle, { A: 6600 })).toEqual(["large"]);
    expect(ids(idle, { A: 3200 })).toEqual(["y"]);
  });

  it("may be the dearest per MiB, where it is enough by itself", () => {
    expect(
      ids([candidate("a", 10, { A: 99 }), candidate("b", 5, { A: 1 }), candidate("c", 12, { A: 100 })], { A: 100 }),
    ).toEqual(["c"]);
  });

  it("is one that is in both pools rather than one for each", () => {
    const idle = [candidate("a", 10, { A: 100 }), candidate("b", 10, { B: 100 }), candidate("both", 15, { A: 100, B: 100 })];
    expect(ids(idle, { A: 100, B: 100 })).toEqual(["both"]);
    expect(ids(idle, { A: 100 })).toEqual(["a"]);
  });

  it("is nobody when nothing is missing, and nobody when not even all would be enough", () => {
    const idle = [candidate("a", 0, { A: 100, B: 5 }), candidate("b", 0, { A: 100 })];
    for (const nothing of [{}, { A: 0 }, { A: -10, B: 0 }]) expect(ids(idle, nothing)).toEqual([]);
    for (const tooMuch of [{ A: 201 }, { A: 100, B: 6 }, { A: 100, C: 1 }, { A: Infinity }, { A: Number.NaN }]) {
      expect(ids(idle, tooMuch)).toBeUndefined();
    }
    expect(ids([], { A: 1 })).toBeUndefined();
    expect(ids([], {})).toEqual([]);
  });

  it("does not count on what was not measured", () => {
    const unknown = candidate("unknown", 0, {});
    const nonsense = candidate("nonsense", 0, { A: Number.NaN, B: Infinity });
    expect(ids([unknown, nonsense], { A: 1 })).toBeUndefined();
    expect(ids([unknown, nonsense], { B: 1 })).toBeUndefined();
    expect(ids([unknown, nonsense, candidate("known", 100, { A: 1, B: 1 })], { A: 1, B: 1 })).toEqual(["known"]);
  });

  it("is, among those that cost the same, the fewest, then those that free least, then the first by id", () => {
    const idle = [
      candidate("d", 10, { A: 100, B: 50 }),
      candidate("c", 10, { A: 100 }),
      candidate("b", 10, { A: 100 }),
      candidate("1", 5, { A: 50 }),
      candidate("2", 5, { A: 50 }),
    ];
    expect(ids(idle, { A: 100 })).toEqual(["b"]);
    expect(ids(idle.slice(0, 1).concat(idle.slice(3)), { A: 100 })).toEqual(["d"]);
    expect(ids(idle, { A: 200 })).toEqual(["b", "c"]);
  });

  it("is found among 16 that are all alike and cost nothing", () => {
    const idle = Array.from({ length: 16 }, (_, i) => candidate(`l-${String(15 - i).padStart(2, "0")}`, 0, { A: 1000 }));
    expect(ids(idle, { A: 3500 })).toEqual(["l-00", "l-01", "l-02", "l-03"]);
  });

  it("is the best of all sets, with every tie broken as promised", () => {
    fc.assert(
      fc.property(few, ({ candidates, shortfall }) => {
        expect(chooseVictims(candidates, shortfall)?.map((c) => c.id)).toEqual(bestOfAll(candidates, shortfall));
      }),
      { numRuns: 300 },
    );
  });

  it("is as cheap as can be with 16 that help, however many others there are", () => {
    const sixteen = cases({ n: [16, 16], pools: ["A", "B"], maxCost: 40, maxFrees: 8, maxNeed: 30 });
    fc.assert(
      fc.property(sixteen, fc.nat(20), ({ candidates, shortfall }, others) => {
        const idle = [...candidates, ...Array.from({ length: others }, (_, i) => candidate(`o-${i}`, 0, { other: 100 }))];
        const chosen = chooseVictims(idle, shortfall);
        expect(chosen === undefined ? Infinity : costOf(chosen)).toBe(leastCost(candidates, shortfall));
      }),
    );
  });

  it("is found among 16 of which only one set is the cheapest", () => {
    const sizes = fc.array(fc.integer({ min: 1000, max: 9999 }), { minLength: 16, maxLength: 16 });
    fc.assert(
      fc.property(sizes, fc.integer({ min: 5000, max: 60_000 }), (list, need) => {
        // A MiB costs the same everywhere: what counts is to hit the need.
        const idle = list.map((mb, i) => candidate(`l-${i}`, mb, { A: mb }));
        const sums = list.reduce((all, mb) => all.concat(all.map((sum) => sum + mb)), [0]);
        const least = sums.reduce((min, sum) => (sum >= need && sum < min ? sum : min), Infinity);
        const chosen = chooseVictims(idle, new Map([["A", need]]));
        expect(chosen === undefined ? Infinity : costOf(chosen)).toBe(least);
      }),
      { numRuns: 20 },
    );
  });
});

describe("who goes of more than 16", () => {
  /** So many that one set of them cannot be tried after the other. */
  const free = Array.from({ length: 18 }, (_, i) => candidate(`free-${i}`, 0, { A: 1 }));
  const paidFor = (candidates: readonly Candidate[], shortfall: Mb) =>
    ids([...free, ...candidates], shortfall)?.filter((id) => !id.startsWith("free"));

  it("is chosen by the cost of what is still missing, not of all that comes back", () => {
    expect(paidFor([candidate("enough", 1, { A: 1 }), candidate("large", 50, { A: 100 })], { A: 19 })).toEqual(["enough"]);
  });

  it("lets the dearest of those off that turned out needless", () => {
    const two = [candidate("first", 1, { A: 1 }), candidate("then", 2.2, { A: 2 })];
    expect(paidFor(two, { A: 20 })).toEqual(["then"]);
  });

  it("covers what is missing whenever all together do, and nobody in it is needless", () => {
    fc.assert(
      fc.property(many, ({ candidates, shortfall }) => {
        const chosen = chooseVictims(candidates, shortfall);
        expect(chosen !== undefined).toBe(covers(candidates, shortfall));
        for (const one of chosen ?? []) {
          expect(
            covers(
              (chosen ?? []).filter((c) => c !== one),
              shortfall,
            ),
          ).toBe(false);
        }
      }),
    );
  });

  it("has nobody needless either where more than 16 must go", () => {
    const large = cases({ n: [30, 60], pools: ["A", "B"], maxCost: 40, maxFrees: 4, maxNeed: 90 });
    let over = 0;
    fc.assert(
      fc.property(large, ({ candidates, shortfall }) => {
        const chosen = chooseVictims(candidates, shortfall);
        expect(chosen !== undefined).toBe(covers(candidates, shortfall));
        if ((chosen?.length ?? 0) > 16) over++;
        for (const one of chosen ?? []) {
          const less = (chosen ?? []).filter((c) => c !== one);
          expect(covers(less, shortfall)).toBe(false);
        }
      }),
    );
    expect(over).toBeGreaterThan(0);
  });

  it("costs at most 1 + 1/2 + … + 1/m times the least, and mostly no more than the least", () => {
    let least = 0;
    let all = 0;
    let over = 0;
    fc.assert(
      fc.property(many, ({ candidates, shortfall }) => {
        const chosen = chooseVictims(candidates, shortfall);
        if (chosen === undefined) return;
        const possible = leastCost(candidates, shortfall);
        const useful = (c: Candidate) =>
          [...shortfall].reduce((sum, [pool, mb]) => sum + Math.min(mb, c.frees.get(pool) ?? 0), 0);
        const m = Math.max(...candidates.map(useful));
        const factor = Array.from({ length: m }, (_, i) => 1 / (i + 1)).reduce((a, b) => a + b, 0);
        expect(costOf(chosen)).toBeLessThanOrEqual(Math.max(1, factor) * possible + 1e-9);
        all++;
        if (costOf(chosen) === possible) least++;
        if (candidates.filter((c) => useful(c) > 0).length > 16) over++;
      }),
      { seed: 4, numRuns: 200 },
    );
    expect(over).toBeGreaterThan(150);
    expect(least / all).toBeGreaterThan(0.95);
  });
});

describe("the answer", () => {
  it("does not depend on the order of what comes in, also with fractions", () => {
    const size = fc.double({ min: 0, max: 5, noNaN: true });
    const one = fc.record({ costMs: fc.double({ min: 0, max: 3, noNaN: true }), a: size, b: size });
    const likeness = fc.array(fc.nat(4), { minLength: 1, maxLength: 30 });
    fc.assert(
      fc.property(fc.array(one, { minLength: 5, maxLength: 5 }), likeness, size, size, fc.nat(), (kinds, like, a, b, seed) => {
        // Some alike, so that there are ties to break.
        const idle = like.map((kind, i) => {
          const { costMs, a, b } = kinds[kind] ?? { costMs: 0, a: 0, b: 0 };
          return { costMs, a, b, id: `l-${i}` };
        });
        const there = idle.map((c) => candidate(c.id, c.costMs, { A: c.a, B: c.b }));
        const back = idle.map((c) => candidate(c.id, c.costMs, { B: c.b, A: c.a }));
        const shuffled = back.sort((x, y) => hash(x.id, seed) - hash(y.id, seed));
        expect(ids(shuffled, { B: 3 * b, A: 3 * a })).toEqual(ids(there, { A: 3 * a, B: 3 * b }));
      }),
    );
  });

  it("does not depend on the order in which fractions are added up", () => {
    const idle = [candidate("a", 1, { A: 0.1 }), candidate("b", 1, { A: 0.2 }), candidate("c", 1, { A: 0.7 })];
    // In this order they are 1, in the other 0.9999999999999999.
    for (const list of [idle, idle.toReversed()]) expect(ids(list, { A: 1 })).toBeUndefined();
    for (const list of [idle, idle.toReversed()]) expect(ids(list, { A: 0.998 })).toEqual(["a", "b", "c"]);
  });

  it("is in order of id and holds the very candidates that came in", () => {
    const idle = [candidate("z", 1, { A: 1 }), candidate("B", 1, { A: 1 }), candidate("a", 1, { A: 1 })];
    expect(chooseVictims(idle, new Map([["A", 3]]))).toEqual([idle[1], idle[2], idle[0]]);
    expect(chooseVictims(idle, new Map([["A", 3]]))?.[0]).toBe(idle[1]);
  });
});

function hash(text: string, seed: number): number {
  return [...text].reduce((h, c) => (Math.imul(h, 31) + c.charCodeAt(0)) | 0, seed);
}
