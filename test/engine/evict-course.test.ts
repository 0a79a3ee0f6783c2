import { describe, expect, it } from "vitest";
import { availableOf } from "../../src/engine/books.ts";
import { Stage } from "./evict-support.ts";
import { leaseIn, refusalIn } from "./support.ts";

const available = (s: Stage, uuid = "GPU-0") => {
  const pool = s.state.pools.get(uuid);
  return pool === undefined ? undefined : availableOf(s.state, pool);
};

describe("an eviction", () => {
  it("takes no new execution on the lease that goes (E5)", () => {
    const s = new Stage();
    const a = s.resident("a", 6_000);
    s.wait({ vramMb: 8_000 });
    expect(s.start(a)).toMatchObject({ type: "failure", failure: { reason: "LEASE_EVICTING" } });
    expect(s.view(a.id)?.executions).toBe(0);
  });

  it("tells the ticket what it waits for, with those who go", () => {
    const s = new Stage();
    const a = s.resident("a", 6_000);
    const ticket = s.wait({ vramMb: 8_000 });
    const [reason] = s.ticket(ticket)?.reasons ?? [];
    expect(reason).toMatchObject({ code: "WAITING_FOR_EVICTION", heldBy: [a.id] });
    expect(reason?.message).toContain("memory of a, which was idle");
  });

  it("grants only when a measurement from after the end shows the memory free (E1, E2)", () => {
    const s = new Stage();
    s.resident("a", 6_000);
    const ticket = s.wait({ vramMb: 8_000 });
    const lingering = s.residents.get("a");
    s.end("a");
    expect(s.grantOf(ticket)).toBeUndefined();
    s.foreignMb.set("GPU-0", 6_000);
    s.show();
    expect(lingering?.usedMb).toBe(6_000);
    expect(s.grantOf(ticket)).toBeUndefined();
    s.foreignMb.clear();
    s.show();
    expect(s.grantOf(ticket)?.gpus[0]?.uuid).toBe("GPU-0");
  });

  it("is told when it is over, with what was expected and what was measured, signed (E3, E4)", () => {
    const s = new Stage();
    s.resident("a", 6_000, { usedMb: 5_500 });
    s.wait({ vramMb: 8_000 });
    s.end("a");
    expect(s.evicted).toEqual([]);
    // Somebody else took more than came back meanwhile.
    s.foreignMb.set("GPU-0", 7_000);
    s.show();
    s.pass(6_000);
    s.show();
    expect(s.evicted).toHaveLength(1);
    expect(s.evicted[0]?.victims).toMatchObject([
      { name: "a", why: "evicted", pools: [{ gpuUuid: "GPU-0", expectedMb: 5_500, measuredMb: -1_500 }] },
    ]);
    expect(s.evicted[0]?.tookMs).toBeGreaterThan(0);
  });

  it("makes another plan for the same ticket only after the memory of the first was waited for", () => {
    const s = new Stage();
    s.resident("a", 4_000, { reloadMs: 1 });
    s.resident("b", 5_000, { reloadMs: 99_000 });
    const ticket = s.wait({ vramMb: 4_500 });
    expect(s.evictions).toEqual([["a"]]);
    s.end("a");
    // Its memory does not come back: somebody else has it.
    s.foreignMb.set("GPU-0", 4_000);
    s.show();
    expect(s.evictions).toEqual([["a"]]);
    for (let i = 0; i < 4; i++) s.pass(2_000).show();
    expect(s.evictions).toEqual([["a"], ["b"]]);
    s.end("b");
    s.show();
    expect(s.grantOf(ticket)).toBeDefined();
  });

  it("keeps what comes free for the ticket that it is for, against later ones that would fit already", () => {
    for (const discipline of ["backfill", "best-effort", "strict-fifo"] as const) {
      const s = new Stage(1, { discipline });
      s.resident("a", 4_000);
      s.resident("b", 4_000);
      s.foreignMb.set("GPU-0", 1_500);
      s.show();
      const first = s.wait({ vramMb: 8_000 });
      expect(s.evictions.flat().sort()).toEqual(["a", "b"]);
      s.end("a");
      s.show();
      const later = s.wait({ vramMb: 4_000 });
      expect(s.grantOf(later), discipline).toBeUndefined();
      s.end("b");
      s.show();
      expect(s.grantOf(first), discipline).toBeDefined();
      expect(s.grantOf(later), discipline).toBeUndefined();
    }
  });

  it("leaves other residents alone while its own are on their way (E15)", () => {
    const s = new Stage(2);
    s.resident("a", 6_000, { gpus: ["GPU-0"], reloadMs: 1 });
    s.resident("b", 6_000, { gpus: ["GPU-1"], reloadMs: 50_000 });
    s.wait({ vramMb: 8_000 });
    for (let i = 0; i < 3; i++) s.show().pass(100);
    expect(s.evictions).toEqual([["a"]]);
  });

  it("waits for memory that is coming back anyway, rather than evict", () => {
    const s = new Stage();
    const job = s.lease({ vramMb: 5_000 });
    s.attach(job, "7:1");
    s.resident("a", 4_000);
    s.release(job);
    s.wait({ vramMb: 6_000 });
    expect(s.evictions).toEqual([]);
    s.show();
    expect(s.evictions).toEqual([]);
  });
});

