import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Durations, kindOf } from "../../src/engine/durations.ts";
import type { Workload } from "../../src/engine/types.ts";
import { requirements } from "./support.ts";

/** Work of this kind has ended `times` times after `ms`; what was estimated before it began is what was known by then. */
function ran(durations: Durations, kind: string, ms: number, times = 1): void {
  for (let i = 0; i < times; i++) durations.learn(kind, durations.estimateMs(kind), ms);
}

const seconds = (n: number) => n * 1_000;

describe("what is known of durations", () => {
  it("is nothing until ten pieces of work have ended", () => {
    const durations = new Durations();
    ran(durations, "a", seconds(10), 9);
    expect(durations.isKnown).toBe(false);
    ran(durations, "b", seconds(10));
    expect(durations.isKnown).toBe(true);
  });

  it("is a wide guess before anything has ended: what has run for long runs on for long", () => {
    const durations = new Durations();
    expect(durations.estimateMs("a")).toBeCloseTo(30_000, 6);
    expect(durations.spread(0.75)).toBeGreaterThan(durations.spread(0.6));
    expect(durations.remainingMs(30_000, 0, 0.4)).toBe(30_000);
    expect(durations.remainingMs(30_000, 10_000, 0.4)).toBe(20_000);
    expect(durations.remainingMs(30_000, 100_000, 0.4)).toBe(100_000);
    expect(durations.remainingMs(500, 0, 0.4)).toBe(1_000);
  });
});

describe("an estimate", () => {
  it("tells kinds of work apart once they have ended a few times", () => {
    const durations = new Durations();
    for (let i = 0; i < 20; i++) {
      ran(durations, "long", seconds(600));
      ran(durations, "short", seconds(6));
    }
    expect(durations.estimateMs("long")).toBeGreaterThan(seconds(250));
    expect(durations.estimateMs("short")).toBeLessThan(seconds(15));
  });

  it("of a kind that never ended is that of all work", () => {
    const durations = new Durations();
    ran(durations, "a", seconds(10), 50);
    expect(durations.estimateMs("never seen")).toBeCloseTo(seconds(10), 3);
  });

  it("of a new kind is drawn towards all work, and less so with each end", () => {
    const durations = new Durations();
    ran(durations, "usual", seconds(10), 200);
    const seen: number[] = [];
    for (let ends = 1; ends <= 5; ends++) {
      ran(durations, "new", seconds(1_000));
      seen.push(durations.estimateMs("new"));
    }
    // After one end it lies halfway, on a logarithmic scale, between its own duration and that of all work.
    const all = durations.estimateMs("never seen");
    expect(seen[0]).toBeGreaterThan(Math.sqrt(seconds(10) * seconds(1_000)) * 0.95);
    expect(seen[0]).toBeLessThan(Math.sqrt(all * seconds(1_000)));
    expect([...seen].sort((a, b) => a - b)).toEqual(seen);
    expect(seen[4]).toBeGreaterThan(seconds(400));
    expect(seen[4]).toBeLessThan(seconds(1_000));
  });

  it("follows a kind that begins to take ten times as long", () => {
    const durations = new Durations();
    ran(durations, "a", seconds(10), 100);
    ran(durations, "a", seconds(100), 20);
    expect(durations.estimateMs("a")).toBeGreaterThan(seconds(80));
    expect(durations.estimateMs("a")).toBeLessThanOrEqual(seconds(100) + 1);
  });

  it("takes no more from one extreme end than its weight", () => {
    const durations = new Durations();
    ran(durations, "a", seconds(10), 100);
    ran(durations, "a", seconds(100_000));
    // 30 % of the way on a logarithmic scale, and the weight of all work draws it back.
    expect(durations.estimateMs("a")).toBeLessThan(seconds(10) * 10_000 ** 0.3 + 1);
  });

  it("is made of finite, positive numbers whatever has ended", () => {
    const end = fc.tuple(fc.constantFrom("a", "b", "c"), fc.constantFrom(0, 1, 99, 1e3, 1e6, 1e9, 1e13));
    fc.assert(
      fc.property(fc.array(end, { maxLength: 60 }), fc.constantFrom(0, 1, 1e4, 1e12), (ends, elapsed) => {
        const durations = new Durations();
        for (const [kind, ms] of ends) ran(durations, kind, ms);
        for (const kind of ["a", "b", "never seen"]) {
          const estimate = durations.estimateMs(kind);
          const left = durations.remainingMs(estimate, elapsed, 0.4);
          expect(estimate > 0 && Number.isFinite(estimate)).toBe(true);
          expect(left >= 300 && Number.isFinite(left)).toBe(true);
        }
      }),
    );
  });
});

