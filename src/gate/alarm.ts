import type { Millis } from "../engine/sample.ts";
import type { Clock } from "./clock.ts";

/** Rings at a time that is put off and brought forward all the while: only what brings it forward costs a new timer. */
export class Alarm {
  readonly #clock: Clock;
  readonly #ring: () => void;
  #due: Millis = Infinity;
  /** When the timer that runs fires: never after what is due. */
  #firesAt: Millis = Infinity;
  #timer: NodeJS.Timeout | undefined;

  /** @param ring called when it is time; what it returns is not looked at. */
  constructor(clock: Clock, ring: () => void) {
    this.#clock = clock;
    this.#ring = ring;
  }

  /** Rings at this time and not at one that was said before. Infinity: not at all. */
  set(due: Millis, now: Millis): void {
    this.#due = due;
    if (due < this.#firesAt) this.#arm(now);
  }

  stop(): void {
    this.#due = Infinity;
    this.#firesAt = Infinity;
    clearTimeout(this.#timer);
  }

  #arm(now: Millis): void {
    clearTimeout(this.#timer);
    this.#firesAt = this.#due;
    if (this.#due === Infinity) return;
    // setTimeout may fire a little early and counts to 2^31 − 1 at most.
    const ms = Math.min(2_147_483_647, Math.max(1, Math.ceil(this.#due - now)));
    this.#timer = setTimeout(() => this.#fired(), ms);
    this.#timer.unref();
  }

  #fired(): void {
    const now = this.#clock.now();
    this.#firesAt = Infinity;
    if (this.#due - now >= 1) this.#arm(now);
    else this.#ring();
  }
}
