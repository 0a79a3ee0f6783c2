import { describe, expect, it } from "vitest";
import { availableOf, capacityOf } from "../../src/engine/books.ts";
import type { GpuSample } from "../../src/engine/sample.ts";
import { Bench, gpu, leaseIn, processes, refusalIn } from "./support.ts";

const noMargin = { margin: { percent: 0, atLeastMb: 0 } };

function available(bench: Bench, uuid = "GPU-0"): number | undefined {
  const pool = bench.state.pools.get(uuid);
  return pool === undefined ? undefined : availableOf(bench.state, pool);
}

describe("accounting per GPU", () => {
  it("two requests against one measurement: the first reservation counts before it is seen (A1)", () => {
    const bench = new Bench().sample([gpu(0, 10_300, 0)]);
    expect(bench.allocate({ vramMb: 8000 }).type).toBe("lease");
    const refusal = refusalIn(bench.allocate({ vramMb: 8000 }));
    expect(refusal.reasons[0]).toMatchObject({
      code: "INSUFFICIENT_GPU_MEMORY",
      gpuUuid: "GPU-0",
      neededMb: 8000,
      outstandingMb: 8000,
    });
  });

  it("memory of processes without a lease is never promised (A10)", () => {
    const bench = new Bench().sample([gpu(0, 24_576, 10_000)]);
    expect(bench.allocate({ vramMb: 8000 }).type).toBe("lease");
    const refusal = refusalIn(bench.allocate({ vramMb: 8000 }));
    expect(refusal.reasons[0]).toMatchObject({ foreignMb: 10_000, availableMb: 24_576 - 10_000 - 8000 - 492 });
  });

  it("a lease and its loaded memory are charged once (A2)", () => {
    const bench = new Bench(noMargin).sample([gpu(0, 24_000, 0)]);
    const lease = bench.lease({ vramMb: 8000 });
    bench.attach(lease, "7:1");
    expect(available(bench)).toBe(16_000);
    bench.now += 10;
    bench.sample([gpu(0, 24_000, 6000)], { processes: processes(bench.now, { pid: 7, gpu: "GPU-0", usedMb: 6000 }) });
    expect(available(bench)).toBe(16_000);
    expect(bench.view(lease.id)?.gpus[0]?.residentMb).toBe(6000);
  });

  it("a worker that outgrew its promise is charged what it uses", () => {
    const bench = new Bench(noMargin).sample([gpu(0, 24_000, 0)]);
    const lease = bench.lease({ vramMb: 4000 });
    bench.attach(lease, "7:1");
    bench.now += 10;
    bench.sample([gpu(0, 24_000, 9000)], { processes: processes(bench.now, { pid: 7, gpu: "GPU-0", usedMb: 9000 }) });
    expect(available(bench)).toBe(15_000);
    expect(bench.state.pools.get("GPU-0")?.foreignMb).toBe(0);
  });

  it("the whole process tree counts, and the nearest attached ancestor owns a process", () => {
    const bench = new Bench(noMargin).sample([gpu(0, 24_000, 0)]);
    const outer = bench.lease({ vramMb: 5000 });
    const inner = bench.lease({ vramMb: 5000 });
    bench.attach(outer, "7:1");
    bench.attach(inner, "8:1");
    bench.now += 10;
    const at = bench.now;
    bench.sample([gpu(0, 24_000, 5000)], {
      processes: {
        observedAt: at,
        list: [{ pid: 9, gpuUuid: "GPU-0", usedMb: 5000, name: "x", lineage: ["9:1", "8:1", "7:1", "1:1"] }],
      },
    });
    expect(bench.view(inner.id)?.gpus[0]?.residentMb).toBe(5000);
    expect(bench.view(outer.id)?.gpus[0]?.residentMb).toBe(0);
  });

  it("a measurement from before the grant cancels no reservation, however late it arrives (A3, A4)", () => {
    const bench = new Bench(noMargin).sample([gpu(0, 24_000, 0)]);
    const readAt = bench.now;
    bench.now += 100;
    const lease = bench.lease({ vramMb: 8000 });
    bench.attach(lease, "7:1");
    bench.now += 100;
    // It lists the process with the memory that it had before, and arrives after the grant.
    bench.sample([gpu(0, 24_000, 3000, { observedAt: readAt })], {
      processes: processes(readAt, { pid: 7, gpu: "GPU-0", usedMb: 3000 }),
    });
    expect(bench.state.pools.get("GPU-0")?.outstandingMb).toBe(8000);
  });

  it("memory that the driver does not tell for a process is unknown, not zero (A7)", () => {
    const bench = new Bench(noMargin).sample([gpu(0, 24_000, 0)]);
    const lease = bench.lease({ vramMb: 8000 });
    bench.attach(lease, "7:1");
    bench.now += 10;
    bench.sample([gpu(0, 24_000, 8000)], { processes: processes(bench.now, { pid: 7, gpu: "GPU-0" }) });
    expect(bench.view(lease.id)?.gpus[0]?.residentMb).toBeUndefined();
    expect(available(bench)).toBeLessThanOrEqual(24_000 - 8000 - 8000);
  });

  it("a lease without an attached process is not credited with foreign memory that arrives after its grant", () => {
    const bench = new Bench(noMargin).sample([gpu(0, 24_576, 0)]);
    bench.lease({ vramMb: 8000 });
    bench.now += 10;
    bench.sample([gpu(0, 24_576, 10_000)], { processes: processes(bench.now, { pid: 99, gpu: "GPU-0", usedMb: 10_000 }) });
    expect(bench.allocate({ vramMb: 8000 }).type).toBe("refused");
  });

  it("use that falls below what the last process list accounts for stays charged until the next list tells whose it was", () => {
    const bench = new Bench(noMargin).sample([gpu(0, 24_000, 5000)]);
    const lease = bench.lease({ vramMb: 8000 });
    bench.attach(lease, "7:1");
    bench.now += 10;
    const list = processes(bench.now, { pid: 7, gpu: "GPU-0", usedMb: 8000 });
    bench.sample([gpu(0, 24_000, 13_000)], { processes: list });
    expect(available(bench)).toBe(11_000);
    // The worker gives 8000 back but keeps its lease; the list is still the old one.
    bench.sample([gpu(0, 24_000, 5000)], { processes: list });
    expect(available(bench)).toBe(11_000);
    bench.sample([gpu(0, 24_000, 5000)], { processes: processes(bench.now, { pid: 7, gpu: "GPU-0", usedMb: 0 }) });
    expect(available(bench)).toBe(11_000);
  });

  it("nothing is summed over GPUs: 2 GPUs with 3000 MiB free each refuse 4096 MiB (A9)", () => {
    const bench = new Bench().sample([gpu(0, 24_576, 21_576), gpu(1, 24_576, 21_576)]);
    const refusal = refusalIn(bench.allocate({ vramMb: 4096 }));
    expect(refusal.reasons.map((r) => r.gpuUuid)).toEqual(["GPU-0", "GPU-1"]);
  });

  it("the driver's reserve is not promised, also where old drivers do not name it", () => {
    const named = new Bench(noMargin).sample([gpu(0, 24_576, 0, { reservedMb: 400 })]);
    const unnamed = new Bench(noMargin).sample(
      [gpu(0, 24_576, 0, { freeMb: 24_176 })].map(({ reservedMb: _, ...g }) => g as GpuSample),
    );
    for (const bench of [named, unnamed]) {
      const pool = bench.state.pools.get("GPU-0");
      expect(pool && capacityOf(bench.state, pool)).toBe(24_176);
    }
  });

  it("where memory cannot be attributed, what grew since the grant is the estimate, once, and never more than was reserved (A17)", () => {
    const blind = (used: number) => gpu(0, 24_000, used, { attribution: false });
    const bench = new Bench(noMargin).sample([blind(2000)]);
    bench.lease({ vramMb: 6000 });
    bench.lease({ vramMb: 4000 });
    bench.sample([blind(5000)]);
    const pool = bench.state.pools.get("GPU-0");
    expect(pool?.outstandingMb).toBe(10_000 - 3000);
    expect(pool?.foreignMb).toBe(2000);
    bench.sample([blind(20_000)]);
    expect(pool?.outstandingMb).toBe(0);
    expect(pool?.foreignMb).toBe(10_000);
    expect(available(bench)).toBe(4000);
  });

  it("compute instances of one MIG GPU instance share its memory: it is promised once", () => {
    const mig = (uuid: string, index: number) => gpu(index, 20_000, 0, { uuid, kind: "mig", poolId: "GPU-0/gi2" });
    const bench = new Bench(noMargin).sample([mig("MIG-a", 0), mig("MIG-b", 1)]);
    expect(bench.lease({ vramMb: 12_000 }).gpus[0]?.uuid).toBe("MIG-a");
    expect(bench.allocate({ vramMb: 12_000 }).type).toBe("refused");
    expect(refusalIn(bench.allocate({ vramMb: 11_000, gpuCount: 2 })).reasons[0]?.code).toBe("NEVER_FITS");
    expect(bench.allocate({ vramMb: 5000, gpuCount: 2 }).type).toBe("refused");
    expect(bench.lease({ vramMb: 4000, gpuCount: 2 }).gpus).toHaveLength(2);
  });

  it("a unified GPU and the host share one memory and are charged once (A15)", () => {
    const unified: GpuSample = {
      uuid: "GPU-u",
      index: 0,
      name: "GB10",
      kind: "unified",
      health: "ok",
      healthMessage: "",
      observedAt: 0,
      attribution: false,
    };
    const host = { totalMb: 100_000, availableMb: 50_000, observedAt: 0 };
    const bench = new Bench({ ramMargin: { percent: 0, atLeastMb: 0 } });
    const look = () => bench.sample([unified], { host: { ...host, observedAt: bench.now + 1 } });
    look();
    expect(bench.lease({ vramMb: 30_000 }).gpus[0]?.uuid).toBe("GPU-u");
    expect(refusalIn(bench.allocate({ vramMb: 30_000 })).reasons[0]?.code).toBe("INSUFFICIENT_SYSTEM_RAM");
    expect(refusalIn(bench.allocate({ gpuCount: 0, vramMb: 0, ramMb: 30_000 })).reasons[0]?.code).toBe(
      "INSUFFICIENT_SYSTEM_RAM",
    );
    expect(bench.allocate({ vramMb: 10_000, ramMb: 5000 }).type).toBe("lease");
  });
});

