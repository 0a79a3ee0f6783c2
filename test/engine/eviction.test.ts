import { describe, expect, it } from "vitest";
import { nextWake } from "../../src/engine/step.ts";
import { ResidentBench } from "./eviction-support.ts";

/** 10,000 MiB, all of it a resident's. */
function full(options: Parameters<ResidentBench["resident"]>[1] = {}, settings = {}) {
  const bench = new ResidentBench([10_000], settings);
  const worker = bench.resident(10_000, options);
  return { bench, worker };
}

describe("an idle lease whose holder gives it back when asked", () => {
  it("is taken back in the very step in which somebody waits who needs its memory", () => {
    const { bench, worker } = full();
    const ticket = bench.wait({ vramMb: 4_000 });
    expect(bench.evictions).toEqual([{ ticketId: ticket, ids: [worker.lease.id] }]);
    expect(bench.view(worker.lease.id)).toMatchObject({
      state: "evicting",
      eviction: { reason: expect.stringContaining(ticket) },
    });
    bench.exits(worker);
    bench.measure();
    expect(bench.grantOf(ticket)).toBeDefined();
  });

  it("stays when nobody listens for it", () => {
    const { bench, worker } = full();
    bench.leaves(worker);
    bench.wait({ vramMb: 4_000 });
    expect(bench.evictions).toEqual([]);
    bench.keep(worker);
    expect(bench.evicting(worker)).toEqual([worker]);
  });

  it("stays while an execution is unfinished, and goes in the step in which the last one finishes", () => {
    const { bench, worker } = full();
    bench.start(worker, "e1");
    bench.start(worker, "e2");
    const ticket = bench.wait({ vramMb: 4_000 });
    bench.measure().pass(60_000);
    bench.finish(worker, "e1");
    bench.measure();
    expect(bench.evictions).toEqual([]);
    bench.finish(worker, "e2");
    expect(bench.evictions).toEqual([{ ticketId: ticket, ids: [worker.lease.id] }]);
  });

  it("stays while it loads, because that counts as an execution from its grant on (E8)", () => {
    const bench = new ResidentBench([10_000]);
    const lease = bench.lease({ vramMb: 10_000 }, { hold: "stream" });
    const loading = { lease, pid: 7, process: "7:1", usedMb: 10_000, ramMb: 0, alive: true };
    bench.residents.push(loading);
    bench.start(loading, "load");
    bench.attach(lease, "7:1");
    bench.wait({ vramMb: 4_000 });
    bench.measure();
    // It says that it can be asked before its load counts as over, as a worker does whose first execution comes at once.
    bench.keep(loading);
    bench.start(loading, "first");
    bench.finish(loading, "load");
    bench.measure();
    expect(bench.evictions).toEqual([]);
    bench.finish(loading, "first");
    expect(bench.evictions).toHaveLength(1);
  });

  it("stays while it gives memory back, because what it will hold is not known", () => {
    const { bench, worker } = full();
    bench.keep(worker, { ready: false });
    bench.wait({ vramMb: 4_000 });
    bench.measure();
    expect(bench.evictions).toEqual([]);
    bench.keep(worker);
    expect(bench.evicting(worker)).toEqual([worker]);
  });

  it("stays when it is pinned, until it is not", () => {
    const { bench, worker } = full({ keeping: { pinned: true } });
    bench.wait({ vramMb: 4_000 });
    bench.measure();
    expect(bench.evictions).toEqual([]);
    bench.keep(worker, { pinned: false });
    expect(bench.evicting(worker)).toEqual([worker]);
  });

  it.each([
    { lease: 1, request: undefined, goes: false },
    { lease: undefined, request: -1, goes: false },
    { lease: undefined, request: undefined, goes: true },
    { lease: 5, request: 5, goes: true },
    { lease: -3, request: -2, goes: true },
  ])("goes only for a request of at least its importance: $lease for $request", ({ lease, request, goes }) => {
    const { bench } = full(lease === undefined ? {} : { importance: lease });
    bench.wait({ vramMb: 4_000 }, request === undefined ? {} : { workload: { importance: request } });
    expect(bench.evictions).toHaveLength(goes ? 1 : 0);
  });

  it("is not taken back for priority: that only decides whose turn it is", () => {
    const { bench } = full({ importance: 1 });
    bench.wait({ vramMb: 4_000 }, { workload: { priority: 100 } });
    expect(bench.evictions).toEqual([]);
  });

  it("stays for its minimum residence, and the engine wakes exactly when that ends (E17)", () => {
    const { bench, worker } = full({ keeping: { minResidenceMs: 7_000 } }, { maxSampleAgeMs: 60_000 });
    const until = (bench.state.leases.get(worker.lease.id)?.keeping?.readySince ?? Number.NaN) + 7_000;
    const ticket = bench.wait({ vramMb: 4_000 }, { timeoutMs: 0, pollIntervalMs: 60_000 });
    bench.now = until - 1;
    bench.step({ type: "tick" });
    expect(bench.evictions).toEqual([]);
    expect(nextWake(bench.state)).toBe(until);
    bench.pass(1);
    expect(bench.evictions).toEqual([{ ticketId: ticket, ids: [worker.lease.id] }]);
  });

  it("has the server's minimum residence where it does not say otherwise, counted from when it was loaded, not from its last use", () => {
    const { bench, worker } = full({}, { minResidenceMs: 3_000 });
    bench.pass(2_000);
    bench.start(worker);
    bench.finish(worker);
    bench.keep(worker);
    bench.measure();
    bench.wait({ vramMb: 4_000 });
    expect(bench.evictions).toEqual([]);
    bench.pass(1_000);
    bench.measure();
    expect(bench.evictions).toHaveLength(1);
  });

  it("takes no execution any more once it was asked to go, and says so (E5, E19)", () => {
    const { bench, worker } = full();
    bench.wait({ vramMb: 4_000 });
    expect(bench.start(worker)).toMatchObject({ type: "failure", failure: { reason: "LEASE_EVICTING" } });
    expect(bench.view(worker.lease.id)).toMatchObject({ state: "evicting", executions: 0 });
    expect(bench.refill(worker)).toMatchObject({ type: "failure", failure: { reason: "LEASE_EVICTING" } });
  });

  it("is asked once, however often somebody looks (E21)", () => {
    const { bench } = full();
    bench.wait({ vramMb: 4_000 });
    bench.wait({ vramMb: 4_000 });
    for (let i = 0; i < 5; i++) bench.measure().pass(100);
    expect(bench.evictions).toHaveLength(1);
  });
});

