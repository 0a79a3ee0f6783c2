import { expect, it } from "vitest";
import { MonitorService } from "#gen/sluice/v1/monitor_pb.js";
import { ReasonCode } from "#gen/sluice/v1/types_pb.js";
import { waitFor } from "../wait-for.ts";
import { fakeBackend } from "./support/fake-machine.ts";
import { childrenOf, commandLineOf } from "./support/machine.ts";
import { codesOf, gpuWork, type Scheduler, Waiter } from "./support/scheduler.ts";
import { onEachMachine, openSite } from "./support/site.ts";

/** Longer than any pause before nvidia-smi is tried again. */
const recoveryMs = 30_000;
/** So that measurements are too old soon. */
const impatient = ["--max-sample-age", "1", "--poll-interval", "1"];

async function account(scheduler: Scheduler, index: number) {
  const gpu = (await scheduler.listQueue({})).gpus[index];
  if (gpu === undefined) throw new Error(`GPU ${index} is not listed`);
  return gpu;
}

/** Codes of the refusal that a small request gets; empty: it was admitted. */
async function refusedNow(scheduler: Scheduler, vramMb = 1_000): Promise<readonly string[]> {
  const { outcome } = await scheduler.allocate({ workload: gpuWork(vramMb), policy: "safety" });
  return outcome.case === "refusal" ? codesOf(outcome.value.reasons) : [];
}

