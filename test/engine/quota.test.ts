import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { EngineSettings, TenantLimits } from "../../src/engine/settings.ts";
import type { LeaseView } from "../../src/engine/types.ts";
import { Bench, gpu, leaseIn, refusalIn } from "./support.ts";

type Limits = Record<string, TenantLimits>;

function benchOf(limits: Limits, gpus: number, more: Partial<EngineSettings> = {}): Bench {
  const none = { percent: 0, atLeastMb: 0 };
  const settings = { margin: none, ramMargin: none, tenantLimits: new Map(Object.entries(limits)), ...more };
  return new Bench(settings).sample(Array.from({ length: gpus }, (_, i) => gpu(i, 10_000, 0)));
}

const by = (tenant: string, expectedDurationMs?: number) => ({
  workload: { tenant, ...(expectedDurationMs === undefined ? {} : { expectedDurationMs }) },
  timeoutMs: 0,
});

describe("a tenant's limit", () => {
  it("of GPUs keeps its next request waiting, with the numbers", () => {
    const bench = benchOf({ a: { gpus: 2 } }, 4);
    bench.lease({ gpuCount: 1, vramMb: 1000 }, by("a"));
    const ticket = bench.wait({ gpuCount: 2, vramMb: 1000 }, by("a"));
    const [reason] = bench.ticket(ticket)?.reasons ?? [];
    expect(reason).toMatchObject({ code: "QUOTA" });
    expect(reason?.message).toContain("tenant a has 1 of the 2 GPUs");
    expect(reason?.message).toContain("needs 2");
  });

  it("of GPU memory counts all GPUs of all its leases, and tells what is needed and what is left", () => {
    const bench = benchOf({ a: { vramMb: 9000 } }, 4);
    bench.lease({ gpuCount: 2, vramMb: 3000 }, by("a"));
    expect(bench.submit("wait", { vramMb: 3000 }, by("a")).type).toBe("lease");
    const ticket = bench.wait({ vramMb: 1 }, by("a"));
    expect(bench.ticket(ticket)?.reasons).toEqual([
      { code: "QUOTA", message: expect.stringContaining("9,000 MiB of the 9,000 MiB"), neededMb: 1, availableMb: 0 },
    ]);
  });

  it("of waiting tickets answers TENANT_QUEUE_FULL, and what can be had at once needs no place in the queue", () => {
    const bench = benchOf({ a: { queued: 1 } }, 1);
    bench.lease({ vramMb: 6000 }, by("b"));
    bench.wait({ vramMb: 9000 }, by("a"));
    const reply = bench.submit("wait", { vramMb: 9000 }, by("a"));
    expect(reply).toMatchObject({ type: "failure", failure: { reason: "TENANT_QUEUE_FULL", metadata: { limit: "1" } } });
    expect(bench.state.line.size).toBe(1);
    expect(bench.submit("wait", { vramMb: 9000 }, by("b")).type).toBe("ticket");
    expect(bench.submit("wait", { gpuCount: 0, vramMb: 0, ramMb: 10 }, by("a")).type).toBe("lease");
  });

  it("for `*` holds for each tenant by itself, and an entry of its own replaces all of it", () => {
    const bench = benchOf({ "*": { gpus: 1, vramMb: 5000 }, big: { gpus: 3 } }, 4);
    expect(bench.submit("wait", { vramMb: 1000 }, by("a")).type).toBe("lease");
    expect(bench.submit("wait", { vramMb: 1000 }, by("b")).type).toBe("lease");
    expect(bench.submit("wait", { vramMb: 1000 }, by("a")).type).toBe("ticket");
    expect(bench.submit("wait", { gpuCount: 2, vramMb: 9000 }, by("big")).type).toBe("lease");
    expect(bench.submit("wait", { gpuCount: 2, vramMb: 1000 }, by("big")).type).toBe("ticket");
  });

  it("refuses at once what it can never allow, and says so by QUOTA alone", () => {
    const bench = benchOf({ a: { gpus: 1, vramMb: 5000 } }, 4);
    for (const needs of [{ gpuCount: 2, vramMb: 1000 }, { vramMb: 5001 }]) {
      for (const reply of [bench.submit("wait", needs, by("a")), bench.allocate(needs, by("a"))]) {
        expect(refusalIn(reply).reasons.map((r) => r.code)).toEqual(["QUOTA"]);
      }
    }
    expect(bench.state.line.size).toBe(0);
    expect(bench.submit("wait", { vramMb: 5000 }, by("a")).type).toBe("lease");
  });

  it("refuses an Allocate that is over it now, with QUOTA", () => {
    const bench = benchOf({ a: { gpus: 1 } }, 4);
    bench.lease({ vramMb: 1000 }, by("a"));
    expect(refusalIn(bench.allocate({ vramMb: 1000 }, by("a"))).reasons[0]).toMatchObject({ code: "QUOTA" });
  });

  it("does not bind grants of the permissive policy, but counts them", () => {
    const bench = benchOf({ a: { gpus: 1 } }, 4);
    for (let i = 0; i < 2; i++) leaseIn(bench.submit("now", { vramMb: 1000 }, { ...by("a"), policy: "permissive" }));
    expect(bench.state.running.get("a")).toEqual({ gpus: 2, vramMb: 2000 });
    const ticket = bench.wait({ vramMb: 1000 }, by("a"));
    expect(bench.ticket(ticket)?.reasons[0]?.message).toContain("has 2 of the 1 GPUs");
  });

  it("of GPUs leaves requests that need none alone", () => {
    const bench = benchOf({ a: { gpus: 1, vramMb: 1000 } }, 2);
    bench.lease({ vramMb: 1000 }, by("a"));
    expect(bench.submit("wait", { gpuCount: 0, vramMb: 0, ramMb: 1000 }, by("a")).type).toBe("lease");
    expect(bench.allocate({ gpuCount: 0, vramMb: 0, ramMb: 1000 }, by("a")).type).toBe("lease");
  });

  it("lets the next in by the release that makes room under it, and only as many as that", () => {
    const bench = benchOf({ a: { gpus: 1 } }, 4);
    const first = bench.lease({ vramMb: 1000 }, by("a"));
    const [second, third] = [bench.wait({ vramMb: 1000 }, by("a")), bench.wait({ vramMb: 1000 }, by("a"))];
    bench.release(first);
    expect(bench.grantOf(second)).toBeDefined();
    expect(bench.ticket(third)?.reasons[0]?.code).toBe("QUOTA");
  });

  it("is not used up by a lease that has ended, though its memory is still coming back", () => {
    const bench = benchOf({ a: { gpus: 1 } }, 2);
    const lease = bench.lease({ vramMb: 1000 }, by("a"));
    bench.attach(lease, "7:1");
    const ticket = bench.wait({ vramMb: 1000 }, by("a"));
    bench.step({ type: "process-exited", process: "7:1" });
    expect(bench.grantOf(ticket)).toBeDefined();
  });
});

