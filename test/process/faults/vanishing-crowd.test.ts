import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { SchedulerService } from "#gen/sluice/v1/scheduler_pb.js";
import { waitFor } from "../../wait-for.ts";
import { openFiles, rssMb } from "../support/process-figures.ts";
import { gpuWork, Waiter } from "../support/scheduler.ts";
import { startProgram, startServer } from "../support/server.ts";

const program = fileURLToPath(new URL("../support/crowd-program.mjs", import.meta.url));
const streams = 500;
const ways = ["cancel", "kill", "leave", "kill"] as const;
const rounds = 5;

it("ten thousand clients that ask and vanish leave nothing behind", { timeout: 120_000 }, async () => {
  // A small heap, so that what could be freed is: else memory rises and falls by more than a leak of some KiB for each would be.
  const heap = { NODE_OPTIONS: "--max-old-space-size=100 --max-semi-space-size=2" };
  await using server = await startServer(["--simulate", "24576", "--log-level", "warn", "--grace-time", "1"], heap);
  const { pid } = server.process;
  const scheduler = server.client(SchedulerService);
  const { outcome } = await scheduler.allocate({ workload: gpuWork(20_000), leaseTtl: { seconds: 600n, nanos: 0 } });
  if (outcome.case !== "lease") throw new Error("it was refused");
  const queue = async () => (await scheduler.listQueue({})).tickets.length;

  /** All at once, each process in its own way; half of them keep their places for the grace time. */
  async function comeAndGo(): Promise<void> {
    const crowd = ways.map((end, i) => {
      const options = { address: server.grpc, streams, vramMb: 8_000, end, named: i % 2 === 0 };
      return { end, process: startProgram(process.execPath, [program, JSON.stringify(options)]) };
    });
    await Promise.all(
      crowd.map(async ({ end, process: client }) => {
        if (end !== "leave")
          await waitFor(() => client.out() !== "" || client.ended() !== undefined, "a crowd to wait", 30_000);
        if (end === "kill") client.process.kill("SIGKILL");
        expect(await client.end).toBe(end === "kill" ? "SIGKILL" : 0);
      }),
    );
    await waitFor(async () => (await queue()) === 0, "the queue to be empty", 20_000);
  }

  const filesBefore = openFiles(pid);
  // The first round grows what any crowd needs; a leak would grow with each that follows.
  await comeAndGo();
  const rssBefore = rssMb(pid);
  for (let i = 1; i < rounds; i++) await comeAndGo();
  const rss = rssMb(pid);
  await waitFor(() => openFiles(pid) <= filesBefore, "every connection to be closed");
  process.stderr.write(
    `${ways.length * streams * rounds} that vanished: ${rssBefore.toFixed(0)} MiB after the first ${ways.length * streams}, ` +
      `${rss.toFixed(0)} MiB after all; ${openFiles(pid)} file descriptors, ${filesBefore} before\n`,
  );
  // 12 KiB for each, which is what a stream that waits takes, would be twice as much as after the first.
  expect(rss / rssBefore).toBeLessThan(1.6);
  expect(await (await fetch(`${server.web}/metrics`)).text()).toMatch(/open_streams\{[^}]*WaitForResources"\} 0/);
  const waiter = new Waiter(scheduler, 8_000);
  await waitFor(() => waiter.position === 1, "the next one to be first");
  await scheduler.releaseLease({ leaseId: outcome.value.id });
  await waitFor(() => waiter.lease, "its grant");
});
