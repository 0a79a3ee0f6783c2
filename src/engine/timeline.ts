import type { Mib, Millis } from "./sample.ts";

/** What a piece of work takes, and how long it is thought to take it. */
export interface Task {
  readonly gpuCount: number;
  /** On each GPU. */
  readonly vramMb: Mib;
  readonly ramMb: Mib;
  readonly exclusive: boolean;
  /** Positions of the devices that it may use; undefined: all. */
  readonly devices: readonly number[] | undefined;
  /** As likely to run longer as shorter. */
  readonly likelyMs: Millis;
}

/** Work that holds memory until `endsAt`. */
export interface Occupant {
  /** From the beginning of the timeline; Infinity: nothing is known of its end. */
  readonly endsAt: Millis;
  readonly takes: readonly { readonly pool: number; readonly mb: Mib }[];
  /** Pools of its GPUs that it keeps for itself. */
  readonly exclusive: boolean;
  /** Pools of its GPUs. */
  readonly pools: readonly number[];
}

/** The shape of the machine: which pool each device charges, and which pool is the host's. */
export interface Layout {
  readonly poolOf: readonly number[];
  readonly host: number;
}

/**
 * The machine as it is thought to become: what is free in each pool, and who gives what back when. A copy that plans are tried
 * on; nothing in it is a promise, and the books are asked again before anything is granted.
 */
export class Timeline {
  readonly layout: Layout;
  /** By pool. Signed: less than nothing is free where more is used than was promised. */
  readonly free: Mib[];
  /** Leases on the GPUs of each pool, and how many of them keep it for themselves. */
  readonly users: number[];
  readonly locked: number[];
  /** By `endsAt`. */
  readonly occupants: Occupant[];

  constructor(layout: Layout, free: Mib[], users: number[], locked: number[], occupants: Occupant[]) {
    this.layout = layout;
    this.free = free;
    this.users = users;
    this.locked = locked;
    this.occupants = occupants;
  }

  clone(): Timeline {
    return new Timeline(this.layout, [...this.free], [...this.users], [...this.locked], [...this.occupants]);
  }

  /** The most that is free on any device; whoever needs more on a GPU has no place. */
  mostFree(): Mib {
    let most = 0;
    for (const pool of this.layout.poolOf) most = Math.max(most, this.free[pool] as number);
    return most;
  }

  /** False: it certainly does not fit now. Cheaper than to look for a place. */
  mayFit(task: Task): boolean {
    const { layout, free } = this;
    if (task.ramMb > 0 && (free[layout.host] as number) < task.ramMb) return false;
    if (task.gpuCount === 0) return true;
    let found = 0;
    for (const pool of layout.poolOf) if ((free[pool] as number) >= task.vramMb && ++found >= task.gpuCount) return true;
    return false;
  }