describe("others than a tenant at its limit", () => {
  for (const discipline of ["strict-fifo", "best-effort", "backfill"] as const) {
    it(`are not blocked by its earlier tickets under ${discipline}`, () => {
      const bench = benchOf({ a: { gpus: 1 } }, 2, { discipline });
      bench.lease({ vramMb: 1000 }, by("a", 600_000));
      const waits = bench.wait({ vramMb: 10_000 }, by("a", 600_000));
      expect(bench.submit("wait", { gpuCount: 2, vramMb: 9000 }, by("b", 6_000_000)).type).toBe("lease");
      expect(bench.allocate({ vramMb: 1000 }, by("b", 6_000_000)).type).toBe("lease");
      expect(bench.ticket(waits)?.reasons[0]?.code).toBe("QUOTA");
    });
  }

  it("have no start kept from them for it: the start is kept for the first that may have one", () => {
    const bench = benchOf({ a: { gpus: 1 } }, 1, { fairShareHalfLifeMs: 0 });
    bench.lease({ vramMb: 4000 }, by("a", 600_000));
    bench.wait({ vramMb: 9000 }, by("a", 600_000));
    const first = bench.wait({ vramMb: 7000 }, by("b", 600_000));
    const beside = bench.wait({ vramMb: 4000 }, by("c", 6_000_000));
    expect(bench.state.kept?.ticket.id).toBe(first);
    expect(bench.ticket(beside)?.reasons).toMatchObject([{ code: "HELD_FOR_EARLIER_TICKET", heldBy: [first] }]);
  });
});