describe("host memory", () => {
  const ram = (mb: number) => ({ gpuCount: 0, vramMb: 0, ramMb: mb });
  const host = (bench: Bench, availableMb?: number) => ({
    host: { totalMb: 32_000, observedAt: bench.now + 1, ...(availableMb === undefined ? {} : { availableMb }) },
  });
  const settings = { ramMargin: { percent: 0, atLeastMb: 0 } };

  it("is reserved like GPU memory", () => {
    const bench = new Bench(settings);
    bench.sample([], host(bench, 20_000));
    bench.lease(ram(15_000));
    expect(refusalIn(bench.allocate(ram(8000))).reasons[0]).toMatchObject({
      code: "INSUFFICIENT_SYSTEM_RAM",
      availableMb: 5000,
      outstandingMb: 15_000,
    });
  });

  it("that a worker has taken is credited to its lease", () => {
    const bench = new Bench(settings);
    bench.sample([], host(bench, 20_000));
    const lease = bench.lease(ram(15_000));
    bench.attach(lease, "7:1");
    bench.now += 10;
    bench.sample([], { ...host(bench, 5000), treeRam: new Map([["7:1", 15_000]]) });
    expect(bench.allocate(ram(5000)).type).toBe("lease");
  });

  it("that is not known admits nothing that needs it, and does not matter to what does not", () => {
    const bench = new Bench(settings);
    bench.sample([gpu(0, 24_000, 0)], host(bench));
    expect(refusalIn(bench.allocate(ram(1))).reasons[0]?.code).toBe("INSUFFICIENT_SYSTEM_RAM");
    expect(bench.allocate({ vramMb: 1000, ramMb: 0 }).type).toBe("lease");
  });

  it("that would never fit is refused for good", () => {
    const bench = new Bench(settings);
    bench.sample([], host(bench, 20_000));
    const refusal = refusalIn(bench.allocate(ram(40_000)));
    expect(refusal.reasons[0]?.code).toBe("NEVER_FITS");
    expect(refusal.largestThatFits).toEqual({ gpuCount: 0, vramMb: 0, ramMb: 32_000 });
  });
});

