import { describe, expect, it } from "vitest";
import { availableOf } from "../../src/engine/books.ts";
import { nextWake } from "../../src/engine/step.ts";
import { ResidentBench } from "./eviction-support.ts";

const watcher = { keeping: { holder: "watcher" as const } };

/** Somebody waits for what another program holds and does not use. */
function asked(settings = {}) {
  const bench = new ResidentBench([10_000], { evictionGraceMs: 30_000, fairShareHalfLifeMs: 0, ...settings });
  const program = bench.resident(8_000, watcher);
  const ticket = bench.wait({ vramMb: 6_000 }, { timeoutMs: 0, pollIntervalMs: 60_000 });
  return { bench, program, ticket, deadline: bench.now + 30_000 };
}

describe("another program that is asked to give its lease back", () => {
  it("has a deadline, and the engine wakes for it; a worker of this server has none", () => {
    const { bench, program, ticket, deadline } = asked();
    expect(bench.view(program.lease.id)?.eviction).toEqual({ reason: expect.stringContaining(ticket), deadline });
    expect(nextWake(bench.state)).toBe(deadline);
    const other = new ResidentBench([10_000], { fairShareHalfLifeMs: 0 });
    const worker = other.resident(8_000);
    other.wait({ vramMb: 6_000 }, { timeoutMs: 0 });
    expect(Object.keys(other.view(worker.lease.id)?.eviction ?? {})).toEqual(["reason"]);
    expect(nextWake(other.state)).toBeUndefined();
  });

  it("that releases in time has ended as evicted, and its memory is waited for", () => {
    const { bench, program, ticket } = asked();
    program.alive = false;
    expect(bench.release(program.lease)).toMatchObject({ lease: { end: "evicted", state: "draining" } });
    expect(bench.grantOf(ticket)).toBeUndefined();
    bench.measure();
    expect(bench.grantOf(ticket)).toBeDefined();
    expect(bench.evicted[0]?.victims[0]).toMatchObject({ leaseId: program.lease.id, why: "evicted" });
  });

  it("whose process ends because of it has ended as evicted too", () => {
    const { bench, program } = asked();
    bench.exits(program);
    expect(bench.view(program.lease.id)?.end).toBe("evicted");
  });

  it("that does not answer loses its lease at the deadline, not before (E21)", () => {
    const { bench, program } = asked({ maxSampleAgeMs: 60_000 });
    bench.pass(29_999);
    expect(bench.isEvicting(program)).toBe(true);
    bench.pass(1);
    expect(bench.view(program.lease.id)).toMatchObject({ state: "draining", end: "evicted" });
  });

  it("and lives on becomes foreign use: its memory is not taken for free, and what it has not taken yet stays charged", () => {
    const { bench, program, ticket } = asked({ maxSampleAgeMs: 60_000 });
    program.usedMb = 5_000;
    bench.measure().pass(30_000);
    expect(bench.state.leases.get(program.lease.id)?.phase).toBe("orphan");
    bench.measure();
    const pool = bench.state.pools.get("GPU-0");
    expect(pool).toMatchObject({ foreignMb: 5_000, outstandingMb: 3_000 });
    expect(pool && availableOf(bench.state, pool)).toBe(2_000);
    expect(bench.grantOf(ticket)).toBeUndefined();
    bench.exits(program);
    bench.measure();
    expect(bench.grantOf(ticket)).toBeDefined();
  });

  it("and lives on frees nothing: the next plan is made from what is measured then", () => {
    const bench = new ResidentBench([10_000], { evictionGraceMs: 30_000, maxSampleAgeMs: 60_000 });
    const program = bench.resident(5_000, watcher);
    const worker = bench.resident(5_000, { keeping: { pinned: true } });
    const ticket = bench.wait({ vramMb: 4_000 }, { timeoutMs: 0, pollIntervalMs: 60_000 });
    bench.keep(worker, { pinned: false });
    expect(bench.evicting(program, worker)).toEqual([program]);
    bench.pass(30_000);
    expect(bench.evicting(program, worker)).toEqual([worker]);
    expect(bench.evictions.map((e) => e.ticketId)).toEqual([ticket, ticket]);
    bench.exits(worker);
    bench.measure();
    expect(bench.grantOf(ticket)).toBeDefined();
  });

  it("stays asked when it stops to listen: the deadline holds, and its memory is not free as long as its process lives", () => {
    const { bench, program } = asked({ maxSampleAgeMs: 60_000 });
    bench.leaves(program);
    expect(bench.isEvicting(program)).toBe(true);
    expect(bench.view(program.lease.id)?.eviction?.deadline).toBeDefined();
    bench.pass(30_000);
    expect(bench.state.leases.get(program.lease.id)?.phase).toBe("orphan");
  });

  it("is counted on by others who wait, also when it stops to listen", () => {
    const bench = new ResidentBench([10_000, 10_000], { evictionGraceMs: 30_000 });
    const program = bench.resident(8_000, { ...watcher, on: "GPU-0" });
    const worker = bench.resident(10_000, { on: "GPU-1", keeping: { pinned: true } });
    bench.wait({ vramMb: 4_000 });
    bench.leaves(program);
    bench.keep(worker);
    bench.wait({ vramMb: 4_000 });
    expect(bench.evicting(program, worker)).toEqual([program]);
  });
});

