import { expect, it } from "vitest";
import { type SlotPlace, Slots } from "../../src/executor/slots.ts";
import { waitFor } from "../wait-for.ts";
import { never } from "./house.ts";

it("lets in the first that came when a slot is left, and counts a slot that is left twice once", async () => {
  const slots = new Slots(() => 1);
  const order: string[] = [];
  const leave = await slots.enter("p", never, () => {});
  const enter = async (name: string) => {
    const left = await slots.enter("p", never, () => {});
    order.push(name);
    return left;
  };
  const second = enter("second");
  const third = enter("third");
  leave();
  leave();
  const leaveSecond = await second;
  expect(order).toEqual(["second"]);
  leaveSecond();
  await third;
  expect(order).toEqual(["second", "third"]);
});

it("keeps plugins apart", async () => {
  const slots = new Slots(() => 1);
  await slots.enter("p", never, () => {});
  await expect(slots.enter("q", never, () => {})).resolves.toBeTypeOf("function");
});

it("lets a waiter leave the queue, and tells those behind that they moved up", async () => {
  const slots = new Slots(() => 1);
  const leave = await slots.enter("p", never, () => {});
  const controller = new AbortController();
  const gone = slots.enter("p", controller.signal, () => {});
  const places: SlotPlace[] = [];
  const behind = slots.enter("p", never, (place) => places.push(place));
  controller.abort(new Error("gone"));
  await expect(gone).rejects.toThrow("gone");
  await waitFor(() => places.length === 2, "it was told again");
  expect(places).toEqual([
    { position: 2, running: 1, limit: 1 },
    { position: 1, running: 1, limit: 1 },
  ]);
  leave();
  await behind;
});

it("does not take the square of their number when 10,000 waiters go away one after the other", async () => {
  const slots = new Slots(() => 1);
  await slots.enter("p", never, () => {});
  let told = 0;
  const controllers = Array.from({ length: 10_000 }, () => new AbortController());
  const tell = () => {
    told += 1;
  };
  const all = controllers.map((c) => slots.enter("p", c.signal, tell).catch(() => {}));
  for (const controller of controllers) controller.abort();
  await Promise.all(all);
  expect(told).toBe(10_000);
});
