import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Reservation } from "../../src/engine/reservation.ts";
import { type Layout, type Occupant, type Task, Timeline } from "../../src/engine/timeline.ts";
import { placesOf, takesOf, task, timelineOf } from "./timeline-support.ts";

const discrete = (gpus: number): Layout => ({ poolOf: Array.from({ length: gpus }, (_, i) => i), host: gpus });

/** Devices share pools like the parts of one card, or all of them share the host's. */
const layouts: fc.Arbitrary<Layout> = fc.constantFrom(
  discrete(1),
  discrete(3),
  { poolOf: [0, 0, 1], host: 2 },
  { poolOf: [0, 0, 1, 1], host: 2 },
  { poolOf: [0], host: 0 },
  { poolOf: [0, 0], host: 0 },
);

function taskFor(layout: Layout): fc.Arbitrary<Task> {
  const devices = layout.poolOf.map((_, i) => i);
  return fc.record({
    gpuCount: fc.integer({ min: 0, max: Math.min(3, devices.length) }),
    vramMb: fc.integer({ min: 0, max: 12 }),
    ramMb: fc.integer({ min: 0, max: 12 }),
    exclusive: fc.boolean(),
    devices: fc.option(fc.subarray(devices), { nil: undefined }),
    likelyMs: fc.integer({ min: 1, max: 50 }),
  });
}

const scenes = layouts.chain((layout) =>
  fc.record({
    layout: fc.constant(layout),
    free: fc.array(fc.integer({ min: -2, max: 24 }), { minLength: layout.host + 1, maxLength: layout.host + 1 }),
    tasks: fc.array(fc.tuple(taskFor(layout), fc.integer({ min: 0, max: 40 })), { maxLength: 8 }),
    last: taskFor(layout),
  }),
);

/** A machine on which each task that found a place runs until its end. */
function busy({
  layout,
  free,
  tasks,
}: {
  layout: Layout;
  free: number[];
  tasks: readonly (readonly [Task, number])[];
}): Timeline {
  const timeline = timelineOf(layout, free);
  for (const [t, endsAt] of tasks) {
    const devices = timeline.place(t);
    if (devices !== undefined) timeline.start(t, devices, endsAt);
  }
  return timeline;
}

