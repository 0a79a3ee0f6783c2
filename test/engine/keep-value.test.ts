import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { KeepValues, unknownReloadMs, unknownSizeMb } from "../../src/engine/keep-value.ts";

const day = 24 * 3_600_000;
const start = 1_750_000_000_000;

/** A use of a resident, as the engine tells it. */
function use(values: KeepValues, name: string, worth: { reloadMs?: number; sizeMb?: number }, now: number): void {
  values.used(name, now);
  values.touch(name, worth, now);
}

describe("the count of uses", () => {
  it("counts each use in full at first, and half after each 7 days", () => {
    const values = new KeepValues();
    values.used("a", start);
    expect([0, 7, 14, 21].map((d) => values.usesOf("a", start + d * day))).toEqual([1, 0.5, 0.25, 0.125]);
    values.used("a", start + 7 * day);
    expect(values.usesOf("a", start + 7 * day)).toBe(1.5);
    expect(values.usesOf("nobody", start)).toBe(0);
  });

  it("takes another half-life, and counts for ever where that is infinite", () => {
    const short = new KeepValues(1000);
    short.used("a", 0);
    expect(short.usesOf("a", 3000)).toBe(0.125);
    const never = new KeepValues(Infinity);
    for (let i = 0; i < 3; i++) never.used("a", start + i * 1000 * day);
    expect(never.usesOf("a", start + 1e6 * day)).toBe(3);
  });

  it("does not grow when the clock stands or is asked about the past", () => {
    const values = new KeepValues(1000);
    values.used("a", 10_000);
    values.used("a", 9_000);
    expect(values.usesOf("a", 5_000)).toBe(2);
    expect(values.usesOf("a", 11_000)).toBe(1);
  });

  it("outlives the eviction, so that a model that comes back is not a stranger", () => {
    const values = new KeepValues();
    for (let i = 0; i < 5; i++) use(values, "a", { reloadMs: 1000, sizeMb: 1024 }, start);
    values.evicted(["a"]);
    use(values, "a", { reloadMs: 1000, sizeMb: 1024 }, start);
    expect(values.costOf("a", start)).toBe(6000);
  });

  it("remembers 4,096 names and forgets those with the least uses first", () => {
    const values = new KeepValues();
    const popular = Array.from({ length: 96 }, (_, i) => `popular-${i}`);
    // Three uses each, a week ago: they count 1.5 now, against 1 of those that follow.
    for (const name of popular) for (let i = 0; i < 3; i++) values.used(name, start - 7 * day);
    for (let i = 0; i < 6000; i++) {
      values.used(`once-${i}`, start + i);
      expect(values.size).toBeLessThanOrEqual(4096);
    }
    expect(values.size).toBeGreaterThan(3800);
    expect(popular.filter((name) => values.usesOf(name, start) < 1)).toEqual([]);
    const kept = Array.from({ length: 6000 }, (_, i) => values.usesOf(`once-${i}`, start + i) > 0);
    // The earliest have been forgotten and nobody else.
    expect(kept.indexOf(true)).toBe(kept.lastIndexOf(false) + 1);
    expect(kept.indexOf(true)).toBeGreaterThan(1999);
  });

  it("lets a new name in even where all others are more used, so that it can become so too", () => {
    const values = new KeepValues();
    for (let i = 0; i < 4096; i++) for (let n = 0; n < 3; n++) values.used(`name-${i}`, start);
    for (let n = 0; n < 4; n++) values.used("new", start);
    values.used("newer", start);
    expect([values.usesOf("new", start), values.usesOf("newer", start)]).toEqual([4, 1]);
    expect(values.size).toBeLessThanOrEqual(4096);
  });
});

