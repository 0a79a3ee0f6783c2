import { expect, it } from "vitest";
import { SchedulerService } from "#gen/sluice/v1/scheduler_pb.js";
import { connect } from "../../../src/client/node.ts";
import { startServer } from "../support/server.ts";

const rounds = 200;

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

// Both take turns against one server and over one kind of line, so what the server itself takes is in both.
it("a wait through the client hears of a release less than 1 ms later than through the generated stub", async () => {
  await using server = await startServer(["--simulate", "24576"]);
  using client = connect(server.grpc);
  const { scheduler } = client;
  const workload = { resources: { requiresGpu: true, minGpuVramMb: 20_000 } };

  /** From the release of what is in the way until `wait` has its lease, in ms. `wait` answers what gives it back. */
  const measure = async (wait: (queued: () => void) => Promise<() => Promise<unknown>>) => {
    const { outcome } = await scheduler.allocate({ workload });
    if (outcome.case !== "lease") throw new Error("it was not admitted");
    let queued = () => {};
    const isQueued = new Promise<void>((resolve) => {
      queued = resolve;
    });
    const waiting = wait(queued).then((giveBack) => ({ giveBack, at: performance.now() }));
    await isQueued;
    const releasedAt = performance.now();
    await scheduler.releaseLease({ leaseId: outcome.value.id });
    const { giveBack, at } = await waiting;
    await giveBack();
    return at - releasedAt;
  };

  const stub = async (queued: () => void) => {
    for await (const { event } of scheduler.waitForResources({ workload, requestId: crypto.randomUUID() })) {
      if (event.case === "queued") queued();
      const lease = event.case === "granted" ? event.value.lease : undefined;
      if (lease !== undefined) return () => scheduler.releaseLease({ leaseId: lease.id });
    }
    throw new Error("it was not granted");
  };
  const layer = async (queued: () => void) => {
    // Neither attached nor counted: those are calls of their own, after the wait.
    const options = { vramMb: 20_000, attach: false, onEviction: () => {}, onProgress: queued };
    const lease = await client.resources(options);
    return () => lease.release();
  };

  const times: { stub: number[]; layer: number[] } = { stub: [], layer: [] };
  for (let round = -10; round < rounds; round += 1) {
    // Each goes first every other time: what one leaves behind is then in both.
    for (const name of round % 2 === 0 ? (["stub", "layer"] as const) : (["layer", "stub"] as const)) {
      const took = await measure(name === "stub" ? stub : layer);
      if (round >= 0) times[name].push(took);
    }
  }
  const added = median(times.layer) - median(times.stub);
  process.stdout.write(
    `${rounds} rounds, release to granted: stub ${median(times.stub).toFixed(2)} ms, client ${median(times.layer).toFixed(2)} ms, added ${added.toFixed(2)} ms\n`,
  );
  expect(added).toBeLessThan(1);
  expect(await server.client(SchedulerService).listQueue({})).toMatchObject({ tickets: [] });
});