describe("a place on the timeline", () => {
  it("is the fullest GPU that fits, so that large holes stay whole", () => {
    const timeline = timelineOf(discrete(3), [9, 4, 6, 0]);
    expect(timeline.place(task({ vramMb: 4 }))).toEqual([1]);
    expect(timeline.place(task({ vramMb: 5 }))).toEqual([2]);
    expect(timeline.place(task({ vramMb: 7 }))).toEqual([0]);
    expect(timeline.place(task({ gpuCount: 2, vramMb: 4 }))).toEqual([1, 2]);
  });

  it("is the first of equally full ones", () => {
    const timeline = timelineOf(discrete(3), [5, 5, 5, 0]);
    expect(timeline.place(task({ vramMb: 5 }))).toEqual([0]);
    expect(timeline.place(task({ gpuCount: 2, vramMb: 5 }))).toEqual([0, 1]);
  });

  it("is all or nothing", () => {
    const timeline = timelineOf(discrete(3), [9, 4, 9, 0]);
    expect(timeline.place(task({ gpuCount: 3, vramMb: 5 }))).toBeUndefined();
    expect(timeline.place(task({ gpuCount: 3, vramMb: 4 }))).toEqual([1, 0, 2]);
    expect(timeline.place(task({ gpuCount: 1, vramMb: 4, ramMb: 1 }))).toBeUndefined();
  });

  it("needs no GPU where none is asked for, and no memory where none is asked for", () => {
    const full = timelineOf(discrete(1), [0, 3]);
    expect(full.place(task({ gpuCount: 0, ramMb: 3 }))).toEqual([]);
    expect(full.place(task({ gpuCount: 0, ramMb: 4 }))).toBeUndefined();
    expect(full.place(task({ vramMb: 0 }))).toEqual([0]);
    expect(timelineOf(discrete(1), [5, -1]).place(task({ vramMb: 5 }))).toEqual([0]);
  });

  it("has room for devices of one pool beside each other", () => {
    const parts = { poolOf: [0, 0, 1], host: 2 };
    expect(timelineOf(parts, [10, 4, 0]).place(task({ gpuCount: 2, vramMb: 6 }))).toBeUndefined();
    expect(timelineOf(parts, [12, 4, 0]).place(task({ gpuCount: 2, vramMb: 6 }))).toEqual([0, 1]);
    expect(timelineOf(parts, [7, 6, 0]).place(task({ gpuCount: 2, vramMb: 6 }))).toEqual([2, 0]);
  });

  it("on a unified machine has room for GPU memory and host memory together", () => {
    const unified = { poolOf: [0], host: 0 };
    expect(timelineOf(unified, [10]).place(task({ vramMb: 6, ramMb: 4 }))).toEqual([0]);
    expect(timelineOf(unified, [10]).place(task({ vramMb: 6, ramMb: 5 }))).toBeUndefined();
    const two = { poolOf: [0, 0], host: 0 };
    expect(timelineOf(two, [10]).place(task({ gpuCount: 2, vramMb: 4, ramMb: 2 }))).toEqual([0, 1]);
    expect(timelineOf(two, [10]).place(task({ gpuCount: 2, vramMb: 4, ramMb: 3 }))).toBeUndefined();
  });

  it("is on no GPU that somebody keeps for himself, and for whoever wants one for himself on none that is used", () => {
    const timeline = timelineOf(discrete(3), [10, 10, 10, 0]);
    timeline.start(task({ vramMb: 1, exclusive: true }), [0], 5);
    timeline.start(task({ vramMb: 1 }), [1], 5);
    expect(timeline.place(task({ vramMb: 1 }))).toEqual([1]);
    expect(timeline.place(task({ vramMb: 1, exclusive: true }))).toEqual([2]);
    expect(timeline.place(task({ vramMb: 1, exclusive: true, gpuCount: 2 }))).toBeUndefined();
    timeline.advance();
    expect(timeline.place(task({ vramMb: 1, exclusive: true, gpuCount: 3 }))).toEqual([0, 1, 2]);
  });

  it("is only on GPUs that the task may use and none that is set aside", () => {
    const timeline = timelineOf(discrete(3), [5, 6, 7, 0]);
    expect(timeline.place(task({ vramMb: 5, devices: [1, 2] }))).toEqual([1]);
    expect(timeline.place(task({ vramMb: 5, devices: [1, 2], gpuCount: 3 }))).toBeUndefined();
    expect(timeline.place(task({ vramMb: 5, devices: [] }))).toBeUndefined();
    expect(timeline.place(task({ vramMb: 5 }), new Set([0, 1]))).toEqual([2]);
    expect(timeline.place(task({ vramMb: 5, gpuCount: 2 }), new Set([0, 1]))).toBeUndefined();
  });

  it("is found exactly when there is one, and mayFit never denies one", () => {
    fc.assert(
      fc.property(scenes, (scene) => {
        const timeline = busy(scene);
        const places = placesOf(timeline, scene.last);
        const found = timeline.place(scene.last);
        if (found === undefined) {
          expect(places).toEqual([]);
          return;
        }
        expect(places).toContainEqual([...found].sort((a, b) => a - b));
        expect(timeline.mayFit(scene.last)).toBe(true);
      }),
      { numRuns: 500 },
    );
  });
});

