import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { careFor, endOf } from "../../src/engine/care.ts";
import { forecastStarts, plan } from "../../src/engine/plan.ts";
import { type Outlook, type PlanTask, planConstants } from "../../src/engine/plan-task.ts";
import { Reservation } from "../../src/engine/reservation.ts";
import type { Layout, Timeline } from "../../src/engine/timeline.ts";
import { task, timelineOf } from "./timeline-support.ts";

const exact: Outlook = { isExact: true, usualWaitMs: 0 };
const guessed: Outlook = { ...exact, isExact: false };

/** Work whose owner says how long it runs. */
function said(ms: number, more: Partial<PlanTask> = {}): PlanTask {
  return {
    ...task(more),
    likelyMs: ms,
    cautiousMs: ms,
    boundMs: ms,
    waitedMs: 0,
    size: Math.max(0.01, ((more.vramMb ?? 1) * (more.gpuCount ?? 1)) / 10),
    isStrict: false,
    keptPools: undefined,
    group: "0 default",
    limited: undefined,
    ...more,
  };
}

/** Work of which only an estimate is known. */
function likely(ms: number, more: Partial<PlanTask> = {}): PlanTask {
  return said(ms, { cautiousMs: 3 * ms, boundMs: Infinity, ...more });
}

/** One GPU of 10, on which some of it is taken until a moment. */
function oneGpu(takenMb: number, until: number): Timeline {
  const timeline = timelineOf({ poolOf: [0], host: 1 }, [10, 100]);
  if (takenMb > 0) timeline.start(task({ vramMb: takenMb }), [0], until);
  return timeline;
}

const startsOf = (timeline: Timeline, tasks: readonly PlanTask[], outlook: Outlook) => {
  const { starts } = plan(timeline, tasks, outlook);
  return starts.map((s) => tasks.indexOf(s.task)).sort((a, b) => a - b);
};

