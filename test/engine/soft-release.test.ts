import { describe, expect, it } from "vitest";
import { availableOf } from "../../src/engine/books.ts";
import { disciplines } from "../../src/engine/settings.ts";
import { ResidentBench } from "./eviction-support.ts";
import { refusalIn } from "./support.ts";

function available(bench: ResidentBench, key = "GPU-0"): number | undefined {
  const pool = bench.state.pools.get(key);
  return pool === undefined ? undefined : availableOf(bench.state, pool);
}

/** A worker of 8,000 MiB that has given back all but 1,000, as a measurement shows. */
function released(settings = {}) {
  const bench = new ResidentBench([10_000], settings);
  const worker = bench.resident(8_000);
  bench.giveBack(worker);
  worker.usedMb = 1_000;
  bench.measure();
  return { bench, worker };
}

describe("a worker that gives memory back and lives", () => {
  it("frees what a newer measurement shows, and nothing before (A12)", () => {
    const bench = new ResidentBench([10_000]);
    const worker = bench.resident(8_000);
    const before = bench.now - 1;
    bench.giveBack(worker);
    expect(available(bench)).toBe(2_000);
    worker.usedMb = 3_000;
    // From before it gave back, delivered after.
    bench.sample([{ ...(bench.cards[0] ?? expect.fail()), usedMb: 8_000, freeMb: 2_000, observedAt: before }], {
      processes: {
        observedAt: before,
        list: [{ pid: worker.pid, gpuUuid: "GPU-0", usedMb: 8_000, name: "", lineage: [worker.process] }],
      },
    });
    expect(available(bench)).toBe(2_000);
    bench.measure();
    // What its allocator has kept is not free.
    expect(available(bench)).toBe(7_000);
    expect(bench.view(worker.lease.id)?.gpus).toMatchObject([{ vramMb: 3_000, residentMb: 3_000 }]);
  });

  it("asks for a fresh measurement when somebody waits, and whoever waits has the memory when that shows it", () => {
    const bench = new ResidentBench([10_000]);
    const worker = bench.resident(8_000, { keeping: { pinned: true } });
    bench.giveBack(worker);
    expect(bench.effects.filter((e) => e.type === "refresh")).toEqual([]);
    const ticket = bench.wait({ vramMb: 6_000 });
    bench.giveBack(worker);
    expect(bench.effects.filter((e) => e.type === "refresh")).toHaveLength(1);
    worker.usedMb = 1_000;
    bench.measure();
    expect(bench.grantOf(ticket)).toBeDefined();
  });

  it("is not evicted before it is measured: it may not need to go", () => {
    const bench = new ResidentBench([10_000]);
    const worker = bench.resident(8_000, { keeping: { ready: false } });
    const other = bench.resident(2_000, { name: "other" });
    const ticket = bench.wait({ vramMb: 6_000 });
    worker.usedMb = 1_000;
    bench.giveBack(worker);
    bench.keep(worker);
    expect(bench.evictions).toEqual([]);
    bench.measure();
    expect(bench.grantOf(ticket)).toBeDefined();
    expect(bench.evicting(worker, other)).toEqual([]);
  });

  it("is evicted when the measurement shows that it has kept what is needed (A12)", () => {
    const bench = new ResidentBench([10_000]);
    const worker = bench.resident(8_000, { keeping: { ready: false } });
    const ticket = bench.wait({ vramMb: 6_000 });
    worker.usedMb = 5_000;
    bench.giveBack(worker);
    bench.keep(worker);
    bench.measure();
    expect(bench.evictions).toEqual([{ ticketId: ticket, ids: [worker.lease.id] }]);
  });

  it("does not hold up an eviction where its memory is of no use, nor for longer than memory takes to come back", () => {
    const bench = new ResidentBench([10_000, 10_000], { releaseLagMs: 5_000, maxSampleAgeMs: 60_000 });
    const soft = bench.resident(10_000, { name: "soft", on: "GPU-0" });
    const idle = bench.resident(10_000, { name: "idle", on: "GPU-1" });
    bench.giveBack(soft);
    bench.wait({ vramMb: 4_000, gpuUuids: ["GPU-1"] }, { pollIntervalMs: 60_000 });
    expect(bench.evicting(soft, idle)).toEqual([idle]);
    bench.wait({ vramMb: 4_000, gpuUuids: ["GPU-0"] }, { pollIntervalMs: 60_000 });
    expect(bench.evicting(soft, idle)).toEqual([idle]);
    bench.pass(5_000);
    expect(bench.evicting(soft, idle)).toEqual([soft, idle]);
  });

  it("is not credited with what it had by a list from before, beside figures from after: foreign use would be taken for its own", () => {
    const bench = new ResidentBench([10_000]);
    const worker = bench.resident(4_000);
    bench.foreign(0, 2_000).measure();
    const before = bench.now;
    bench.pass(10);
    bench.giveBack(worker);
    // It gave 3,000 back, and somebody nobody leased to has taken them; nobody sees which.
    bench.sample([{ ...(bench.cards[0] ?? expect.fail()), usedMb: 6_000, freeMb: 4_000 }], {
      processes: {
        observedAt: before,
        list: [{ pid: worker.pid, gpuUuid: "GPU-0", usedMb: 4_000, name: "", lineage: [worker.process] }],
      },
    });
    expect(available(bench)).toBe(0);
    bench.refill(worker);
    bench.sample([{ ...(bench.cards[0] ?? expect.fail()), usedMb: 6_000, freeMb: 4_000 }], {
      processes: {
        observedAt: before,
        list: [{ pid: worker.pid, gpuUuid: "GPU-0", usedMb: 4_000, name: "", lineage: [worker.process] }],
      },
    });
    expect(available(bench)).toBe(0);
  });

  it("gives host memory back likewise", () => {
    const bench = new ResidentBench([10_000]);
    const worker = bench.resident(1_000, { ramMb: 40_000 });
    expect(available(bench, "host")).toBe(24_000);
    bench.giveBack(worker);
    worker.ramMb = 10_000;
    bench.measure();
    expect(available(bench, "host")).toBe(54_000);
  });

  it("is charged what it has when it grows again without asking", () => {
    const { bench, worker } = released();
    worker.usedMb = 6_000;
    bench.measure();
    expect(available(bench)).toBe(4_000);
  });

  it("still counts in full against its tenant's limit, because it may have it all again", () => {
    const bench = new ResidentBench([10_000], { tenantLimits: new Map([["default", { vramMb: 8_000 }]]) });
    const worker = bench.resident(8_000, { keeping: { pinned: true } });
    bench.giveBack(worker);
    worker.usedMb = 0;
    bench.measure();
    expect(refusalIn(bench.allocate({ vramMb: 1_000 })).reasons[0]?.code).toBe("QUOTA");
  });

  it("frees nothing where memory cannot be attributed, because what use fell by may be another's; but it may be evicted (A17)", () => {
    const bench = new ResidentBench([10_000]);
    bench.change(0, { attribution: false });
    bench.measure();
    const worker = bench.resident(8_000);
    bench.giveBack(worker);
    worker.usedMb = 2_000;
    bench.measure();
    expect(available(bench)).toBe(2_000);
    bench.wait({ vramMb: 8_000 });
    expect(bench.evicting(worker)).toEqual([worker]);
  });
});

