import { afterEach, beforeEach, expect, it, onTestFinished, vi } from "vitest";
import { PollLoop } from "../../src/monitor/poll-loop.ts";
import { fakeContext } from "./fake-context.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A loop of 1000 ms whose work takes `takesMs`; `starts` are the moments at which it began. */
function loopOf(takesMs: number) {
  const starts: number[] = [];
  let atOnce = 0;
  let mostAtOnce = 0;
  const begin = Date.now();
  const loop = new PollLoop(async () => {
    starts.push(Date.now() - begin);
    mostAtOnce = Math.max(mostAtOnce, ++atOnce);
    await new Promise((resolve) => setTimeout(resolve, takesMs));
    atOnce--;
    return 1000;
  }, fakeContext().log);
  onTestFinished(() => loop.stop());
  return { loop, starts, mostAtOnce: () => mostAtOnce };
}

it("waits for the period after the work has ended, never working twice at the same time", async () => {
  const { loop, starts, mostAtOnce } = loopOf(300);
  void loop.start();
  await vi.advanceTimersByTimeAsync(4000);
  expect(starts).toEqual([0, 1300, 2600, 3900]);
  expect(mostAtOnce()).toBe(1);
  await vi.advanceTimersByTimeAsync(300);
});

it("works soon when it is asked to, and then by its period again", async () => {
  const { loop, starts } = loopOf(10);
  void loop.start();
  await vi.advanceTimersByTimeAsync(300);
  loop.kick();
  await vi.advanceTimersByTimeAsync(1200);
  expect(starts).toEqual([0, 400, 1410]);
});

it("works once more after the work that is running when it is asked meanwhile", async () => {
  const { loop, starts, mostAtOnce } = loopOf(300);
  void loop.start();
  await vi.advanceTimersByTimeAsync(200);
  loop.kick();
  loop.kick();
  await vi.advanceTimersByTimeAsync(500);
  expect(starts).toEqual([0, 400]);
  expect(mostAtOnce()).toBe(1);
});

it("is neither put off nor made to spin by somebody who asks all the time", async () => {
  const { loop, starts } = loopOf(0);
  void loop.start();
  for (let n = 0; n < 1000; n++) {
    await vi.advanceTimersByTimeAsync(1);
    loop.kick();
  }
  expect(starts.length).toBeGreaterThanOrEqual(9);
  expect(starts.length).toBeLessThanOrEqual(11);
});

it("goes on after work that rejects or throws, and says so", async () => {
  const context = fakeContext();
  let turns = 0;
  const loop = new PollLoop(() => {
    turns++;
    if (turns === 1) throw new Error("at once");
    if (turns === 2) return Promise.reject(new Error("later"));
    return Promise.resolve(60_000);
  }, context.log);
  onTestFinished(() => loop.stop());
  await loop.start();
  await vi.advanceTimersByTimeAsync(2500);
  expect(turns).toBe(3);
  expect(context.logged).toHaveLength(2);
});

it("stops after the work that is running, and leaves no timer", async () => {
  const { loop, starts } = loopOf(300);
  void loop.start();
  await vi.advanceTimersByTimeAsync(100);
  let stopped = false;
  void loop.stop().then(() => {
    stopped = true;
  });
  await vi.advanceTimersByTimeAsync(100);
  expect(stopped).toBe(false);
  await vi.advanceTimersByTimeAsync(100);
  expect(stopped).toBe(true);
  loop.kick();
  await vi.advanceTimersByTimeAsync(10_000);
  expect(starts).toEqual([0]);
  expect(vi.getTimerCount()).toBe(0);
});
