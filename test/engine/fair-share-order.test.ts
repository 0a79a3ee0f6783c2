import { describe, expect, it } from "vitest";
import type { Discipline, EngineSettings } from "../../src/engine/settings.ts";
import { nextWake } from "../../src/engine/step.ts";
import { Bench, gpu } from "./support.ts";

const none = { percent: 0, atLeastMb: 0 };
const minute = 60_000;
const hour = 60 * minute;

function benchOf(more: Partial<EngineSettings> = {}): Bench {
  return new Bench({ margin: none, ramMargin: none, ...more }).sample([gpu(0, 10_000, 0)]);
}

/** The whole GPU, for as long as is said. */
function ask(bench: Bench, tenant: string, name: string, minutes = 1, priority = 0): void {
  const workload = { tenant, name, priority, expectedDurationMs: minutes * minute };
  bench.submit("wait", { vramMb: 10_000 }, { workload, timeoutMs: 0, ttlMs: 1e12 });
}

/** Who is granted, in order, when each runs for a time and then the next is served. */
function served(bench: Bench, ranMs = minute): string[] {
  for (let i = 0; i < 200 && bench.state.leases.size > 0; i++) {
    bench.now += ranMs;
    bench.sample([gpu(0, 10_000, 0)]);
    for (const lease of [...bench.state.leases.values()]) bench.step({ type: "release", leaseId: lease.id, token: 0 });
  }
  expect(bench.state.line.size).toBe(0);
  return bench.effects.flatMap((e) => (e.type === "granted" ? [e.lease.workload.name] : []));
}

