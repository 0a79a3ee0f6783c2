import { describe, expect, it } from "vitest";
import { Bench, gpu } from "./support.ts";

const none = { percent: 0, atLeastMb: 0 };
const minute = 60_000;
const card = () => [gpu(0, 10_000, 0)];
const benchOf = () => new Bench({ margin: none, ramMargin: none }).sample(card());
const said = (minutes: number, name = "job") => ({
  workload: { name, expectedDurationMs: minutes * minute },
  timeoutMs: 0,
  ttlMs: 1e12,
});
const unsaid = (name = "job") => ({ workload: { name }, timeoutMs: 0, ttlMs: 1e12 });

/** Lets work of one kind run and end, so that something is known of it. */
function teach(bench: Bench, name: string, minutes: number, times: number): void {
  for (let i = 0; i < times; i++) {
    const lease = bench.lease({ vramMb: 10_000 }, unsaid(name));
    bench.pass(minutes * minute).sample(card());
    bench.release(lease);
  }
}

describe("the expected start of a ticket", () => {
  it("is exact on a quiet machine where everybody says how long he runs", () => {
    const bench = benchOf();
    bench.submit("wait", { vramMb: 10_000 }, said(10));
    const start = bench.now;
    const tickets = [5, 7, 3].map((minutes) => bench.wait({ vramMb: 10_000 }, said(minutes)));
    const expected = tickets.map((t) => bench.ticket(t));
    expect(expected.map((t) => t?.estimateBasis)).toEqual(["declared", "declared", "declared"]);
    // When it will be so, everybody having ended on time.
    const real = new Map<string, number>();
    for (let i = 0; i < 3; i++) {
      const [lease] = bench.state.leases.values();
      const end = (lease?.grantedAt ?? 0) + (lease?.workload.expectedDurationMs ?? 0);
      while (bench.now + 1_000 < end) bench.pass(998).sample(card());
      bench.now = end;
      bench.step({ type: "release", leaseId: lease?.id ?? "", token: 0 });
      for (const t of tickets) {
        const grant = bench.grantOf(t);
        if (grant !== undefined && !real.has(t)) real.set(t, grant.grantedAt);
      }
    }
    expect(real.get(tickets[0] as string)).toBe(start + 10 * minute);
    expect(expected.map((t) => t?.expectedStart)).toEqual(tickets.map((t) => real.get(t)));
  });

  it("rests on what was learned where owners say nothing, and gives no bound", () => {
    const bench = benchOf();
    teach(bench, "train", 10, 20);
    bench.submit("wait", { vramMb: 10_000 }, unsaid("train"));
    const start = bench.now;
    const [first, second] = [bench.wait({ vramMb: 10_000 }, unsaid("train")), bench.wait({ vramMb: 10_000 }, unsaid("train"))];
    bench.pass(1_000).sample(card());
    const view = bench.ticket(first);
    expect(view?.estimateBasis).toBe("learned");
    expect(view?.eta).toBeUndefined();
    expect(((view?.expectedStart ?? 0) - start) / minute).toBeGreaterThan(8);
    expect(((view?.expectedStart ?? 0) - start) / minute).toBeLessThan(13);
    expect(((bench.ticket(second)?.expectedStart ?? 0) - start) / minute).toBeGreaterThan(17);
  });

  it("is not guessed where nothing is known, nor where somebody before it says nothing", () => {
    const bench = benchOf();
    bench.submit("wait", { vramMb: 10_000 }, unsaid());
    const tickets = [bench.wait({ vramMb: 10_000 }, unsaid()), bench.wait({ vramMb: 10_000 }, said(5))];
    for (const t of tickets) {
      const view = bench.ticket(t);
      expect([view?.expectedStart, view?.estimateBasis, view?.eta]).toEqual([undefined, undefined, undefined]);
    }
  });

  it("is not told where the order of service is not planned", () => {
    for (const discipline of ["strict-fifo", "best-effort"] as const) {
      const bench = new Bench({ margin: none, ramMargin: none, discipline }).sample(card());
      bench.submit("wait", { vramMb: 10_000 }, said(10));
      const view = bench.ticket(bench.wait({ vramMb: 10_000 }, said(10)));
      expect([view?.expectedStart, view?.eta]).toEqual([undefined, undefined]);
    }
  });

  it("is never in the past, though what it waits for runs longer than was said", () => {
    const bench = benchOf();
    teach(bench, "train", 1, 15);
    bench.submit("wait", { vramMb: 10_000 }, said(1));
    const ticket = bench.wait({ vramMb: 10_000 }, said(1));
    let told = 0;
    for (let s = 0; s < 300; s++) {
      bench.pass(997).sample(card());
      const at = bench.ticket(ticket)?.expectedStart;
      if (at === undefined) continue;
      told++;
      expect(at).toBeGreaterThanOrEqual(bench.now);
    }
    expect(told).toBeGreaterThan(200);
  });

  it("is followed by the next when the first has started", () => {
    const bench = benchOf();
    bench.submit("wait", { vramMb: 10_000 }, said(10));
    const [first, second] = [bench.wait({ vramMb: 10_000 }, said(5)), bench.wait({ vramMb: 10_000 }, said(5))];
    expect(bench.ticket(second)?.expectedStart).toBe((bench.ticket(first)?.expectedStart ?? 0) + 5 * minute);
    const [lease] = bench.state.leases.values();
    bench.pass(2 * minute).sample(card());
    bench.step({ type: "release", leaseId: lease?.id ?? "", token: 0 });
    const grantedAt = bench.grantOf(first)?.grantedAt ?? 0;
    bench.pass(1_001).sample(card());
    expect(bench.ticket(second)?.expectedStart).toBeCloseTo(grantedAt + 5 * minute, 3);
  });
});