describe("the cost of losing a resident", () => {
  it("is its uses times its reload time when it was last used, whatever its size", () => {
    for (const sizeMb of [64, 1000, 8192, 80_000]) {
      const values = new KeepValues();
      for (let i = 0; i < 4; i++) use(values, "a", { reloadMs: 2500, sizeMb }, start);
      expect(values.costOf("a", start)).toBeCloseTo(10_000, 6);
    }
  });

  it("falls for all others by what the evicted one was worth per MiB, times their size", () => {
    const values = new KeepValues();
    use(values, "gone", { reloadMs: 2048, sizeMb: 1024 }, start);
    use(values, "small", { reloadMs: 20_000, sizeMb: 2048 }, start);
    use(values, "large", { reloadMs: 20_000, sizeMb: 8192 }, start);
    use(values, "cheap", { reloadMs: 1000, sizeMb: 2048 }, start);
    values.evicted(["gone"]);
    expect(["small", "large", "cheap"].map((n) => values.costOf(n, start))).toEqual([20_000 - 2 * 2048, 20_000 - 2 * 8192, 0]);
    use(values, "large", { reloadMs: 20_000, sizeMb: 8192 }, start);
    expect(values.costOf("large", start)).toBe(40_000);
  });

  it("falls by the dearest per MiB where several go, once", () => {
    const values = new KeepValues();
    use(values, "a", { reloadMs: 1024, sizeMb: 1024 }, start);
    use(values, "b", { reloadMs: 4096, sizeMb: 1024 }, start);
    use(values, "stays", { reloadMs: 10_000, sizeMb: 1024 }, start);
    values.evicted(["a", "b", "never heard of"]);
    expect(values.costOf("stays", start)).toBe(10_000 - 4096);
  });

  it("does not change when those go that nobody would miss", () => {
    const values = new KeepValues();
    use(values, "stays", { reloadMs: 10_000, sizeMb: 1024 }, start);
    values.used("not resident", start);
    values.evicted([]);
    values.evicted(["never heard of", "not resident"]);
    expect(values.costOf("stays", start)).toBe(10_000);
  });

  it("is higher for the more used, for the slower to load, and per MiB for the smaller", () => {
    const values = new KeepValues();
    const other = { reloadMs: 5000, sizeMb: 4096 };
    use(values, "plain", other, start);
    for (let i = 0; i < 2; i++) use(values, "used twice", other, start);
    use(values, "slow", { ...other, reloadMs: 9000 }, start);
    use(values, "small", { ...other, sizeMb: 2048 }, start);
    values.touch("gone", { reloadMs: 1000, sizeMb: 4096 }, start);
    values.evicted(["gone"]);
    const [plain = 0, ...more] = ["plain", "used twice", "slow", "small"].map((n) => values.costOf(n, start));
    for (const cost of more) expect(cost).toBeGreaterThan(plain);
  });

  it("counts a load ahead of the first use as one use, so that the warmed-up one is not the first to go", () => {
    const values = new KeepValues();
    values.touch("warmed up", { reloadMs: 3000, sizeMb: 1024 }, start);
    expect(values.costOf("warmed up", start)).toBe(3000);
    values.used("b", start);
    values.touch("b", { reloadMs: 3000, sizeMb: 1024 }, start + 28 * day);
    expect(values.costOf("b", start + 28 * day)).toBe(3000);
  });

  it("takes an unknown reload time for 10 s, and an unknown size for that of a usual model", () => {
    expect([unknownReloadMs, unknownSizeMb]).toEqual([10_000, 4096]);
    const values = new KeepValues();
    for (const name of ["unknown", "nonsense"]) values.used(name, start);
    values.touch("unknown", { reloadMs: undefined, sizeMb: undefined }, start);
    values.touch("nonsense", { reloadMs: Number.NaN, sizeMb: -1 }, start);
    expect([values.costOf("unknown", start), values.costOf("nonsense", start)]).toEqual([10_000, 10_000]);
    // 1 ms per MiB.
    values.touch("gone", { reloadMs: 1024, sizeMb: 1024 }, start);
    values.evicted(["gone"]);
    expect([values.costOf("unknown", start), values.costOf("nonsense", start)]).toEqual([10_000 - 4096, 10_000 - 4096]);
  });

  it("does not take a measured 0 for unknown, nor let it make a resident worthless or priceless", () => {
    const values = new KeepValues();
    use(values, "loads at once", { reloadMs: 0, sizeMb: 1024 }, start);
    use(values, "hollow", { reloadMs: 1000, sizeMb: 0 }, start);
    use(values, "stays", { reloadMs: 100_000, sizeMb: 1024 }, start);
    expect([values.costOf("loads at once", start), values.costOf("hollow", start)]).toEqual([1, 1000]);
    values.evicted(["hollow"]);
    expect(values.costOf("stays", start)).toBe(100_000 - (1000 / 64) * 1024);
  });

  it("counts one that nobody has touched as if it were touched now", () => {
    const values = new KeepValues();
    expect(values.costOf("stranger", start)).toBe(10_000);
    for (let i = 0; i < 4; i++) values.used("used", start);
    expect([values.costOf("used", start), values.costOf("used", start + 7 * day)]).toEqual([40_000, 20_000]);
  });

  it("lets the one go in the end that was popular once and is not used any more", () => {
    const values = new KeepValues();
    const worth = { reloadMs: 10_000, sizeMb: 4096 };
    for (let i = 0; i < 300; i++) use(values, "popular", worth, start);
    const resident = new Set(["popular", "x"]);
    let evictions = 0;
    // New ones, once each, in the other slot: each is worth one use, and so lowers the popular one by one.
    while (resident.has("popular") && evictions < 1000) {
      const now = start + evictions * 1000;
      const victim = [...resident].reduce((a, b) => (values.costOf(b, now) < values.costOf(a, now) ? b : a));
      resident.delete(victim);
      values.evicted([victim]);
      evictions++;
      resident.add(`new-${evictions}`);
      use(values, `new-${evictions}`, worth, now);
    }
    expect(evictions).toBeGreaterThan(250);
    expect(evictions).toBeLessThan(350);
  });
});

