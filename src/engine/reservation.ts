import type { Mib, Millis } from "./sample.ts";
import type { Task, Timeline } from "./timeline.ts";

/**
 * A start that is kept for a task: when, and what the machine is thought to be like then. Others may start before only where the
 * task can still start at that moment.
 */
export class Reservation {
  readonly task: Task;
  /** From the beginning of the timeline. */
  readonly startsAt: Millis;
  /** Pools that it must start on; undefined: wherever it fits. */
  readonly pools: ReadonlySet<number> | undefined;
  /** Pools that it is thought to start on. */
  readonly expectedPools: ReadonlySet<number>;
  /** The machine at that moment, with what was let in before and is still there. */
  readonly machine: Timeline;
  readonly #others: ReadonlySet<number> | undefined;
  #slack: { readonly byDevice: readonly Mib[]; readonly ramMb: Mib } | undefined;

  constructor(task: Task, startsAt: Millis, machine: Timeline, devices: readonly number[], pools?: ReadonlySet<number>) {
    this.task = task;
    this.startsAt = startsAt;
    this.machine = machine;
    this.pools = pools;
    this.expectedPools = new Set(devices.map((d) => machine.layout.poolOf[d] as number));
    this.#others = othersOf(machine, pools);
  }

  /** The earliest moment at which the task fits as occupants end. Undefined: never, as far as is known. */
  static earliest(timeline: Timeline, task: Task, now: Millis, pools?: ReadonlySet<number>): Reservation | undefined {
    const machine = timeline.clone();
    const others = othersOf(machine, pools);
    let at: Millis | undefined = now;
    while (at !== undefined) {
      const devices = machine.place(task, others);
      if (devices !== undefined) return new Reservation(task, Math.max(now, at), machine, devices, pools);
      at = machine.advance();
    }
    return undefined;
  }

  /**
   * What work that runs past `startsAt` could take of each device at most, by position, and of the host: more would leave no room
   * for certain. Infinity: it takes nothing from the task, as on every device when there is one more than the task needs.
   */
  slack(): { readonly byDevice: readonly Mib[]; readonly ramMb: Mib } {
    this.#slack ??= this.#workOutSlack();
    return this.#slack;
  }

  #workOutSlack(): { readonly byDevice: readonly Mib[]; readonly ramMb: Mib } {
    const { task, machine, pools } = this;
    const { poolOf, host } = machine.layout;
    const free = (device: number): Mib => machine.free[poolOf[device] as number] as number;
    const serves = poolOf.map(
      (pool, device) =>
        (task.devices === undefined || task.devices.includes(device)) &&
        (pools === undefined || pools.has(pool)) &&
        free(device) >= task.vramMb,
    );
    const spare = serves.filter(Boolean).length > task.gpuCount;
    return {
      byDevice: serves.map((does, device) => (does && !spare ? free(device) - task.vramMb : Infinity)),
      ramMb: task.ramMb > 0 ? (machine.free[host] as number) - task.ramMb : Infinity,
    };
  }

  /** False: nowhere on the timeline could other work run past `startsAt` and leave room. Cheaper than to look for a place. */
  mayLeaveRoom(other: Task, timeline: Timeline): boolean {
    const { byDevice, ramMb } = this.slack();
    if (other.ramMb > 0 && other.ramMb > ramMb) return false;
    if (other.gpuCount === 0) return true;
    const { poolOf } = timeline.layout;
    let found = 0;
    for (let device = 0; device < poolOf.length; device++) {
      if (other.vramMb > (byDevice[device] as number)) continue;
      if ((timeline.free[poolOf[device] as number] as number) >= other.vramMb && ++found >= other.gpuCount) return true;
    }
    return false;
  }

  /** True when other work that runs past `startsAt` leaves room for the task. */
  leavesRoom(other: Task, devices: readonly number[]): boolean {
    return this.machine.withStarted(other, devices, () => this.machine.place(this.task, this.#others) !== undefined);
  }

  /** Other work that runs past `startsAt` has been let in. */
  admit(other: Task, devices: readonly number[]): void {
    this.#slack = undefined;
    this.machine.start(other, devices, Infinity);
  }
}

function othersOf(machine: Timeline, pools: ReadonlySet<number> | undefined): ReadonlySet<number> | undefined {
  if (pools === undefined) return undefined;
  return new Set(machine.free.map((_, pool) => pool).filter((pool) => pool !== machine.layout.host && !pools.has(pool)));
}
