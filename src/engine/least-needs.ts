import type { Mib } from "./sample.ts";
import type { Requirements } from "./types.ts";

/** What the machine could give at most to one more ticket. May shrink while tickets are looked through. */
export interface Room {
  /** The most memory per GPU that `gpuCount` GPUs could give at once; falls as `gpuCount` rises; -1: there are not that many. */
  vramMb(gpuCount: number): Mib;
  readonly ramMb: Mib;
}

/** Numbers of GPUs are told apart as 0, 1, 2, 3–4, 5–8 and more: the least of each class. */
const leastGpus: readonly number[] = [0, 1, 2, 3, 5, 9];

/** The class of a number of GPUs. */
export function gpuClassOf(gpuCount: number): number {
  if (gpuCount <= 2) return gpuCount;
  return gpuCount <= 4 ? 3 : gpuCount <= 8 ? 4 : 5;
}

/** A room whose answers are remembered until it may have changed: they may be costly, and thousands of tickets ask the same. */
export class RoomReading {
  readonly #room: Room;
  readonly #vram = new Map<number, Mib>();
  #ramMb: Mib;

  constructor(room: Room) {
    this.#room = room;
    this.#ramMb = room.ramMb;
  }

  /** The room may have changed since it was asked last. */
  forget(): void {
    this.#vram.clear();
    this.#ramMb = this.#room.ramMb;
  }

  /** What is not needed is not missing: no GPU and no RAM can always be had. */
  fits(gpuCount: number, vramMb: Mib, ramMb: Mib): boolean {
    if (ramMb > 0 && !(ramMb <= this.#ramMb)) return false;
    if (gpuCount === 0) return true;
    let most = this.#vram.get(gpuCount);
    if (most === undefined) {
      most = this.#room.vramMb(gpuCount);
      this.#vram.set(gpuCount, most);
    }
    return vramMb <= most;
  }
}

/** The least that any of several tickets needs, by class of GPU count: what does not even hold this holds none of them. */
export class LeastNeeds {
  /** Infinity: no ticket of that class. */
  readonly #vramMb: Mib[] = leastGpus.map(() => Infinity);
  readonly #ramMb: Mib[] = leastGpus.map(() => Infinity);

  clear(): void {
    this.#vramMb.fill(Infinity);
    this.#ramMb.fill(Infinity);
  }

  include(needs: Requirements): void {
    this.#lower(gpuClassOf(needs.gpuCount), needs.vramMb, needs.ramMb);
  }

  includeAll(other: LeastNeeds): void {
    for (let i = 0; i < leastGpus.length; i++) this.#lower(i, other.#vramMb[i] as number, other.#ramMb[i] as number);
  }

  #lower(gpuClass: number, vramMb: Mib, ramMb: Mib): void {
    if (vramMb < (this.#vramMb[gpuClass] as number)) this.#vramMb[gpuClass] = vramMb;
    if (ramMb < (this.#ramMb[gpuClass] as number)) this.#ramMb[gpuClass] = ramMb;
  }

  /** True when a ticket like this decides what the least is. */
  isLeast(needs: Requirements): boolean {
    const i = gpuClassOf(needs.gpuCount);
    return needs.vramMb <= (this.#vramMb[i] as number) || needs.ramMb <= (this.#ramMb[i] as number);
  }

  /** False: certainly none of them fits. */
  mayFit(room: RoomReading): boolean {
    for (let i = 0; i < leastGpus.length; i++) {
      const vramMb = this.#vramMb[i] as number;
      if (vramMb !== Infinity && room.fits(leastGpus[i] as number, vramMb, this.#ramMb[i] as number)) return true;
    }
    return false;
  }
}