type Step =
  | {
      readonly do: "use" | "touch";
      readonly name: string;
      readonly reloadMs: number;
      readonly sizeMb: number;
      readonly afterMs: number;
    }
  | { readonly do: "evict"; readonly names: readonly string[]; readonly afterMs: number };

function stepsOn(names: readonly string[]): fc.Arbitrary<Step[]> {
  const name = fc.constantFrom(...names);
  const afterMs = fc.oneof(fc.nat(60_000), fc.nat(30 * day));
  const touch = fc.record({
    do: fc.constantFrom("use" as const, "use" as const, "touch" as const),
    name,
    reloadMs: fc.double({ min: 1, max: day, noNaN: true }),
    sizeMb: fc.double({ min: 64, max: 200_000, noNaN: true }),
    afterMs,
  });
  const evict = fc.record({
    do: fc.constant("evict" as const),
    names: fc.array(name, { minLength: 1, maxLength: 3 }),
    afterMs,
  });
  return fc.array(fc.oneof({ weight: 3, arbitrary: touch }, { weight: 1, arbitrary: evict }), { maxLength: 60 });
}

function follow(values: KeepValues, steps: readonly Step[], from: number, then?: (step: Step, now: number) => void): number {
  let now = from;
  for (const step of steps) {
    now += step.afterMs;
    if (step.do === "evict") values.evicted(step.names);
    else if (step.do === "touch") values.touch(step.name, step, now);
    else use(values, step.name, step, now);
    then?.(step, now);
  }
  return now;
}

const names = ["a", "b", "c", "d", "e"];

describe("the values of residents", () => {
  it("are those of the textbook, with an age that rises to the value of what goes", () => {
    fc.assert(
      fc.property(stepsOn(names), (steps) => {
        const values = new KeepValues();
        let age = 0;
        const book = new Map<string, { h: number; sizeMb: number }>();
        follow(values, steps, start, (step, now) => {
          if (step.do === "evict") {
            for (const name of step.names) age = Math.max(age, book.get(name)?.h ?? 0);
          } else {
            const uses = Math.max(1, values.usesOf(step.name, now));
            book.set(step.name, { h: age + (uses * step.reloadMs) / step.sizeMb, sizeMb: step.sizeMb });
          }
          for (const [name, { h, sizeMb }] of book) {
            const tolerance = 1e-12 * (age + h) * sizeMb;
            expect(Math.abs(values.costOf(name, now) - Math.max(0, h - age) * sizeMb)).toBeLessThanOrEqual(tolerance);
          }
        });
      }),
    );
  });

  it("are numbers that are not negative, whatever comes in", () => {
    const figure = fc.oneof(fc.double(), fc.constantFrom(undefined, 0, -0, -1, Infinity, -Infinity, 1e300, 1e-300));
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.constantFrom(...names), figure, figure, fc.nat(1e12), fc.boolean()), { maxLength: 50 }),
        (steps) => {
          const values = new KeepValues();
          for (const [name, reloadMs, sizeMb, now, goes] of steps) {
            values.used(name, now);
            values.touch(name, { reloadMs, sizeMb }, now);
            if (goes) values.evicted([name]);
            for (const n of names) {
              const cost = values.costOf(n, now);
              expect(Number.isFinite(cost) && cost >= 0, `${n} costs ${cost}`).toBe(true);
            }
          }
        },
      ),
    );
  });

  it("do not depend on what happened years ago to others, not even in the last digit", () => {
    const years = 20 * 365 * day;
    const before = new KeepValues();
    // Each is worth 24 h of loading for 64 MiB: an age that is kept as a number grows by 1,350,000 with each, to 27,000,000,000.
    for (let i = 0; i < 20_000; i++) {
      const name = `old-${i % 50}`;
      const now = start + (i * years) / 20_000;
      use(before, name, { reloadMs: day, sizeMb: 64 }, now);
      before.evicted([name]);
    }
    let run = 0;
    fc.assert(
      fc.property(stepsOn(names), (steps) => {
        run++;
        // Names of their own for each run: what is remembered of uses is meant to matter.
        const renamed = (s: Step): Step =>
          s.do === "evict" ? { ...s, names: s.names.map((n) => `${run}-${n}`) } : { ...s, name: `${run}-${s.name}` };
        const mine = steps.map(renamed);
        const fresh = new KeepValues();
        const from = start + years;
        const costs = (values: KeepValues) => (now: number) => names.map((n) => values.costOf(`${run}-${n}`, now));
        const seen: number[][] = [];
        follow(fresh, mine, from, (_, now) => seen.push(costs(fresh)(now)));
        const again: number[][] = [];
        follow(before, mine, from, (_, now) => again.push(costs(before)(now)));
        expect(again).toEqual(seen);
      }),
    );
  });
});