  /**
   * Devices on which the task fits now, all or nothing: the fullest that fit, ties by position. Undefined: it does not.
   * @param without pools that it must not use.
   */
  place(task: Task, without?: ReadonlySet<number>): readonly number[] | undefined {
    const { layout, free } = this;
    if (task.ramMb > 0 && (free[layout.host] as number) < task.ramMb) return undefined;
    if (task.gpuCount === 0) return [];
    if (task.gpuCount === 1) return this.#placeOne(task, without);
    const fitting: number[] = [];
    this.#eachFitting(task, without, (device) => fitting.push(device));
    if (fitting.length < task.gpuCount) return undefined;
    fitting.sort((a, b) => this.#freeOn(a) - this.#freeOn(b) || a - b);
    return this.#withinPools(task, fitting);
  }

  #placeOne(task: Task, without: ReadonlySet<number> | undefined): readonly number[] | undefined {
    let best = -1;
    let least = Infinity;
    this.#eachFitting(task, without, (device) => {
      const here = this.#freeOn(device);
      if (best === -1 || here < least) {
        best = device;
        least = here;
      }
    });
    return best === -1 ? undefined : [best];
  }

  /** Every single device on which a task for one GPU fits now, the fullest first. */
  places(task: Task): readonly (readonly number[])[] {
    if (task.ramMb > 0 && (this.free[this.layout.host] as number) < task.ramMb) return [];
    const fitting: number[] = [];
    this.#eachFitting(task, undefined, (device) => fitting.push(device));
    return fitting.sort((a, b) => this.#freeOn(a) - this.#freeOn(b) || a - b).map((device) => [device]);
  }

  #freeOn(device: number): Mib {
    return this.free[this.layout.poolOf[device] as number] as number;
  }

  #eachFitting(task: Task, without: ReadonlySet<number> | undefined, visit: (device: number) => void): void {
    const { poolOf } = this.layout;
    const count = task.devices?.length ?? poolOf.length;
    for (let i = 0; i < count; i++) {
      const device = task.devices === undefined ? i : (task.devices[i] as number);
      const pool = poolOf[device] as number;
      // Memory of a unified GPU and of the host is the same.
      const needed = pool === this.layout.host ? task.vramMb + task.ramMb : task.vramMb;
      if ((this.free[pool] as number) < needed || (this.locked[pool] as number) > 0) continue;
      if (task.exclusive && (this.users[pool] as number) > 0) continue;
      if (without?.has(pool)) continue;
      visit(device);
    }
  }

  /** Devices that share a pool must fit beside each other. */
  #withinPools(task: Task, fitting: readonly number[]): readonly number[] | undefined {
    const { poolOf, host } = this.layout;
    const taken = new Map<number, Mib>([[host, task.ramMb]]);
    const chosen: number[] = [];
    for (const device of fitting) {
      if (chosen.length === task.gpuCount) break;
      const pool = poolOf[device] as number;
      const before = taken.get(pool) ?? 0;
      if (before + task.vramMb > (this.free[pool] as number)) continue;
      taken.set(pool, before + task.vramMb);
      chosen.push(device);
    }
    return chosen.length === task.gpuCount ? chosen : undefined;
  }

  start(task: Task, devices: readonly number[], endsAt: Millis): void {
    const occupant = this.#occupantOf(task, devices, endsAt);
    this.#apply(occupant, 1);
    let low = 0;
    let high = this.occupants.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.occupants[middle] as Occupant).endsAt <= endsAt) low = middle + 1;
      else high = middle;
    }
    this.occupants.splice(low, 0, occupant);
  }

  /** Moves on to the next end, and gives back what ends there. Undefined: nothing more is known to end. */
  advance(): Millis | undefined {
    const at = this.occupants[0]?.endsAt ?? Infinity;
    if (at === Infinity) return undefined;
    let ended = 0;
    while ((this.occupants[ended]?.endsAt ?? Infinity) <= at) {
      this.#apply(this.occupants[ended] as Occupant, -1);
      ended++;
    }
    this.occupants.splice(0, ended);
    return at;
  }

  #occupantOf(task: Task, devices: readonly number[], endsAt: Millis): Occupant {
    const { poolOf, host } = this.layout;
    const pools = devices.map((d) => poolOf[d] as number);
    const takes = pools.map((pool) => ({ pool, mb: task.vramMb }));
    if (task.ramMb > 0) takes.push({ pool: host, mb: task.ramMb });
    return { endsAt, takes, pools, exclusive: task.exclusive };
  }

  #apply(occupant: Occupant, sign: 1 | -1): void {
    for (const { pool, mb } of occupant.takes) this.free[pool] = (this.free[pool] as number) - sign * mb;
    for (const pool of occupant.pools) {
      this.users[pool] = (this.users[pool] as number) + sign;
      if (occupant.exclusive) this.locked[pool] = (this.locked[pool] as number) + sign;
    }
  }

  /** Runs `action` as if the task had started on these devices and never ended. */
  withStarted<T>(task: Task, devices: readonly number[], action: () => T): T {
    const occupant = this.#occupantOf(task, devices, Infinity);
    this.#apply(occupant, 1);
    const result = action();
    this.#apply(occupant, -1);
    return result;
  }
}
