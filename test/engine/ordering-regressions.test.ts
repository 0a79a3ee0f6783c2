import { describe, expect, it } from "vitest";
import { explain } from "../../src/engine/explain.ts";
import type { EngineSettings } from "../../src/engine/settings.ts";
import { Bench, gpu, requirements } from "./support.ts";

const none = { percent: 0, atLeastMb: 0 };
const minute = 60_000;
const cards = (n: number) => Array.from({ length: n }, (_, i) => gpu(i, 10_000, 0));
const benchOf = (n: number, more: Partial<EngineSettings> = {}) =>
  new Bench({ margin: none, ramMargin: none, ...more }).sample(cards(n));
const runs = (minutes?: number, more: object = {}) => ({
  workload: { ...(minutes === undefined ? {} : { expectedDurationMs: minutes * minute }), ...more },
  timeoutMs: 0,
  ttlMs: 1e12,
});

describe("order without durations", () => {
  it("tenants take turns under backfill while any lease runs whose end is not known", () => {
    const bench = benchOf(2);
    bench.lease({ vramMb: 10_000 }, runs(undefined, { tenant: "keeper", name: "keeper" }));
    const add = (tenant: string, label: string) =>
      bench.submit("wait", { vramMb: 10_000 }, runs(undefined, { tenant, name: "j", labels: { label } }));
    for (let i = 0; i < 10; i++) add("greedy", `g${i}`);
    bench.pass(5_000).sample(cards(2));
    for (let i = 0; i < 3; i++) add("modest", `m${i}`);
    for (let k = 0; k < 6; k++) {
      bench.pass(10_000).sample(cards(2));
      const lease = [...bench.state.leases.values()].find((l) => l.workload.name === "j");
      bench.step({ type: "release", leaseId: lease?.id ?? "", token: 0 });
    }
    const order = bench.effects
      .flatMap((e) => (e.type === "granted" ? [e.lease.workload.labels.label ?? ""] : []))
      .filter(Boolean);
    expect(order.slice(0, 4)).toEqual(["g0", "m0", "m1", "g1"]);
  });

  it("a ticket of higher priority that fits is not passed by one of lower priority: nothing learned, same size", () => {
    const bench = benchOf(2);
    bench.lease({ vramMb: 10_000 }, runs(undefined, { name: "keeper" }));
    const lease = bench.lease({ vramMb: 10_000 }, runs());
    const low = bench.wait({ vramMb: 10_000 }, runs());
    bench.pass(20_000).sample(cards(2));
    const high = bench.wait({ vramMb: 9_000 }, runs(undefined, { priority: 10 }));
    bench.pass(5_000).sample(cards(2));
    bench.release(lease);
    expect([bench.grantOf(high) !== undefined, bench.grantOf(low) !== undefined]).toEqual([true, false]);
  });

  it("among those behind the first, one of higher priority that fits and delays nobody is not passed (declared)", () => {
    const bench = benchOf(1);
    bench.lease({ vramMb: 4_000 }, runs(1));
    const lease = bench.lease({ vramMb: 6_000 }, runs(0.5));
    bench.wait({ vramMb: 10_000 }, runs(10, { priority: 9 }));
    const second = bench.wait({ vramMb: 6_000 }, runs(0.9, { priority: 5 }));
    for (let i = 0; i < 4; i++) bench.wait({ vramMb: 3_000 }, runs(0.4, { priority: 0 }));
    bench.release(lease);
    expect(bench.grantOf(second)).toBeDefined();
  });
});

