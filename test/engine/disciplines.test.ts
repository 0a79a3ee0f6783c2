import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { disciplines, type EngineSettings } from "../../src/engine/settings.ts";
import { nextWake } from "../../src/engine/step.ts";
import { Bench, gpu, refusalIn } from "./support.ts";

const none = { percent: 0, atLeastMb: 0 };
const minute = 60_000;
const cards = (n: number) => Array.from({ length: n }, (_, i) => gpu(i, 10_000, 0));

function benchOf(gpus: number, more: Partial<EngineSettings> = {}): Bench {
  return new Bench({ margin: none, ramMargin: none, ...more }).sample(cards(gpus));
}

/** Waits for ever, and its owner says for how long it runs. */
const runs = (minutes?: number, priority = 0) => ({
  workload: { priority, ...(minutes === undefined ? {} : { expectedDurationMs: minutes * minute }) },
  timeoutMs: 0,
  ttlMs: 1e9,
});

const codesOf = (bench: Bench, ticket: string) => bench.ticket(ticket)?.reasons.map((r) => r.code);

describe("strict-fifo", () => {
  it("lets nobody pass, and tells whoever fits behind whom he waits", () => {
    const bench = benchOf(1, { discipline: "strict-fifo" });
    const lease = bench.lease({ vramMb: 6000 }, runs(10));
    const first = bench.wait({ vramMb: 8000 }, runs(10));
    const small = bench.wait({ vramMb: 1000 }, runs(1));
    const [reason] = bench.ticket(small)?.reasons ?? [];
    expect(reason).toMatchObject({ code: "BEHIND_IN_QUEUE", heldBy: [first] });
    expect(reason?.message).toContain(first);
    expect(bench.ticket(small)?.position).toBe(2);
    bench.release(lease);
    expect([first, small].map((t) => bench.grantOf(t) !== undefined)).toEqual([true, true]);
  });

  it("refuses an Allocate that would pass, whatever it needs, and lets one of higher priority through", () => {
    const bench = benchOf(1, { discipline: "strict-fifo" });
    bench.lease({ vramMb: 6000 }, runs(10));
    const first = bench.wait({ vramMb: 8000 }, runs(10));
    expect(refusalIn(bench.allocate({ vramMb: 1 }, runs(1))).reasons).toMatchObject([
      { code: "BEHIND_IN_QUEUE", heldBy: [first] },
    ]);
    expect(bench.allocate({ vramMb: 1 }, runs(1, 9)).type).toBe("lease");
  });

  it("serves several at one event in order, up to the first that does not fit", () => {
    const bench = benchOf(1, { discipline: "strict-fifo" });
    const lease = bench.lease({ vramMb: 10_000 });
    const tickets = [4000, 4000, 4000, 1000].map((vramMb) => bench.wait({ vramMb }, runs()));
    bench.release(lease);
    expect(tickets.map((t) => bench.grantOf(t) !== undefined)).toEqual([true, true, false, false]);
  });

  it("passes over whoever is away, and gives him his place back", () => {
    const bench = benchOf(1, { discipline: "strict-fifo" });
    bench.lease({ vramMb: 6000 });
    const away = bench.wait({ vramMb: 8000 }, { ...runs(), requestId: "r" });
    const small = bench.wait({ vramMb: 1000 }, runs());
    bench.step({ type: "disconnect", ticketId: away });
    expect(bench.grantOf(small)).toBeDefined();
    expect(bench.ticket(away)?.position).toBe(1);
  });
});

describe("best-effort", () => {
  it("serves whoever fits, however long he runs, until he was passed too often", () => {
    const bench = benchOf(1, { discipline: "best-effort", maxOvertakes: 2 });
    bench.lease({ vramMb: 6000 }, runs(10));
    const first = bench.wait({ vramMb: 9500 }, runs(10));
    for (let i = 0; i < 2; i++) expect(bench.submit("wait", { vramMb: 1500 }, runs(1000)).type).toBe("lease");
    expect(bench.ticket(first)).toMatchObject({ overtaken: 2 });
    expect(bench.ticket(first)?.eta).toBeUndefined();
    const late = bench.wait({ vramMb: 1000 }, runs(1));
    expect(bench.ticket(late)?.reasons).toMatchObject([{ code: "HELD_FOR_EARLIER_TICKET", heldBy: [first] }]);
  });
});

