import { spawn } from "node:child_process";
import { once } from "node:events";
import { afterEach, describe, expect, it } from "vitest";
import type { GpuSample, MachineSample } from "../../../src/engine/sample.ts";
import type { NvidiaMonitorOptions } from "../../../src/monitor/nvidia/nvidia-monitor-options.ts";
import { type FakeGpu, FakeNvidiaSmi, type FakeState, gpuUuid, twoGpus } from "../../fakes/nvidia-smi/fake.ts";
import { waitFor } from "../../wait-for.ts";
import { Rig } from "./rig.ts";

const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function machine(state: FakeState = twoGpus(), options: Partial<NvidiaMonitorOptions> = {}): { fake: FakeNvidiaSmi; rig: Rig } {
  const fake = new FakeNvidiaSmi(state);
  cleanups.push(() => fake.dispose());
  const rig = new Rig(fake.path, options);
  cleanups.push(() => rig.monitor.stop());
  return { fake, rig };
}

/** A real process that the fake lists as long as it runs. */
function sleeper(): { pid: number; end(): Promise<void> } {
  const child = spawn("sleep", ["60"], { stdio: "ignore" });
  const exit = once(child, "exit");
  const end = async () => {
    child.kill();
    await exit;
  };
  cleanups.push(end);
  return { pid: child.pid as number, end };
}

function gpu(sample: MachineSample, index: number): GpuSample {
  return sample.gpus.find((candidate) => candidate.index === index) as GpuSample;
}