describe("promises", () => {
  it("two that were not weighed do not together take the room that is kept for the first", () => {
    const bench = benchOf(1);
    bench.lease({ vramMb: 5_000 }, runs(10));
    const endOfA = bench.now + 10 * minute;
    const l = bench.lease({ vramMb: 5_000 }, runs(1));
    bench.wait({ vramMb: 8_000 }, runs(10));
    for (let i = 0; i < 128; i++) bench.wait({ vramMb: 2_500 }, runs(600));
    const both = [bench.wait({ vramMb: 1_500 }, runs(600)), bench.wait({ vramMb: 1_500 }, runs(600))];
    bench.release(l);
    expect(bench.now).toBeLessThan(endOfA);
    expect(both.filter((t) => bench.grantOf(t) !== undefined).length).toBeLessThanOrEqual(1);
  });

  it("is kept though somebody who says nothing runs elsewhere", () => {
    const bench = benchOf(4);
    bench.submit("wait", { gpuCount: 3, vramMb: 9_000 }, runs(10));
    const b = bench.wait({ gpuCount: 3, vramMb: 10_000 }, runs(10));
    expect(bench.submit("wait", { vramMb: 10_000 }, runs()).type).toBe("lease");
    expect(bench.ticket(b)?.eta).toBeDefined();
    expect(bench.submit("wait", { vramMb: 1_000 }, runs(600)).type).toBe("ticket");
  });

  it("is kept against later tickets of its own tenant that use up its limit", () => {
    const bench = benchOf(4, { tenantLimits: new Map([["t", { gpus: 3 }]]) });
    bench.submit("wait", { gpuCount: 3, vramMb: 10_000 }, runs(10));
    const b = bench.wait({ gpuCount: 3, vramMb: 10_000 }, runs(10, { tenant: "t" }));
    expect(bench.ticket(b)?.eta).toBeDefined();
    expect(bench.submit("wait", { vramMb: 10_000 }, runs(100, { tenant: "t" })).type).toBe("ticket");
  });

  it("is not given by guesses: work that says nothing started in the same pass", () => {
    const bench = benchOf(1);
    const l = bench.lease({ vramMb: 10_000 }, runs(1));
    bench.wait({ vramMb: 9_000 }, runs());
    const b = bench.wait({ vramMb: 8_000 }, runs(10));
    bench.wait({ vramMb: 1_000 }, runs(0.001));
    bench.release(l);
    expect(bench.ticket(b)?.eta).toBeUndefined();
  });

  it("is not lost while one ticket has a policy of its own", () => {
    const own = {
      name: "own",
      allocate: () => ({ verdict: "wait" as const }),
      onExecutionStart: () => {},
      onExecutionFinish: () => {},
    };
    const bench = new Bench({ margin: none, ramMargin: none }, "", [own]).sample(cards(4));
    bench.submit("wait", { gpuCount: 3, vramMb: 10_000 }, runs(10));
    const b = bench.wait({ gpuCount: 4, vramMb: 10_000 }, runs(10));
    const d = bench.wait({ vramMb: 10_000 }, runs(30));
    bench.submit("wait", { vramMb: 1 }, { ...runs(), policy: "own" });
    bench.pass(1_000).sample(cards(4));
    expect(bench.grantOf(d)).toBeUndefined();
    expect(bench.ticket(b)?.eta).toBeDefined();
  });

  it("stays what it was when a request that does not wait is refused", () => {
    const bench = benchOf(4);
    bench.submit("wait", { gpuCount: 3, vramMb: 10_000 }, runs(10));
    bench.wait({ gpuCount: 4, vramMb: 10_000 }, runs(10));
    bench.wait({ vramMb: 10_000 }, runs(30));
    const { kept } = bench.state;
    expect(kept).toBeDefined();
    expect(bench.allocate({ vramMb: 10_000 }, { workload: { expectedDurationMs: 30 * minute } }).type).toBe("refused");
    expect(bench.state.kept).toBe(kept);
  });

  it("is told at once, also when nobody else waits", () => {
    const bench = benchOf(4);
    bench.submit("wait", { gpuCount: 3, vramMb: 10_000 }, runs(10));
    const end = bench.now + 10 * minute;
    expect(bench.ticket(bench.wait({ gpuCount: 4, vramMb: 10_000 }, runs(10)))?.eta).toBe(end);
  });
});

describe("limits", () => {
  const limits = (gpus: number) => ({ maxOvertakes: 1, fairShareHalfLifeMs: 0, tenantLimits: new Map([["t", { gpus }]]) });
  it("no memory is held for a ticket whose tenant is at its limit", () => {
    const bench = benchOf(1, limits(1));
    bench.submit("wait", { vramMb: 1_000 }, runs(undefined, { tenant: "t" }));
    bench.wait({ vramMb: 9_000 }, runs(undefined, { tenant: "t" }));
    const replies = [1, 2, 3, 4].map(() => bench.submit("wait", { vramMb: 1_000 }, runs(undefined, { tenant: "u" })));
    expect(replies.map((r) => r.type)).toEqual(["lease", "lease", "lease", "lease"]);
  });

  it("a tenant's small requests do not overtake its large one without bound by keeping it at its limit", () => {
    const bench = benchOf(3, { ...limits(2), maxOvertakes: 3 });
    const t = runs(undefined, { tenant: "t" });
    bench.submit("wait", { vramMb: 5_000 }, t);
    const large = bench.wait({ gpuCount: 2, vramMb: 9_000 }, t);
    for (let i = 0; i < 100 && bench.ticket(large) !== undefined; i++) {
      bench.submit("wait", { vramMb: 5_000 }, t);
      bench.pass(1_000).sample(cards(3));
      const leases = [...bench.state.leases.values()];
      if (leases.length > 1) bench.step({ type: "release", leaseId: leases[0]?.id ?? "", token: 0 });
    }
    expect(bench.ticket(large)?.overtaken ?? 0).toBeLessThanOrEqual(10);
  });

  it("who needs a GPU and no memory of it is not kept waiting by the limit of GPU memory", () => {
    const bench = benchOf(1, { tenantLimits: new Map([["t", { vramMb: 1000 }]]) });
    bench.submit("now", { vramMb: 2_000 }, { workload: { tenant: "t" }, policy: "permissive" });
    expect(bench.submit("wait", { vramMb: 0 }, runs(undefined, { tenant: "t" })).type).toBe("lease");
  });
});