describe("a plan when every end is known", () => {
  it("starts whoever ends before the start that is kept for the first, and nobody who does not and is in its way", () => {
    const timeline = oneGpu(6, 60);
    const first = said(100, { vramMb: 10 });
    const inTime = said(60, { vramMb: 2 });
    const late = said(61, { vramMb: 2 });
    const { starts, reservation } = plan(timeline, [first, late, inTime], exact);
    expect(starts.map((s) => s.task)).toEqual([inTime]);
    expect(reservation?.task).toBe(first);
    expect(reservation?.startsAt).toBe(60);
  });

  it("starts whoever runs on beside the first, as long as they all leave room for it together", () => {
    const timeline = oneGpu(6, 60);
    const first = said(100, { vramMb: 7 });
    const long = [1, 2, 3].map(() => said(1000, { vramMb: 1.5 }));
    expect(startsOf(timeline, [first, ...long], exact)).toEqual([1, 2]);
  });

  it("starts the first that fit in order, whatever might be gained by letting others go before", () => {
    const timeline = oneGpu(0, 0);
    const long = said(100_000, { vramMb: 10 });
    const short = [1, 2, 3, 4, 5].map(() => said(1, { vramMb: 10 }));
    expect(startsOf(timeline, [long, ...short], exact)).toEqual([0]);
  });

  it("takes the better of two ways: two short ones now and two later rather than one long one in their place", () => {
    // The first is kept a start at 60 s and runs for 600 s. With the long one now, four short ones wait 660 s: 60 + 4 × 660 s.
    // With two short ones now and two at 30 s the long one waits 660 s: 60 + 2 × 30 + 660 s.
    const timeline = oneGpu(4, 60_000);
    const first = said(600_000, { vramMb: 10 });
    const long = said(60_000, { vramMb: 6 });
    const short = [1, 2, 3, 4].map(() => said(30_000, { vramMb: 3 }));
    expect(startsOf(timeline, [first, long, ...short], exact)).toEqual([2, 3]);
  });

  it("takes the other way when that is better: two that fill the gap rather than the shortest", () => {
    // With the shortest one now the two others do not end in time after it and wait 660 s each; with these now only it waits.
    const timeline = oneGpu(4, 60_000);
    const first = said(600_000, { vramMb: 10 });
    const filling = [said(60_000, { vramMb: 3 }), said(60_000, { vramMb: 3 })];
    const shortest = said(30_000, { vramMb: 6 });
    expect(startsOf(timeline, [first, ...filling, shortest], exact)).toEqual([1, 2]);
  });

  it("takes one that runs on for ever for in time of nothing", () => {
    const timeline = oneGpu(6, 60);
    expect(startsOf(timeline, [said(100, { vramMb: 10 }), likely(1, { vramMb: 2 })], exact)).toEqual([]);
  });

  it("never delays the first that does not start, when everybody ends when he said or earlier", () => {
    const layouts: fc.Arbitrary<Layout> = fc.constantFrom(
      { poolOf: [0], host: 1 },
      { poolOf: [0, 1, 2], host: 3 },
      { poolOf: [0, 0, 1], host: 2 },
      { poolOf: [0], host: 0 },
    );
    const scene = layouts.chain((layout) => {
      const one = fc.record({
        gpuCount: fc.integer({ min: 0, max: layout.poolOf.length }),
        vramMb: fc.integer({ min: 0, max: 10 }),
        ramMb: fc.constantFrom(0, 0, 3, 9),
        exclusive: fc.boolean(),
        devices: fc.option(fc.subarray(layout.poolOf.map((_, i) => i)), { nil: undefined, freq: 5 }),
        boundMs: fc.integer({ min: 1, max: 60 }),
        likelyShare: fc.constantFrom(1, 1, 0.5),
        waitedMs: fc.integer({ min: 0, max: 200_000 }),
        isEndless: fc.boolean(),
        early: fc.double({ min: 0.1, max: 1, noNaN: true }),
      });
      const now = fc.array(fc.tuple(one, fc.integer({ min: 1, max: 60 })), { maxLength: 5 });
      return fc.record({ layout: fc.constant(layout), now, tasks: fc.array(one, { minLength: 1, maxLength: 9 }) });
    });
    let held = 0;
    fc.assert(
      fc.property(scene, ({ layout, now, tasks: asked }) => {
        const timeline = timelineOf(
          layout,
          layout.poolOf.concat(layout.host).map(() => 12),
        );
        timeline.free.length = layout.host + 1;
        timeline.users.length = layout.host + 1;
        timeline.locked.length = layout.host + 1;
        for (const [one, endsAt] of now) {
          const devices = timeline.place({ ...one, likelyMs: 1 });
          if (devices !== undefined) timeline.start({ ...one, likelyMs: 1 }, devices, endsAt);
        }
        const tasks = asked.map((a) => said(a.boundMs, a));
        // Some of those that come after the first in line have no bound. Whatever starts them must leave room for ever.
        const fits = tasks.findIndex((t) => timeline.place(t) === undefined);
        const bounded = tasks.map((t, i) =>
          fits !== -1 && i > fits && (asked[i]?.isEndless ?? false) ? { ...t, boundMs: Infinity } : t,
        );
        const { starts, reservation } = plan(timeline, bounded, exact);
        const started = new Set(starts.map((s) => s.task));
        const first = bounded.find((t) => !started.has(t));
        const after = timeline.clone();
        const before = timeline.clone();
        const head = first === undefined ? bounded.length : bounded.indexOf(first);
        for (const s of starts) {
          const i = bounded.indexOf(s.task);
          const devices = s.devices;
          // One after the other each fits where it was put.
          expect(after.place({ ...s.task, devices: [...devices] })).toBeDefined();
          const early = s.task.boundMs === Infinity ? Infinity : s.task.boundMs * (asked[i]?.early ?? 1);
          after.start(s.task, devices, early);
          if (i < head) before.start(s.task, devices, s.task.boundMs);
        }
        if (first === undefined) return;
        const kept = Reservation.earliest(before, first, 0);
        expect(reservation?.startsAt).toBe(kept?.startsAt);
        if (kept === undefined) return;
        expect(reservation?.task).toBe(first);
        const then = Reservation.earliest(after, first, 0);
        expect(then?.startsAt ?? Infinity).toBeLessThanOrEqual(kept.startsAt);
        if (starts.some((s) => bounded.indexOf(s.task) > head)) held++;
      }),
      { numRuns: 1_000 },
    );
    // Plans in which nobody passes anybody would prove nothing.
    expect(held).toBeGreaterThan(50);
  });

  it("changes nothing in the timeline and the tasks that it is made from", () => {
    const timeline = oneGpu(6, 60);
    const tasks = [said(100, { vramMb: 10 }), said(10, { vramMb: 2 }), said(20, { vramMb: 3 })];
    const before = JSON.stringify([timeline, tasks]);
    plan(timeline, tasks, exact);
    forecastStarts(timeline, tasks, exact);
    expect(JSON.stringify([timeline, tasks])).toBe(before);
  });
});

