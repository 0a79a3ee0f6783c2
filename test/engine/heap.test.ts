import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Heap } from "../../src/engine/heap.ts";

interface Item {
  key: number;
}

const actions = fc.array(
  fc.oneof(
    fc.record({ do: fc.constant("push" as const), key: fc.integer({ min: 0, max: 20 }) }),
    fc.record({ do: fc.constant("move" as const), key: fc.integer({ min: 0, max: 20 }) }),
    fc.record({ do: fc.constant("keep" as const), key: fc.integer({ min: 0, max: 20 }) }),
    fc.constant({ do: "pop" as const, key: 0 }),
  ),
  { maxLength: 200 },
);

const leastOf = (items: readonly Item[]) => (items.length === 0 ? undefined : Math.min(...items.map((i) => i.key)));

describe("a heap", () => {
  it("has the least item on top, whatever was pushed, taken, moved and dropped before", () => {
    fc.assert(
      fc.property(actions, (all) => {
        const heap = new Heap<Item>((a, b) => a.key < b.key);
        let model: Item[] = [];
        for (const action of all) {
          const top = heap.peek();
          switch (action.do) {
            case "push": {
              const item = { key: action.key };
              heap.push(item);
              model.push(item);
              break;
            }
            case "move":
              if (top !== undefined) top.key = action.key;
              heap.moveTop();
              break;
            case "keep":
              heap.keep((item) => item.key < action.key);
              model = model.filter((item) => item.key < action.key);
              break;
            case "pop":
              expect(heap.pop()).toBe(top);
              model = model.filter((item) => item !== top);
          }
          expect(heap.size).toBe(model.length);
          expect(heap.peek()?.key).toBe(leastOf(model));
          if (heap.size > 0) expect(model).toContain(heap.peek());
        }
      }),
    );
  });

  it("gives everything back in order", () => {
    fc.assert(
      fc.property(fc.array(fc.integer()), (numbers) => {
        const heap = new Heap<number>((a, b) => a < b);
        for (const n of numbers) heap.push(n);
        expect(numbers.map(() => heap.pop())).toEqual([...numbers].sort((a, b) => a - b));
        expect(heap.pop()).toBeUndefined();
      }),
    );
  });
});