function runs(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

describe("measuring", () => {
  it("tells each GPU's memory with the first sample, and again with every round", async () => {
    const { fake, rig } = machine();
    const first = await rig.start();
    expect(first.source).toBe("sys-mon-nvidia");
    expect(first.driverVersion).toBe("550.163.01");
    expect(first.message).toBe("");
    expect(first.host?.availableMb).toBe(32_000);
    expect(gpu(first, 1)).toMatchObject({
      uuid: gpuUuid(1),
      name: "NVIDIA GeForce RTX 4090",
      kind: "full",
      totalMb: 24564,
      reservedMb: 346,
      usedMb: 0,
      freeMb: 24218,
      computeMode: "Default",
      health: "ok",
      healthMessage: "",
      temperatureC: 41,
      powerW: 38.5,
    });
    fake.update((state) => {
      (state.gpus[1] as { usedMb?: number }).usedMb = 1000;
    });
    await waitFor(() => gpu(rig.last, 1).usedMb === 1000, "the new figure");
    expect(gpu(rig.last, 1).freeMb).toBe(23218);
    expect(rig.monitor.status()).toEqual({ healthy: true, message: "2 GPUs with driver 550.163.01, measured every 100 ms." });
  });

  it("dates memory figures no later than they were read, even when the driver takes long to read them", async () => {
    const { rig } = machine({ ...twoGpus(), delayMs: 150 });
    await rig.start();
    await waitFor(() => rig.samples.length > 4, "some rounds");
    const now = rig.now();
    // A row is stamped before its 150 ms of reading.
    for (const each of rig.last.gpus) expect(each.observedAt).toBeLessThan(now - 100);
  });

  it.each([3_600_000, -3_600_000])("does not believe time stamps that are off by %i ms", async (clockSkewMs) => {
    const { rig } = machine({ ...twoGpus(), clockSkewMs });
    const first = await rig.start();
    const from = gpu(first, 0).observedAt;
    await waitFor(() => gpu(rig.last, 0).observedAt > from + 300, "figures that grow newer");
    expect(gpu(rig.last, 0).observedAt).toBeLessThanOrEqual(rig.now());
    expect(rig.last.gpus.every((each) => each.health === "ok")).toBe(true);
  });

  it("asks old drivers only for what they know", async () => {
    const { rig } = machine({ ...twoGpus(), unknownFields: ["memory.reserved", "mig.mode.current", "mig.mode.pending"] });
    const first = await rig.start();
    expect(gpu(first, 0)).toMatchObject({ health: "ok", totalMb: 24564, freeMb: 24218 });
    expect(gpu(first, 0).reservedMb).toBeUndefined();
    await waitFor(() => rig.samples.length > 5, "rounds of the stream");
    expect(rig.health).toBe("ok ok");
  });

  it("sends a sample for each reading of the host, with the trees that are watched", async () => {
    const { rig } = machine(twoGpus(), { hostPeriodMs: 50 });
    rig.watched = ["42:7"];
    await rig.start();
    rig.host.availableMb = 1234;
    await waitFor(() => rig.last.host?.availableMb === 1234, "the host's new figure");
    expect(rig.last.treeRam.get("42:7")).toBe(100);
  });
});

describe("GPUs that are not well", () => {
  it("keeps a GPU that falls off the bus while the loop runs, as lost, and takes it back", async () => {
    const { fake, rig } = machine();
    await rig.start();
    fake.update((state) => {
      state.gpus[0] = { ...state.gpus[0], uuid: gpuUuid(0), health: "lost" };
    });
    const without = await rig.until("lost ok");
    expect(gpu(without, 0)).toMatchObject({ uuid: gpuUuid(0), totalMb: 24564, attribution: false });
    expect(gpu(without, 0).freeMb).toBeUndefined();
    expect(without.message).toMatch(/GPU 0 .*lost/);
    expect(rig.monitor.status().healthy).toBe(false);
    fake.set(twoGpus());
    const again = await rig.until("ok ok");
    expect(gpu(again, 0).freeMb).toBe(24218);
  });

  it("measures the healthy GPUs when one cannot be opened from the start, and names it when it comes back", async () => {
    const { fake, rig } = machine({ gpus: [{ uuid: gpuUuid(0) }, { uuid: gpuUuid(1), health: "lost" }, { uuid: gpuUuid(2) }] });
    const first = await rig.start();
    expect(first.gpus.map((each) => [each.index, each.health])).toEqual([
      [0, "ok"],
      [1, "lost"],
      [2, "ok"],
    ]);
    expect(gpu(first, 1).healthMessage).toContain("GPU is lost");
    await waitFor(
      () => fake.calls().some((call) => call.args.includes("-lms") && call.args.includes("0,2")),
      "a loop over the healthy ones",
    );
    fake.update((state) => {
      state.gpus[1] = { uuid: gpuUuid(1) };
    });
    await rig.until("ok ok ok");
    expect(rig.last.gpus.map((each) => each.uuid)).toEqual([gpuUuid(0), gpuUuid(1), gpuUuid(2)]);
    const at = rig.samples.length;
    await waitFor(
      () => rig.samples.slice(at).filter((sample) => gpu(sample, 1).health === "ok").length > 3,
      "rounds with all three",
    );
  });

  it("says lost, not absent, of a GPU whose row vanishes from a fresh answer", async () => {
    const { fake, rig } = machine(twoGpus(), { inventoryMs: 200 });
    await rig.start();
    fake.update((state) => {
      state.gpus[1] = { uuid: gpuUuid(1), health: "hidden" };
    });
    const sample = await rig.until("ok lost");
    expect(gpu(sample, 1).healthMessage).toContain("no longer listed");
  });

  it("says unknown of a GPU whose rows stop while others go on", async () => {
    const { fake, rig } = machine(twoGpus(), { inventorySickMs: 60_000 });
    await rig.start();
    fake.update((state) => {
      state.gpus[0] = { uuid: gpuUuid(0), health: "silent" };
    });
    await rig.until("unknown ok");
    fake.set(twoGpus());
    await rig.until("ok ok");
  });

  it.each([
    ["reset", "needs a reset"],
    ["noperm", "Insufficient Permissions"],
    ["nomem", "does not tell its memory"],
    ["broken", "ERR!"],
  ] as const)("takes nothing on a GPU that is '%s', in the stream too", async (health, sentence) => {
    const { rig } = machine({ gpus: [{ uuid: gpuUuid(0), health }, { uuid: gpuUuid(1) }] });
    const first = await rig.start();
    expect(gpu(first, 0)).toMatchObject({ health: "degraded", healthMessage: expect.stringContaining(sentence) });
    await waitFor(() => rig.samples.length > 5, "rounds of the stream");
    for (const sample of rig.samples) expect(gpu(sample, 0).health).toBe("degraded");
    expect(rig.health).toBe("degraded ok");
  });

  it("takes a part that shares the host's memory as unified and well, without figures of its own", async () => {
    const { rig } = machine({ gpus: [{ uuid: gpuUuid(0), name: "NVIDIA GB10", health: "nomem", addressingMode: "ATS" }] });
    const first = await rig.start();
    expect(first.gpus[0]).toMatchObject({ kind: "unified", health: "ok" });
    await waitFor(() => rig.samples.length > 5, "rounds of the stream");
    expect(rig.health).toBe("ok");
    expect(rig.last.gpus[0]?.totalMb).toBeUndefined();
  });

  it("notices a new GPU and a new driver, and measures with a new loop", async () => {
    const { fake, rig } = machine(twoGpus(), { inventoryMs: 200 });
    await rig.start();
    fake.update((state) => {
      state.gpus.push({ uuid: gpuUuid(2), usedMb: 10 });
      state.driver = "570.1";
    });
    await rig.until("ok ok ok");
    await waitFor(() => rig.last.driverVersion === "570.1", "the new driver");
    fake.update((state) => {
      state.gpus[2] = { uuid: gpuUuid(2), usedMb: 500 };
    });
    await waitFor(() => gpu(rig.last, 2).usedMb === 500, "the new GPU in the stream");
  });
});

describe("processes", () => {
  it("lists them with their lineage, and says that memory can be told per process", async () => {
    const { pid } = sleeper();
    const { rig } = machine({ ...twoGpus(), processes: [{ pid, gpuUuid: gpuUuid(1), usedMb: 700, name: "python3, worker" }] });
    await rig.start();
    await waitFor(() => rig.last.processes?.list.length === 1, "the list");
    expect(rig.last.processes?.list).toEqual([
      { pid, gpuUuid: gpuUuid(1), usedMb: 700, name: "python3? worker", lineage: [`${pid}:1`, "1:1"] },
    ]);
    expect(rig.last.gpus.map((each) => each.attribution)).toEqual([true, true]);
  });

  it("asks at once when memory moves, and drops a process that ended", async () => {
    const { fake, rig } = machine(twoGpus(), { processListMs: 60_000 });
    await rig.start();
    await waitFor(() => rig.last.processes !== undefined, "a first list");
    const worker = sleeper();
    fake.update((state) => {
      state.processes = [{ pid: worker.pid, gpuUuid: gpuUuid(0), usedMb: 64 }];
    });
    await waitFor(() => rig.last.processes?.list.length === 1, "the process");
    await worker.end();
    await waitFor(() => rig.last.processes?.list.length === 0, "its end");
  });

  it("asks when somebody wants a fresh list", async () => {
    const { fake, rig } = machine(twoGpus(), { processListMs: 60_000 });
    await rig.start();
    await waitFor(() => rig.last.processes !== undefined, "a first list");
    const { pid } = sleeper();
    fake.update((state) => {
      state.processes = [{ pid, gpuUuid: gpuUuid(0), usedMb: 5 }];
    });
    await waitFor(() => gpu(rig.last, 0).usedMb === 5, "its memory");
    rig.monitor.refresh();
    await waitFor(() => rig.last.processes?.list.length === 1, "the process");
  });

  // Guards against crediting a worker with memory that `free` has not lost yet, which would admit the same bytes twice.
  it("never shows a list that is newer than the memory figures beside it", async () => {
    const { fake, rig } = machine({ ...twoGpus(), delayMs: 20 }, { processListMs: 30 });
    await rig.start();
    const { pid } = sleeper();
    let usedMb = 0;
    const timer = setInterval(() => {
      usedMb += 50;
      fake.update((state) => {
        state.processes = [{ pid, gpuUuid: gpuUuid(0), usedMb }];
      });
    }, 25);
    cleanups.push(() => clearInterval(timer));
    const seen = () => new Set(rig.samples.flatMap((sample) => sample.processes?.list.map((each) => each.usedMb) ?? []));
    await waitFor(() => seen().size > 5, "lists while memory grows");
    clearInterval(timer);
    let checked = 0;
    for (const sample of rig.samples) {
      const listed = sample.processes?.list.find((each) => each.gpuUuid === gpuUuid(0))?.usedMb;
      const { health, usedMb: figure, observedAt } = gpu(sample, 0);
      if (listed === undefined || health !== "ok") continue;
      checked++;
      expect(figure).toBeGreaterThanOrEqual(listed);
      expect(observedAt).toBeGreaterThanOrEqual(sample.processes?.observedAt as number);
    }
    expect(checked).toBeGreaterThan(5);
  });

  it("does not attribute memory when a process has no figure", async () => {
    const { pid } = sleeper();
    const { rig } = machine({ ...twoGpus(), processes: [{ pid, gpuUuid: gpuUuid(0) }] });
    await rig.start();
    await waitFor(() => rig.last.processes?.list.length === 1, "the list");
    expect(rig.last.processes?.list[0]?.usedMb).toBeUndefined();
    expect(rig.last.gpus.map((each) => each.attribution)).toEqual([false, true]);
  });

  it("does not attribute memory when pids are those of another namespace", async () => {
    const pid = 999_999;
    const fake = new FakeNvidiaSmi({ ...twoGpus(), processes: [{ pid, gpuUuid: gpuUuid(0), usedMb: 100, foreign: true }] });
    cleanups.push(() => fake.dispose());
    const rig = new Rig(fake.path);
    cleanups.push(() => rig.monitor.stop());
    rig.processes.hidden.add(pid);
    await rig.start();
    await waitFor(() => rig.last.processes?.list.length === 1, "the list");
    expect(rig.last.gpus.map((each) => each.attribution)).toEqual([false, false]);
  });
});

describe("MIG", () => {
  const parent = gpuUuid(0);
  const slice = (n: number) => `MIG-fa4e0000-0000-4000-8000-00000000000${n}`;
  const partitioned = (): FakeState => ({
    gpus: [
      {
        uuid: parent,
        name: "NVIDIA H200",
        totalMb: 143_771,
        reservedMb: 614,
        mig: {
          devices: [
            { uuid: slice(0), profile: "1c.3g.71gb", gi: 2, ci: 0, totalMb: 71_424, usedMb: 25 },
            { uuid: slice(1), profile: "1c.3g.71gb", gi: 2, ci: 1, totalMb: 71_424, usedMb: 25 },
            { uuid: slice(2), profile: "1g.18gb", gi: 9, totalMb: 16_384, usedMb: 12 },
          ],
        },
      },
      { uuid: gpuUuid(1), usedMb: 77 },
    ],
  });

  it("lists the devices instead of their GPU, with one pool for each GPU instance", async () => {
    const { fake, rig } = machine(partitioned());
    const first = await rig.start();
    expect(
      first.gpus.map(({ uuid, kind, poolId, parentUuid, health, freeMb }) => ({
        uuid,
        kind,
        poolId,
        parentUuid,
        health,
        freeMb,
      })),
    ).toEqual([
      { uuid: slice(0), kind: "mig", poolId: `${parent}/gi2`, parentUuid: parent, health: "ok", freeMb: 71_399 },
      { uuid: slice(1), kind: "mig", poolId: `${parent}/gi2`, parentUuid: parent, health: "ok", freeMb: 71_399 },
      { uuid: slice(2), kind: "mig", poolId: `${parent}/gi9`, parentUuid: parent, health: "ok", freeMb: 16_372 },
      { uuid: gpuUuid(1), kind: "full", poolId: undefined, parentUuid: undefined, health: "ok", freeMb: 24_141 },
    ]);
    const { pid } = sleeper();
    fake.update((state) => {
      state.processes = [{ pid, gpuUuid: parent, gi: 9, ci: 0, usedMb: 1000 }];
    });
    await waitFor(() => rig.last.processes?.list.length === 1, "the process");
    expect(rig.last.processes?.list[0]).toMatchObject({ pid, gpuUuid: slice(2), usedMb: 1000 });
    expect(rig.last.gpus.find((each) => each.uuid === slice(2))).toMatchObject({ usedMb: 1012, attribution: true });
  });

  it("follows a partition that is made anew", async () => {
    const { fake, rig } = machine(partitioned());
    await rig.start();
    fake.update((state) => {
      (state.gpus[0] as { mig?: object }).mig = { devices: [{ uuid: slice(7), profile: "7g.141gb", gi: 0, totalMb: 140_000 }] };
    });
    await waitFor(() => rig.last.gpus.some((each) => each.uuid === slice(7) && each.health === "ok"), "the new device");
    expect(rig.last.gpus.filter((each) => each.health === "lost").map((each) => each.uuid)).toEqual([
      slice(0),
      slice(1),
      slice(2),
    ]);
    await waitFor(() => rig.monitor.status().healthy, "a status that does not complain of what was unmade");
  });

  it("admits nothing where another MIG mode is pending", async () => {
    const state = partitioned();
    state.gpus[0] = { ...state.gpus[0], uuid: parent, migPending: "Disabled" };
    const { rig } = machine(state);
    const first = await rig.start();
    expect(first.gpus.map((each) => each.health)).toEqual(["degraded", "degraded", "degraded", "ok"]);
  });

  it("is noticed when it is switched on while measuring", async () => {
    const { fake, rig } = machine({ gpus: [{ uuid: parent }, { uuid: gpuUuid(1) }] });
    await rig.start();
    fake.set(partitioned());
    await rig.until("ok ok ok ok");
    expect(rig.last.gpus.some((each) => each.uuid === parent)).toBe(false);
  });
});

describe("a source that fails", () => {
  const silent: FakeGpu[] = [0, 1].map((index) => ({ uuid: gpuUuid(index), health: "silent" }));

  it.each([
    [9, /driver is not loaded/],
    [12, /libnvidia-ml/],
    [18, /different versions/],
    [4, /\/dev\/nvidia/],
    [6, /found no GPU/],
    [17, /operating system blocks/],
    [255, /recreate the container/],
  ])("says exit code %i in plain words, and recovers by itself", async (fail, sentence) => {
    const { fake, rig } = machine({ ...twoGpus(), fail });
    const first = await rig.start();
    expect(first.gpus).toEqual([]);
    expect(first.message).toMatch(sentence);
    expect(rig.monitor.status()).toEqual({ healthy: false, message: first.message });
    fake.set(twoGpus());
    await rig.until("ok ok");
  });

  it("says that nvidia-smi is missing", async () => {
    const rig = new Rig("/nonexistent/nvidia-smi");
    cleanups.push(() => rig.monitor.stop());
    const first = await rig.start();
    expect(first.message).toMatch(/was not found.*--nvidia-smi/);
    expect(first.host).toBeDefined();
  });

  it("knows nothing once the loop ends, also with exit code 0, and starts another", async () => {
    const { fake, rig } = machine();
    await rig.start();
    for (const loopExit of [{ code: 0 }, { code: 255 }, { signal: "SIGSEGV" as const }]) {
      fake.set({ ...twoGpus(), loopExit });
      await rig.until("unknown unknown");
      expect(gpu(rig.last, 0).freeMb).toBeUndefined();
      expect(gpu(rig.last, 0).totalMb).toBe(24564);
      expect(rig.monitor.status().healthy).toBe(false);
      fake.set(twoGpus());
      await rig.until("ok ok");
    }
  });

  it.each([false, true])(
    "notices a hang, ends the child (SIGTERM ignored: %s), and goes on when the driver answers again",
    async (ignoreTerm) => {
      const { fake, rig } = machine();
      await rig.start();
      await waitFor(() => rig.samples.length > 3, "rounds");
      const loop = fake.calls().find((call) => call.args.includes("-lms"))?.pid as number;
      fake.set({ ...twoGpus(), hang: true, ignoreTerm });
      const blind = await rig.until("unknown unknown");
      expect(blind.message).toMatch(/has not delivered a full measurement/);
      await waitFor(() => !runs(loop), "the end of the loop child");
      fake.set(twoGpus());
      await rig.until("ok ok", 14_000);
    },
  );

  it("answers the start within the budget when everything hangs", async () => {
    const { rig } = machine({ ...twoGpus(), hang: true, ignoreTerm: true }, { firstMs: 500 });
    const first = await rig.start();
    expect(first.message).toMatch(/did not answer within 0.5 s/);
    await waitFor(() => rig.samples.length > 2, "tries");
    expect(rig.monitor.children).toBeLessThanOrEqual(1);
  });

  it.each([
    ["a flood of 1 GiB", { flood: true }],
    ["garbage", { garbage: true, gpus: silent }],
    ["lines cut off", { truncate: true }],
  ])("outlives %s, says what it does not know, and keeps its memory", async (_what, disturbance) => {
    const { fake, rig } = machine();
    await rig.start();
    await waitFor(() => rig.samples.length > 3, "rounds");
    const before = process.memoryUsage().rss;
    fake.set({ ...twoGpus(), ...disturbance });
    await rig.until("unknown unknown");
    expect(rig.monitor.status().healthy).toBe(false);
    expect(process.memoryUsage().rss - before).toBeLessThan(150 * 2 ** 20);
    fake.set(twoGpus());
    await rig.until("ok ok");
  });

  it.each([
    ["a flood", { flood: true }],
    ["garbage", { garbage: true, gpus: silent }],
    ["a line cut off", { truncate: true }],
  ])("outlives %s in the first answer", async (_what, disturbance) => {
    const { fake, rig } = machine({ ...twoGpus(), ...disturbance });
    const first = await rig.start();
    expect(first.gpus).toEqual([]);
    expect(first.message).not.toBe("");
    fake.set(twoGpus());
    await rig.until("ok ok");
  });

  it("goes on with rows that come among garbage", async () => {
    const { fake, rig } = machine();
    await rig.start();
    fake.set({ ...twoGpus(), garbage: true });
    fake.update((state) => {
      state.gpus[1] = { uuid: gpuUuid(1), usedMb: 321 };
    });
    await waitFor(() => gpu(rig.last, 1).usedMb === 321, "figures");
    expect(rig.health).toBe("ok ok");
  });
});

describe("children", () => {
  it("are at most one loop and one question", async () => {
    const { rig } = machine({ ...twoGpus(), startDelayMs: 30 }, { inventoryMs: 50, processListMs: 20 });
    let most = 0;
    const timer = setInterval(() => {
      rig.monitor.refresh();
      most = Math.max(most, rig.monitor.children);
    }, 5);
    cleanups.push(() => clearInterval(timer));
    await rig.start();
    await waitFor(() => rig.samples.length > 15, "rounds");
    expect(most).toBe(2);
  });

  it("are gone when stop resolves, and no sample comes after it", async () => {
    const { fake, rig } = machine();
    await rig.start();
    await waitFor(() => rig.samples.length > 3, "rounds");
    await rig.monitor.stop();
    const count = rig.samples.length;
    expect(fake.calls().filter((call) => runs(call.pid))).toEqual([]);
    await rig.monitor.stop();
    expect(rig.samples.length).toBe(count);
    expect(rig.monitor.children).toBe(0);
  });

  it("are ended by SIGKILL at stop when they ignore SIGTERM", async () => {
    const { fake, rig } = machine();
    await rig.start();
    fake.update((state) => {
      state.ignoreTerm = true;
    });
    await rig.monitor.stop();
    expect(fake.calls().filter((call) => runs(call.pid))).toEqual([]);
  });
});
