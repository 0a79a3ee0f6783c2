import { describe, expect, it } from "vitest";
import { ResidentBench } from "./eviction-support.ts";

describe("the memory of those who went", () => {
  it("is waited for: the next start is not granted on the strength of an end alone (E1)", () => {
    const bench = new ResidentBench([10_000]);
    const worker = bench.resident(8_000);
    const ticket = bench.wait({ vramMb: 8_000 });
    bench.exits(worker);
    expect(bench.effects.at(-1)?.type === "changed" && bench.effects.some((e) => e.type === "refresh")).toBe(true);
    bench.measure([worker]).measure([worker]);
    expect(bench.grantOf(ticket)).toBeUndefined();
    expect(bench.evicted).toEqual([]);
    bench.measure();
    expect(bench.grantOf(ticket)).toBeDefined();
  });

  it("was back before anybody looked: the eviction is over at once, not after the release lag (E2)", () => {
    const bench = new ResidentBench([10_000], { releaseLagMs: 5_000 });
    const worker = bench.resident(8_000);
    const ticket = bench.wait({ vramMb: 8_000 });
    worker.alive = false;
    bench.measure();
    const before = bench.now;
    bench.exits(worker);
    bench.measure();
    expect(bench.grantOf(ticket)).toBeDefined();
    expect(bench.now - before).toBeLessThan(100);
    expect(bench.evicted).toHaveLength(1);
  });

  it("is told as it was measured, against what was expected, with how long it took", () => {
    const bench = new ResidentBench([10_000]);
    const worker = bench.resident(8_000, { name: "llm", ramMb: 3_000 });
    const ticket = bench.wait({ vramMb: 8_000 });
    const from = bench.now;
    bench.pass(1_000).exits(worker);
    bench.measure();
    expect(bench.evicted).toEqual([
      {
        type: "evicted",
        ticketId: ticket,
        reason: expect.stringContaining("waits for 8,000 MiB on a GPU"),
        tookMs: bench.now - from,
        victims: [
          {
            leaseId: worker.lease.id,
            name: "llm",
            costMs: expect.closeTo(1_000, 6),
            why: "evicted",
            pools: [
              { gpuUuid: "GPU-0", expectedMb: 8_000, measuredMb: 8_000 },
              { expectedMb: 3_000, measuredMb: 3_000 },
            ],
          },
        ],
      },
    ]);
  });

  it("is a signed difference: use that rose meanwhile is told as less than nothing, and nothing converges on it (E3, E4)", () => {
    const bench = new ResidentBench([10_000], { releaseLagMs: 5_000 });
    const worker = bench.resident(4_000);
    const ticket = bench.wait({ vramMb: 8_000 });
    bench.exits(worker);
    bench.foreign(0, 5_000).measure();
    expect(bench.evicted).toEqual([]);
    bench.pass(5_000).measure();
    expect(bench.evicted[0]?.victims[0]?.pools).toEqual([{ gpuUuid: "GPU-0", expectedMb: 4_000, measuredMb: -1_000 }]);
    expect(bench.grantOf(ticket)).toBeUndefined();
  });

  it("is absent, never a number, where it could not be measured", () => {
    const bench = new ResidentBench([10_000, 10_000], { maxSampleAgeMs: 5_000 });
    const worker = bench.resident(8_000, { on: "GPU-0" });
    bench.foreign(1, 10_000).measure();
    bench.wait({ vramMb: 8_000 });
    bench.change(0, { health: "lost", healthMessage: "it does not answer" });
    const { totalMb: _t, usedMb: _u, freeMb: _f, reservedMb: _r, ...lost } = bench.cards[0] ?? expect.fail();
    bench.cards[0] = lost;
    bench.measure().exits(worker);
    bench.measure().pass(10_000);
    bench.measure();
    expect(bench.evicted[0]?.victims[0]?.pools).toEqual([{ gpuUuid: "GPU-0", expectedMb: 8_000 }]);
  });
});

describe("a second plan for the same ticket", () => {
  it("is made only when the memory of the first was waited for, not while somebody of it is on the way", () => {
    const bench = new ResidentBench([10_000], { releaseLagMs: 5_000, maxSampleAgeMs: 60_000 });
    const [first, second] = [bench.resident(4_000, { name: "first" }), bench.resident(4_000, { name: "second" })];
    bench.keep(second, { pinned: true });
    const ticket = bench.wait({ vramMb: 5_000 }, { pollIntervalMs: 60_000, timeoutMs: 0 });
    bench.keep(second);
    bench.measure().measure();
    expect(bench.evictions).toHaveLength(1);
    // Somebody takes what it was to have.
    bench.foreign(0, 2_000).measure().exits(first);
    bench.measure([first]);
    expect(bench.evictions).toHaveLength(1);
    bench.measure();
    expect(bench.evictions.at(-1)).toEqual({ ticketId: ticket, ids: [second.lease.id] });
    expect(bench.evicted.map((e) => e.victims.map((v) => v.leaseId))).toEqual([[first.lease.id]]);
    bench.exits(second);
    bench.measure();
    expect(bench.grantOf(ticket)).toBeDefined();
  });

  it("is not made while the last part of the first is still coming back", () => {
    const bench = new ResidentBench([10_000], { releaseLagMs: 5_000 });
    const [first, second] = [bench.resident(8_000, { name: "first" }), bench.resident(2_000, { name: "second" })];
    bench.keep(second, { pinned: true });
    const ticket = bench.wait({ vramMb: 8_000 });
    bench.keep(second);
    bench.exits(first);
    first.usedMb = 1_000;
    bench.measure([first]);
    expect(bench.evictions).toHaveLength(1);
    bench.measure();
    expect(bench.grantOf(ticket)).toBeDefined();
    expect(bench.evicting(second)).toEqual([]);
  });

  it("comes before somebody later takes what the first has freed", () => {
    const bench = new ResidentBench([10_000], { releaseLagMs: 5_000, maxSampleAgeMs: 60_000 });
    const [first, second] = [bench.resident(6_000, { name: "first" }), bench.resident(4_000, { name: "second" })];
    bench.keep(second, { pinned: true });
    const large = bench.wait({ vramMb: 6_000 }, { pollIntervalMs: 60_000 });
    bench.keep(second);
    // It matters too little to have somebody evicted for itself.
    const small = bench.wait({ vramMb: 2_500 }, { pollIntervalMs: 60_000, workload: { importance: -1 } });
    bench.exits(first);
    bench.foreign(0, 2_000).measure();
    bench.pass(5_000);
    expect(bench.evictions.at(-1)).toEqual({ ticketId: large, ids: [second.lease.id] });
    expect(bench.grantOf(small)).toBeUndefined();
    bench.exits(second);
    bench.measure();
    expect(bench.grantOf(large)).toBeDefined();
  });
});

describe("the books of evictions", () => {
  it("are empty when all leases have ended and nobody waits", () => {
    const bench = new ResidentBench([10_000]);
    const workers = ["a", "b", "c"].map((name) => bench.resident(3_000, { name }));
    const tickets = [bench.wait({ vramMb: 8_000 }), bench.wait({ vramMb: 9_000 })];
    for (const w of workers) bench.exits(w);
    bench.measure();
    for (const t of tickets) {
      const lease = bench.grantOf(t);
      if (lease !== undefined) bench.release(lease);
      bench.measure();
    }
    expect(tickets.map((t) => bench.grantOf(t))).not.toContain(undefined);
    expect(bench.state.keepers.size).toBe(0);
    expect(bench.state.evictions).toEqual({ byTicket: new Map(), underWay: new Set() });
    expect(bench.state.holds).toEqual([]);
  });
});
