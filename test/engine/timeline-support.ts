import { type Layout, type Task, Timeline } from "../../src/engine/timeline.ts";

export function task(more: Partial<Task> = {}): Task {
  return { gpuCount: 1, vramMb: 1, ramMb: 0, exclusive: false, devices: undefined, likelyMs: 1, ...more };
}

/** An empty machine with this much free in each pool, the host's included. */
export function timelineOf(layout: Layout, free: readonly number[]): Timeline {
  const none = free.map(() => 0);
  return new Timeline(layout, [...free], [...none], [...none], []);
}

/** What a task takes of each pool. */
export function takesOf({ poolOf, host }: Layout, t: Task, devices: readonly number[]): { pool: number; mb: number }[] {
  const takes = devices.map((d) => ({ pool: poolOf[d] as number, mb: t.vramMb }));
  return t.ramMb > 0 ? [...takes, { pool: host, mb: t.ramMb }] : takes;
}

/** Every set of devices on which the task fits now, found by trying all of them. */
export function placesOf(timeline: Timeline, t: Task): readonly (readonly number[])[] {
  const { layout, free, users, locked } = timeline;
  const sets: number[][] = [];
  const all = layout.poolOf.length;
  for (let mask = 0; mask < 1 << all; mask++) {
    const devices = layout.poolOf.map((_, i) => i).filter((i) => (mask >> i) & 1);
    if (devices.length !== t.gpuCount) continue;
    if (t.devices !== undefined && devices.some((d) => !t.devices?.includes(d))) continue;
    const pools = devices.map((d) => layout.poolOf[d] as number);
    if (pools.some((p) => (locked[p] as number) > 0 || (t.exclusive && (users[p] as number) > 0))) continue;
    const left = [...free];
    for (const { pool, mb } of takesOf(layout, t, devices)) left[pool] = (left[pool] as number) - mb;
    // Who takes nothing of a pool does not mind that it is overdrawn; who asks for a GPU, however little of it, does.
    const minds = new Set([...pools, ...(t.ramMb > 0 ? [layout.host] : [])]);
    if ([...minds].every((p) => (left[p] as number) >= 0)) sets.push(devices);
  }
  return sets;
}
