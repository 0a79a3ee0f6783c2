import type { Millis } from "./sample.ts";

/** What is due at a moment. `check` finds out whether it is still meant: most entries are outdated by renewals. */
export interface Wake {
  readonly at: Millis;
  readonly kind:
    | "ticket-deadline"
    | "ticket-grace"
    | "kept-start"
    | "lease-expiry"
    | "lease-claim"
    | "lease-charge"
    | "lease-drained";
  readonly id: string;
}

/**
 * A binary min-heap of moments. Entries are never removed or moved: whoever pops one looks at the object it names and ignores
 * it when the object's own moment is another by now. That keeps a renewal at O(log n) without an index.
 */
export class WakeHeap {
  readonly #items: Wake[] = [];

  get size(): number {
    return this.#items.length;
  }

  push(wake: Wake): void {
    const items = this.#items;
    let i = items.length;
    items.push(wake);
    while (i > 0) {
      const up = (i - 1) >> 1;
      const parent = items[up] as Wake;
      if (parent.at <= wake.at) break;
      items[i] = parent;
      i = up;
    }
    items[i] = wake;
  }

  peek(): Wake | undefined {
    return this.#items[0];
  }

  pop(): Wake | undefined {
    const items = this.#items;
    const first = items[0];
    const last = items.pop();
    if (first === undefined || last === undefined || items.length === 0) return first;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= items.length) break;
      const right = child + 1;
      if (right < items.length && (items[right] as Wake).at < (items[child] as Wake).at) child = right;
      const next = items[child] as Wake;
      if (next.at >= last.at) break;
      items[i] = next;
      i = child;
    }
    items[i] = last;
    return first;
  }

  /** Keeps only entries that are still meant; called when outdated ones outnumber the living. */
  compact(isMeant: (wake: Wake) => boolean): void {
    const kept = this.#items.filter(isMeant);
    this.#items.length = 0;
    for (const wake of kept) this.push(wake);
  }
}
