import { describe, expect, it } from "vitest";
import { disciplines } from "../../src/engine/settings.ts";
import { ResidentBench } from "./eviction-support.ts";

describe.each(disciplines)("what an eviction frees is held for its ticket: %s", (discipline) => {
  it("somebody smaller who came later does not take the first piece while the rest is on its way", () => {
    const bench = new ResidentBench([10_000], { discipline });
    const [a, b] = [bench.resident(5_000), bench.resident(5_000)];
    const large = bench.wait({ vramMb: 10_000 });
    const small = bench.wait({ vramMb: 1_000 });
    bench.exits(a);
    bench.measure();
    expect(bench.grantOf(small)).toBeUndefined();
    bench.exits(b);
    bench.measure();
    expect(bench.grantOf(large)).toBeDefined();
    expect(bench.grantOf(small)).toBeUndefined();
  });

  it("nor what is free beside those who stay, because only the victims leave", () => {
    const bench = new ResidentBench([10_000], { discipline });
    const busy = bench.resident(4_000, { name: "busy" });
    bench.start(busy);
    const idle = bench.resident(5_000, { name: "idle" });
    const large = bench.wait({ vramMb: 6_000 });
    expect(bench.evicting(busy, idle)).toEqual([idle]);
    const small = bench.wait({ vramMb: 1_000 });
    expect(bench.allocate({ vramMb: 500 }).type).toBe("refused");
    bench.exits(idle);
    bench.measure();
    expect(bench.grantOf(large)).toBeDefined();
    expect(bench.grantOf(small)).toBeUndefined();
  });
});

describe("what an eviction frees is held for its ticket", () => {
  it("and what is left over is for others, at once", () => {
    const bench = new ResidentBench([10_000]);
    const idle = bench.resident(9_000);
    const large = bench.wait({ vramMb: 6_000 });
    // 1,000 are free and 9,000 are coming: 4,000 are left beside the first.
    bench.lease({ vramMb: 1_000 });
    const fitsThen = bench.wait({ vramMb: 3_000 });
    expect(bench.evictions).toHaveLength(1);
    bench.exits(idle);
    bench.measure();
    expect([bench.grantOf(large), bench.grantOf(fitsThen)]).not.toContain(undefined);
  });

  it("of several such tickets each has its own, not all the same", () => {
    const bench = new ResidentBench([10_000]);
    const [a, b] = [bench.resident(5_000), bench.resident(5_000)];
    const first = bench.wait({ vramMb: 3_000 });
    const second = bench.wait({ vramMb: 4_000 });
    expect(bench.evictions.map((e) => e.ticketId)).toEqual([first, second]);
    const third = bench.wait({ vramMb: 3_001 });
    const fourth = bench.wait({ vramMb: 3_000 });
    bench.exits(a);
    bench.measure();
    // 5,000 are back: 3,000 are the first one's, and of the rest nobody has a piece while the second waits for 4,000.
    expect(bench.grantOf(first)).toBeDefined();
    expect([second, third, fourth].map((t) => bench.grantOf(t))).toEqual([undefined, undefined, undefined]);
    bench.exits(b);
    bench.measure();
    expect(bench.grantOf(second)).toBeDefined();
    expect(bench.grantOf(third)).toBeUndefined();
    expect(bench.grantOf(fourth)).toBeDefined();
  });

  it("nobody comes between two of them who fits beside each alone", () => {
    const bench = new ResidentBench([10_000]);
    const [a1, a2, b] = [
      bench.resident(4_000, { name: "a1" }),
      bench.resident(1_000, { name: "a2" }),
      bench.resident(5_000, { name: "b" }),
    ];
    bench.keep(b, { pinned: true });
    const first = bench.wait({ vramMb: 5_000 });
    bench.keep(b);
    const second = bench.wait({ vramMb: 5_000 });
    expect(bench.evicting(a1, a2, b)).toHaveLength(3);
    const third = bench.wait({ vramMb: 4_000 });
    bench.exits(a1);
    bench.measure();
    expect(bench.grantOf(third)).toBeUndefined();
    bench.exits(a2);
    bench.exits(b);
    bench.measure();
    expect([bench.grantOf(first), bench.grantOf(second)]).not.toContain(undefined);
  });

  it("whoever comes first by priority may take it; then the ticket has another plan", () => {
    const bench = new ResidentBench([10_000]);
    const [a, b] = [bench.resident(5_000), bench.resident(5_000)];
    bench.keep(b, { pinned: true });
    const first = bench.wait({ vramMb: 5_000 });
    bench.keep(b);
    const urgent = bench.wait({ vramMb: 5_000 }, { workload: { priority: 1 } });
    expect(bench.evictions).toEqual([{ ticketId: first, ids: [a.lease.id] }]);
    bench.exits(a);
    bench.measure();
    expect(bench.grantOf(urgent)).toBeDefined();
    expect(bench.evictions.at(-1)).toEqual({ ticketId: first, ids: [b.lease.id] });
  });

  it("only where it is to start: other GPUs are for others (E7)", () => {
    const bench = new ResidentBench([10_000, 10_000]);
    bench.resident(10_000, { on: "GPU-0" });
    const busy = bench.resident(6_000, { on: "GPU-1" });
    bench.start(busy);
    const large = bench.wait({ vramMb: 8_000 });
    expect(bench.evictions.map((e) => e.ticketId)).toEqual([large]);
    expect(bench.allocate({ vramMb: 4_000 }).type).toBe("lease");
  });

  it("host memory too, beside what is coming", () => {
    const bench = new ResidentBench([10_000]);
    const idle = bench.resident(1_000, { ramMb: 40_000 });
    const ticket = bench.wait({ gpuCount: 0, vramMb: 0, ramMb: 50_000 });
    expect(bench.evicting(idle)).toEqual([idle]);
    // 24,000 are free, 40,000 are coming, 50,000 are held.
    expect(bench.allocate({ gpuCount: 0, vramMb: 0, ramMb: 14_001 }).type).toBe("refused");
    expect(bench.allocate({ gpuCount: 0, vramMb: 0, ramMb: 14_000 }).type).toBe("lease");
    bench.exits(idle);
    bench.measure();
    expect(bench.grantOf(ticket)).toBeDefined();
  });

  it("from a ticket that wants its GPU for itself nobody gets a piece", () => {
    const bench = new ResidentBench([10_000]);
    const idle = bench.resident(5_000);
    const alone = bench.wait({ vramMb: 1_000, exclusive: true });
    expect(bench.evicting(idle)).toEqual([idle]);
    expect(bench.allocate({ vramMb: 1_000 }).type).toBe("refused");
    bench.exits(idle);
    bench.measure();
    expect(bench.grantOf(alone)).toBeDefined();
  });

  it("also for a ticket that was overtaken often enough: those who stay count for it too", () => {
    const bench = new ResidentBench([10_000], { maxOvertakes: 0 });
    const busy = bench.resident(4_000, { name: "busy" });
    bench.start(busy);
    const idle = bench.resident(5_000, { keeping: { pinned: true } });
    const large = bench.wait({ vramMb: 6_000 });
    expect(bench.state.holds).toHaveLength(1);
    bench.keep(idle);
    expect(bench.evicting(idle)).toEqual([idle]);
    expect(bench.allocate({ vramMb: 1_000 }).type).toBe("refused");
    bench.exits(idle);
    bench.measure();
    expect(bench.grantOf(large)).toBeDefined();
  });

  it("not any more when it is over and there is no other plan: in that very step others have what fits", () => {
    const bench = new ResidentBench([10_000], { releaseLagMs: 5_000, maxSampleAgeMs: 60_000 });
    const idle = bench.resident(9_000);
    const large = bench.wait({ vramMb: 9_500 }, { pollIntervalMs: 60_000 });
    const small = bench.wait({ vramMb: 2_000 }, { pollIntervalMs: 60_000 });
    bench.exits(idle);
    // Somebody nobody leased to was quicker.
    bench.foreign(0, 6_000).measure();
    expect(bench.grantOf(small)).toBeUndefined();
    bench.pass(5_000);
    expect(bench.evicted).toHaveLength(1);
    expect(bench.grantOf(small)).toBeDefined();
    expect(bench.state.holds).toEqual([]);
    expect(bench.reasons(large)).toEqual(["INSUFFICIENT_GPU_MEMORY"]);
  });
});