onEachMachine((backend) => {
  it("when nvidia-smi hangs, nothing is granted on stale numbers, and it recovers by itself", async () => {
    await using site = await openSite(backend, [{ totalMb: 24_576 }], impatient);
    const { machine, scheduler } = site;
    machine.hang(true);
    // What the server cannot see: the card is full by now. The old numbers would say that all of it is free.
    machine.foreign(0, 23_000);
    await waitFor(
      async () => (await account(scheduler, 0)).blockedCode === ReasonCode.GPU_STATS_UNAVAILABLE,
      "the numbers to be too old",
    );
    expect((await account(scheduler, 0)).availableMb).toBeUndefined();
    const waiter = new Waiter(scheduler, 8_000);
    await waitFor(() => waiter.last === "queued", "the request to wait");
    expect(waiter.codes).toEqual(["GPU_STATS_UNAVAILABLE"]);
    // Over the whole time in which the hanging program is given up and tried again.
    const until = performance.now() + 6_000;
    await waitFor(async () => {
      expect(await refusedNow(scheduler)).toEqual(["GPU_STATS_UNAVAILABLE"]);
      expect(waiter.codes).toEqual(["GPU_STATS_UNAVAILABLE"]);
      return performance.now() > until;
    }, "six seconds without a grant");

    machine.hang(false);
    await waitFor(() => waiter.codes[0] === "INSUFFICIENT_GPU_MEMORY", "the numbers to be back", recoveryMs);
    machine.foreign(0, 0);
    await waitFor(() => waiter.lease, "the grant");
  });

  it("a GPU that is lost takes nothing new while the other one does, and serves again when it is back", async () => {
    await using site = await openSite(backend, [{ totalMb: 24_576 }, { totalMb: 24_576 }], impatient);
    const { machine, scheduler } = site;
    machine.lose(0);
    await waitFor(async () => (await account(scheduler, 0)).blocked !== "", "the loss to be seen");
    const waiter = new Waiter(scheduler, 8_000, { workload: gpuWork(8_000, { gpuUuids: [machine.uuid(0)] }) });
    await waitFor(() => waiter.codes.includes("GPU_UNHEALTHY"), "the reason", recoveryMs);
    // It was there, so a request for it is never told that it can never fit.
    expect(waiter.last).toBe("queued");
    await waitFor(async () => (await account(scheduler, 1)).blocked === "", "the other GPU to be measured again", recoveryMs);
    const { outcome } = await scheduler.allocate({ workload: gpuWork(8_000), policy: "safety" });
    expect(outcome.case === "lease" && outcome.value.gpus.map((g) => g.uuid)).toEqual([machine.uuid(1)]);
    machine.recover(0);
    await waitFor(() => waiter.lease, "the grant on the GPU that is back", recoveryMs);
    expect(waiter.lease?.gpus.map((g) => g.uuid)).toEqual([machine.uuid(0)]);
  });

  it("when nvidia-smi dies the server stays up, and another one is started", async () => {
    await using site = await openSite(backend, [{ totalMb: 24_576, foreignMb: 20_000 }], impatient);
    const { machine, scheduler, server } = site;
    const loop = () => childrenOf(server.process.pid).find((pid) => commandLineOf(pid).some((word) => word.startsWith("-lms")));
    const first = await waitFor(loop, "the loop to run");
    const waiter = new Waiter(scheduler, 8_000);
    await waitFor(() => waiter.last === "queued", "the request to wait");
    process.kill(first, "SIGKILL");
    machine.foreign(0, 0);
    await waitFor(() => waiter.lease, "the grant by measurements of another one", recoveryMs);
    expect(loop()).not.toBe(first);
    expect(server.log().some((l) => l.level === 40)).toBe(true);
    expect(server.process.ended()).toBeUndefined();
  });

  it("a driver that cannot be reached at the start makes requests wait, and is found when it comes", async () => {
    await using site = await openSite(backend, [{ totalMb: 24_576 }], impatient, (machine) => machine.noDriver(true));
    const { machine, scheduler, server } = site;
    expect(server.process.out()).toMatch(/^ {2}GPU +not known$/m);
    expect(server.process.out()).toMatch(/^ {2}note +.*driver/m);
    const fits = new Waiter(scheduler, 8_000);
    const tooLarge = new Waiter(scheduler, 40_000);
    await waitFor(() => fits.last === "queued" && tooLarge.last === "queued", "both to wait");
    // Nobody knows what there is, so nobody is told that it can never fit.
    for (const waiter of [fits, tooLarge]) expect(waiter.codes).toEqual(["GPU_STATS_UNAVAILABLE"]);
    machine.noDriver(false);
    await waitFor(() => fits.lease, "the grant", recoveryMs);
    await waitFor(() => tooLarge.last === "refused", "the refusal of what can never fit");
    expect(tooLarge.codes).toEqual(["NEVER_FITS"]);
  });

  it("every status says how old the numbers are, and that they cannot be used", async () => {
    await using site = await openSite(backend, [{ totalMb: 24_576 }], impatient);
    const monitor = site.server.client(MonitorService);
    expect((await monitor.getSystemStats({})).stats).toMatchObject({ degraded: false, gpuFreeMemoryMb: 24_230 });
    site.machine.hang(true);
    await waitFor(async () => (await monitor.getSystemStats({})).stats?.degraded === true, "it to be told");
    site.machine.hang(false);
    await waitFor(async () => (await monitor.getSystemStats({})).stats?.degraded === false, "all to be well", recoveryMs);
  });
});

// The real program prints no junk, whatever its driver says.
it("what nvidia-smi prints is not believed when it is junk, and is again when it is not", async () => {
  await using site = await openSite(fakeBackend, [{ totalMb: 24_576, foreignMb: 20_000 }], impatient);
  const { machine, scheduler, server } = site;
  const waiter = new Waiter(scheduler, 8_000);
  await waitFor(() => waiter.last === "queued", "the request to wait");
  machine.garbage?.(true);
  machine.foreign(0, 0);
  await waitFor(async () => (await account(scheduler, 0)).blocked !== "", "the numbers not to be believed");
  expect((await refusedNow(scheduler)).length).toBeGreaterThan(0);
  expect(waiter.last).toBe("queued");
  machine.garbage?.(false);
  await waitFor(() => waiter.lease, "the grant", recoveryMs);
  expect(server.process.ended()).toBeUndefined();
});
