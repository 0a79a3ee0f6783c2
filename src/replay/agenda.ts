import type { Millis } from "../engine/sample.ts";

interface Item<T> {
  readonly at: Millis;
  readonly order: number;
  readonly what: T & { readonly kind: string };
}

/** What happens at the same moment happens in this order: memory comes back and moves before anybody asks for it. */
const orderOf: Readonly<Record<string, number>> = { end: 0, foreign: 1, grow: 2, arrive: 3 };

/** What is to happen when: a binary heap by time, then kind, then the order in which it was added. */
export class Agenda<T extends { readonly kind: string }> {
  readonly #items: Item<T>[] = [];
  #added = 0;

  add(at: Millis, what: T): void {
    const items = this.#items;
    const item: Item<T> = { at, order: (orderOf[what.kind] ?? 9) * 2 ** 40 + this.#added++, what };
    let i = items.push(item) - 1;
    while (i > 0) {
      const up = (i - 1) >> 1;
      if (!before(item, items[up] as Item<T>)) break;
      items[i] = items[up] as Item<T>;
      i = up;
    }
    items[i] = item;
  }

  get nextAt(): Millis | undefined {
    return this.#items[0]?.at;
  }

  /** Everything that is due, in order; what is added meanwhile for the same moment comes in its place. */
  *take(now: Millis): Generator<T, void, undefined> {
    for (let first = this.#items[0]; first !== undefined && first.at <= now; first = this.#items[0]) {
      this.#pop();
      yield first.what;
    }
  }

  #pop(): void {
    const items = this.#items;
    const last = items.pop();
    if (last === undefined || items.length === 0) return;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= items.length) break;
      if (child + 1 < items.length && before(items[child + 1] as Item<T>, items[child] as Item<T>)) child++;
      if (!before(items[child] as Item<T>, last)) break;
      items[i] = items[child] as Item<T>;
      i = child;
    }
    items[i] = last;
  }
}

function before<T>(a: Item<T>, b: Item<T>): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
