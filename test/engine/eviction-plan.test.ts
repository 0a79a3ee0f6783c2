import { describe, expect, it } from "vitest";
import { ResidentBench } from "./eviction-support.ts";
import { gpu, leaseIn } from "./support.ts";

/** Names of those who are asked to go now. */
function going(bench: ResidentBench): readonly string[] {
  return bench.evicting(...bench.residents).map((r) => r.lease.workload.name);
}

const reload = (reloadMs: number) => ({ keeping: { reloadMs } });

describe("who goes", () => {
  it("is the set that costs least to have again and whose measured memory covers what is missing (E16)", () => {
    const bench = new ResidentBench([10_000]);
    bench.resident(5_000, { name: "large-dear", ...reload(60_000) });
    bench.resident(2_500, { name: "cheap-1", ...reload(1_000) });
    bench.resident(2_500, { name: "cheap-2", ...reload(1_000) });
    bench.wait({ vramMb: 5_000 });
    expect(going(bench)).toEqual(["cheap-1", "cheap-2"]);
  });

  it("is not the least recently used where that is a small one that does not help (E16)", () => {
    const bench = new ResidentBench([10_000]);
    bench.resident(500, { name: "embedder", ...reload(100) });
    bench.resident(9_500, { name: "llm", ...reload(60_000) });
    bench.pass(10_000).measure();
    bench.wait({ vramMb: 9_000 });
    expect(going(bench)).toEqual(["llm"]);
  });

  it("is on the GPU that the request may use, and nobody elsewhere", () => {
    const bench = new ResidentBench([10_000, 10_000]);
    bench.resident(10_000, { name: "dear", on: "GPU-0", ...reload(60_000) });
    bench.resident(10_000, { name: "cheap", on: "GPU-1", ...reload(1) });
    bench.wait({ vramMb: 1_000, gpuUuids: ["GPU-0"] });
    expect(going(bench)).toEqual(["dear"]);
  });

  it("is on the GPU where it costs least, when the request may use any", () => {
    const bench = new ResidentBench([10_000, 10_000, 10_000]);
    for (const [i, ms] of [9_000, 3_000, 6_000].entries())
      bench.resident(10_000, { name: `on-${i}`, on: `GPU-${i}`, ...reload(ms) });
    bench.wait({ vramMb: 10_000 });
    expect(going(bench)).toEqual(["on-1"]);
  });

  it("is nobody whose memory is not measured: it is not counted on", () => {
    const bench = new ResidentBench([10_000]);
    bench.resident(6_000, { name: "unknown", usedMb: "unknown" });
    bench.resident(4_000, { name: "known", ...reload(60_000) });
    bench.wait({ vramMb: 4_000 });
    expect(going(bench)).toEqual(["known"]);
    bench.wait({ vramMb: 10_000 });
    expect(going(bench)).toEqual(["known"]);
  });

  it("frees only its promise when it is hollow: nothing is measured of it", () => {
    const bench = new ResidentBench([10_000]);
    bench.resident(3_000, { name: "hollow", usedMb: 0, ...reload(1) });
    bench.resident(6_000, { name: "solid", ...reload(60_000) });
    bench.foreign(0, 1_000).measure();
    bench.wait({ vramMb: 3_001 });
    expect(going(bench)).toEqual(["solid"]);
    const other = new ResidentBench([10_000]);
    other.resident(3_000, { name: "hollow", usedMb: 0 });
    other.foreign(0, 7_000).measure();
    const ticket = other.wait({ vramMb: 3_000 });
    expect(going(other)).toEqual(["hollow"]);
    other.exits(other.residents[0] ?? expect.fail());
    other.measure();
    expect(other.grantOf(ticket)).toBeDefined();
  });

  it("frees what it uses when it has outgrown its promise", () => {
    const bench = new ResidentBench([10_000]);
    bench.resident(3_000, { name: "greedy", usedMb: 7_000 });
    bench.wait({ vramMb: 10_000 });
    expect(going(bench)).toEqual(["greedy"]);
  });

  it("are so many that the margin stays free", () => {
    const bench = new ResidentBench([10_000], { margin: { percent: 0, atLeastMb: 500 } });
    for (const name of ["a", "b"]) bench.resident(4_500, { name });
    bench.wait({ vramMb: 4_500 });
    expect(going(bench)).toHaveLength(1);
    bench.wait({ vramMb: 5_000 });
    expect(going(bench)).toHaveLength(2);
  });
});

