import { describe, expect, it } from "vitest";
import { availableOf } from "../../src/engine/books.ts";
import { nextWake } from "../../src/engine/step.ts";
import { Bench, gpu, leaseIn, processes } from "./support.ts";

const noMargin = { margin: { percent: 0, atLeastMb: 0 } };
const card = (used = 0) => [gpu(0, 10_000, used)];

function available(bench: Bench): number | undefined {
  const pool = bench.state.pools.get("GPU-0");
  return pool === undefined ? undefined : availableOf(bench.state, pool);
}

describe("a lease", () => {
  it("has a token that rises with every grant", () => {
    const bench = new Bench({ ...noMargin, firstToken: 500 }).sample(card());
    const tokens = [1, 2, 3].map(() => bench.lease({ vramMb: 1000 }).token);
    expect(tokens).toEqual([500, 501, 502]);
  });

  it("expires when nobody renews it, never before its TTL", () => {
    const bench = new Bench(noMargin).sample(card());
    const lease = bench.lease({ vramMb: 8000 }, { ttlMs: 5000 });
    bench.pass(4999);
    expect(bench.view(lease.id)?.state).toBe("idle");
    bench.pass(1);
    expect(bench.view(lease.id)?.end).toBe("expired");
  });

  it("cannot be renewed once it has expired, not even at that very moment", () => {
    const bench = new Bench(noMargin).sample(card());
    const lease = bench.lease({ vramMb: 8000 }, { ttlMs: 5000 });
    bench.now += 5000;
    const reply = bench.step({ type: "renew", leaseId: lease.id, token: lease.token }).reply;
    expect(reply).toMatchObject({ type: "failure", failure: { reason: "LEASE_EXPIRED" } });
  });

  it("lives on as long as it is renewed", () => {
    const bench = new Bench(noMargin).sample(card());
    const lease = bench.lease({ vramMb: 8000 }, { ttlMs: 5000 });
    for (let i = 0; i < 10; i++) {
      bench.now += 4000;
      leaseIn(bench.step({ type: "renew", leaseId: lease.id, token: lease.token }).reply);
    }
    expect(bench.view(lease.id)?.state).toBe("idle");
    expect(nextWake(bench.state)).toBe(bench.now + 5000);
  });

  it("does nothing for a stale token", () => {
    const bench = new Bench({ ...noMargin, firstToken: 500 }).sample(card());
    const lease = bench.lease({ vramMb: 8000 });
    const stale = { leaseId: lease.id, token: lease.token - 1 };
    for (const event of [
      { type: "renew", ...stale },
      { type: "release", ...stale },
      { type: "attach", ...stale, process: "7:1" },
      { type: "start-execution", ...stale, executionId: "e" },
    ] as const) {
      expect(bench.step(event).reply).toMatchObject({ type: "failure", failure: { reason: "STALE_TOKEN" } });
    }
    expect(bench.view(lease.id)).toMatchObject({ state: "idle", executions: 0, processes: [] });
  });

  it("that was never used frees its memory the moment it is released; releasing again is a success", () => {
    const bench = new Bench(noMargin).sample(card());
    const lease = bench.lease({ vramMb: 8000 });
    bench.release(lease);
    expect(available(bench)).toBe(10_000);
    expect(bench.release(lease)).toMatchObject({ type: "lease", lease: { state: "ended", end: "released" } });
    expect(bench.step({ type: "release", leaseId: "lease-never-was", token: 0 }).reply.type).toBe("done");
  });

  it("whose process ended stays charged until a measurement taken after the end, because the last one may be from before its memory was taken", () => {
    const bench = new Bench(noMargin).sample(card());
    const lease = bench.lease({ vramMb: 8000 });
    bench.attach(lease, "7:1");
    const before = bench.now;
    bench.now += 100;
    bench.release(lease);
    expect(bench.view(lease.id)?.state).toBe("draining");
    expect(available(bench)).toBe(2000);
    // Delivered after the end, taken before it.
    bench.sample([gpu(0, 10_000, 0, { observedAt: before })]);
    expect(available(bench)).toBe(2000);
    bench.sample(card(7000));
    expect(available(bench)).toBe(3000);
    bench.sample(card(0));
    expect(available(bench)).toBe(10_000);
  });

  it("is draining until its memory is seen to be back, and over after the release lag at the latest", () => {
    const bench = new Bench({ ...noMargin, releaseLagMs: 5000 }).sample(card());
    const lease = bench.lease({ vramMb: 8000 });
    bench.attach(lease, "7:1");
    bench.now += 10;
    bench.sample(card(8000), { processes: processes(bench.now, { pid: 7, gpu: "GPU-0", usedMb: 8000 }) });
    bench.step({ type: "process-exited", process: "7:1" });
    expect(bench.view(lease.id)).toMatchObject({ state: "draining", end: "process-exited" });
    bench.sample(card(8000));
    const ticket = bench.wait({ vramMb: 5000 });
    expect(bench.ticket(ticket)?.reasons[0]?.code).toBe("WAITING_FOR_RELEASE");
    bench.pass(5000);
    expect(bench.view(lease.id)?.state).toBe("ended");
    bench.sample(card(8000));
    expect(bench.ticket(ticket)?.reasons[0]).toMatchObject({ code: "INSUFFICIENT_GPU_MEMORY", foreignMb: 8000 });
    bench.sample(card(0));
    expect(bench.grantOf(ticket)).toBeDefined();
  });

  // Guards against a release lag that passes while the figures from before the end are still young enough to be decided on.
  it("stays charged beyond the release lag as long as figures from before its end are decided on", () => {
    const bench = new Bench({ ...noMargin, releaseLagMs: 5000, maxSampleAgeMs: 60_000 }).sample(card());
    const lease = bench.lease({ vramMb: 8000 });
    bench.attach(lease, "7:1");
    bench.release(lease);
    bench.pass(10_000);
    expect(available(bench)).toBe(2000);
    expect(bench.allocate({ vramMb: 5000 }).type).toBe("refused");
    bench.sample(card());
    expect(available(bench)).toBe(10_000);
    expect(bench.view(lease.id)?.state).toBe("ended");
  });

  it("is over after the release lag where figures are too old to be decided on anyway", () => {
    const bench = new Bench({ ...noMargin, releaseLagMs: 5000, maxSampleAgeMs: 4000 }).sample(card());
    const lease = bench.lease({ vramMb: 8000 });
    bench.attach(lease, "7:1");
    bench.release(lease);
    bench.pass(5000);
    expect(bench.view(lease.id)?.state).toBe("ended");
    expect(bench.allocate({ vramMb: 5000 }).type).toBe("refused");
  });

  it("ends when the last of its processes has ended", () => {
    const bench = new Bench(noMargin).sample(card());
    const lease = bench.lease({ vramMb: 1000 });
    bench.attach(lease, "7:1");
    bench.attach(lease, "8:1");
    bench.step({ type: "process-exited", process: "7:1" });
    expect(bench.view(lease.id)?.state).toBe("idle");
    bench.step({ type: "process-exited", process: "8:1" });
    expect(bench.view(lease.id)?.end).toBe("process-exited");
  });

  it("that expires while its process lives becomes foreign use, and what the process may still take stays charged", () => {
    const bench = new Bench(noMargin).sample(card());
    const lease = bench.lease({ vramMb: 8000 }, { ttlMs: 5000 });
    bench.attach(lease, "7:1");
    bench.now += 10;
    const loading = () => processes(bench.now, { pid: 7, gpu: "GPU-0", usedMb: 3000 });
    bench.sample(card(3000), { processes: loading() });
    bench.pass(5000);
    expect(bench.view(lease.id)).toMatchObject({ state: "draining", end: "expired" });
    bench.sample(card(3000), { processes: loading() });
    expect(bench.state.pools.get("GPU-0")).toMatchObject({ foreignMb: 3000, outstandingMb: 5000 });
    expect(available(bench)).toBe(2000);
    bench.pass(60_000).sample(card(3000), { processes: loading() });
    expect(available(bench)).toBe(2000);
    bench.step({ type: "process-exited", process: "7:1" });
    bench.sample(card(0));
    expect(available(bench)).toBe(10_000);
  });

  it("is active while an execution runs, counted and not flagged (P6)", () => {
    const bench = new Bench(noMargin).sample(card());
    const lease = bench.lease({ vramMb: 1000 });
    const on = (id: string) => bench.step({ type: "start-execution", leaseId: lease.id, token: lease.token, executionId: id });
    const off = (id: string) => bench.step({ type: "finish-execution", leaseId: lease.id, executionId: id });
    on("a");
    on("b");
    expect([...bench.state.executionsByName]).toEqual([["job", 2]]);
    off("a");
    off("a");
    expect(bench.view(lease.id)).toMatchObject({ state: "active", executions: 1 });
    off("b");
    expect(bench.view(lease.id)?.state).toBe("idle");
    expect(bench.state.executionsByName.size).toBe(0);
  });

  it("takes no process that works for another lease", () => {
    const bench = new Bench(noMargin).sample(card());
    const [a, b] = [bench.lease({ vramMb: 1000 }), bench.lease({ vramMb: 1000 })];
    bench.attach(a, "7:1");
    expect(bench.attach(b, "7:1")).toMatchObject({ type: "failure", failure: { reason: "PROCESS_ATTACHED" } });
    bench.release(a);
    expect(bench.attach(b, "7:1").type).toBe("lease");
  });

  it("is found again by its request id, and its grant is not repeated", () => {
    const bench = new Bench(noMargin).sample(card());
    const first = bench.lease({ vramMb: 8000 }, { requestId: "r1" });
    expect(bench.lease({ vramMb: 8000 }, { requestId: "r1" }).id).toBe(first.id);
    expect(bench.state.leases.size).toBe(1);
    expect(bench.allocate({ vramMb: 100 }, { requestId: "r1" })).toMatchObject({
      type: "failure",
      failure: { violations: [{ field: "request_id" }] },
    });
    expect(bench.allocate({ vramMb: 1000 }, { requestId: "r1", workload: { tenant: "other" } }).type).toBe("lease");
  });

  it("that its client never heard of goes back: at once without a request id, else after the claim timeout", () => {
    const bench = new Bench({ ...noMargin, claimTimeoutMs: 3000 }).sample(card());
    const anonymous = bench.lease({ vramMb: 1000 });
    bench.step({ type: "undelivered", leaseId: anonymous.id });
    expect(bench.view(anonymous.id)?.end).toBe("stream-closed");
    const [lost, found] = [
      bench.lease({ vramMb: 1000 }, { requestId: "r1" }),
      bench.lease({ vramMb: 1000 }, { requestId: "r2" }),
    ];
    for (const lease of [lost, found]) bench.step({ type: "undelivered", leaseId: lease.id });
    bench.pass(2000);
    bench.lease({ vramMb: 1000 }, { requestId: "r2" });
    bench.pass(1000);
    expect(bench.view(lost.id)?.end).toBe("unclaimed");
    expect(bench.view(found.id)?.state).toBe("idle");
  });

  it("is remembered for a while after its end, and not for ever", () => {
    const bench = new Bench(noMargin).sample(card());
    const first = bench.lease({ vramMb: 1 });
    bench.release(first);
    expect(bench.view(first.id)?.state).toBe("ended");
    for (let i = 0; i < 1500; i++) bench.release(bench.lease({ vramMb: 1 }));
    expect(bench.view(first.id)).toBeUndefined();
    expect(bench.state.ended.size).toBeLessThanOrEqual(1000);
    expect(bench.state.leases.size).toBe(0);
    expect(bench.state.wakes.size).toBeLessThan(600);
  });
});

describe("permissive", () => {
  it("always grants, books it, and says when it did not fit; those who queue see it", () => {
    const bench = new Bench(noMargin).sample(card());
    expect(leaseIn(bench.submit("now", { vramMb: 8000 })).overcommitted).toBe(false);
    expect(leaseIn(bench.submit("now", { vramMb: 8000 })).overcommitted).toBe(true);
    const ticket = bench.wait({ vramMb: 1000 });
    expect(bench.ticket(ticket)?.reasons[0]?.code).toBe("INSUFFICIENT_GPU_MEMORY");
  });

  it("grants even where there is no GPU, with none", () => {
    const lease = leaseIn(new Bench().sample([]).submit("now", { vramMb: 8000 }));
    expect(lease.gpus).toEqual([]);
    expect(lease.overcommitted).toBe(true);
  });

  it("set by the operator admits waiters too", () => {
    const bench = new Bench(noMargin).sample(card(9000));
    const ticket = bench.wait({ vramMb: 5000 });
    bench.step({ type: "set-policy", policy: "permissive" });
    expect(bench.grantOf(ticket)?.overcommitted).toBe(true);
  });
});
