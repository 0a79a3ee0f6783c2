import type { Millis } from "../engine/sample.ts";
import type { Member, Turn } from "./rounds.ts";

/** Who sits there. */
export interface Reader {
  /** Whether there is something to tell it. `changed`: something may have; `nextMs`: the next look comes then at the latest. */
  hasNews(changed: boolean, nextMs: Millis): boolean;
}

/** Why a reader was woken; "gone": it has left. */
export type Woken = "news" | "closed" | "gone";

/**
 * The place of one reader of one ticket. It is told that there is news, not what, and then looks at the latest state, so that one that
 * is slow never has a backlog. A last message ends it. Ten thousand may wait at the same time: while nothing is new for them, nothing
 * is made for them, neither timers nor promises.
 */
export class Seat<Last> implements Member {
  readonly #reader: Reader;
  #isNews = false;
  #isLeft = false;
  #last: Last | undefined;
  #sleeper: ((what: Woken) => void) | undefined;

  constructor(reader: Reader) {
    this.#reader = reader;
  }

  look(changed: boolean, nextMs: Millis): Turn {
    // Its reader is slow, and will find the latest when it is back.
    if (this.#isNews) return "passed";
    if (!this.#reader.hasNews(changed, nextMs)) return changed ? "looked" : "passed";
    if (this.#sleeper === undefined) this.#isNews = true;
    else this.#wake("news");
    return "told";
  }

  /** The last message, which is never held back. Later ones are ignored. */
  close(last: Last): void {
    this.#last ??= last;
    this.#wake("closed");
  }

  get last(): Last | undefined {
    return this.#last;
  }

  /** News came while the reader was busy. */
  get isNews(): boolean {
    return this.#isNews;
  }

  /** The reader has gone, or is to go. */
  leave(): void {
    this.#isLeft = true;
    this.#wake("gone");
  }

  /** Waits for news or the last message, by one reader at a time. */
  next(): Promise<Woken> {
    if (this.#isLeft) return Promise.resolve("gone");
    if (this.#last !== undefined) return Promise.resolve("closed");
    if (this.#isNews) {
      this.#isNews = false;
      return Promise.resolve("news");
    }
    return new Promise((wake) => {
      this.#sleeper = wake;
    });
  }

  #wake(what: Woken): void {
    const wake = this.#sleeper;
    this.#sleeper = undefined;
    wake?.(what);
  }
}