describe("nobody is evicted", () => {
  it("for a request that fits", () => {
    const bench = new ResidentBench([10_000]);
    bench.resident(6_000);
    bench.lease({ vramMb: 4_000 });
    expect(bench.evictions).toEqual([]);
  });

  it("when not even all idle leases would be enough (E10)", () => {
    const bench = new ResidentBench([10_000]);
    const [busy, idle] = [bench.resident(4_000), bench.resident(5_000)];
    bench.start(busy);
    const ticket = bench.wait({ vramMb: 6_001 });
    bench.measure();
    expect(bench.evictions).toEqual([]);
    expect(bench.reasons(ticket)).toEqual(["INSUFFICIENT_GPU_MEMORY"]);
    bench.finish(busy);
    expect(bench.evicting(busy, idle)).toEqual([busy, idle]);
    expect(bench.evictions).toHaveLength(1);
  });

  it("because of what others use, when that is what is missing (E15)", () => {
    const bench = new ResidentBench([10_000]);
    bench.resident(3_000);
    bench.foreign(0, 5_000).measure();
    bench.wait({ vramMb: 6_000 });
    bench.foreign(0, 7_000).measure();
    expect(bench.evictions).toEqual([]);
  });

  it("when memory that is coming back is enough", () => {
    const bench = new ResidentBench([10_000]);
    const ended = bench.resident(5_000, { name: "ended" });
    bench.resident(5_000, { name: "idle" });
    bench.exits(ended);
    const ticket = bench.wait({ vramMb: 5_000 });
    // Not seen to be free yet: settling first, then releasing.
    bench.measure([ended]);
    expect(bench.evictions).toEqual([]);
    expect(bench.reasons(ticket)).toEqual(["WAITING_FOR_RELEASE"]);
    bench.measure();
    expect(bench.grantOf(ticket)).toBeDefined();
  });

  it("for a second ticket when what goes for the first is enough for both", () => {
    const bench = new ResidentBench([10_000]);
    const [large, small] = [bench.resident(8_000), bench.resident(2_000)];
    bench.keep(small, { pinned: true });
    const first = bench.wait({ vramMb: 4_000 });
    bench.keep(small, { pinned: false });
    const second = bench.wait({ vramMb: 4_000 });
    expect(bench.evictions).toEqual([{ ticketId: first, ids: [large.lease.id] }]);
    bench.exits(large);
    bench.measure();
    expect([bench.grantOf(first), bench.grantOf(second)]).not.toContain(undefined);
  });

  it("for a request that does not wait: policy safety refuses, policy permissive grants", () => {
    const { bench } = full();
    expect(bench.allocate({ vramMb: 4_000 }).type).toBe("refused");
    expect(bench.submit("now", { vramMb: 4_000 }, { policy: "permissive" }).type).toBe("lease");
    expect(bench.submit("wait", { vramMb: 4_000 }, { policy: "permissive" }).type).toBe("lease");
    expect(bench.evictions).toEqual([]);
  });

  it("for a ticket whose client is away", () => {
    const { bench, worker } = full();
    bench.keep(worker, { pinned: true });
    const ticket = bench.wait({ vramMb: 4_000 }, { requestId: "r" });
    bench.step({ type: "disconnect", ticketId: ticket });
    bench.keep(worker, { pinned: false });
    bench.measure();
    expect(bench.evictions).toEqual([]);
    bench.wait({ vramMb: 4_000 }, { requestId: "r" });
    expect(bench.evictions).toEqual([{ ticketId: ticket, ids: [worker.lease.id] }]);
  });

  it("once the server drains; who was asked goes on leaving, and the books come out even", () => {
    const bench = new ResidentBench([10_000]);
    const [a, b] = [bench.resident(5_000), bench.resident(5_000)];
    bench.wait({ vramMb: 5_000 });
    bench.step({ type: "drain" });
    expect(bench.evicting(a, b)).toHaveLength(1);
    for (const r of [a, b]) bench.exits(r);
    bench.measure();
    expect(bench.state.evictions.underWay.size + bench.state.evictions.byTicket.size + bench.state.keepers.size).toBe(0);
  });

  it("by a later ticket under strict-fifo, which could not start anyway", () => {
    const bench = new ResidentBench([10_000, 10_000], { discipline: "strict-fifo" });
    const busy = bench.resident(10_000, { on: "GPU-0" });
    bench.start(busy);
    const idle = bench.resident(10_000, { on: "GPU-1" });
    const first = bench.wait({ vramMb: 8_000, gpuUuids: ["GPU-0"] });
    bench.wait({ vramMb: 8_000, gpuUuids: ["GPU-1"] });
    bench.measure();
    expect(bench.evictions).toEqual([]);
    bench.step({ type: "cancel", ticketId: first });
    expect(bench.evicting(busy, idle)).toEqual([idle]);
  });
});
