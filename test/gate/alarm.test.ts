import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Alarm } from "../../src/gate/alarm.ts";

let rung: number[];
let alarm: Alarm;
const now = () => performance.now();

beforeEach(() => {
  vi.useFakeTimers({ now: 0 });
  rung = [];
  alarm = new Alarm({ now }, () => rung.push(now()));
});

afterEach(() => {
  vi.useRealTimers();
});

it("rings once, at the time that was said last", () => {
  const from = now();
  alarm.set(from + 1_000, from);
  alarm.set(from + 200, from);
  vi.advanceTimersByTime(5_000);
  expect(rung).toEqual([from + 200]);
});

it("rings later when it is put off, and takes no new timer for that", () => {
  const from = now();
  alarm.set(from + 100, from);
  vi.advanceTimersByTime(50);
  for (let i = 1; i <= 1_000; i++) alarm.set(from + 150 + i, now());
  expect(vi.getTimerCount()).toBe(1);
  vi.advanceTimersByTime(1_099);
  expect(rung).toEqual([]);
  vi.advanceTimersByTime(1);
  expect(rung).toEqual([from + 1_150]);
});

it("rings no more when nothing is due any more, and again when something is", () => {
  const from = now();
  alarm.set(from + 100, from);
  alarm.set(Infinity, from);
  vi.advanceTimersByTime(1_000);
  expect(rung).toEqual([]);
  alarm.set(now() + 30, now());
  vi.advanceTimersByTime(30);
  expect(rung).toEqual([from + 1_030]);
});

it("may be far away, further than a timer counts", () => {
  const from = now();
  const month = 31 * 86_400_000;
  alarm.set(from + month, from);
  vi.advanceTimersByTime(month - 1);
  expect(rung).toEqual([]);
  vi.advanceTimersByTime(1);
  expect(rung).toEqual([from + month]);
});

it("says nothing after it was stopped", () => {
  alarm.set(now() + 10, now());
  alarm.stop();
  vi.advanceTimersByTime(100);
  expect(rung).toEqual([]);
});
