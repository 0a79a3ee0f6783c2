import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { expect, it } from "vitest";
import { SchedulerService, type WaitForResourcesResponse, type WatchQueueResponse } from "#gen/sluice/v1/scheduler_pb.js";
import { waitFor } from "../../wait-for.ts";
import { rssMb } from "../support/process-figures.ts";
import { RawConnection } from "../support/raw-stream.ts";
import { gpuWork, type Scheduler } from "../support/scheduler.ts";
import { startServer } from "../support/server.ts";

/** A lease that comes and goes: two changes of the whole state. Answers how long the two calls took, in ms. */
async function change(scheduler: Scheduler): Promise<number> {
  const begun = performance.now();
  const { outcome } = await scheduler.allocate({ workload: gpuWork(100), policy: "permissive" });
  if (outcome.case !== "lease") throw new Error("it was refused");
  await scheduler.releaseLease({ leaseId: outcome.value.id });
  return performance.now() - begun;
}

/** The median of so many pairs of calls, one after the other. */
async function pace(scheduler: Scheduler, pairs = 100): Promise<number> {
  const took: number[] = [];
  for (let i = 0; i < pairs; i++) took.push(await change(scheduler));
  return took.sort((a, b) => a - b)[pairs >> 1] ?? 0;
}

it("readers that stop cost the server no memory and nobody else time, and see the newest state next when they read on", async () => {
  await using server = await startServer(["--simulate", "24576", "--log-level", "warn", "--drain-grace", "0"]);
  const scheduler = server.client(SchedulerService);
  // So that each state is a large message: more than the windows of HTTP/2 hold.
  const leases: string[] = [];
  for (let i = 0; i < 400; i++) {
    const workload = gpuWork(50, { name: `one of many, ${"with a long name ".repeat(8)}` });
    const { outcome } = await scheduler.allocate({ workload, leaseTtl: durationFromMs(600_000), policy: "permissive" });
    if (outcome.case === "lease") leases.push(outcome.value.id);
  }
  await pace(scheduler);
  const alone = await pace(scheduler);

  // Closed with the server.
  const connect = () => new RawConnection(server.grpc);
  const { waitForResources, watchQueue } = SchedulerService.method;
  // A connection each: its window would be shared by its streams.
  const slow = Array.from({ length: 16 }, () => connect().open(watchQueue, {}));
  const ticket = connect().open(waitForResources, { workload: gpuWork(23_000), requestId: "slow" });
  await waitFor(async () => (await scheduler.listQueue({})).tickets[0]?.requestId === "slow", "the slow one to wait");
  await pace(scheduler);
  const rssBefore = rssMb(server.process.pid);
  let others = 0;
  let changes = 0;
  const begun = performance.now();
  while (performance.now() - begun < 10_000 || changes < 1_000) {
    others = Math.max(others, await pace(scheduler));
    changes += 200;
  }
  const states = Math.round((performance.now() - begun) / 250);
  const grownMb = rssMb(server.process.pid) - rssBefore;

  const { outcome } = await scheduler.allocate({ workload: gpuWork(101, { name: "newest" }), policy: "permissive" });
  expect(outcome.case).toBe("lease");
  for (const leaseId of leases) await scheduler.releaseLease({ leaseId });
  // The slow one that waited has been granted as well.
  const isNewest = (m: WatchQueueResponse) => m.leases.length === 2 && m.leases[0]?.workload?.name === "newest";
  const reads = Math.max(...(await Promise.all(slow.map((stream) => stream.read(isNewest)))));
  const news = await ticket.read((m: WaitForResourcesResponse) => m.event.case === "granted");
  process.stderr.write(
    `slow readers: ${changes} changes, about ${states} states, ${grownMb.toFixed(1)} MiB more, ${reads} messages to the newest state, ` +
      `${news} to the grant; calls ${alone.toFixed(2)} ms before, at most ${others.toFixed(2)} ms beside them\n`,
  );
  // What the windows held, two that were under way, and the newest.
  expect(reads).toBeLessThanOrEqual(6);
  // A backlog would be 16 readers × 40 states × 100 KiB and more.
  expect(grownMb).toBeLessThan(60);
  expect(others / alone).toBeLessThan(3);
});
