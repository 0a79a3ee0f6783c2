import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { expect, it } from "vitest";
import { ExecutorService } from "#gen/sluice/v1/executor_pb.js";
import { SchedulerService } from "#gen/sluice/v1/scheduler_pb.js";
import { Hold, LeaseState } from "#gen/sluice/v1/types_pb.js";
import { Random } from "../simulation/random.ts";
import { BusyClient } from "./support/killed-load.ts";
import { gpuWork } from "./support/scheduler.ts";
import { type Server, startServer } from "./support/server.ts";

/** SLUICE_SOAK_S=600 for a long run. */
const seconds = Number(process.env.SLUICE_SOAK_S ?? 24);

interface Reading {
  readonly rssMb: number;
  readonly handles: number;
}

function read(pid: number): Reading {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const rssMb = Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024;
  return { rssMb, handles: readdirSync(`/proc/${pid}/fd`).length };
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] as number;
}

/** Clients that come, look and go: a queue that is watched, a ticket that is given up, a plugin that is run, things that are refused. */
async function visitors(server: Server, random: Random, over: () => boolean): Promise<number> {
  let visits = 0;
  while (!over()) {
    const connection = server.connect();
    const scheduler = connection.client(SchedulerService);
    const gone = AbortSignal.timeout(random.whole(20, 200));
    const ignore = () => {};
    const watching = (async () => {
      for await (const _ of scheduler.watchQueue({}, { signal: gone }));
    })().catch(ignore);
    const waiting = (async () => {
      for await (const _ of scheduler.waitForResources({ workload: gpuWork(9_000), hold: Hold.STREAM }, { signal: gone }));
    })().catch(ignore);
    await scheduler.allocate({ workload: gpuWork(99_000), policy: "safety" });
    await scheduler.explain({ workload: gpuWork(500) });
    await scheduler.renewLease({ leaseId: "lease-nobody", token: 1n }).catch(ignore);
    await connection.client(ExecutorService).executePlugin({ plugin: "echo", arguments: { n: visits } });
    await Promise.all([watching, waiting]);
    connection.close();
    visits++;
  }
  return visits;
}

it(`${seconds} s of clients that come and go leave a server as large as it was, with as many handles, and with nothing held`, {
  timeout: (seconds + 60) * 1000,
}, async () => {
  const dir = mkdtempSync(join(tmpdir(), "sluice-soak-"));
  writeFileSync(
    join(dir, "echo.json"),
    JSON.stringify({ name: "echo", version: "1.0.0", mode: "command", resources: {}, command: ["cat"] }),
  );
  const random = new Random(1);
  try {
    const flags = ["--state", join(dir, "state"), "--plugins", dir, "--simulate", "2x10256", "--sample-period", "100"];
    await using server = await startServer([...flags, "--log-level", "error"]);
    const began = performance.now();
    const over = () => performance.now() - began > seconds * 1000;
    const workers = Array.from({ length: 16 }, (_, n) => new BusyClient(`c${n}`, () => random.next()));
    const work = Promise.all([
      visitors(server, random, over),
      visitors(server, random, over),
      ...workers.map((w) => w.live(server.grpc, over)),
    ]);
    const readings: Reading[] = [];
    while (!over()) {
      await delay(seconds * 5);
      readings.push(read(server.process.pid));
    }
    const [a, b] = await work;
    expect(workers.flatMap((w) => w.error ?? [])).toEqual([]);
    const done = workers.reduce((sum, w) => sum + w.done.length, 0);
    // The first third is for code that is compiled and buffers that grow to what they need.
    const third = Math.floor(readings.length / 3);
    const [early, late] = [readings.slice(third, 2 * third), readings.slice(2 * third)];
    const of = (which: keyof Reading) => [early, late].map((part) => Math.round(median(part.map((r) => r[which]))));
    const [rss, handles] = [of("rssMb"), of("handles")];
    process.stderr.write(`soak: ${JSON.stringify({ seconds, done, visits: Number(a) + Number(b), rss, handles })}\n`);
    expect(done).toBeGreaterThan(seconds);
    expect(rss[1], `RSS in MiB, ${rss}`).toBeLessThanOrEqual(1.1 * (rss[0] as number) + 8);
    expect(handles[1], `handles, ${handles}`).toBeLessThanOrEqual((handles[0] as number) + 8);
    const { tickets, leases } = await server.client(SchedulerService).listQueue({});
    expect(tickets).toEqual([]);
    expect(leases.filter((l) => l.state !== LeaseState.DRAINING)).toEqual([]);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});
