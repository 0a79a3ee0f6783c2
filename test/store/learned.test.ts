import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Durations } from "../../src/engine/durations.ts";
import { FairShare } from "../../src/engine/fair-share.ts";
import { KeepValues } from "../../src/engine/keep-value.ts";
import { MemoryProfiles } from "../../src/executor/memory-profile.ts";
import { Learned } from "../../src/house/learned.ts";
import { createLog } from "../../src/observe/log.ts";

const halfLifeMs = 1_000_000;
const log = createLog({ level: "silent" });

function rooms() {
  return {
    fairShare: new FairShare(halfLifeMs),
    durations: new Durations(),
    keepValues: new KeepValues(halfLifeMs),
    profiles: new MemoryProfiles(),
  };
}

/** One life of the server: what it writes is what the next one reads, by way of the disk. */
function life(now: () => number) {
  const { profiles, ...state } = rooms();
  const written = new Map<string, unknown>();
  const writes: string[] = [];
  const store = {
    learn(key: string, value: unknown) {
      writes.push(key);
      written.set(key, JSON.parse(JSON.stringify(value)));
    },
  };
  return { ...state, profiles, written, writes, learned: new Learned({ state, profiles, store, now }) };
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("what was learned", () => {
  it("is there after a restart: durations and their spread, use by tenants, how often plugins are used, and memory", () => {
    let now = 1_000;
    const first = life(() => now);
    for (let i = 0; i < 20; i++) first.durations.learn(`kind ${i % 3}`, 30_000, 1_000 * (1 + (i % 5)));
    first.fairShare.charge("a", 5_000, now);
    first.fairShare.charge("b", 100, now);
    first.keepValues.used("whisper", now);
    first.keepValues.used("whisper", now);
    for (const vramMb of [100, 200, 300]) first.profiles.observe("p", { vramMb, failed: false });
    first.profiles.observe("p", { vramMb: 900, ramMb: 5, failed: true });
    first.learned.stop();

    // A half-life later, as long as the server was away.
    now += halfLifeMs;
    const second = life(() => now);
    second.learned.takeUp(first.written, log);
    second.learned.stop();
    for (const kind of ["kind 0", "kind 1", "never seen"]) {
      expect(second.durations.estimateMs(kind)).toBe(first.durations.estimateMs(kind));
    }
    for (const q of [0.1, 0.5, 0.9]) {
      expect(second.durations.spread(q)).toBe(first.durations.spread(q));
      expect(second.durations.remainingMs(4_000, 2_000, q)).toBe(first.durations.remainingMs(4_000, 2_000, q));
    }
    expect(second.fairShare.usageOf("a", now)).toBe(2_500);
    expect(second.fairShare.usageOf("b", now)).toBe(50);
    expect(second.keepValues.usesOf("whisper", now)).toBeCloseTo(1, 10);
    expect(second.profiles.profileOf("p")).toEqual(first.profiles.profileOf("p"));
    expect(second.profiles.profileOf("p")).toMatchObject({ learnedVramMb: 300, atLeastVramMb: 900, runs: 3 });
  });

  it("is written every half a minute, and only what has changed", () => {
    const { durations, writes, learned } = life(() => 0);
    vi.advanceTimersByTime(30_000);
    const atFirst = writes.length;
    vi.advanceTimersByTime(300_000);
    expect(writes.length).toBe(atFirst);
    durations.learn("kind", 1, 1);
    vi.advanceTimersByTime(30_000);
    expect(writes.slice(atFirst)).toEqual(["durations"]);
    learned.stop();
  });

  it("that cannot be read is learned anew, and the rest is taken", () => {
    const first = life(() => 0);
    first.fairShare.charge("a", 5_000, 0);
    first.learned.stop();
    first.written.set("durations", { at: 0, memo: { all: 7 } });
    first.written.set("memory-profiles", { at: 0, memo: 7 });
    const second = life(() => 0);
    second.learned.takeUp(first.written, log);
    second.learned.stop();
    expect(second.fairShare.usageOf("a", 0)).toBe(5_000);
    expect(second.durations.isKnown).toBe(false);
    expect(second.profiles.profileOf("p")).toBeUndefined();
  });

  it("of a clock that was set back does not grow", () => {
    let now = 10_000_000;
    const first = life(() => now);
    first.fairShare.charge("a", 5_000, now);
    first.learned.stop();
    now = 0;
    const second = life(() => now);
    second.learned.takeUp(first.written, log);
    second.learned.stop();
    expect(second.fairShare.usageOf("a", now)).toBe(5_000);
  });
});