describe("backfill with durations", () => {
  /** A runs on three of four GPUs for ten minutes; B needs all four. Nothing is wanting on any GPU for those that come then. */
  function scene() {
    const bench = benchOf(4);
    bench.lease({ gpuCount: 3, vramMb: 6000 }, runs(10));
    const endOfA = bench.now + 10 * minute;
    const b = bench.wait({ gpuCount: 4, vramMb: 8000 }, runs(10));
    return { bench, b, endOfA };
  }

  it("does not have the queue served over and over while what it waits for is a little late", () => {
    const bench = benchOf(4, { maxSampleAgeMs: 1e9 });
    bench.lease({ gpuCount: 3, vramMb: 6000 }, runs(10));
    const endOfA = bench.now + 10 * minute;
    const b = bench.wait({ gpuCount: 4, vramMb: 8000 }, { ...runs(10), pollIntervalMs: 1e9 });
    // It fits, and would be in the way.
    const c = bench.wait({ vramMb: 4000 }, { ...runs(30), pollIntervalMs: 1e9 });
    let served = 0;
    while (bench.now < endOfA + minute) {
      bench.now = nextWake(bench.state) ?? endOfA + minute;
      bench.step({ type: "tick" });
      if (bench.now > endOfA) served++;
    }
    expect([b, c].map((t) => bench.grantOf(t))).toEqual([undefined, undefined]);
    // The start is always just ahead: it was kept anew every millisecond.
    expect(served).toBeGreaterThan(10);
    expect(served).toBeLessThan(minute / 40);
  });

  it("keeps the start of the first at the end of what it waits for, and tells it", () => {
    const { bench, b, endOfA } = scene();
    bench.wait({ vramMb: 3000 }, runs(30));
    expect(bench.ticket(b)?.eta).toBe(endOfA);
  });

  it("starts at once whoever is over by then", () => {
    const { bench, b, endOfA } = scene();
    expect(bench.submit("wait", { vramMb: 3000 }, runs(5)).type).toBe("lease");
    expect(bench.submit("wait", { vramMb: 3000 }, runs(9.9)).type).toBe("lease");
    bench.wait({ vramMb: 3000 }, runs(30));
    expect(bench.ticket(b)?.eta).toBe(endOfA);
  });

  it("lets whoever is not wait, and tells for whom", () => {
    const { bench, b } = scene();
    const d = bench.wait({ vramMb: 3000 }, runs(30));
    expect(bench.ticket(d)?.reasons).toMatchObject([{ code: "HELD_FOR_EARLIER_TICKET", heldBy: [b] }]);
    expect(bench.ticket(d)?.reasons[0]?.message).toContain(b);
    const unknown = bench.wait({ vramMb: 3000 }, runs());
    expect(codesOf(bench, unknown)).toEqual(["HELD_FOR_EARLIER_TICKET"]);
  });

  it("starts whoever runs for longer where there is room beside the first", () => {
    const { bench } = scene();
    expect(bench.submit("wait", { vramMb: 2000 }, runs(1000)).type).toBe("lease");
  });

  it("refuses at once what can never fit, and keeps no start for it", () => {
    const { bench, b } = scene();
    const reply = bench.submit("wait", { gpuCount: 8, vramMb: 1000 }, runs(1, 9));
    expect(refusalIn(reply).reasons.map((r) => r.code)).toContain("NEVER_FITS");
    bench.wait({ vramMb: 3000 }, runs(30));
    expect(bench.state.kept?.ticket.id).toBe(b);
  });

  it("starts the first when its time has come, and the one that was kept back after it", () => {
    const { bench, b, endOfA } = scene();
    const d = bench.wait({ vramMb: 3000 }, runs(30));
    while (bench.now < endOfA - 2_000) bench.pass(1_000).sample(cards(4));
    expect([b, d].map((t) => bench.grantOf(t))).toEqual([undefined, undefined]);
    const [a] = bench.state.leases.values();
    bench.step({ type: "release", leaseId: a?.id ?? "", token: 0 });
    expect(bench.grantOf(b)).toBeDefined();
    expect(bench.grantOf(d)).toBeUndefined();
    bench.release(bench.grantOf(b) as NonNullable<ReturnType<Bench["grantOf"]>>);
    expect(bench.grantOf(d)).toBeDefined();
  });

  it("refuses an Allocate under safety that would delay the first, and lets one in that is over by then or comes before it", () => {
    const { bench, b } = scene();
    const long = bench.allocate({ vramMb: 3000 }, runs(30));
    expect(refusalIn(long).reasons).toMatchObject([{ code: "HELD_FOR_EARLIER_TICKET", heldBy: [b] }]);
    expect(refusalIn(bench.allocate({ vramMb: 3000 }, runs())).reasons[0]?.code).toBe("HELD_FOR_EARLIER_TICKET");
    expect(bench.allocate({ vramMb: 3000 }, runs(5)).type).toBe("lease");
    expect(bench.allocate({ vramMb: 3000 }, runs(30, 1)).type).toBe("lease");
  });

  it("is passed by nobody in the memory of the host either", () => {
    const bench = benchOf(1);
    bench.lease({ gpuCount: 0, vramMb: 0, ramMb: 40_000 }, runs(10));
    const first = bench.wait({ gpuCount: 0, vramMb: 0, ramMb: 50_000 }, runs(10));
    const long = bench.wait({ gpuCount: 0, vramMb: 0, ramMb: 15_000 }, runs(30));
    expect(bench.ticket(long)?.reasons).toMatchObject([{ code: "HELD_FOR_EARLIER_TICKET", heldBy: [first] }]);
    expect(bench.submit("wait", { gpuCount: 0, vramMb: 0, ramMb: 15_000 }, runs(9)).type).toBe("lease");
    expect(bench.submit("wait", { vramMb: 10_000 }, runs(1000)).type).toBe("lease");
  });
});

