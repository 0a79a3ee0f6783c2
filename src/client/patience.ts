import { type SluiceError, Unreachable } from "./errors.ts";

/** How long nobody may answer at the very first, in ms: a wrong address should be told soon. */
export const firstAnswerMs = 5_000;

/** How long a server may be away that has answered before, in ms: a job that has waited all night should not die of a restart. */
export const awayMs = 60_000;

const shortestPauseMs = 100;
const longestPauseMs = 1_000;

/** Whether to ask again after a broken connection, and when. Times are of the client's monotonic clock, in ms. */
export class Patience {
  readonly #start: number;
  readonly #timeoutMs: number | undefined;
  #heardAt: number | undefined;
  #pauseMs = shortestPauseMs;

  /** @param timeoutMs of the request; undefined: the server's, 0: for ever. */
  constructor(timeoutMs: number | undefined, now: number) {
    this.#timeoutMs = timeoutMs;
    this.#start = now;
  }

  /** What is left of the timeout. At least 1 ms: 0 would mean for ever. */
  leftMs(now: number): number | undefined {
    if (this.#timeoutMs === undefined || this.#timeoutMs === 0) return this.#timeoutMs;
    return Math.max(1, this.#timeoutMs - (now - this.#start));
  }

  /** The server has said something. */
  heard(now: number): void {
    this.#heardAt = now;
    this.#pauseMs = shortestPauseMs;
  }

  /**
   * The pause before the next attempt, in ms.
   * @throws the failure when there is to be none.
   */
  pauseMs(failure: SluiceError, now: number): number {
    const limitMs = this.#heardAt === undefined ? firstAnswerMs : awayMs;
    if (!(failure instanceof Unreachable) || now - (this.#heardAt ?? this.#start) > limitMs) throw failure;
    const pauseMs = this.#pauseMs;
    this.#pauseMs = Math.min(longestPauseMs, pauseMs * 2);
    return pauseMs;
  }
}