describe("the lease of another program", () => {
  const watcher = { holder: "watcher" as const };

  it("is asked for with a deadline, and ends then when it was not given back (E21)", () => {
    const s = new Stage(1, { evictionGraceMs: 4_000 });
    const a = s.resident("a", 6_000, watcher);
    s.wait({ vramMb: 8_000 }, { timeoutMs: 0 });
    expect(s.view(a.id)?.eviction?.deadline).toBe(s.now + 4_000);
    s.pass(3_900);
    expect(s.view(a.id)?.end).toBeUndefined();
    s.pass(100);
    expect(s.view(a.id)?.end).toBe("evicted");
  });

  it("becomes foreign use when its process lives on, and the next plan rests on that", () => {
    const s = new Stage(1, { evictionGraceMs: 1_000 });
    s.resident("a", 6_000, watcher);
    const ticket = s.wait({ vramMb: 8_000 }, { timeoutMs: 0 });
    s.pass(1_000).show();
    expect(s.state.pools.get("GPU-0")?.foreignMb).toBe(6_000);
    expect(available(s)).toBe(4_000);
    expect(s.grantOf(ticket)).toBeUndefined();
    expect(s.evicted).toHaveLength(1);
  });

  it("ends as evicted when it is given back in time", () => {
    const s = new Stage();
    const a = s.resident("a", 6_000, watcher);
    const ticket = s.wait({ vramMb: 8_000 });
    s.end("a");
    expect(s.view(a.id)?.end).toBe("evicted");
    s.show();
    expect(s.grantOf(ticket)).toBeDefined();
  });

  it("is left to it when the ticket goes away before (E13); a worker of this server goes on leaving", () => {
    const s = new Stage();
    const a = s.resident("a", 4_000, watcher);
    const b = s.resident("b", 5_000);
    const ticket = s.wait({ vramMb: 10_000 });
    expect(s.evictions.flat().sort()).toEqual(["a", "b"]);
    s.step({ type: "cancel", ticketId: ticket });
    expect(s.view(a.id)?.state).toBe("idle");
    expect(s.view(b.id)?.state).toBe("evicting");
    expect(s.start(a).type).toBe("lease");
    s.pass(60_000);
    expect(s.view(a.id)?.end).toBeUndefined();
  });

  it("cannot be asked for once nobody listens any more", () => {
    const s = new Stage();
    const a = s.resident("a", 6_000, watcher);
    s.keep(a, undefined);
    s.wait({ vramMb: 8_000 });
    expect(s.evictions).toEqual([]);
  });
});

describe("memory that a worker gave back", () => {
  const giveBack = (s: Stage, lease: { id: string; token: number }) =>
    s.step({ type: "give-back", leaseId: lease.id, token: lease.token }).reply;
  const refill = (s: Stage, lease: { id: string; token: number }, policy = "safety") =>
    s.step({ type: "refill", leaseId: lease.id, token: lease.token, policy }).reply;

  it("is free only as far as a newer measurement shows it (A12)", () => {
    const s = new Stage();
    const a = s.resident("a", 6_000);
    giveBack(s, a);
    expect(available(s)).toBe(4_000);
    s.uses("a", 2_500);
    s.show();
    expect(available(s)).toBe(7_500);
    expect(s.view(a.id)?.gpus[0]?.vramMb).toBe(2_500);
  });

  it("is had again without being charged twice, where it fits (A5)", () => {
    const s = new Stage();
    const a = s.resident("a", 6_000);
    giveBack(s, a);
    s.uses("a", 1_000);
    s.show();
    s.lease({ vramMb: 4_000 });
    // 6,000 needed, 1,000 of them its own, 5,000 available.
    expect(available(s)).toBe(5_000);
    leaseIn(refill(s, a));
    expect(s.view(a.id)?.gpus[0]?.vramMb).toBe(6_000);
    expect(available(s)).toBe(0);
  });

  it("is refused when somebody else has it by now, and nothing changes", () => {
    const s = new Stage();
    const a = s.resident("a", 6_000);
    giveBack(s, a);
    s.uses("a", 1_000);
    s.show();
    s.lease({ vramMb: 6_000 });
    expect(refusalIn(refill(s, a)).reasons[0]?.code).toBe("INSUFFICIENT_GPU_MEMORY");
    expect(s.view(a.id)?.gpus[0]?.vramMb).toBe(1_000);
    expect(available(s)).toBe(3_000);
  });

  it("is refused on a lease that is being evicted", () => {
    const s = new Stage();
    const a = s.resident("a", 6_000);
    giveBack(s, a);
    s.uses("a", 3_000);
    s.show();
    s.wait({ vramMb: 9_000 });
    expect(s.evictions).toEqual([["a"]]);
    expect(refill(s, a)).toMatchObject({ type: "failure", failure: { reason: "LEASE_EVICTING" } });
  });
});

describe("the account of a resident", () => {
  it("is charged to nobody while it is idle, and again from its next execution on", () => {
    const s = new Stage(1, { fairShareHalfLifeMs: 1e12 });
    const a = s.resident("a", 5_000, { ask: { workload: { tenant: "t", expectedDurationMs: 1_000 } } });
    const usage = () => s.state.fairShare.usageOf("t", s.now);
    s.pass(10_000);
    const idle = usage();
    s.pass(100_000);
    expect(usage()).toBeCloseTo(idle, 3);
    s.start(a);
    expect(usage()).toBeGreaterThan(idle);
    const used = usage();
    s.pass(200_000);
    expect(usage()).toBeGreaterThan(used);
  });

  it("teaches nothing about how long work takes", () => {
    const s = new Stage();
    const estimate = () => s.state.durations.estimateMs("default\u0000a");
    const a = s.resident("a", 5_000);
    const kind = s.state.leases.get(a.id)?.kind ?? "";
    const before = s.state.durations.estimateMs(kind);
    s.pass(3_600_000);
    s.end("a");
    expect(s.state.durations.estimateMs(kind)).toBe(before);
    expect(estimate()).toBeGreaterThan(0);
  });
});
