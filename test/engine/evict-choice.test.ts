import { describe, expect, it } from "vitest";
import { explain } from "../../src/engine/explain.ts";
import { nextWake } from "../../src/engine/step.ts";
import { Stage } from "./evict-support.ts";
import { requirements } from "./support.ts";

describe("who goes", () => {
  it("is an idle resident, when a ticket fits nowhere else", () => {
    const s = new Stage();
    s.resident("a", 6_000);
    s.wait({ vramMb: 8_000 });
    expect(s.evictions).toEqual([["a"]]);
    expect(s.view(s.residents.get("a")?.lease.id ?? "")?.state).toBe("evicting");
  });

  it("is nobody when the ticket fits, or nobody waits", () => {
    const s = new Stage();
    s.resident("a", 6_000);
    s.pass(60_000).show();
    expect(s.submit("wait", { vramMb: 4_000 }).type).toBe("lease");
    expect(s.evictions).toEqual([]);
  });

  it("is never one with an unfinished execution, whoever waits; the last one's end makes it idle (E9)", () => {
    const s = new Stage();
    const a = s.resident("a", 6_000);
    s.start(a, "one");
    s.start(a, "two");
    s.wait({ vramMb: 8_000 });
    s.finish(a, "one");
    s.show();
    expect(s.evictions).toEqual([]);
    s.finish(a, "two");
    expect(s.evictions).toEqual([["a"]]);
  });

  it("is nobody who gives memory back or whose holder does not listen (E8)", () => {
    const s = new Stage();
    const a = s.resident("a", 6_000, { ready: false });
    s.wait({ vramMb: 8_000 });
    s.keep(a, undefined);
    s.show();
    expect(s.evictions).toEqual([]);
    s.keep(a, {});
    expect(s.evictions).toEqual([["a"]]);
  });

  it("is nobody pinned, and nobody more important than the ticket; equally important ones may go", () => {
    const s = new Stage();
    const a = s.resident("a", 6_000, { pinned: true, ask: { workload: { importance: 5 } } });
    s.wait({ vramMb: 8_000 }, { workload: { importance: 10 } });
    expect(s.evictions).toEqual([]);
    s.keep(a, { pinned: false });
    expect(s.evictions).toEqual([["a"]]);

    const t = new Stage();
    t.resident("a", 6_000, { ask: { workload: { importance: 5 } } });
    const lesser = t.wait({ vramMb: 8_000 }, { workload: { importance: 4 } });
    t.show();
    expect(t.evictions).toEqual([]);
    // It comes first, and whoever delays it would not start when the resident has gone either.
    t.step({ type: "cancel", ticketId: lesser });
    t.wait({ vramMb: 8_000 }, { workload: { importance: 5 } });
    expect(t.evictions).toEqual([["a"]]);
  });

  it("has stayed as long as it must, and the engine wakes when that is over (E17)", () => {
    const s = new Stage(1, { minResidenceMs: 3_000 });
    s.resident("a", 6_000);
    const from = s.now;
    s.wait({ vramMb: 8_000 }, { timeoutMs: 0 });
    expect(s.evictions).toEqual([]);
    const wake = nextWake(s.state) ?? 0;
    expect(wake - from).toBeGreaterThan(2_900);
    expect(wake - from).toBeLessThanOrEqual(3_000);
    s.now = wake - 0.5;
    s.step({ type: "tick" });
    expect(s.evictions).toEqual([]);
    s.show();
    expect(s.evictions).toEqual([["a"]]);
  });

  it("is nobody when not even all idle ones would be enough (E10)", () => {
    const s = new Stage();
    const busy = s.resident("busy", 5_000);
    s.start(busy);
    s.resident("a", 3_000);
    s.wait({ vramMb: 6_000 });
    s.show();
    expect(s.evictions).toEqual([]);
    s.foreignMb.set("GPU-0", 2_000);
    s.show();
    s.finish(busy);
    expect(s.evictions.map((names) => names.sort())).toEqual([["a", "busy"]]);
  });

  it("is the set that costs least and covers what is missing, on the right GPU; never the largest first (E16)", () => {
    const s = new Stage(2);
    s.resident("small", 2_500, { gpus: ["GPU-0"], reloadMs: 1_000 });
    s.resident("large", 7_000, { gpus: ["GPU-0"], reloadMs: 60_000 });
    const other = s.resident("other", 9_000, { gpus: ["GPU-1"], reloadMs: 90_000 });
    s.start(other);
    s.wait({ vramMb: 3_000 });
    expect(s.evictions).toEqual([["small"]]);
  });

  it("is of equals the one that has been idle for longest, whatever their leases are called", () => {
    const s = new Stage();
    const [a, b] = [s.resident("a", 4_000), s.resident("b", 4_000)];
    // "a" has the lease with the smaller name, and is used last.
    for (const r of [b, a]) {
      s.start(r, "run");
      s.pass(10).finish(r, "run");
    }
    s.show();
    s.wait({ vramMb: 4_000 });
    expect(s.evictions).toEqual([["b"]]);
  });

  it("is not one whose measured memory is too little, whatever it was promised elsewhere", () => {
    const s = new Stage(2);
    s.resident("here", 2_000, { gpus: ["GPU-0"], reloadMs: 1 });
    s.resident("there", 9_000, { gpus: ["GPU-1"], reloadMs: 50_000 });
    s.foreignMb.set("GPU-0", 6_000);
    s.show();
    s.wait({ vramMb: 7_000 });
    expect(s.evictions).toEqual([["there"]]);
  });

  it("is nobody whose memory was never measured: nothing is counted on", () => {
    const s = new Stage();
    const a = s.resident("a", 6_000);
    s.uses("a", undefined);
    s.show();
    expect(s.view(a.id)?.gpus[0]?.residentMb).toBeUndefined();
    s.wait({ vramMb: 8_000 });
    expect(s.evictions).toEqual([]);
    s.uses("a", 6_000);
    s.show();
    expect(s.evictions).toEqual([["a"]]);
  });

  it("is the resident used least for what it costs to load again", () => {
    const s = new Stage();
    const often = s.resident("often", 4_000);
    s.resident("seldom", 4_000);
    for (let i = 0; i < 5; i++) {
      s.start(often);
      s.finish(often);
    }
    s.wait({ vramMb: 5_000 });
    expect(s.evictions).toEqual([["seldom"]]);
  });

  it("is on as many GPUs as are needed", () => {
    const s = new Stage(3);
    s.resident("a", 6_000, { gpus: ["GPU-0"], reloadMs: 90_000 });
    s.resident("b", 6_000, { gpus: ["GPU-1"], reloadMs: 1_000 });
    s.resident("c", 6_000, { gpus: ["GPU-2"], reloadMs: 2_000 });
    const ticket = s.wait({ vramMb: 8_000, gpuCount: 2 });
    expect(s.evictions.map((names) => names.sort())).toEqual([["b", "c"]]);
    s.end("b");
    s.end("c");
    s.show();
    expect(s.grantOf(ticket)?.gpus.map((g) => g.uuid)).toEqual(["GPU-1", "GPU-2"]);
  });

  it("is everybody on the GPU that somebody wants for itself, or nobody", () => {
    const s = new Stage(2);
    s.resident("a", 1_000, { gpus: ["GPU-0"] });
    s.resident("b", 1_000, { gpus: ["GPU-0"] });
    const c = s.resident("c", 1_000, { gpus: ["GPU-1"] });
    s.start(c);
    s.wait({ vramMb: 1_000, exclusive: true });
    expect(s.evictions.map((names) => names.sort())).toEqual([["a", "b"]]);
  });

  it("frees host memory too", () => {
    const s = new Stage();
    const tree = new Map([["101:1", 30_000]]);
    s.more = { treeRam: tree, host: { totalMb: 65_536, availableMb: 35_000, observedAt: 0 } };
    const lease = s.lease({ gpuCount: 0, vramMb: 0, ramMb: 30_000 }, { hold: "stream", workload: { name: "a" } });
    s.attach(lease, "101:1");
    s.keep(lease, {});
    s.more = { ...s.more, host: { totalMb: 65_536, availableMb: 35_000, observedAt: s.now + 1 } };
    s.show();
    expect(s.view(lease.id)?.residentRamMb).toBe(30_000);
    s.wait({ gpuCount: 0, vramMb: 0, ramMb: 50_000 });
    expect(s.evictions).toEqual([["a"]]);
  });

  it("is nobody for a request that does not wait, and nobody for one that is permissive", () => {
    const s = new Stage();
    s.resident("a", 6_000);
    expect(s.allocate({ vramMb: 8_000 }).type).toBe("refused");
    expect(s.submit("wait", { vramMb: 8_000 }, { policy: "permissive" }).type).toBe("lease");
    expect(s.evictions).toEqual([]);
  });

  it("is nobody on a GPU that is lost or whose measurement is too old", () => {
    const s = new Stage();
    s.resident("a", 6_000);
    s.gpuSamples = { health: "lost" };
    s.show();
    s.wait({ vramMb: 8_000 }, { timeoutMs: 0 });
    expect(s.evictions).toEqual([]);
    s.gpuSamples = {};
    s.show();
    expect(s.evictions).toEqual([["a"]]);

    const t = new Stage();
    t.resident("a", 6_000);
    t.pass(60_000);
    t.wait({ vramMb: 8_000 }, { timeoutMs: 0 });
    expect(t.evictions).toEqual([]);
  });

  it("is one of the tenant's own when only its limit is in the way", () => {
    const s = new Stage(2, { tenantLimits: new Map([["t", { gpus: 1 }]]) });
    s.resident("a", 1_000, { ask: { workload: { tenant: "t" } } });
    s.resident("b", 1_000, { ask: { workload: { tenant: "u" } } });
    const ticket = s.wait({ vramMb: 1_000 }, { workload: { tenant: "t" } });
    expect(s.evictions).toEqual([["a"]]);
    s.end("a");
    s.show();
    expect(s.grantOf(ticket)).toBeDefined();
  });
});

describe("a dry run", () => {
  it("names those who would go, with memory and cost, and changes nothing", () => {
    const s = new Stage();
    const a = s.resident("a", 6_000, { reloadMs: 3_000 });
    const workload = { name: "j", tenant: "default", priority: 0, labels: {}, requirements: requirements({ vramMb: 8_000 }) };
    const before = s.state.version;
    const told = explain(s.state, workload, "", s.now);
    expect(told).toMatchObject({
      fitsNow: false,
      victims: [{ leaseId: a.id, name: "a", gpus: [{ uuid: "GPU-0", vramMb: 6_000 }] }],
    });
    expect(told.victims[0]?.costMs).toBeCloseTo(3_000, 3);
    expect(s.state.version).toBe(before);
    expect(s.view(a.id)?.state).toBe("idle");
    s.wait({ vramMb: 8_000 });
    expect(s.evictions).toEqual([told.victims.map((v) => v.name)]);
  });
});