describe("backfill without durations", () => {
  it("lets no more than maxOvertakes pass, and tells whoever comes then for whom the memory is held", () => {
    const bench = benchOf(1, { maxOvertakes: 3 });
    bench.lease({ vramMb: 2000 }, runs());
    const first = bench.wait({ vramMb: 9000 }, runs());
    const replies = [1, 2, 3, 4, 5].map(() => bench.submit("wait", { vramMb: 1500 }, runs()));
    expect(replies.map((r) => r.type)).toEqual(["lease", "lease", "lease", "ticket", "ticket"]);
    expect(bench.ticket(first)).toMatchObject({ overtaken: 3, position: 1 });
    for (const r of replies) {
      if (r.type !== "ticket") continue;
      expect(bench.ticket(r.ticketId)?.reasons).toMatchObject([{ code: "HELD_FOR_EARLIER_TICKET", heldBy: [first] }]);
    }
  });

  it("keeps the GPUs for a ticket that needs several once it has waited for long", () => {
    const bench = benchOf(2);
    const leases = [0, 1].map((i) => bench.lease({ vramMb: 6000, gpuUuids: [`GPU-${i}`] }, runs()));
    const many = bench.wait({ gpuCount: 2, vramMb: 9000 }, runs());
    for (let s = 0; s < 300; s++) bench.pass(1_000).sample(cards(2));
    const small = bench.wait({ vramMb: 4000 }, runs(60));
    expect(codesOf(bench, small)).toEqual(["HELD_FOR_EARLIER_TICKET"]);
    for (const lease of leases) bench.release(lease);
    expect(bench.grantOf(many)).toBeDefined();
  });
});

describe("a change of discipline", () => {
  it("judges those that wait again at once", () => {
    const bench = benchOf(1, { discipline: "strict-fifo" });
    bench.lease({ vramMb: 6000 }, runs(10));
    const first = bench.wait({ vramMb: 8000 }, runs(10));
    const short = bench.wait({ vramMb: 1500 }, runs(5));
    const long = bench.wait({ vramMb: 2500 }, runs(30));
    expect([short, long].map((t) => codesOf(bench, t))).toEqual([["BEHIND_IN_QUEUE"], ["BEHIND_IN_QUEUE"]]);
    bench.step({ type: "set-policy", policy: "", discipline: "backfill" });
    expect(bench.grantOf(short)).toBeDefined();
    expect(bench.ticket(long)?.reasons).toMatchObject([{ code: "HELD_FOR_EARLIER_TICKET", heldBy: [first] }]);
    bench.step({ type: "set-policy", policy: "", discipline: "best-effort" });
    expect(bench.grantOf(long)).toBeDefined();
    expect(bench.ticket(first)?.position).toBe(1);
  });

  it("stays as it is when only the policy is set", () => {
    const bench = benchOf(1, { discipline: "strict-fifo" });
    bench.step({ type: "set-policy", policy: "queue" });
    expect(bench.state.discipline).toBe("strict-fifo");
  });

  it("loses nobody and serves everybody, however often it changes", () => {
    const one = fc.record({
      vramMb: fc.constantFrom(1000, 4000, 7000, 10_000),
      gpuCount: fc.integer({ min: 1, max: 2 }),
      minutes: fc.option(fc.constantFrom(1, 10, 100), { nil: undefined }),
      next: fc.constantFrom(...disciplines, undefined),
      ends: fc.option(fc.nat(), { nil: undefined }),
    });
    fc.assert(
      fc.property(fc.array(one, { minLength: 5, maxLength: 25 }), (list) => {
        const bench = benchOf(2);
        const end = (n: number) => {
          const leases = [...bench.state.leases.values()];
          const lease = leases[n % Math.max(1, leases.length)];
          if (lease !== undefined) bench.step({ type: "release", leaseId: lease.id, token: 0 });
        };
        const granted = () => bench.effects.filter((e) => e.type === "granted").length;
        let asked = 0;
        for (const { vramMb, gpuCount, minutes, next, ends } of list) {
          bench.submit("wait", { vramMb, gpuCount }, runs(minutes));
          asked++;
          if (next !== undefined) bench.step({ type: "set-policy", policy: "", discipline: next });
          if (ends !== undefined) end(ends);
          bench.pass(1_000).sample(cards(2));
          expect(granted() + bench.state.line.size).toBe(asked);
          expect(bench.state.tickets.size).toBe(bench.state.line.size);
        }
        for (let i = 0; i <= asked && bench.state.line.size > 0; i++) end(0);
        expect(bench.state.line.size).toBe(0);
      }),
      { numRuns: 100 },
    );
  });
});
