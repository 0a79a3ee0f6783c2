import { describe, expect, it } from "vitest";
import { nextWake } from "../../src/engine/step.ts";
import { Bench, gpu } from "./support.ts";

const none = { percent: 0, atLeastMb: 0 };
const minute = 60_000;
const benchOf = () => new Bench({ margin: none, ramMargin: none }).sample([gpu(0, 10_000, 4000)]);
const said = (minutes: number) => ({ workload: { expectedDurationMs: minutes * minute }, timeoutMs: 0, ttlMs: 1e12 });

describe("a measurement", () => {
  it("that shows nothing new costs no look at the queue", () => {
    const bench = benchOf();
    const tickets = [1, 2, 3, 4, 5].map(() => bench.wait({ vramMb: 7000 }, { timeoutMs: 0 }));
    bench.sample([gpu(0, 10_000, 4000)]);
    const before = bench.state.verdicts;
    for (let i = 0; i < 100; i++) bench.pass(500).sample([gpu(0, 10_000, 4000)]);
    expect(bench.state.verdicts).toBe(before);
    expect(tickets.every((t) => bench.ticket(t) !== undefined)).toBe(true);
  });

  it("that shows more room serves at once", () => {
    const bench = benchOf();
    const ticket = bench.wait({ vramMb: 7000 }, { timeoutMs: 0 });
    bench.sample([gpu(0, 10_000, 4000)]).sample([gpu(0, 10_000, 3001)]);
    expect(bench.grantOf(ticket)).toBeUndefined();
    bench.sample([gpu(0, 10_000, 3000)]);
    expect(bench.grantOf(ticket)).toBeDefined();
  });

  it("that shows more host memory serves at once", () => {
    const bench = benchOf();
    const host = (availableMb: number) => ({ host: { totalMb: 65_536, availableMb, observedAt: bench.now + 1 } });
    bench.sample([gpu(0, 10_000, 4000)], host(1000));
    const ticket = bench.wait({ gpuCount: 0, vramMb: 0, ramMb: 2000 }, { timeoutMs: 0 });
    expect(bench.grantOf(ticket)).toBeUndefined();
    bench.sample([gpu(0, 10_000, 4000)], host(2000));
    expect(bench.grantOf(ticket)).toBeDefined();
  });

  it("that is fresh after old ones serves, though its figures are the same", () => {
    const bench = benchOf();
    bench.pass(6_000);
    const ticket = bench.wait({ vramMb: 5000 }, { timeoutMs: 0 });
    expect(bench.ticket(ticket)?.reasons[0]?.code).toBe("GPU_STATS_UNAVAILABLE");
    bench.sample([gpu(0, 10_000, 4000)]);
    expect(bench.grantOf(ticket)).toBeDefined();
  });

  it("that is fresh enough for the ticket with the shortest poll interval serves it", () => {
    const bench = benchOf();
    bench.wait({ vramMb: 9000 }, { timeoutMs: 0 });
    bench.pass(1_500);
    const picky = bench.wait({ vramMb: 5000 }, { timeoutMs: 0, pollIntervalMs: 1_000 });
    expect(bench.ticket(picky)).toBeDefined();
    bench.sample([gpu(0, 10_000, 4000)]);
    expect(bench.grantOf(picky)).toBeDefined();
  });

  it("that shows a GPU in another state serves", () => {
    const bench = new Bench({ margin: none }).sample([gpu(0, 10_000, 4000, { computeMode: "Prohibited" })]);
    const ticket = bench.wait({ vramMb: 5000 }, { timeoutMs: 0 });
    bench.sample([gpu(0, 10_000, 4000, { computeMode: "Prohibited" })]);
    expect(bench.grantOf(ticket)).toBeUndefined();
    bench.sample([gpu(0, 10_000, 4000)]);
    expect(bench.grantOf(ticket)).toBeDefined();
  });

  it("is looked at each time while a policy of somebody's own decides about a ticket", () => {
    let asked = 0;
    const own = {
      name: "own",
      allocate: () => ({ verdict: ++asked < 5 ? ("wait" as const) : ("admit" as const) }),
      onExecutionStart: () => {},
      onExecutionFinish: () => {},
    };
    const bench = new Bench({ margin: none }, "", [own]).sample([gpu(0, 10_000, 0)]);
    const ticket = bench.wait({ vramMb: 1000 }, { policy: "own", timeoutMs: 0 });
    for (let i = 0; i < 4; i++) bench.sample([gpu(0, 10_000, 0)]);
    expect(bench.grantOf(ticket)).toBeDefined();
  });
});

describe("a kept start that passes without its start", () => {
  /** Who it waits for runs longer than was said; somebody small is kept back meanwhile. */
  function late() {
    const bench = new Bench({ margin: none }).sample([gpu(0, 10_000, 0)]);
    bench.lease({ vramMb: 6000 }, said(1));
    const first = bench.wait({ vramMb: 9000 }, said(10));
    const small = bench.wait({ vramMb: 4000 }, said(5));
    expect(bench.ticket(small)?.reasons).toMatchObject([{ code: "HELD_FOR_EARLIER_TICKET", heldBy: [first] }]);
    return { bench, first, small };
  }

  it("makes the engine look again, by itself and at that moment", () => {
    const { bench } = late();
    const at = bench.state.kept?.startsAt as number;
    while (bench.now + 1_000 < at) bench.pass(500).sample([gpu(0, 10_000, 0)]);
    expect(nextWake(bench.state)).toBeLessThanOrEqual(at);
    const before = bench.state.verdicts;
    bench.now = at;
    bench.step({ type: "tick" });
    expect(bench.state.verdicts).toBeGreaterThan(before);
  });

  it("does not leave memory idle for ever: whoever was kept back starts in the end", () => {
    const { bench, first, small } = late();
    for (let s = 0; s < 3_600 && bench.ticket(small) !== undefined; s++) bench.pass(998).sample([gpu(0, 10_000, 0)]);
    expect(bench.grantOf(small)).toBeDefined();
    expect(bench.ticket(first)?.position).toBe(1);
  });
});