describe("reasons", () => {
  it("tell the ticket that leases are taken back for it, and which; others that memory is held, and for whom", () => {
    const bench = new ResidentBench([10_000]);
    const busy = bench.resident(4_000, { name: "busy" });
    bench.start(busy);
    const idle = bench.resident(5_000, { name: "llm" });
    const large = bench.wait({ vramMb: 6_000 });
    const small = bench.wait({ vramMb: 1_000 });
    expect(bench.ticket(large)?.reasons[0]).toEqual({
      code: "WAITING_FOR_EVICTION",
      message: "memory of llm, which was idle, is taken back for it",
      heldBy: [idle.lease.id],
    });
    expect(bench.ticket(small)?.reasons).toMatchObject([
      {
        code: "HELD_FOR_EARLIER_TICKET",
        message: `GPU 0 is held for ${large}, and idle leases are taken back for it`,
        heldBy: [large],
      },
    ]);
  });

  it("name at most four of many, and each name once", () => {
    const bench = new ResidentBench([10_000]);
    for (const name of ["a", "a", "b", "c", "d", "e"]) bench.resident(1_000, { name });
    const ticket = bench.wait({ vramMb: 10_000 });
    expect(bench.ticket(ticket)?.reasons[0]?.message).toMatch(/^memory of (\w, ){3}\w and 1 more, which were idle/);
    expect(bench.ticket(ticket)?.reasons[0]?.heldBy).toHaveLength(6);
  });

  it("never say that something is held because of overtaking when it is held for an eviction that is over", () => {
    const bench = new ResidentBench([10_000]);
    const idle = bench.resident(9_000);
    bench.wait({ vramMb: 9_500 });
    const small = bench.wait({ vramMb: 9_000 });
    bench.exits(idle);
    bench.foreign(0, 6_000).measure();
    bench.pass(5_000);
    bench.measure();
    expect(bench.reasons(small)).toEqual(["INSUFFICIENT_GPU_MEMORY"]);
  });
});
