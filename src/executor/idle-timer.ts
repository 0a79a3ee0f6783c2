import type { Millis } from "../engine/sample.ts";

const longestTimerMs = 2_147_483_647;

/** How long a worker has been idle, and when that has been long enough. */
export class IdleTimer {
  readonly #now: () => Millis;
  readonly #onOver: () => void;
  #since: Millis | undefined;
  #endsAt: Millis | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** @param now ms since 1970. */
  constructor(now: () => Millis, onOver: () => void) {
    this.#now = now;
    this.#onOver = onOver;
  }

  /** Absent while it is not idle. */
  get since(): Millis | undefined {
    return this.#since;
  }

  /** Absent when it may be idle for ever. */
  get endsAt(): Millis | undefined {
    return this.#endsAt;
  }

  /** It is idle from now on. @param ttlMs 0: it may be so for ever. */
  start(ttlMs: Millis): void {
    this.stop();
    this.#since = this.#now();
    if (ttlMs === 0) return;
    this.#endsAt = this.#since + ttlMs;
    this.#arm(ttlMs);
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#since = undefined;
    this.#endsAt = undefined;
  }

  /** A timer of Node cannot wait for longer than 24 days. */
  #arm(leftMs: Millis): void {
    const ms = Math.min(leftMs, longestTimerMs);
    this.#timer = setTimeout(() => (leftMs > ms ? this.#arm(leftMs - ms) : this.#onOver()), ms);
    this.#timer.unref();
  }
}
