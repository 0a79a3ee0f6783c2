import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { expect, it } from "vitest";
import { type Lease, LeaseEnd, LeaseState } from "#gen/sluice/v1/types_pb.js";
import { waitFor } from "../wait-for.ts";
import { fakeBackend } from "./support/fake-machine.ts";
import { childrenOf, commandLineOf } from "./support/machine.ts";
import { allocate, codesOf, gpuWork, type Scheduler, Waiter } from "./support/scheduler.ts";
import type { Started } from "./support/server.ts";
import { onEachMachine, openSite, type Site } from "./support/site.ts";

const card = { totalMb: 24_576 };
/** 24576 − 346 (what the driver keeps) − 492 (the margin). */
const capacity = 23_738;

async function account(scheduler: Scheduler) {
  const gpu = (await scheduler.listQueue({})).gpus[0];
  if (gpu === undefined) throw new Error("GPU 0 is not listed");
  return gpu;
}

/** A lease whose job runs, is attached, and is seen in the measurements. */
async function leaseAtWork(site: Site, vramMb: number, ttlMs?: number): Promise<{ lease: Lease; job: Started }> {
  const { scheduler } = site;
  const { outcome } = await scheduler.allocate({
    workload: gpuWork(vramMb),
    policy: "safety",
    ...(ttlMs === undefined ? {} : { leaseTtl: durationFromMs(ttlMs) }),
  });
  if (outcome.case !== "lease") throw new Error("it was refused");
  const lease = outcome.value;
  const job = site.startJob(vramMb, 60, lease.env);
  await scheduler.attachProcess({ leaseId: lease.id, token: lease.token, pid: job.pid });
  return { lease, job };
}

async function untilResident(scheduler: Scheduler, lease: Lease, vramMb: number): Promise<void> {
  await waitFor(async () => {
    const now = (await scheduler.getLease({ leaseId: lease.id })).lease;
    return now?.gpus[0]?.residentMb === vramMb;
  }, "its memory to be seen");
}