describe("several GPUs", () => {
  it("are made free together, where they cost least", () => {
    const bench = new ResidentBench([10_000, 10_000, 10_000]);
    for (const [i, ms] of [9_000, 3_000, 6_000].entries())
      bench.resident(10_000, { name: `on-${i}`, on: `GPU-${i}`, ...reload(ms) });
    const ticket = bench.wait({ gpuCount: 2, vramMb: 10_000 });
    expect(going(bench)).toEqual(["on-1", "on-2"]);
    const [, b, c] = bench.residents;
    for (const r of [b, c]) if (r !== undefined) bench.exits(r);
    bench.measure();
    expect(bench.grantOf(ticket)?.gpus.map((g) => g.uuid)).toEqual(["GPU-1", "GPU-2"]);
  });

  it("are made free by one victim that is on both, and by nobody besides", () => {
    const bench = new ResidentBench([10_000, 10_000]);
    bench.resident(8_000, { name: "wide", on: ["GPU-0", "GPU-1"] });
    for (const i of [0, 1]) bench.resident(2_000, { name: `on-${i}`, on: `GPU-${i}`, ...reload(60_000) });
    bench.wait({ gpuCount: 2, vramMb: 6_000 });
    expect(going(bench)).toEqual(["wide"]);
  });

  it("are all or nothing: nobody goes for half of them", () => {
    const bench = new ResidentBench([10_000, 10_000]);
    bench.resident(10_000, { on: "GPU-0" });
    const busy = bench.resident(10_000, { on: "GPU-1" });
    bench.start(busy);
    bench.wait({ gpuCount: 2, vramMb: 5_000 });
    expect(going(bench)).toEqual([]);
  });
});

describe("exclusive use", () => {
  it("has all on the GPU go, however little they hold, where that costs least", () => {
    const bench = new ResidentBench([10_000, 10_000]);
    for (const name of ["a", "b"]) bench.resident(10, { name, on: "GPU-0", ...reload(1_000) });
    bench.resident(10, { name: "c", on: "GPU-1", ...reload(5_000) });
    const ticket = bench.wait({ vramMb: 1_000, exclusive: true });
    expect(going(bench)).toEqual(["a", "b"]);
    for (const r of bench.residents.slice(0, 2)) bench.exits(r);
    bench.measure();
    expect(bench.grantOf(ticket)?.gpus[0]?.uuid).toBe("GPU-0");
  });

  it("is not had where somebody may not go", () => {
    const bench = new ResidentBench([10_000]);
    bench.resident(10, { name: "a" });
    bench.resident(10, { name: "b", keeping: { pinned: true } });
    bench.wait({ vramMb: 1_000, exclusive: true });
    expect(going(bench)).toEqual([]);
  });

  it("of an idle resident ends for somebody who needs a little of its GPU", () => {
    const bench = new ResidentBench([10_000]);
    bench.resident(10, { name: "alone", exclusive: true });
    bench.wait({ vramMb: 1_000 });
    expect(going(bench)).toEqual(["alone"]);
  });

  it("has who is in the way go, and the cheapest of the others for what is missing besides", () => {
    const bench = new ResidentBench([10_000, 10_000]);
    bench.resident(2_000, { name: "alone", on: "GPU-0", exclusive: true, ramMb: 10_000 });
    bench.resident(10_000, { name: "cheap-ram", on: "GPU-1", ramMb: 30_000, ...reload(10) });
    bench.resident(0, { name: "dear-ram", ramMb: 24_000, ...reload(60_000) });
    bench.wait({ vramMb: 1_000, ramMb: 40_000, gpuUuids: ["GPU-0"] });
    expect(going(bench)).toEqual(["alone", "cheap-ram"]);
  });
});

