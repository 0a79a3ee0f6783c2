import { durationFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { expect, it } from "vitest";
import { MonitorService } from "#gen/sluice/v1/monitor_pb.js";
import { SchedulerService } from "#gen/sluice/v1/scheduler_pb.js";
import type { Lease } from "#gen/sluice/v1/types_pb.js";
import { waitFor } from "../wait-for.ts";
import { allocate, allocateOverWeb, codesOf, gpuWork, type Scheduler, Waiter } from "./support/scheduler.ts";
import { onEachMachine, openSite } from "./support/site.ts";

/** 24576 − 346 (what the driver keeps) − 492 (the margin: 2 %, rounded up). */
const capacityOf24GiB = 23_738;
/** Free 10000 MiB, all of it, once the driver has taken its 346. */
const with10000Free = { totalMb: 10_346 };

function held(leases: readonly (Lease | undefined)[]): Lease[] {
  return leases.filter((l) => l !== undefined);
}

async function release(scheduler: Scheduler, leases: readonly Lease[]): Promise<void> {
  for (const lease of leases) await scheduler.releaseLease({ leaseId: lease.id, token: lease.token });
}

onEachMachine((backend) => {
  it("two simultaneous requests for 8000 MiB on a GPU with 10000 MiB free of which 0 is foreign never both hold a lease (safety)", async () => {
    await using site = await openSite(backend, [with10000Free]);
    const { scheduler } = site;
    const gpu = (await scheduler.listQueue({})).gpus[0];
    expect(gpu).toMatchObject({ freeMb: 10_000, foreignMb: 0 });
    const second = site.server.connect().client(SchedulerService);
    const leases = await Promise.all([allocate(scheduler, 8_000), allocate(second, 8_000)]);
    expect(held(leases)).toHaveLength(1);
    const { outcome } = await scheduler.allocate({ workload: gpuWork(8_000), policy: "safety" });
    expect(outcome.case === "refusal" && codesOf(outcome.value.reasons)).toEqual(["INSUFFICIENT_GPU_MEMORY"]);
    expect(outcome.case === "refusal" && outcome.value.reasons[0]).toMatchObject({
      neededMb: 8_000,
      availableMb: 1_744,
      foreignMb: 0,
      outstandingMb: 8_000,
      heldBy: [held(leases)[0]?.id],
    });
  });

  it("two simultaneous requests for 8000 MiB on a GPU with 10000 MiB free of which 0 is foreign never both hold a lease (queue)", async () => {
    await using site = await openSite(backend, [with10000Free]);
    const { scheduler } = site;
    const waiters = [new Waiter(scheduler, 8_000), new Waiter(site.server.connect().client(SchedulerService), 8_000)] as const;
    await waitFor(() => waiters.every((w) => w.messages.length > 0), "both to be answered");
    const first = waiters.find((w) => w.lease !== undefined);
    const other = waiters.find((w) => w.lease === undefined);
    if (first?.lease === undefined || other === undefined) throw new Error("not exactly one of the two was granted");
    expect(other).toMatchObject({ last: "queued", position: 1, codes: ["INSUFFICIENT_GPU_MEMORY"] });
    await release(scheduler, [first.lease]);
    await waitFor(() => other.lease, "the other one to be granted");
    expect((await scheduler.listLeases({})).leases).toHaveLength(1);
    // Tokens rise: who was granted later can be told from who was granted before.
    expect(other.lease?.token).toBeGreaterThan(first.lease.token);
  });

  it("of ten concurrent requests for 8000 MiB over both doors, exactly one holds a lease, twenty times over", async () => {
    await using site = await openSite(backend, [with10000Free]);
    const { scheduler, server } = site;
    const clients = Array.from({ length: 5 }, () => server.connect().client(SchedulerService));
    const tokens: bigint[] = [];
    for (let round = 0; round < 20; round++) {
      const policy = round % 2 === 0 ? "safety" : "queue";
      const leases = held(
        await Promise.all(clients.flatMap((c) => [allocate(c, 8_000, policy), allocateOverWeb(server, 8_000, policy)])),
      );
      expect(leases, `round ${round}`).toHaveLength(1);
      tokens.push(...leases.map((l) => l.token));
      await release(scheduler, leases);
    }
    expect(tokens).toEqual([...new Set(tokens)].sort((a, b) => Number(a - b)));
  });

  it("with 10000 MiB held by a foreign process on a 24576 MiB card, at most one 8000 MiB request is admitted", async () => {
    await using site = await openSite(backend, [{ totalMb: 24_576 }]);
    const { machine, scheduler } = site;
    // A process that holds no lease: nobody asked the server for this memory.
    site.startJob(10_000, 60, { CUDA_VISIBLE_DEVICES: machine.uuid(0) });
    await waitFor(async () => (await scheduler.listQueue({})).gpus[0]?.foreignMb === 10_000, "the foreign process to be seen");
    const clients = Array.from({ length: 6 }, () => site.server.connect().client(SchedulerService));
    const leases = held(await Promise.all(clients.map((c, i) => allocate(c, 8_000, i % 2 === 0 ? "safety" : "queue"))));
    expect(leases).toHaveLength(1);
    expect((await scheduler.listQueue({})).gpus[0]).toMatchObject({
      foreignMb: 10_000,
      outstandingMb: 8_000,
      availableMb: capacityOf24GiB - 18_000,
    });
  });

  it("2 GPUs with 3000 MiB free each refuse a 4096 MiB request", async () => {
    const almostFull = { totalMb: 24_576, foreignMb: 24_576 - 346 - 3_000 };
    await using site = await openSite(backend, [almostFull, almostFull]);
    const { scheduler } = site;
    const { stats } = await site.server.client(MonitorService).getSystemStats({});
    // The sum would do, and decides nothing.
    expect(stats?.gpuFreeMemoryMb).toBe(6_000);
    for (const policy of ["safety", "queue"]) {
      const { outcome } = await scheduler.allocate({ workload: gpuWork(4_096), policy });
      if (outcome.case !== "refusal") throw new Error(`admitted under ${policy}`);
      expect(codesOf(outcome.value.reasons)).toEqual(["INSUFFICIENT_GPU_MEMORY", "INSUFFICIENT_GPU_MEMORY"]);
      for (const [i, reason] of outcome.value.reasons.entries()) {
        expect(reason).toMatchObject({ gpuUuid: site.machine.uuid(i), neededMb: 4_096, availableMb: 3_000 - 492 });
      }
      // It is not final: foreign memory can go away.
      expect(outcome.value.largestThatFits?.minGpuVramMb).toBe(capacityOf24GiB);
    }
    const waiter = new Waiter(scheduler, 4_096);
    await waitFor(() => waiter.last === "queued", "the request to wait");
    expect(waiter.codes).toEqual(["INSUFFICIENT_GPU_MEMORY", "INSUFFICIENT_GPU_MEMORY"]);
    waiter.cancel();
    await waiter.over;
  });

  it("a request for 40000 MiB on 24 GiB cards is refused at once with NEVER_FITS and the largest that fits", async () => {
    await using site = await openSite(backend, [{ totalMb: 24_576, foreignMb: 15_000 }, { totalMb: 24_576 }]);
    const { scheduler } = site;
    const began = performance.now();
    const waiter = new Waiter(scheduler, 40_000);
    await waiter.over;
    expect(performance.now() - began).toBeLessThan(2_000);
    expect(waiter.messages).toHaveLength(1);
    const event = waiter.messages[0]?.event;
    const refusal = event?.case === "refused" ? event.value.refusal : undefined;
    expect(codesOf(refusal?.reasons ?? [])).toEqual(["NEVER_FITS"]);
    expect(refusal?.reasons[0]).toMatchObject({ neededMb: 40_000, availableMb: capacityOf24GiB });
    expect(refusal?.largestThatFits).toMatchObject({ requiresGpu: true, gpuCount: 1, minGpuVramMb: capacityOf24GiB });

    // The number that was named is the truth: so much fits, and one more never does.
    expect(await allocate(scheduler, capacityOf24GiB)).toBeDefined();
    const { outcome } = await scheduler.allocate({ workload: gpuWork(capacityOf24GiB + 1), policy: "safety" });
    expect(outcome.case === "refusal" && codesOf(outcome.value.reasons)).toEqual(["NEVER_FITS"]);
  });

  it("when foreign memory frees, a waiting ticket is granted within one sample period", async () => {
    const period = 500;
    // Nothing but a new measurement can wake the ticket in time: the timer that looks again by itself has 30 s.
    await using site = await openSite(
      backend,
      [{ totalMb: 24_576, foreignMb: 20_000 }],
      ["--sample-period", `${period}`, "--poll-interval", "30"],
    );
    const { machine, scheduler } = site;
    const delays: number[] = [];
    for (let round = 0; round < 5; round++) {
      const waiter = new Waiter(scheduler, 8_000);
      await waitFor(() => waiter.last === "queued", "the request to wait");
      const freed = performance.now();
      machine.foreign(0, 0);
      await waitFor(() => waiter.lease, "the grant");
      delays.push((waiter.grantedAt ?? Infinity) - freed);
      machine.foreign(0, 20_000);
      await release(scheduler, held([waiter.lease]));
      await waitFor(async () => (await scheduler.listQueue({})).gpus[0]?.foreignMb === 20_000, "the foreign memory to be seen");
    }
    // A reading that has just begun may miss it, so the next one sees it after at most one period and one reading; the rest is
    // room for a busy machine. Four of five within that, and the worst still within two periods and that room.
    delays.sort((a, b) => a - b);
    expect(delays[3]).toBeLessThan(period + 400);
    expect(delays[4]).toBeLessThan(2 * period + 1_000);
  });

  it("measurements must be as fresh as the request says, not as the server does", async () => {
    await using site = await openSite(backend, [{ totalMb: 24_576 }], ["--sample-period", "2000", "--max-sample-age", "60"]);
    const { scheduler } = site;
    const observedAt = async () => {
      const at = (await scheduler.listQueue({})).gpus[0]?.observedAt;
      return at === undefined ? 0 : timestampMs(at);
    };
    await waitFor(async () => Date.now() - (await observedAt()) > 500, "the measurement to be 500 ms old");
    const waiter = new Waiter(scheduler, 8_000, { pollInterval: durationFromMs(100) });
    await waitFor(() => waiter.last === "queued", "the request to wait for a fresher one");
    expect(waiter.codes).toEqual(["GPU_STATS_UNAVAILABLE"]);
    const before = await observedAt();
    await waitFor(() => waiter.lease, "the grant");
    expect(await observedAt()).toBeGreaterThan(before);
  });
});