describe("no tenant", () => {
  it("is ever over its limits, whatever is asked for, by whom and in which order", () => {
    const limits = { a: { gpus: 2 }, b: { vramMb: 12_000 }, "*": { gpus: 3, vramMb: 9000 } };
    const ask = fc.record({
      tenant: fc.constantFrom("a", "b", "c", "d"),
      mode: fc.constantFrom("now" as const, "wait" as const),
      gpuCount: fc.integer({ min: 0, max: 3 }),
      vramMb: fc.constantFrom(0, 1000, 3000, 4500, 6000),
      declared: fc.option(fc.constantFrom(1000, 60_000), { nil: undefined }),
    });
    const event = fc.oneof({ weight: 5, arbitrary: ask }, { weight: 2, arbitrary: fc.nat() });
    const settings = fc.constantFrom("strict-fifo" as const, "best-effort" as const, "backfill" as const);
    let waited = 0;
    fc.assert(
      fc.property(settings, fc.array(event, { minLength: 10, maxLength: 40 }), (discipline, events) => {
        const bench = benchOf(limits, 3, { discipline });
        for (const e of events) {
          bench.now += 100;
          if (typeof e === "number") {
            const held = [...bench.state.leases.values()];
            const lease = held[e % Math.max(1, held.length)];
            if (lease !== undefined) bench.step({ type: "release", leaseId: lease.id, token: 0 });
          } else {
            const vramMb = e.gpuCount === 0 ? 0 : e.vramMb;
            const policy = e.mode === "now" ? "safety" : "";
            bench.submit(e.mode, { gpuCount: e.gpuCount, vramMb, ramMb: 1 }, { ...by(e.tenant, e.declared), policy });
          }
          bench.sample(Array.from({ length: 3 }, (_, i) => gpu(i, 10_000, 0)));
          const sums = new Map<string, { gpus: number; vramMb: number }>();
          for (const { workload, gpus } of bench.state.leases.values()) {
            const has = sums.get(workload.tenant) ?? { gpus: 0, vramMb: 0 };
            has.gpus += gpus.length;
            has.vramMb += gpus.reduce((sum, g) => sum + g.vramMb, 0);
            sums.set(workload.tenant, has);
          }
          for (const [tenant, has] of sums) {
            const limit: TenantLimits = limits[tenant as keyof typeof limits] ?? limits["*"];
            expect(has.gpus).toBeLessThanOrEqual(limit.gpus ?? Infinity);
            expect(has.vramMb).toBeLessThanOrEqual(limit.vramMb ?? Infinity);
            if (has.gpus > 0) expect(bench.state.running.get(tenant)).toEqual(has);
          }
          for (const id of bench.state.tickets.keys()) {
            const reasons = bench.ticket(id)?.reasons ?? [];
            if (reasons.some((r) => r.code === "QUOTA")) waited++;
            // Whoever waits does so for a reason with a name; POLICY would say that it could have started.
            expect(reasons.map((r) => r.code)).not.toContain("POLICY");
          }
        }
      }),
      { numRuns: 150 },
    );
    expect(waited).toBeGreaterThan(20);
  });
});

/** Guards against a tenant whose lease is gone and still counts. */
describe("what a tenant has", () => {
  it("is nothing again after all its leases have ended, however they ended", () => {
    const bench = benchOf({ a: { gpus: 4 } }, 4);
    const leases: LeaseView[] = [1, 2, 3].map(() => bench.lease({ vramMb: 1000 }, { ...by("a"), ttlMs: 5_000 }));
    bench.release(leases[0] as LeaseView);
    bench.attach(leases[1] as LeaseView, "9:1");
    bench.step({ type: "process-exited", process: "9:1" });
    bench.pass(6_000);
    expect(bench.state.running.size).toBe(0);
  });
});