describe("telling", () => {
  it("names for whom a free GPU is kept also where other GPUs are full", () => {
    const bench = benchOf(4);
    bench.submit("wait", { gpuCount: 3, vramMb: 10_000 }, runs(10));
    const b = bench.wait({ gpuCount: 4, vramMb: 10_000 }, runs(10));
    const d = bench.wait({ vramMb: 10_000 }, runs(30));
    expect(bench.ticket(d)?.reasons).toContainEqual(expect.objectContaining({ code: "HELD_FOR_EARLIER_TICKET", heldBy: [b] }));
  });

  it("explains what would be decided: a start that is kept counts though nobody fits now", () => {
    const bench = benchOf(4);
    bench.submit("wait", { gpuCount: 3, vramMb: 10_000 }, runs(10));
    bench.wait({ gpuCount: 4, vramMb: 10_000 }, runs(10));
    const d = {
      name: "d",
      tenant: "default",
      priority: 0,
      labels: {},
      requirements: requirements({ vramMb: 10_000 }),
      expectedDurationMs: 30 * minute,
    };
    const explained = explain(bench.state, d, "", bench.now).fitsNow;
    expect(explained).toBe(bench.submit("wait", { vramMb: 10_000 }, runs(30)).type === "lease");
  });
});

describe("accounts", () => {
  it("a grant that its client never heard of teaches nothing", () => {
    const bench = benchOf(1);
    for (let i = 0; i < 20; i++) {
      const reply = bench.submit("wait", { vramMb: 1000 }, runs());
      if (reply.type === "lease") bench.step({ type: "undelivered", leaseId: reply.lease.id });
    }
    expect(bench.state.durations.isKnown).toBe(false);
  });

  it("who says too much and ends early has not used less than who said the truth", () => {
    const hour = 60 * minute;
    const bench = benchOf(1, { fairShareHalfLifeMs: hour });
    const honest = bench.lease({ vramMb: 5_000 }, runs(300, { tenant: "honest" }));
    const other = bench.lease({ vramMb: 5_000 }, runs(600, { tenant: "other" }));
    bench.pass(5 * hour - 10);
    bench.release(honest);
    bench.release(other);
    expect(bench.state.fairShare.usageOf("other", bench.now)).toBeGreaterThanOrEqual(
      bench.state.fairShare.usageOf("honest", bench.now) * 0.9,
    );
  });

  it("what became free before a request belongs to those that wait, under best-effort too", () => {
    const bench = benchOf(1, { discipline: "best-effort" });
    const lease = bench.lease({ vramMb: 10_000 }, { requestId: "r", ttlMs: 1e9 });
    bench.step({ type: "undelivered", leaseId: lease.id });
    const waits = bench.wait({ vramMb: 10_000 }, { timeoutMs: 0 });
    for (let i = 0; i < 29; i++) {
      bench.now += 998;
      bench.sample(cards(1));
    }
    bench.now = lease.grantedAt + 30_000;
    expect(bench.allocate({ vramMb: 10_000 }).type).toBe("refused");
    expect(bench.grantOf(waits)).toBeDefined();
  });
});

describe("room that is not used", () => {
  it("a long one has room beside the first on a GPU where it would not be put first", () => {
    const bench = benchOf(4);
    bench.lease({ gpuCount: 3, vramMb: 6000 }, runs(10));
    bench.wait({ gpuCount: 4, vramMb: 8000 }, runs(10));
    expect([1, 2, 3, 4].map(() => bench.submit("wait", { vramMb: 2000 }, runs(1000)).type)).toEqual([
      "lease",
      "lease",
      "lease",
      "lease",
    ]);
  });
});
