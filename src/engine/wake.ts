import { Heap } from "./heap.ts";
import type { Millis } from "./sample.ts";

/** What is due at a moment. `kind` says what it means; most of them are outdated by renewals. */
export interface Wake {
  readonly at: Millis;
  readonly kind:
    | "ticket-deadline"
    | "ticket-grace"
    | "kept-start"
    | "lease-expiry"
    | "lease-claim"
    | "lease-charge"
    | "lease-drained"
    | "resident-stays"
    | "eviction-deadline";
  readonly id: string;
}

/**
 * The next moment is on top. None is removed or moved: whoever takes one looks at the object that it names, and ignores it when the
 * object's own moment is another by now. That keeps a renewal at O(log n) without an index.
 */
export type Wakes = Heap<Wake>;

export function noWakes(): Wakes {
  return new Heap((a, b) => a.at < b.at);
}
