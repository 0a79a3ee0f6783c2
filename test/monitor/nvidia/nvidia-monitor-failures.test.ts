import { describe, expect, it } from "vitest";
import { type FakeGpu, gpuUuid, twoGpus } from "../../fakes/nvidia-smi/fake.ts";
import { waitFor } from "../../wait-for.ts";
import { Rig } from "./rig.ts";
import { afterThis, gpu, machine, runs } from "./workbench.ts";

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
    afterThis(() => rig.monitor.stop());
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
  // A hung driver does not let go of a child; each new one would be stuck as well.
  it("are not started while one that was told to end has not ended", async () => {
    const { fake, rig } = machine(twoGpus(), { silenceMs: 300, graceMs: 2000 });
    await rig.start();
    await waitFor(() => rig.samples.length > 3 && rig.last.processes !== undefined, "rounds");
    const loop = fake.calls().find((call) => call.args.includes("-lms"))?.pid as number;
    fake.set({ ...twoGpus(), hang: true, ignoreTerm: true });
    await rig.until("unknown unknown");
    const before = fake.calls().length;
    await waitFor(() => !runs(loop), "the end of the loop child, by SIGKILL");
    expect(fake.calls().length).toBe(before);
    fake.set(twoGpus());
    await rig.until("ok ok", 14_000);
  });

  it("are at most one loop and one question", async () => {
    const { rig } = machine({ ...twoGpus(), startDelayMs: 30 }, { inventoryMs: 50, processListMs: 20 });
    let most = 0;
    const timer = setInterval(() => {
      rig.monitor.refresh();
      most = Math.max(most, rig.monitor.children);
    }, 5);
    afterThis(() => clearInterval(timer));
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