describe("when the ticket has left the line", () => {
  const ends: { how: string; end: (bench: ResidentBench, ticket: string) => void }[] = [
    { how: "cancelled", end: (bench, ticketId) => bench.step({ type: "cancel", ticketId }) },
    { how: "timed out", end: (bench) => bench.pass(5_000) },
    { how: "gone with its client", end: (bench, ticketId) => bench.step({ type: "disconnect", ticketId }) },
    { how: "granted elsewhere", end: (bench) => bench.foreign(1, 0).measure() },
  ];

  it.each(ends)("$how: another program has its lease back and works on; a worker goes on leaving (E13)", ({ end }) => {
    const bench = new ResidentBench([10_000, 10_000]);
    const program = bench.resident(5_000, { ...watcher, name: "program", on: "GPU-0" });
    const worker = bench.resident(5_000, { name: "worker", on: "GPU-0" });
    bench.foreign(1, 10_000).measure();
    const ticket = bench.wait({ vramMb: 8_000 }, { timeoutMs: 5_000 });
    expect(bench.evicting(program, worker)).toHaveLength(2);
    end(bench, ticket);
    expect(bench.state.tickets.size).toBe(0);
    expect(bench.view(program.lease.id)).toMatchObject({ state: "idle" });
    expect(bench.view(program.lease.id)).not.toHaveProperty("eviction");
    expect(bench.start(program).type).toBe("lease");
    expect(bench.evicting(program, worker)).toEqual([worker]);
    expect(bench.start(worker)).toMatchObject({ failure: { reason: "LEASE_EVICTING" } });
    bench.exits(worker);
    bench.measure().pass(60_000);
    expect(bench.view(program.lease.id)?.state).toBe("active");
    expect(bench.evicted.flatMap((e) => e.victims.map((v) => v.leaseId))).toEqual([worker.lease.id]);
    expect(bench.state.evictions).toEqual({ byTicket: new Map(), underWay: new Set() });
  });

  it("it has its lease back also when it had stopped to listen, and no deadline is left behind", () => {
    const { bench, program, ticket } = asked({ maxSampleAgeMs: 60_000 });
    bench.leaves(program);
    bench.step({ type: "cancel", ticketId: ticket });
    expect(bench.view(program.lease.id)?.state).toBe("idle");
    bench.pass(60_000);
    expect(bench.view(program.lease.id)?.state).toBe("idle");
    expect(bench.state.evictions.underWay.size).toBe(0);
  });

  it("who has its lease back can be asked again, in the same step, for the next who waits", () => {
    const { bench, program, ticket } = asked();
    const next = bench.wait({ vramMb: 5_000 });
    bench.step({ type: "cancel", ticketId: ticket });
    expect(bench.evictions).toEqual([
      { ticketId: ticket, ids: [program.lease.id] },
      { ticketId: next, ids: [program.lease.id] },
    ]);
    expect(bench.view(program.lease.id)?.eviction?.reason).toContain(next);
  });

  it("who has its lease back is worth what it was before it was chosen", () => {
    const { bench, program, ticket } = asked();
    const cost = () => bench.state.keepValues.costOf(program.lease.workload.name, bench.now);
    expect(cost()).toBe(0);
    bench.step({ type: "cancel", ticketId: ticket });
    expect(cost()).toBeCloseTo(1_000, 6);
  });

  it("those that have given their lease back by then do not get it again", () => {
    const { bench, program, ticket } = asked();
    bench.release(program.lease);
    bench.step({ type: "cancel", ticketId: ticket });
    expect(bench.view(program.lease.id)?.end).toBe("evicted");
    program.alive = false;
    bench.measure();
    expect(bench.evicted).toHaveLength(1);
    expect(bench.state.evictions.underWay.size).toBe(0);
  });
});