describe("other memory", () => {
  it("of the host alone is made free by who holds it, not by who holds a GPU", () => {
    const bench = new ResidentBench([10_000]);
    bench.resident(10_000, { name: "gpu", ...reload(1) });
    bench.resident(0, { name: "cpu", ramMb: 40_000, ...reload(60_000) });
    bench.wait({ gpuCount: 0, vramMb: 0, ramMb: 50_000 });
    expect(going(bench)).toEqual(["cpu"]);
  });

  it("of a GPU and of the host are made free by one set that covers both", () => {
    const bench = new ResidentBench([10_000]);
    bench.resident(5_000, { name: "gpu", ...reload(1_000) });
    bench.resident(0, { name: "cpu", ramMb: 30_000, ...reload(1_000) });
    bench.resident(5_000, { name: "both", ramMb: 30_000, ...reload(1_500) });
    bench.wait({ vramMb: 5_000, ramMb: 30_000 });
    expect(going(bench)).toEqual(["both"]);
  });

  it("of a unified GPU is the host's, and is charged once", () => {
    const bench = new ResidentBench([gpu(0, 0, 0, { kind: "unified" })]);
    bench.cards[0] = { ...(bench.cards[0] ?? expect.fail()) };
    const { totalMb: _t, usedMb: _u, freeMb: _f, reservedMb: _r, ...unified } = bench.cards[0];
    bench.cards[0] = unified;
    bench.measure();
    bench.resident(30_000, { name: "a", ...reload(1_000) });
    bench.resident(20_000, { name: "b", ...reload(5_000) });
    // 14,000 are free; 20,000 on the GPU and 10,000 of the host are one memory.
    const ticket = bench.wait({ vramMb: 20_000, ramMb: 10_000 });
    expect(going(bench)).toEqual(["a"]);
    bench.exits(bench.residents[0] ?? expect.fail());
    bench.measure();
    expect(bench.grantOf(ticket)).toBeDefined();
  });

  it("of two compute instances is one pool: both are served when enough of it is free", () => {
    const slice = (index: number) => gpu(index, 20_000, 0, { uuid: `MIG-${index}`, kind: "mig", poolId: "GI-1" });
    const bench = new ResidentBench([slice(0), slice(1)]);
    bench.resident(8_000, { name: "a", on: "MIG-0", ...reload(1_000) });
    bench.resident(8_000, { name: "b", on: "MIG-1", ...reload(5_000) });
    // 4,000 are free. One more of 6,000 fits after the cheaper has gone, two of 9,000 each only after both have.
    bench.wait({ vramMb: 6_000 });
    expect(going(bench)).toEqual(["a"]);
    bench.wait({ gpuCount: 2, vramMb: 7_000 });
    expect(going(bench)).toEqual(["a", "b"]);
  });
});

describe("where a GPU is not to be decided on nobody goes", () => {
  it.each([
    ["lost", { health: "lost" as const, healthMessage: "it does not answer" }],
    ["degraded", { health: "degraded" as const, healthMessage: "its figures are incomplete" }],
    ["unknown", { health: "unknown" as const }],
    ["exclusive", { computeMode: "Exclusive_Process" }],
  ])("%s", (_what, more) => {
    const bench = new ResidentBench([10_000]);
    bench.resident(8_000);
    bench.change(0, more);
    bench.measure();
    bench.wait({ vramMb: 8_000 });
    expect(going(bench)).toEqual([]);
    bench.change(0, { health: "ok", healthMessage: "", computeMode: "Default" });
    bench.measure();
    expect(going(bench)).toHaveLength(1);
  });

  it("stale, by the request's own limit too", () => {
    const bench = new ResidentBench([10_000]);
    bench.resident(8_000);
    bench.pass(600);
    bench.wait({ vramMb: 8_000 }, { pollIntervalMs: 500 });
    expect(going(bench)).toEqual([]);
    bench.measure();
    expect(going(bench)).toHaveLength(1);
  });

  it("blind, where that is allowed: it is granted instead", () => {
    const bench = new ResidentBench([10_000], { whenBlind: "allow" });
    bench.resident(8_000);
    bench.pass(60_000);
    expect(leaseIn(bench.submit("wait", { vramMb: 8_000 })).overcommitted).toBe(true);
    expect(going(bench)).toEqual([]);
  });
});
