import { Heap } from "../engine/heap.ts";
import type { Millis } from "../engine/sample.ts";

interface Item<T> {
  readonly at: Millis;
  readonly order: number;
  readonly what: T;
}

/** What happens at the same moment happens in this order: memory comes back and moves before anybody asks for it. */
const orderOf: Readonly<Record<string, number>> = { end: 0, foreign: 1, grow: 2, arrive: 3 };

/** What is to happen when: by time, then kind, then the order in which it was added. */
export class Agenda<T extends { readonly kind: string }> {
  readonly #items = new Heap<Item<T>>((a, b) => a.at < b.at || (a.at === b.at && a.order < b.order));
  #added = 0;

  add(at: Millis, what: T): void {
    this.#items.push({ at, order: (orderOf[what.kind] ?? 9) * 2 ** 40 + this.#added++, what });
  }

  get nextAt(): Millis | undefined {
    return this.#items.peek()?.at;
  }

  /** Everything that is due, in order; what is added meanwhile for the same moment comes in its place. */
  *take(now: Millis): Generator<T, void, undefined> {
    for (let first = this.#items.peek(); first !== undefined && first.at <= now; first = this.#items.peek()) {
      this.#items.pop();
      yield first.what;
    }
  }
}
