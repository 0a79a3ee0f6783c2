import fc from "fast-check";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { type Member, Rounds, settleMs, soonMs, type Turn } from "../../src/gate/rounds.ts";

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

interface Look {
  readonly member: number;
  readonly at: number;
  readonly changed: boolean;
  readonly nextMs: number;
}

/** Members that come in numbers, and what each look finds. */
function crowd(size: number, finds: (changed: boolean) => Turn = () => "told") {
  const members = new Set<Member>();
  const numbers = new Map<Member, number>();
  const looks: Look[] = [];
  const began = Date.now();
  const rounds = new Rounds(members);
  const join = (member: number) => {
    const one: Member = {
      look: (changed, nextMs) => {
        looks.push({ member, at: Date.now() - began, changed, nextMs });
        return finds(changed);
      },
    };
    numbers.set(one, member);
    members.add(one);
    rounds.joined();
  };
  for (let n = 0; n < size; n++) join(n);
  return { members, numbers, rounds, join, told: () => looks.filter((l) => l.changed), looks };
}

it("a few hear of a change together, a moment after it, and once for all changes of that moment", () => {
  const { told, rounds } = crowd(20);
  for (let n = 0; n < 1_000; n++) rounds.changed();
  vi.advanceTimersByTime(soonMs - 1);
  expect(told()).toEqual([]);
  vi.advanceTimersByTime(1);
  expect(told().map((t) => t.member)).toEqual(Array.from({ length: 20 }, (_, n) => n));
  vi.advanceTimersByTime(60_000);
  expect(told()).toHaveLength(20);
});

it("while one change follows the other each hears ten times a second at most", () => {
  const { told, rounds } = crowd(1);
  for (let n = 0; n < 5_000; n++) {
    rounds.changed();
    vi.advanceTimersByTime(1);
  }
  const heard = told();
  const pauses = heard.slice(1).map(({ at }, n) => at - (heard[n]?.at ?? 0));
  expect(heard.length).toBeGreaterThan(45);
  expect(Math.min(...pauses)).toBeGreaterThanOrEqual(settleMs);
});

it("of ten thousand each hears of a change at once after a quiet time, those in front first", () => {
  const { told, rounds } = crowd(10_000, (changed) => (changed ? "told" : "passed"));
  rounds.changed();
  vi.advanceTimersByTime(settleMs + 200);
  expect(told().map((t) => t.member)).toEqual(Array.from({ length: 10_000 }, (_, n) => n));
});

it("lets whatever else is due have its turn after every fifty who are told", () => {
  const { told, rounds } = crowd(10_000, (changed) => (changed ? "told" : "passed"));
  rounds.changed();
  vi.advanceTimersToNextTimer();
  for (let turn = 1; turn <= 200; turn++) {
    expect(told().length).toBe(50 * turn);
    vi.advanceTimersToNextTimer();
  }
});

// Guards decisions: 3,000 who waited while others came took all the time there was, and measurements grew too old to decide on.
it("a hundred changes a second tell no more than 2,000 in a second, beyond the first ten thousand", () => {
  const { told, rounds } = crowd(10_000, (changed) => (changed ? "told" : "passed"));
  for (let n = 0; n < 1_000; n++) {
    rounds.changed();
    vi.advanceTimersByTime(10);
  }
  const heard = told();
  expect(heard.length).toBeLessThanOrEqual(30_000);
  expect(heard.length).toBeGreaterThan(25_000);
  // And what is saved in the pauses between rounds.
  for (let from = 1_000; from < 10_000; from += 50) {
    expect(heard.filter(({ at }) => at >= from && at < from + 1_000).length).toBeLessThanOrEqual(2_250);
  }
});

it("to look and find nothing new counts for a fourth of telling somebody", () => {
  const { told, rounds } = crowd(10_000, (changed) => (changed ? "looked" : "passed"));
  for (let change = 1; change <= 4; change++) {
    rounds.changed();
    vi.advanceTimersByTime(settleMs + 50);
    expect(told()).toHaveLength(10_000 * change);
  }
});

it("while nothing changes each has a turn every few seconds, and is told when the next one comes", () => {
  for (const size of [1, 300, 10_000, 100_000]) {
    const { looks } = crowd(size);
    vi.advanceTimersByTime(60_000);
    const last = new Map<number, Look>();
    const late: Look[] = [];
    for (const look of looks) {
      const before = last.get(look.member);
      if (before !== undefined && look.at - before.at > before.nextMs) late.push(look);
      last.set(look.member, look);
    }
    expect(late).toEqual([]);
    expect(last.size).toBe(size);
    // Whoever is told at each turn hears something every 15 s, however many wait.
    expect(looks.every((l) => l.nextMs <= 15_000)).toBe(true);
    expect([...last.values()].every((l) => l.at > 45_000)).toBe(true);
    vi.clearAllTimers();
  }
});

it("nobody waits, no timer runs", () => {
  const { members, rounds } = crowd(3);
  members.clear();
  rounds.changed();
  vi.advanceTimersByTime(60_000);
  expect(vi.getTimerCount()).toBe(0);
});

it("nobody is forgotten, whoever comes and goes and whenever things change: each who stays hears after the last change", () => {
  const deed = fc.oneof(
    fc.constant({ kind: "change" as const }),
    fc.record({ kind: fc.constant("wait" as const), ms: fc.integer({ min: 0, max: 400 }) }),
    fc.record({ kind: fc.constant("come" as const), size: fc.integer({ min: 1, max: 300 }) }),
    fc.record({ kind: fc.constant("go" as const), size: fc.integer({ min: 1, max: 300 }) }),
  );
  fc.assert(
    fc.property(fc.array(deed, { maxLength: 60 }), (deeds) => {
      const { members, numbers, looks, rounds, join } = crowd(500);
      let next = 500;
      const began = Date.now();
      for (const d of deeds) {
        if (d.kind === "change") rounds.changed();
        else if (d.kind === "wait") vi.advanceTimersByTime(d.ms);
        else if (d.kind === "come") for (let n = 0; n < d.size; n++) join(next++);
        else for (const member of [...members].slice(0, d.size)) members.delete(member);
      }
      const there = [...members];
      const lastChange = Date.now() - began;
      rounds.changed();
      vi.advanceTimersByTime(10_000);
      const heard = looks.filter(({ at, changed }) => changed && at >= lastChange);
      const who = new Set(heard.map((l) => l.member));
      expect(there.map((member) => numbers.get(member) ?? -1).filter((member) => !who.has(member))).toEqual([]);
      vi.clearAllTimers();
    }),
    { numRuns: 100 },
  );
});
