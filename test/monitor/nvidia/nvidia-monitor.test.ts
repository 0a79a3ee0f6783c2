import { describe, expect, it } from "vitest";
import { gpuUuid, twoGpus } from "../../fakes/nvidia-smi/fake.ts";
import { waitFor } from "../../wait-for.ts";
import { afterThis, gpu, machine, sleeper } from "./workbench.ts";

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

  // Guards against two answers for one state: the loop said "degraded", which work may run on where nothing is known, a fresh
  // nvidia-smi "lost".
  it("says of a GPU that needs a reset that it is lost until then, in the loop and when stock is taken, and takes it back", async () => {
    const { fake, rig } = machine(twoGpus(), { inventoryMs: 200 });
    await rig.start();
    fake.set({ gpus: [{ uuid: gpuUuid(0), health: "reset" }, { uuid: gpuUuid(1) }] });
    const sample = await rig.until("lost ok");
    expect(gpu(sample, 0).healthMessage).toBe("needs a reset (nvidia-smi --gpu-reset, or a reboot)");
    const stock = await waitFor(
      () => rig.samples.find((each) => gpu(each, 0).healthMessage?.endsWith('in place of its uuid"')),
      "stock is taken",
    );
    expect(gpu(stock, 0)).toMatchObject({ health: "lost", healthMessage: expect.stringContaining("needs a reset") });
    const after = rig.samples.slice(rig.samples.indexOf(sample));
    expect(new Set(after.map((each) => gpu(each, 0).health))).toEqual(new Set(["lost"]));
    fake.set(twoGpus());
    await rig.until("ok ok");
  });

  // Guards against taking the words in its row for the next GPU's.
  it("does not confuse a GPU that tells no uuid from the start with its neighbour", async () => {
    const { fake, rig } = machine({ gpus: [{ uuid: gpuUuid(0), health: "reset" }, { uuid: gpuUuid(1) }] });
    const first = await rig.start();
    expect(gpu(first, 0)).toMatchObject({ health: "lost", healthMessage: expect.stringContaining("GPU requires reset") });
    await waitFor(() => rig.samples.length > 8, "rounds of the stream");
    expect(new Set(rig.samples.map((sample) => gpu(sample, 1).health))).toEqual(new Set(["ok"]));
    fake.set(twoGpus());
    await rig.until("ok ok");
    expect(rig.last.gpus.map((each) => each.uuid)).toEqual([gpuUuid(0), gpuUuid(1)]);
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

  // Guards against crediting a lease with memory that another process has taken since: use did not move, so no list is asked for.
  it("leaves a process out that has ended since it was listed, before there is another list", async () => {
    const { pid } = sleeper();
    const { rig } = machine(
      { ...twoGpus(), processes: [{ pid, gpuUuid: gpuUuid(0), usedMb: 700 }] },
      { processListMs: 60_000 },
    );
    await rig.start();
    await waitFor(() => rig.last.processes?.list.length === 1, "the list");
    const { observedAt } = rig.last.processes ?? {};
    rig.processes.ended.add(`${pid}:1`);
    await waitFor(() => rig.last.processes?.list.length === 0, "it to be left out");
    expect(rig.last.processes?.observedAt).toBe(observedAt);
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
  // Each list is a process that has to be started: on a busy machine that takes seconds, which is not what is tested here.
  it("never shows a list that is newer than the memory figures beside it", { timeout: 60_000 }, async () => {
    const { fake, rig } = machine({ ...twoGpus(), delayMs: 20 }, { processListMs: 30 });
    await rig.start();
    const { pid } = sleeper();
    let usedMb = 0;
    const timer = setInterval(() => {
      usedMb += 10;
      fake.update((state) => {
        state.processes = [{ pid, gpuUuid: gpuUuid(0), usedMb }];
      });
    }, 25);
    afterThis(() => clearInterval(timer));
    const seen = () => new Set(rig.samples.flatMap((sample) => sample.processes?.list.map((each) => each.usedMb) ?? []));
    await waitFor(() => seen().size > 5, "lists while memory grows", 45_000);
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
    const { rig } = machine({ ...twoGpus(), processes: [{ pid, gpuUuid: gpuUuid(0), usedMb: 100, foreign: true }] });
    rig.processes.hidden.add(pid);
    await rig.start();
    await waitFor(() => rig.last.processes?.list.length === 1, "the list");
    expect(rig.last.gpus.map((each) => each.attribution)).toEqual([false, false]);
  });
});
