import fc from "fast-check";
import { expect, it } from "vitest";
import { LoadTurns } from "../../src/executor/load-turns.ts";

/** Enters, and tells in `order` when it is in. */
function entering(turns: LoadTurns) {
  const order: string[] = [];
  const enter = (name: string, gpus: string[], alone: boolean, signal?: AbortSignal) =>
    turns.enter(gpus, alone, signal).then((leave) => {
      order.push(name);
      return leave;
    });
  return { order, enter };
}
const settled = () => new Promise((resolve) => setImmediate(resolve));

it("those who share a GPU go in together, and one that wants it alone waits for them and keeps the order", async () => {
  const { order, enter } = entering(new LoadTurns());
  const first = [await enter("a", ["g"], false), await enter("b", ["g"], false)];
  const alone = enter("alone", ["g"], true);
  const after = enter("after", ["g"], false);
  await settled();
  first[0]?.();
  await settled();
  expect(order).toEqual(["a", "b"]);
  first[1]?.();
  const leave = await alone;
  await settled();
  expect(order).toEqual(["a", "b", "alone"]);
  leave();
  await after;
  expect(order).toEqual(["a", "b", "alone", "after"]);
});

it("one that is alone keeps nobody from another GPU", async () => {
  const { order, enter } = entering(new LoadTurns());
  await enter("alone", ["g", "h"], true);
  await enter("elsewhere", ["i"], true);
  void enter("h", ["h"], false);
  await settled();
  expect(order).toEqual(["alone", "elsewhere"]);
});

it("one that gives up lets in who waited for it", async () => {
  const { order, enter } = entering(new LoadTurns());
  await enter("a", ["g"], false);
  const controller = new AbortController();
  const alone = enter("alone", ["g"], true, controller.signal);
  const after = enter("after", ["g"], false);
  const reason = new Error("given up");
  controller.abort(reason);
  await expect(alone).rejects.toBe(reason);
  await after;
  expect(order).toEqual(["a", "after"]);
  await expect(enter("late", ["g"], false, controller.signal)).rejects.toBe(reason);
});

it("whatever comes in whatever order, nobody is in beside one that is alone, and everybody gets in", async () => {
  const turn = fc.record({
    gpus: fc.uniqueArray(fc.constantFrom("g", "h", "i"), { minLength: 1 }),
    alone: fc.boolean(),
    waits: fc.nat(3),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(turn, { maxLength: 12 }), async (list) => {
      const turns = new LoadTurns();
      const inside = new Set<(typeof list)[number]>();
      await Promise.all(
        list.map(async (one) => {
          const leave = await turns.enter(one.gpus, one.alone);
          for (const other of inside) {
            const shared = one.gpus.some((gpu) => other.gpus.includes(gpu));
            expect(shared && (one.alone || other.alone)).toBe(false);
          }
          inside.add(one);
          for (let i = 0; i < one.waits; i += 1) await settled();
          inside.delete(one);
          leave();
          leave();
        }),
      );
    }),
    { numRuns: 100 },
  );
});
