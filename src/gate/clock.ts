import type { Millis } from "../engine/sample.ts";

/** Where time comes from. Tests bring their own. */
export interface Clock {
  /** Milliseconds; rises with every call. */
  now(): Millis;
}

/**
 * Wall time at start plus monotonic time since: a moment can be shown to people, and differences never jump when somebody sets
 * the clock. No two readings are equal, so "taken after" is never in doubt.
 */
export class MonotonicClock implements Clock {
  readonly #base = Date.now() - performance.now();
  #last = 0;

  now(): Millis {
    this.#last = Math.max(this.#base + performance.now(), this.#last + 0.001);
    return this.#last;
  }
}