onEachMachine((backend) => {
  it("memory of a lease whose process has ended counts as free only when a newer sample shows it", async () => {
    await using site = await openSite(backend, [card]);
    const { scheduler, machine } = site;
    const lag = 2_500;
    machine.releaseLag(lag);
    const { lease, job } = await leaseAtWork(site, 16_000);
    await untilResident(scheduler, lease, 16_000);
    const waiter = new Waiter(scheduler, 16_000);
    await waitFor(() => waiter.last === "queued", "the next one to wait");

    const ended = performance.now();
    job.process.kill("SIGTERM");
    await waitFor(async () => {
      const now = (await scheduler.getLease({ leaseId: lease.id })).lease;
      return now?.end === LeaseEnd.PROCESS_EXITED && now.state === LeaseState.DRAINING;
    }, "the end of the process to be noticed");
    await waitFor(() => waiter.lease, "the grant");
    expect(waiter.firstCodes).toContain("WAITING_FOR_RELEASE");
    // Not before the driver has given the memory back, and not long after.
    const waited = (waiter.grantedAt ?? 0) - ended;
    expect(waited).toBeGreaterThan(lag);
    expect(waited).toBeLessThan(lag + 2_000);
    const next = site.startJob(16_000, 0.1, waiter.lease?.env ?? {});
    expect(await next.end).toBe(0);
    expect(machine.outOfMemory()).toEqual([]);
  });

  it("what a lease promises counts until a sample that was taken after it shows it: a job that takes its time is not robbed", async () => {
    await using site = await openSite(backend, [card]);
    const { scheduler, machine } = site;
    const first = await allocate(scheduler, 12_000);
    if (first === undefined) throw new Error("it was refused");
    // Several samples come in that show an empty card; the promise still stands.
    const seen = new Set<bigint>();
    await waitFor(async () => {
      const { observedAt } = await account(scheduler);
      if (observedAt !== undefined) seen.add(observedAt.seconds * 1_000_000_000n + BigInt(observedAt.nanos));
      return seen.size > 3;
    }, "several samples");
    expect(await account(scheduler)).toMatchObject({ usedMb: 0, outstandingMb: 12_000, availableMb: capacity - 12_000 });
    expect(await allocate(scheduler, 12_000)).toBeUndefined();
    const job = site.startJob(12_000, 60, first.env);
    await scheduler.attachProcess({ leaseId: first.id, token: first.token, pid: job.pid });
    await untilResident(scheduler, first, 12_000);
    // Measured and promised are the same memory: it is charged once.
    expect(await account(scheduler)).toMatchObject({ usedMb: 12_000, outstandingMb: 0, foreignMb: 0 });
    expect((await account(scheduler)).availableMb).toBe(capacity - 12_000);
    expect(machine.outOfMemory()).toEqual([]);
  });

  it("kill -9 of the process that is attached to a lease gives the memory back", async () => {
    await using site = await openSite(backend, [card]);
    const { scheduler } = site;
    const { lease, job } = await leaseAtWork(site, 16_000);
    await untilResident(scheduler, lease, 16_000);
    const waiter = new Waiter(scheduler, 16_000);
    await waitFor(() => waiter.last === "queued", "the next one to wait");
    const killed = performance.now();
    job.process.kill("SIGKILL");
    await waitFor(() => waiter.lease, "the grant");
    expect((waiter.grantedAt ?? 0) - killed).toBeLessThan(5_000);
    expect((await scheduler.getLease({ leaseId: lease.id })).lease?.end).toBe(LeaseEnd.PROCESS_EXITED);
  });

  it("kill -9 of the command that `sluice run` runs gives the memory back", async () => {
    await using site = await openSite(backend, [card]);
    const { scheduler, machine } = site;
    const run = site.run(["--vram", "16000"], machine.job(16_000, 60));
    const pid = await jobOf(scheduler);
    const waiter = new Waiter(scheduler, 16_000);
    await waitFor(() => waiter.last === "queued", "the next one to wait");
    process.kill(pid, "SIGKILL");
    expect(await run.end).toBe(128 + 9);
    await waitFor(() => waiter.lease, "the grant");
  });

  it("kill -9 of `sluice run` itself gives the memory back", async () => {
    await using site = await openSite(backend, [card]);
    const { scheduler, machine } = site;
    const run = site.run(["--vram", "16000"], machine.job(16_000, 60));
    const pid = await jobOf(scheduler);
    const waiter = new Waiter(scheduler, 16_000);
    await waitFor(() => waiter.last === "queued", "the next one to wait");
    run.process.kill("SIGKILL");
    await waitFor(() => waiter.lease, "the grant");
    await waitFor(() => commandLineOf(pid).length === 0, "the command to be ended with it");
  });

  it("a lease that expires while its process lives becomes foreign use, and its memory is not granted twice", async () => {
    await using site = await openSite(backend, [card]);
    const { scheduler, machine } = site;
    const { lease, job } = await leaseAtWork(site, 8_000, 2_000);
    await untilResident(scheduler, lease, 8_000);
    expect(await account(scheduler)).toMatchObject({ foreignMb: 0 });
    await waitFor(
      async () => (await scheduler.getLease({ leaseId: lease.id })).lease?.end === LeaseEnd.EXPIRED,
      "the lease to expire",
    );
    await waitFor(async () => (await account(scheduler)).foreignMb === 8_000, "its memory to be foreign");
    // Charged once, not as a promise and as foreign use.
    expect(await account(scheduler)).toMatchObject({ outstandingMb: 0, availableMb: capacity - 8_000 });
    const { outcome } = await scheduler.allocate({ workload: gpuWork(16_000), policy: "safety" });
    expect(outcome.case === "refusal" && codesOf(outcome.value.reasons)).toEqual(["INSUFFICIENT_GPU_MEMORY"]);
    const second = await allocate(scheduler, 15_000);
    expect(second).toBeDefined();
    expect(await allocate(scheduler, 1_000)).toBeUndefined();
    expect(await site.startJob(15_000, 0.1, second?.env ?? {}).end).toBe(0);
    expect(machine.outOfMemory()).toEqual([]);
    // Renewing what has expired is too late, whatever the process does.
    await expect(scheduler.renewLease({ leaseId: lease.id, token: lease.token })).rejects.toThrow(/has ended/);

    job.process.kill("SIGKILL");
    await waitFor(async () => (await account(scheduler)).foreignMb === 0, "the memory to be back");
  });

  /** The pid of the one attached job that is at work and seen. */
  async function jobOf(scheduler: Scheduler): Promise<number> {
    return waitFor(async () => {
      const lease = (await scheduler.listLeases({})).leases[0];
      return lease?.gpus[0]?.residentMb === 16_000 ? lease.pids[0] : undefined;
    }, "the job to be attached and seen");
  }
});

it("a process that was started by a process that is attached works for the same lease", async () => {
  await using site = await openSite(fakeBackend, [card]);
  const { scheduler, machine } = site;
  const job = machine.job(6_000, 60).join(" ");
  const run = site.run(["--vram", "12000"], ["sh", "-c", `${job} & ${job} & wait`]);
  await waitFor(async () => (await scheduler.listLeases({})).leases[0]?.gpus[0]?.residentMb === 12_000, "both to be seen");
  expect(await account(scheduler)).toMatchObject({ foreignMb: 0, outstandingMb: 0, claimedMb: 12_000 });
  const shell = (await scheduler.listLeases({})).leases[0]?.pids[0] ?? 0;
  const children = childrenOf(shell);
  expect(children).toHaveLength(2);
  for (const pid of children) process.kill(pid, "SIGKILL");
  await run.end;
  await waitFor(async () => (await scheduler.listLeases({})).leases.length === 0, "the lease to be gone");
});