describe("what it gave back it has again", () => {
  it("when it asks for it and it fits; what it kept is not charged twice (A5)", () => {
    const { bench, worker } = released();
    bench.lease({ vramMb: 2_000 });
    expect(available(bench)).toBe(7_000);
    expect(bench.refill(worker).type).toBe("lease");
    expect(available(bench)).toBe(0);
    expect(bench.view(worker.lease.id)?.gpus[0]).toMatchObject({ vramMb: 8_000, residentMb: 1_000 });
  });

  it("always, when nobody took it: a second run fits where the first did (A5)", () => {
    const bench = new ResidentBench([10_000]);
    const worker = bench.resident(10_000, { ramMb: 64_000, exclusive: true });
    for (const kept of [0, 1, 9_999, 10_000]) {
      bench.giveBack(worker);
      worker.usedMb = kept;
      bench.measure();
      expect(bench.refill(worker).type).toBe("lease");
    }
  });

  it("not when others took it meanwhile: the refusal is about its own GPU, and credits what it has", () => {
    const bench = new ResidentBench([10_000, 10_000]);
    const worker = bench.resident(8_000, { on: "GPU-1" });
    bench.giveBack(worker);
    worker.usedMb = 1_000;
    bench.measure();
    bench.lease({ vramMb: 5_000, gpuUuids: ["GPU-1"] });
    expect(refusalIn(bench.refill(worker)).reasons).toMatchObject([
      { code: "INSUFFICIENT_GPU_MEMORY", gpuUuid: "GPU-1", neededMb: 8_000, availableMb: 5_000 },
    ]);
    expect(available(bench, "GPU-1")).toBe(4_000);
    expect(bench.view(worker.lease.id)).toMatchObject({ state: "idle", gpus: [{ vramMb: 1_000 }] });
  });

  it("whatever others took under policy permissive", () => {
    const { bench, worker } = released();
    bench.lease({ vramMb: 9_000 });
    expect(bench.refill(worker).type).toBe("refused");
    expect(bench.refill(worker, "permissive").type).toBe("lease");
    expect(available(bench)).toBe(-7_000);
  });

  it("at once and unchanged when it gave nothing back", () => {
    const bench = new ResidentBench([10_000]);
    const worker = bench.resident(8_000);
    const { version } = bench.state;
    expect(bench.refill(worker).type).toBe("lease");
    expect(bench.state.version).toBe(version);
    // Nor was it measured yet.
    bench.giveBack(worker);
    bench.foreign(0, 2_000).measure([worker]);
    bench.giveBack(worker);
    expect(bench.refill(worker).type).toBe("lease");
    expect(available(bench)).toBe(0);
  });

  it.each(disciplines)("never before those who wait and for whom it is held: %s", (discipline) => {
    const { bench, worker } = released({ discipline, maxOvertakes: 0 });
    bench.keep(worker, { pinned: true });
    const busy = bench.lease({ vramMb: 4_000 });
    const ticket = bench.wait({ vramMb: 6_000 });
    // 5,000 are free and 1,000 are its own, which is not enough; and when it is, the ticket comes first.
    expect(refusalIn(bench.refill(worker)).reasons.map((r) => r.code)).toContain("INSUFFICIENT_GPU_MEMORY");
    bench.release(busy);
    expect(bench.grantOf(ticket)).toBeDefined();
  });

  it("not out of what idle leases are taken back for", () => {
    const { bench, worker } = released();
    bench.keep(worker, { pinned: true });
    const idle = bench.resident(2_000, { name: "idle" });
    const ticket = bench.wait({ vramMb: 8_500 });
    expect(bench.evicting(idle)).toEqual([idle]);
    expect(refusalIn(bench.refill(worker)).reasons).toMatchObject([{ code: "HELD_FOR_EARLIER_TICKET", heldBy: [ticket] }]);
    bench.exits(idle);
    bench.measure();
    expect(bench.grantOf(ticket)).toBeDefined();
  });

  it("and whoever could have used that has been overtaken once more, as by a new lease", () => {
    const { bench, worker } = released({ maxOvertakes: 2 });
    bench.keep(worker, { pinned: true });
    const ticket = bench.wait({ vramMb: 9_500 });
    const overtaken = () => bench.ticket(ticket)?.overtaken;
    for (const times of [1, 2]) {
      expect(bench.refill(worker).type).toBe("lease");
      expect(overtaken()).toBe(times);
      bench.giveBack(worker);
      bench.measure();
    }
    // From here on memory is held for it.
    expect(bench.state.holds.map((h) => h.ticket.id)).toEqual([ticket]);
    expect(refusalIn(bench.refill(worker)).reasons[0]?.code).toBe("HELD_FOR_EARLIER_TICKET");
    expect(overtaken()).toBe(2);
  });

  it("and stays for its minimum residence from there, because it is loaded anew (E17)", () => {
    const bench = new ResidentBench([10_000], { minResidenceMs: 5_000 });
    const worker = bench.resident(8_000);
    bench.pass(10_000).measure();
    bench.giveBack(worker);
    worker.usedMb = 1_000;
    bench.measure();
    bench.refill(worker);
    bench.start(worker);
    worker.usedMb = 8_000;
    bench.measure();
    bench.finish(worker);
    const ticket = bench.wait({ vramMb: 5_000 });
    expect(bench.evictions).toEqual([]);
    bench.pass(5_000).measure();
    expect(bench.evictions).toEqual([{ ticketId: ticket, ids: [worker.lease.id] }]);
  });

  it("not with another token, nor once the lease has ended", () => {
    const { bench, worker } = released();
    const { id, token } = worker.lease;
    const refill = (t: number) => bench.step({ type: "refill", leaseId: id, token: t, policy: "" }).reply;
    expect(refill(token + 1)).toMatchObject({ failure: { reason: "STALE_TOKEN" } });
    bench.exits(worker);
    expect(refill(token)).toMatchObject({ failure: { reason: "LEASE_EXPIRED" } });
  });
});