describe("what is not known", () => {
  const takes = (bench: Bench) => bench.allocate({ vramMb: 1000 });

  it.each<[string, Partial<GpuSample>, string]>([
    ["lost", { health: "lost" }, "GPU_UNHEALTHY"],
    ["degraded", { health: "degraded" }, "GPU_UNHEALTHY"],
    ["unknown", { health: "unknown" }, "GPU_STATS_UNAVAILABLE"],
    ["exclusive", { computeMode: "Exclusive_Process" }, "GPU_UNHEALTHY"],
    ["prohibited", { computeMode: "Prohibited" }, "GPU_UNHEALTHY"],
  ])("a GPU that is %s takes nothing new", (_, more, code) => {
    const bench = new Bench().sample([gpu(0, 24_000, 0, more)]);
    expect(refusalIn(takes(bench)).reasons[0]?.code).toBe(code);
  });

  it("a GPU without a figure for free memory takes nothing new: unknown is never free (A8)", () => {
    const { freeMb: _, ...rest } = gpu(0, 24_000, 0);
    expect(refusalIn(takes(new Bench().sample([rest]))).reasons[0]?.code).toBe("GPU_STATS_UNAVAILABLE");
  });

  it("a measurement that is too old decides nothing, and one newer does again", () => {
    const bench = new Bench({ maxSampleAgeMs: 2000 }).sample([gpu(0, 24_000, 0)]);
    bench.pass(2500);
    expect(refusalIn(takes(bench)).reasons[0]?.code).toBe("GPU_STATS_UNAVAILABLE");
    bench.sample([gpu(0, 24_000, 0)]);
    expect(takes(bench).type).toBe("lease");
  });

  it("before the first measurement nothing is granted and nothing is final", () => {
    const bench = new Bench();
    expect(refusalIn(takes(bench)).reasons[0]?.code).toBe("GPU_STATS_UNAVAILABLE");
    const ticket = bench.wait({ vramMb: 1000 });
    bench.sample([gpu(0, 24_000, 0)]);
    expect(bench.grantOf(ticket)).toBeDefined();
  });

  it("GPUs that the source cannot name are awaited; a machine without GPUs is a final no", () => {
    const bench = new Bench().sample([], { gpusUnknown: true, message: "the driver is not loaded" });
    const ticket = bench.wait({ vramMb: 1000 });
    expect(bench.ticket(ticket)?.reasons[0]).toMatchObject({
      code: "GPU_STATS_UNAVAILABLE",
      message: "the driver is not loaded",
    });
    bench.sample([]);
    expect(bench.effects.find((e) => e.type === "refused")).toMatchObject({
      ticketId: ticket,
      refusal: { reasons: [{ code: "NEVER_FITS" }, { code: "NO_GPU" }] },
    });
  });

  it("--when-blind allow admits on a GPU whose memory is not known, after those that are known", () => {
    const bench = new Bench({ whenBlind: "allow" }).sample([gpu(0, 24_000, 0, { health: "unknown" }), gpu(1, 24_000, 20_000)]);
    expect(bench.lease({ vramMb: 2000 }).gpus[0]?.uuid).toBe("GPU-1");
    const blind = bench.lease({ vramMb: 8000 });
    expect(blind.gpus[0]?.uuid).toBe("GPU-0");
    expect(blind.overcommitted).toBe(true);
  });
});

