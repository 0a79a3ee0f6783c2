import { describe, expect, it } from "vitest";
import { ResidentBench } from "./eviction-support.ts";
import { leaseIn } from "./support.ts";

const halfLife = { fairShareHalfLifeMs: 10 ** 12 };
const usage = (bench: ResidentBench) => bench.state.fairShare.usageOf("default", bench.now);
/** Half of the machine for this long. */
const half = (ms: number) => ms / 2;

describe("a lease that is kept and idle", () => {
  it("is charged to nobody, because whoever waits could have it: what was charged ahead is given back", () => {
    const bench = new ResidentBench([10_000], halfLife);
    const { id, token } = bench.lease({ vramMb: 5_000 }, { hold: "stream" });
    expect(usage(bench)).toBeCloseTo(half(30_000), -2);
    bench.pass(10_000);
    bench.step({ type: "keep", leaseId: id, token, keeping: { holder: "watcher", pinned: false, ready: true } });
    expect(usage(bench)).toBeCloseTo(half(10_000), -2);
    bench.pass(600_000);
    expect(usage(bench)).toBeCloseTo(half(10_000), -2);
  });

  it("is charged again from its next execution on", () => {
    const bench = new ResidentBench([10_000], halfLife);
    const worker = bench.resident(5_000);
    bench.pass(600_000);
    const before = usage(bench);
    bench.start(worker);
    expect(usage(bench) - before).toBeCloseTo(half(30_000), -2);
    bench.pass(95_000);
    expect(usage(bench) - before).toBeCloseTo(half(120_000), -2);
    bench.finish(worker);
    expect(usage(bench) - before).toBeCloseTo(half(95_000), -2);
    bench.pass(600_000);
    expect(usage(bench) - before).toBeCloseTo(half(95_000), -2);
    // In the same moment and twice, too.
    bench.start(worker, "e2");
    bench.finish(worker, "e2");
    bench.start(worker, "e3");
    bench.pass(10_000);
    bench.finish(worker, "e3");
    expect(usage(bench) - before).toBeCloseTo(half(105_000), -2);
  });

  it("is charged on while one of its executions is unfinished", () => {
    const bench = new ResidentBench([10_000], halfLife);
    const worker = bench.resident(5_000);
    bench.start(worker, "e1");
    bench.start(worker, "e2");
    bench.pass(10_000);
    bench.finish(worker, "e1");
    bench.pass(10_000);
    bench.exits(worker);
    bench.pass(600_000);
    expect(usage(bench)).toBeCloseTo(half(20_000), -2);
  });

  it("is charged again when its holder does not listen any more, because then nobody else can have it", () => {
    const bench = new ResidentBench([10_000], halfLife);
    const worker = bench.resident(5_000);
    bench.pass(600_000);
    const before = usage(bench);
    bench.leaves(worker);
    bench.pass(60_000);
    expect(usage(bench) - before).toBeGreaterThan(half(59_000));
  });

  it("counts against its tenant's limits all the same", () => {
    const bench = new ResidentBench([10_000], { tenantLimits: new Map([["default", { gpus: 1 }]]) });
    bench.resident(1_000, { keeping: { pinned: true } });
    expect(bench.allocate({ vramMb: 1_000 }).type).toBe("refused");
  });
});

describe("durations", () => {
  const learned = (bench: ResidentBench, ask: object = {}) => {
    const before = bench.state.durations.estimateMs("");
    const worker = bench.resident(5_000, ask);
    bench.pass(3_600_000);
    bench.exits(worker);
    return bench.state.durations.estimateMs("") !== before;
  };

  it("are not learned from how long a worker was resident", () => {
    expect(learned(new ResidentBench([10_000]))).toBe(false);
  });

  it("are learned from another program that listens, such as `sluice run`: its lease lasts as long as its work", () => {
    expect(learned(new ResidentBench([10_000]), { keeping: { holder: "watcher" } })).toBe(true);
  });

  it("are not learned from a lease that was taken back", () => {
    const bench = new ResidentBench([10_000]);
    const before = bench.state.durations.estimateMs("");
    const program = bench.resident(5_000, { keeping: { holder: "watcher" } });
    bench.wait({ vramMb: 8_000 });
    bench.pass(10_000);
    bench.release(program.lease);
    expect(bench.state.durations.estimateMs("")).toBe(before);
  });
});

describe("the worth of who is kept", () => {
  it("rises with its executions, so that who is used more stays longer", () => {
    const bench = new ResidentBench([10_000]);
    const [used, unused] = [bench.resident(5_000, { name: "used" }), bench.resident(5_000, { name: "unused" })];
    for (const id of ["1", "2", "3"]) {
      bench.start(used, id);
      bench.finish(used, id);
    }
    bench.wait({ vramMb: 5_000 });
    expect(bench.evicting(used, unused)).toEqual([unused]);
  });

  it("falls for those who stay when others go: nobody stays for ever for having been dear once", () => {
    const bench = new ResidentBench([10_000]);
    const dear = bench.resident(5_000, { name: "dear", keeping: { reloadMs: 5_000 } });
    const cost = () => bench.state.keepValues.costOf("dear", bench.now);
    const costs = [cost()];
    for (const i of [1, 2, 3]) {
      const cheap = bench.resident(5_000, { name: `cheap-${i}` });
      const ticket = bench.wait({ vramMb: 5_000 });
      expect(bench.evicting(dear, cheap)).toEqual([cheap]);
      bench.exits(cheap);
      bench.measure();
      bench.release(bench.grantOf(ticket) ?? expect.fail());
      bench.measure();
      costs.push(cost());
    }
    expect(costs.map(Math.round)).toEqual([5_000, 4_000, 3_000, 2_000]);
  });

  it("is measured, not promised: a hollow one is not cheap for what it does not hold", () => {
    const bench = new ResidentBench([10_000]);
    const worker = bench.resident(8_000, { name: "m", usedMb: 100 });
    bench.start(worker);
    bench.finish(worker);
    expect(bench.state.keepValues.costOf("m", bench.now)).toBeCloseTo(1_000, 6);
    expect(leaseIn({ type: "lease", lease: bench.view(worker.lease.id) ?? expect.fail() }).gpus[0]?.residentMb).toBe(100);
  });
});