describe("the spread of durations", () => {
  it("is narrow when equal work takes equally long", () => {
    const durations = new Durations();
    // The first ends, before anything was known of the two kinds, are outnumbered.
    for (let i = 0; i < 300; i++) {
      ran(durations, "a", seconds(60));
      ran(durations, "b", seconds(60));
    }
    expect(durations.spread(0.25)).toBeGreaterThan(0.9);
    expect(durations.spread(0.75)).toBeLessThan(1.1);
  });

  it("is wide when it does not, and covers the share that is asked for", () => {
    const factor = fc.double({ min: -4, max: 4, noNaN: true }).map((x) => 2 ** x);
    fc.assert(
      fc.property(
        fc.array(factor, { minLength: 10, maxLength: 200 }),
        fc.double({ min: 0.05, max: 0.95, noNaN: true }),
        (ratios, q) => {
          const durations = new Durations();
          for (const ratio of ratios) durations.learn("a", 1e6, 1e6 * ratio);
          const spread = durations.spread(q);
          // Exact up to the width of a bin, an eighth of a doubling.
          const bin = 2 ** (1 / 8);
          expect(ratios.filter((r) => r <= spread * bin).length).toBeGreaterThanOrEqual(q * ratios.length);
          expect(ratios.filter((r) => r < spread / bin).length).toBeLessThanOrEqual(q * ratios.length);
        },
      ),
    );
  });

  it("follows what is run: old ends lose their weight", () => {
    const durations = new Durations();
    for (let i = 0; i < 5_000; i++) durations.learn("a", 1_000, 1_000);
    expect(durations.spread(0.5)).toBeLessThan(1.1);
    // Without forgetting, 5,000 old ends would still outweigh 4,000 new ones.
    for (let i = 0; i < 4_000; i++) durations.learn("a", 1_000, 8_000);
    expect(durations.spread(0.5)).toBeGreaterThan(7);
    expect(durations.isKnown).toBe(true);
  });
});

describe("how much longer work runs", () => {
  it("is little for old work when equal work takes equally long", () => {
    const durations = new Durations();
    for (let i = 0; i < 500; i++) durations.learn("a", seconds(100), seconds(100));
    const left = [0, 50, 90].map((s) => durations.remainingMs(seconds(100), seconds(s), 0.4));
    expect(left[0]).toBeGreaterThan(seconds(95));
    expect(left[1]).toBeLessThan(seconds(60));
    expect(left[2]).toBeLessThan(seconds(20));
  });

  it("is more the longer it has run when durations are spread over many magnitudes", () => {
    const durations = new Durations();
    for (let i = 0; i < 2_000; i++) durations.learn("a", seconds(10), seconds(10) * 2 ** ((i % 320) / 20 - 8));
    const left = [0, 10, 40, 120].map((s) => durations.remainingMs(seconds(10), seconds(s), 0.4));
    expect([...left].sort((a, b) => a - b)).toEqual(left);
    expect(left[3]).toBeGreaterThan(2 * (left[1] as number));
  });

  it("is the share of those that ran as long before: none of the shorter ones counts", () => {
    const durations = new Durations();
    for (let i = 0; i < 100; i++) durations.learn("a", seconds(10), i < 90 ? seconds(10) : seconds(320));
    expect(durations.remainingMs(seconds(10), 0, 0.4)).toBeLessThan(seconds(12));
    const left = durations.remainingMs(seconds(10), seconds(20), 0.4);
    expect(left).toBeGreaterThan(seconds(290));
    expect(left).toBeLessThan(seconds(340));
  });

  it("is as long again for work that has run longer than any before", () => {
    const durations = new Durations();
    for (let i = 0; i < 100; i++) durations.learn("a", seconds(10), seconds(10));
    expect(durations.remainingMs(seconds(10), seconds(1_000), 0.4)).toBeCloseTo(seconds(1_000), 3);
  });
});

describe("memory of kinds", () => {
  it("is bounded: the kind that has not ended for longest is forgotten, one that still ends is not", () => {
    const durations = new Durations();
    ran(durations, "old", seconds(1_000), 5);
    ran(durations, "kept", seconds(1_000), 5);
    for (let i = 0; i < 5_000; i++) {
      ran(durations, `kind ${i}`, seconds(1));
      if (i % 1_000 === 0) ran(durations, "kept", seconds(1_000));
    }
    expect(durations.estimateMs("old")).toBe(durations.estimateMs("never seen"));
    expect(durations.estimateMs("kept")).toBeGreaterThan(seconds(100));
    expect(durations.estimateMs("kind 4999")).toBeLessThan(seconds(2));
  });
});

describe("a kind of work", () => {
  const workload: Workload = { name: "train", tenant: "a", priority: 0, labels: {}, requirements: requirements() };

  it("is the same for the same tenant, name and needs, whatever its priority, labels and the GPUs it may use", () => {
    const same = { ...workload, priority: 7, labels: { run: "2" }, requirements: requirements({ gpuUuids: ["GPU-1"] }) };
    expect(kindOf(same)).toBe(kindOf(workload));
  });

  it("is another for another tenant, name, number of GPUs, GPU memory or host memory", () => {
    const others: Workload[] = [
      { ...workload, tenant: "b" },
      { ...workload, name: "serve" },
      { ...workload, requirements: requirements({ gpuCount: 2 }) },
      { ...workload, requirements: requirements({ vramMb: 8001 }) },
      { ...workload, requirements: requirements({ ramMb: 1 }) },
    ];
    expect(new Set([workload, ...others].map(kindOf)).size).toBe(others.length + 1);
  });
});