describe("a plan by estimates", () => {
  it("keeps no start for a young ticket that needs much: what is free is used meanwhile", () => {
    const timeline = oneGpu(6, 60_000);
    const first = likely(100_000, { vramMb: 10 });
    expect(startsOf(timeline, [first, likely(70_000, { vramMb: 4 })], guessed)).toEqual([1]);
  });

  it("keeps GPUs for one that needs several once it has waited for long, and for one that needs one never", () => {
    const startsAfter = (waitedMs: number, gpuCount: number, usualWaitMs = 0) => {
      const two = timelineOf({ poolOf: [0, 1], host: 2 }, [10, 10, 100]);
      two.start(task({ vramMb: 6 }), [0], 60_000);
      two.start(task({ vramMb: 6 }), [1], 60_000);
      const first = likely(100_000, { vramMb: 10, gpuCount, waitedMs, devices: gpuCount === 1 ? [0] : undefined });
      const other = likely(50_000, { vramMb: 4, devices: [0] });
      return startsOf(two, [first, other], { ...guessed, usualWaitMs });
    };
    const { agedAfterMs, agedAfterWaits } = planConstants;
    expect(startsAfter(agedAfterMs, 2)).toEqual([1]);
    expect(startsAfter(agedAfterMs + 1, 2)).toEqual([]);
    expect(startsAfter(agedAfterMs + 1, 1)).toEqual([1]);
    // Where everybody waits for long, that is not long.
    expect(startsAfter(agedAfterMs + 1, 2, agedAfterMs)).toEqual([1]);
    expect(startsAfter(agedAfterWaits * agedAfterMs + 1, 2, agedAfterMs)).toEqual([]);
  });

  it("keeps one at once for a ticket that has been overtaken as often as it may be, and lets nobody count on an estimate", () => {
    const timeline = oneGpu(6, 60_000);
    const first = likely(100_000, { vramMb: 10, isStrict: true });
    expect(startsOf(timeline, [first, likely(1, { vramMb: 4 })], guessed)).toEqual([]);
  });

  it("lets a large one that is young compete for room, and serves an old first one before all others", () => {
    // Both fit, but not together. The later one is short: with it first the waits are shorter.
    const tasks = (waitedMs: number) => [likely(600_000, { vramMb: 5, waitedMs }), likely(10_000, { vramMb: 8 })];
    expect(startsOf(oneGpu(0, 0), tasks(0), guessed)).toEqual([1]);
    expect(startsOf(oneGpu(0, 0), tasks(planConstants.oldAfterMs + 1), guessed)).toEqual([0]);
  });

  it("goes on keeping the GPUs that were chosen for an old ticket, whatever is thought of their ends by now", () => {
    const timeline = timelineOf({ poolOf: [0, 1, 2], host: 3 }, [10, 10, 10, 100]);
    for (const [device, endsAt] of [60_000, 50_000, 40_000].entries()) timeline.start(task({ vramMb: 6 }), [device], endsAt);
    const first = likely(100_000, { gpuCount: 2, vramMb: 10, waitedMs: 500_000 });
    expect([...(plan(timeline, [first], guessed).reservation?.expectedPools ?? [])].sort()).toEqual([1, 2]);
    const kept = plan(timeline, [{ ...first, keptPools: new Set([0, 1]) }], guessed).reservation;
    expect([...(kept?.expectedPools ?? [])].sort()).toEqual([0, 1]);
    expect(kept?.startsAt).toBe(60_000);
  });
});

describe("the care that is taken for the first", () => {
  it("is a bound where every end is known, and rises with its age where it is not", () => {
    const old = likely(1, { gpuCount: 2, waitedMs: 1e9 });
    expect(careFor(old, 0, exact)).toBe("bound");
    expect(careFor(likely(1), 0, guessed)).toBe("likely");
    expect(careFor(old, 0, guessed)).toBe("cautious");
    expect(careFor({ ...old, isStrict: true }, 0, guessed)).toBe("never");
  });

  it("decides by which duration others must be over", () => {
    const other = { likelyMs: 1, cautiousMs: 2, boundMs: 3 };
    expect((["likely", "cautious", "bound", "never"] as const).map((care) => endOf(other, care))).toEqual([1, 2, 3, Infinity]);
  });
});

describe("a forecast", () => {
  it("follows the plan until each starts, and leaves out those whose start is not in sight", () => {
    const timeline = oneGpu(10, 60);
    const tasks = [said(100, { vramMb: 10 }), said(50, { vramMb: 10 }), said(1, { vramMb: 11 })];
    const starts = forecastStarts(timeline, tasks, exact);
    expect(tasks.map((t) => starts.get(t))).toEqual([60, 160, undefined]);
  });
});