describe("the course of a timeline", () => {
  it("gives back at each end exactly what was taken at the start, however starts and ends follow each other", () => {
    const steps = fc.array(fc.option(fc.tuple(fc.nat(), fc.integer({ min: 1, max: 30 })), { nil: undefined }), {
      maxLength: 30,
    });
    fc.assert(
      fc.property(scenes, steps, (scene, plan) => {
        const timeline = timelineOf(scene.layout, scene.free);
        const running: { endsAt: number; takes: { pool: number; mb: number }[] }[] = [];
        const check = () => {
          const expected = [...scene.free];
          for (const r of running) for (const { pool, mb } of r.takes) expected[pool] = (expected[pool] as number) - mb;
          expect(timeline.free).toEqual(expected);
        };
        let now = 0;
        const advance = (): boolean => {
          const at = timeline.advance();
          if (at === undefined) return false;
          expect(at).toBe(Math.min(...running.map((r) => r.endsAt)));
          expect(at).toBeGreaterThanOrEqual(now);
          now = at;
          for (let i = running.length - 1; i >= 0; i--)
            if ((running[i] as { endsAt: number }).endsAt <= at) running.splice(i, 1);
          check();
          return true;
        };
        for (const step of plan) {
          if (step === undefined) {
            advance();
            continue;
          }
          const [t] = scene.tasks[step[0] % Math.max(1, scene.tasks.length)] ?? [scene.last];
          const devices = timeline.place(t);
          if (devices === undefined) continue;
          timeline.start(t, devices, now + step[1]);
          running.push({ endsAt: now + step[1], takes: takesOf(timeline.layout, t, devices) });
          check();
        }
        while (advance());
        expect(running).toEqual([]);
        expect(timeline.occupants).toEqual([]);
        expect(timeline.free).toEqual(scene.free);
        expect([...timeline.users, ...timeline.locked].every((n) => n === 0)).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  it("ends with those whose end is not known", () => {
    const timeline = timelineOf(discrete(1), [10, 0]);
    timeline.start(task({ vramMb: 3 }), [0], Infinity);
    timeline.start(task({ vramMb: 2 }), [0], 7);
    expect(timeline.advance()).toBe(7);
    expect(timeline.advance()).toBeUndefined();
    expect(timeline.free).toEqual([7, 0]);
  });

  it("of a copy changes nothing in the original, and the other way round", () => {
    const original = timelineOf(discrete(2), [10, 10, 5]);
    original.start(task({ vramMb: 4, ramMb: 1, exclusive: true }), [0], 3);
    const before = JSON.stringify(original);
    const copy = original.clone();
    copy.start(task({ vramMb: 2 }), [1], 1);
    copy.advance();
    copy.advance();
    expect(JSON.stringify(original)).toBe(before);
    const at = JSON.stringify(copy);
    original.advance();
    expect(JSON.stringify(copy)).toBe(at);
  });

  it("is as before after something was only tried", () => {
    fc.assert(
      fc.property(scenes, (scene) => {
        const timeline = busy(scene);
        const before = JSON.stringify(timeline);
        const devices = timeline.place(scene.last);
        if (devices === undefined) return;
        const during = timeline.withStarted(scene.last, devices, () => [...timeline.free]);
        for (const { pool, mb } of takesOf(timeline.layout, scene.last, devices))
          if (mb > 0) expect(during[pool]).not.toBe(timeline.free[pool]);
        expect(JSON.stringify(timeline)).toBe(before);
      }),
    );
  });
});

describe("a kept start", () => {
  /** The first of now and all later ends at which some set of devices fits, with the machine made anew for each. */
  function earliestByHand(
    timeline: Timeline,
    wanted: Task,
    now: number,
    pools: ReadonlySet<number> | undefined,
  ): number | undefined {
    const moments = [now, ...timeline.occupants.map((o) => o.endsAt).filter((at) => at > now && at < Infinity)];
    for (const at of moments.sort((a, b) => a - b)) {
      const gone = (o: Occupant) => o.endsAt <= at;
      const free = [...timeline.free];
      const users = [...timeline.users];
      const locked = [...timeline.locked];
      for (const o of timeline.occupants.filter(gone)) {
        for (const { pool, mb } of o.takes) free[pool] = (free[pool] as number) + mb;
        for (const pool of o.pools) {
          users[pool] = (users[pool] as number) - 1;
          if (o.exclusive) locked[pool] = (locked[pool] as number) - 1;
        }
      }
      const { layout } = timeline;
      const there = new Timeline(layout, free, users, locked, []);
      const allowed = (device: number) => {
        const pool = layout.poolOf[device] as number;
        return pools === undefined || pool === layout.host || pools.has(pool);
      };
      if (placesOf(there, wanted).some((devices) => devices.every(allowed))) return at;
    }
    return undefined;
  }

  it("is the earliest at which the task fits as others end", () => {
    const some = fc.option(fc.subarray([0, 1, 2]), { nil: undefined, freq: 2 });
    let later = 0;
    fc.assert(
      fc.property(scenes, fc.integer({ min: 0, max: 20 }), some, (scene, now, list) => {
        const pools = list === undefined ? undefined : new Set(list);
        const timeline = busy(scene);
        const before = JSON.stringify(timeline);
        const kept = Reservation.earliest(timeline, scene.last, now, pools);
        expect(kept?.startsAt).toBe(earliestByHand(timeline, scene.last, now, pools));
        expect(JSON.stringify(timeline)).toBe(before);
        if (kept !== undefined && kept.startsAt > now) later++;
      }),
      { numRuns: 800 },
    );
    // One that is always now would prove nothing.
    expect(later).toBeGreaterThan(20);
  });

  it("is not known where it waits for work whose end is not known", () => {
    const timeline = timelineOf(discrete(1), [10, 0]);
    timeline.start(task({ vramMb: 8 }), [0], Infinity);
    expect(Reservation.earliest(timeline, task({ vramMb: 5 }), 0)).toBeUndefined();
  });

  it("leaves what is over beside it to others, and no more than that to all of them together", () => {
    const timeline = timelineOf(discrete(2), [0, 4, 0]);
    timeline.start(task({ vramMb: 10 }), [0], 5);
    timeline.free[0] = 0;
    const kept = Reservation.earliest(timeline, task({ vramMb: 7 }), 0) as Reservation;
    expect(kept.startsAt).toBe(5);
    expect([...kept.expectedPools]).toEqual([0]);
    const small = task({ vramMb: 2 });
    expect(kept.leavesRoom(task({ vramMb: 4 }), [0])).toBe(false);
    expect(kept.leavesRoom(task({ vramMb: 4 }), [1])).toBe(true);
    expect(kept.leavesRoom(small, [0])).toBe(true);
    kept.admit(small, [0]);
    expect(kept.leavesRoom(small, [0])).toBe(false);
    expect(kept.leavesRoom(small, [1])).toBe(true);
  });

  it("leaves no GPU of its own to anybody when it is exclusive", () => {
    const timeline = timelineOf(discrete(1), [4, 0]);
    timeline.start(task({ vramMb: 6 }), [0], 5);
    const kept = Reservation.earliest(timeline, task({ vramMb: 1, exclusive: true }), 0) as Reservation;
    expect(kept.startsAt).toBe(5);
    expect(kept.leavesRoom(task({ vramMb: 0 }), [0])).toBe(false);
    expect(kept.leavesRoom(task({ gpuCount: 0, ramMb: 0 }), [])).toBe(true);
  });

  it("says of others exactly whether the task can still start then", () => {
    fc.assert(
      fc.property(scenes, (scene) => {
        const [other] = scene.tasks[0] ?? [scene.last];
        // None ends at this very moment: its memory would be counted as free already by one and not by the other.
        const timeline = busy({ ...scene, tasks: scene.tasks.slice(1).map(([t, endsAt]) => [t, endsAt + 1] as const) });
        const kept = Reservation.earliest(timeline, scene.last, 0);
        const devices = timeline.place(other);
        if (kept === undefined || devices === undefined) return;
        const with_ = timeline.clone();
        with_.start(other, devices, Infinity);
        const then = earliestByHand(with_, scene.last, 0, undefined);
        expect(kept.leavesRoom(other, devices)).toBe(then !== undefined && then <= kept.startsAt);
      }),
      { numRuns: 1_000 },
    );
  });
});