describe("fair share between tenants", () => {
  for (const discipline of ["strict-fifo", "best-effort", "backfill"] as Discipline[]) {
    it(`lets two that ask for the same take turns, whoever came first, under ${discipline}`, () => {
      const bench = benchOf({ discipline });
      for (let i = 1; i <= 4; i++) ask(bench, "a", `a${i}`);
      for (let i = 1; i <= 4; i++) ask(bench, "b", `b${i}`);
      expect(served(bench)).toEqual(["a1", "b1", "a2", "b2", "a3", "b3", "a4", "b4"]);
    });
  }

  it("puts who has used more behind who has used less", () => {
    const bench = benchOf();
    ask(bench, "a", "a1", 30);
    bench.now += 30 * minute;
    bench.sample([gpu(0, 10_000, 0)]);
    ask(bench, "a", "a2", 10);
    for (let i = 1; i <= 5; i++) ask(bench, "b", `b${i}`, 10);
    // 40 minutes of one and, after four of the other, 40 minutes of it: it used them later, so less of them has decayed.
    expect(served(bench, 10 * minute)).toEqual(["a1", "b1", "b2", "b3", "b4", "a2", "b5"]);
  });

  it("charges at admission: a burst of a hundred does not get in before somebody else", () => {
    const bench = benchOf();
    for (let i = 1; i <= 100; i++) ask(bench, "burst", `x${i}`);
    ask(bench, "other", "y");
    const order = served(bench);
    expect(order.indexOf("y")).toBe(1);
    expect(order).toHaveLength(101);
  });

  it("charges each grant of one event before the next is chosen", () => {
    const bench = benchOf();
    const lease = bench.lease({ vramMb: 10_000 }, { workload: { tenant: "c" } });
    const small = (tenant: string, name: string) =>
      bench.submit("wait", { vramMb: 2500 }, { workload: { tenant, name, expectedDurationMs: minute }, timeoutMs: 0 });
    for (let i = 1; i <= 4; i++) small("a", `a${i}`);
    for (let i = 1; i <= 4; i++) small("b", `b${i}`);
    bench.release(lease);
    const names = bench.effects.flatMap((e) => (e.type === "granted" && e.ticketId ? [e.lease.workload.name] : []));
    expect(names).toEqual(["a1", "b1", "a2", "b2"]);
  });

  it("forgets half of what was used in each half-life", () => {
    const bench = benchOf({ fairShareHalfLifeMs: hour });
    ask(bench, "a", "a1", 40);
    bench.now += 40 * minute;
    for (const lease of [...bench.state.leases.values()]) bench.step({ type: "release", leaseId: lease.id, token: 0 });
    const used = bench.state.fairShare.usageOf("a", bench.now);
    bench.now += hour;
    expect(bench.state.fairShare.usageOf("a", bench.now)).toBeCloseTo(used / 2, -1);
    bench.now += 100 * hour;
    expect(bench.state.fairShare.usageOf("a", bench.now)).toBe(0);
  });

  it("gives back what was charged and not used", () => {
    const bench = benchOf();
    ask(bench, "a", "a1", 60);
    expect(bench.state.fairShare.usageOf("a", bench.now)).toBe(60 * minute);
    bench.now += 5 * minute;
    const [lease] = bench.state.leases.values();
    bench.step({ type: "release", leaseId: lease?.id ?? "", token: 0 });
    // With a half-life of a week five minutes decay by less than one in a thousand.
    expect(bench.state.fairShare.usageOf("a", bench.now) / (5 * minute)).toBeCloseTo(1, 1);
  });

  it("goes on charging for a lease that runs longer than was thought, when the time that was charged is over", () => {
    const bench = benchOf();
    const start = bench.now;
    ask(bench, "a", "a1", 1);
    for (const [at, charged] of [
      [1, 2],
      [2, 4],
      [4, 8],
    ] as const) {
      expect(nextWake(bench.state)).toBe(start + at * minute);
      bench.now = start + at * minute;
      bench.step({ type: "tick" });
      expect(bench.state.fairShare.usageOf("a", bench.now) / minute).toBeCloseTo(charged, 1);
    }
    bench.now += 1;
    const [lease] = bench.state.leases.values();
    bench.step({ type: "release", leaseId: lease?.id ?? "", token: 0 });
    expect(bench.state.fairShare.usageOf("a", bench.now) / minute).toBeCloseTo(4, 1);
  });

  it("charges for the larger of the shares of GPU memory, host memory and GPUs", () => {
    const charged = (needs: object) => {
      const bench = new Bench({ margin: none, ramMargin: none }).sample([gpu(0, 10_000, 0), gpu(1, 10_000, 0)], {
        host: { totalMb: 40_000, availableMb: 40_000, observedAt: 1_001 },
      });
      bench.submit("wait", needs, { workload: { tenant: "a", expectedDurationMs: 1_000_000 } });
      return bench.state.fairShare.usageOf("a", bench.now);
    };
    expect(charged({ vramMb: 5000 })).toBe(250_000);
    expect(charged({ vramMb: 5000, ramMb: 20_000 })).toBe(500_000);
    expect(charged({ gpuCount: 0, vramMb: 0, ramMb: 10_000 })).toBe(250_000);
    expect(charged({ vramMb: 1000, exclusive: true })).toBe(500_000);
    expect(charged({ gpuCount: 2, vramMb: 10_000 })).toBe(1_000_000);
  });

  it("is off at a half-life of 0: then tenants are served by arrival", () => {
    const bench = benchOf({ fairShareHalfLifeMs: 0 });
    for (let i = 1; i <= 3; i++) ask(bench, "a", `a${i}`);
    for (let i = 1; i <= 3; i++) ask(bench, "b", `b${i}`);
    expect(served(bench)).toEqual(["a1", "a2", "a3", "b1", "b2", "b3"]);
  });

  it("is beaten by priority", () => {
    const bench = benchOf();
    ask(bench, "a", "a1", 100);
    ask(bench, "b", "b1");
    ask(bench, "a", "a2", 100, 1);
    ask(bench, "a", "a3", 100, 1);
    expect(served(bench, minute)).toEqual(["a1", "a2", "a3", "b1"]);
  });
});
