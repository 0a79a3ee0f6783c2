import type { Millis } from "../engine/sample.ts";
import type { Member } from "./rounds.ts";

/** Whether there is something to tell its reader. `changed`: something may have; `nextMs`: the next look comes then at the latest. */
export type HasNews = (changed: boolean, nextMs: Millis) => boolean;

/**
 * The place of one reader of one ticket. It is told that there is news, not what, and then looks at the latest state, so that one that
 * is slow never has a backlog. A last message ends it. Ten thousand may wait at the same time: while nothing is new for them, nothing
 * is made for them, neither timers nor promises.
 */
export class Seat<Last> implements Member {
  readonly #hasNews: HasNews;
  #isNews = false;
  #last: Last | undefined;
  #signal: AbortSignal | undefined;
  #sleeper: { readonly wake: (what: "news" | "closed") => void; readonly fail: (reason: unknown) => void } | undefined;

  constructor(hasNews: HasNews) {
    this.#hasNews = hasNews;
  }

  look(changed: boolean, nextMs: Millis): boolean {
    // Its reader is slow, and will find the latest when it is back.
    if (this.#isNews) return false;
    if (!this.#hasNews(changed, nextMs)) return changed;
    this.#isNews = true;
    this.#wake("news");
    return true;
  }

  /** The last message, which is never held back. Later ones are ignored. */
  close(last: Last): void {
    this.#last ??= last;
    this.#wake("closed");
  }

  get last(): Last | undefined {
    return this.#last;
  }

  /** The reader has gone. */
  leave(): void {
    this.#signal?.removeEventListener("abort", this.#aborted);
    this.#signal = undefined;
  }

  /** Waits for news or the last message; rejects when the signal aborts. Always with the same signal, and by one reader at a time. */
  async next(signal: AbortSignal): Promise<"news" | "closed"> {
    signal.throwIfAborted();
    if (this.#last !== undefined) return "closed";
    if (!this.#isNews) {
      if (this.#signal === undefined) signal.addEventListener("abort", this.#aborted);
      this.#signal = signal;
      const what = await new Promise<"news" | "closed">((wake, fail) => {
        this.#sleeper = { wake, fail };
      });
      if (what === "closed") return what;
    }
    this.#isNews = false;
    return this.#last === undefined ? "news" : "closed";
  }

  #wake(what: "news" | "closed"): void {
    const sleeper = this.#sleeper;
    this.#sleeper = undefined;
    sleeper?.wake(what);
  }

  readonly #aborted = (): void => {
    const sleeper = this.#sleeper;
    this.#sleeper = undefined;
    sleeper?.fail(this.#signal?.reason);
  };
}
