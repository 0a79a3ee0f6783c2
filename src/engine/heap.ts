/** A binary heap: the least item is on top. Equal items come in any order; whoever minds makes them unequal. */
export class Heap<T> {
  readonly #items: T[] = [];
  readonly #isBefore: (a: T, b: T) => boolean;

  constructor(isBefore: (a: T, b: T) => boolean) {
    this.#isBefore = isBefore;
  }

  get size(): number {
    return this.#items.length;
  }

  push(item: T): void {
    const items = this.#items;
    let i = items.push(item) - 1;
    while (i > 0) {
      const up = (i - 1) >> 1;
      const parent = items[up] as T;
      if (!this.#isBefore(item, parent)) break;
      items[i] = parent;
      i = up;
    }
    items[i] = item;
  }

  peek(): T | undefined {
    return this.#items[0];
  }

  pop(): T | undefined {
    const items = this.#items;
    const top = items[0];
    const last = items.pop();
    if (last !== undefined && items.length > 0) this.#sink(last);
    return top;
  }

  /** The item on top has changed, and goes where it belongs now. */
  moveTop(): void {
    const top = this.#items[0];
    if (top !== undefined) this.#sink(top);
  }

  /** Drops the items that are not wanted any more. */
  keep(isWanted: (item: T) => boolean): void {
    for (const item of this.#items.splice(0).filter(isWanted)) this.push(item);
  }

  /** Puts an item in from the top, in place of whatever is there. */
  #sink(item: T): void {
    const items = this.#items;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= items.length) break;
      if (child + 1 < items.length && this.#isBefore(items[child + 1] as T, items[child] as T)) child++;
      const next = items[child] as T;
      if (!this.#isBefore(next, item)) break;
      items[i] = next;
      i = child;
    }
    items[i] = item;
  }
}