describe("every knob changes a decision (A14)", () => {
  const decide = (settings: ConstructorParameters<typeof Bench>[0], vramMb: number) =>
    new Bench(settings).sample([gpu(0, 10_000, 0)]).allocate({ vramMb }).type;

  it("margin as a share of the card", () => {
    expect(decide({ margin: { percent: 10, atLeastMb: 0 } }, 9100)).toBe("refused");
    expect(decide({ margin: { percent: 8, atLeastMb: 0 } }, 9100)).toBe("lease");
  });
  it("margin as a size", () => {
    expect(decide({ margin: { percent: 0, atLeastMb: 1000 } }, 9100)).toBe("refused");
    expect(decide({ margin: { percent: 0, atLeastMb: 900 } }, 9100)).toBe("lease");
  });
  it("the default margin is 2 % of the card and at least 256 MiB", () => {
    expect(decide({}, 9744)).toBe("lease");
    expect(decide({}, 9745)).toBe("refused");
    const large = new Bench().sample([gpu(0, 80_000, 0)]);
    expect(leaseIn(large.allocate({ vramMb: 78_400 }))).toBeDefined();
    expect(new Bench().sample([gpu(0, 80_000, 0)]).allocate({ vramMb: 78_401 }).type).toBe("refused");
  });
  it("margin for host memory", () => {
    const ask = (percent: number) => {
      const bench = new Bench({ ramMargin: { percent, atLeastMb: 0 } });
      bench.sample([], { host: { totalMb: 1000, availableMb: 1000, observedAt: bench.now + 1 } });
      return bench.allocate({ gpuCount: 0, vramMb: 0, ramMb: 950 }).type;
    };
    expect(ask(10)).toBe("refused");
    expect(ask(5)).toBe("lease");
  });
  it("the limits of the queue", () => {
    const bench = new Bench({ maxQueue: 2, maxQueuePerTenant: 1 }).sample([gpu(0, 10_000, 9000)]);
    const wait = (tenant: string) => bench.submit("wait", { vramMb: 5000 }, { workload: { tenant } });
    expect(wait("a").type).toBe("ticket");
    expect(wait("a")).toMatchObject({ type: "failure", failure: { reason: "TENANT_QUEUE_FULL" } });
    expect(wait("b").type).toBe("ticket");
    expect(wait("c")).toMatchObject({ type: "failure", failure: { reason: "QUEUE_FULL" } });
    expect(bench.state.line.size).toBe(2);
  });
});
