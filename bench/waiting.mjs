// What those who wait cost, and how soon one of them hears of a grant: sluice beside a bare grpc-js server, in one run. Linux only.
// node bench/waiting.mjs [STREAMS] [ROUNDS]
import { setTimeout as delay } from "node:timers/promises";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { SchedulerService } from "#gen/sluice/v1/scheduler_pb.js";
import { connectClient } from "../dist/transport/client.js";
import { print, printSetUp, printTable } from "./lib/print.mjs";
import { cpuMs, rssKib, startBare, startCrowd, startSluice } from "./lib/processes.mjs";

const streams = Number(process.argv[2] ?? 10_000);
const rounds = Number(process.argv[3] ?? 300);
/** Long enough for what opening the streams has left to be collected, and for two heartbeats of each. */
const settleMs = 5_000;
const idleMs = 20_000;
/** Nothing of the crowd fits beside what the rounds hold, and what they hold fits alone. */
const crowdMb = 20_000;
const roundWork = { name: "round", priority: 100, resources: { requiresGpu: true, minGpuVramMb: 22_000 } };

const median = (values) => percentile(values, 0.5);
function percentile(values, p) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(p * sorted.length) - 1)];
}

/** Memory of each stream when all have heard something, at its most while they wait, and the processor that they take. */
async function costOf(server) {
  const warm = await startCrowd(server.address, 300, crowdMb);
  await delay(1_000);
  await warm.stop();
  await delay(settleMs);
  const before = rssKib(server.pid);
  const crowd = await startCrowd(server.address, streams, crowdMb);
  await delay(settleMs);
  const opened = rssKib(server.pid);
  const from = cpuMs(server.pid);
  let most = 0;
  for (let waited = 0; waited < idleMs; waited += 1_000) {
    await delay(1_000);
    most = Math.max(most, rssKib(server.pid));
  }
  const cpu = (cpuMs(server.pid) - from) / (idleMs / 1_000);
  return { crowd, kib: (opened - before) / streams, mostKib: (most - before) / streams, cpu };
}

async function timed(work) {
  const from = performance.now();
  await work();
  return performance.now() - from;
}

/** Takes so much that nobody else fits beside it. */
async function occupy(server) {
  const connection = connectClient(server.address);
  const request = { workload: roundWork, policy: "safety", leaseTtl: durationFromMs(3_600_000) };
  const { outcome } = await connection.client(SchedulerService).allocate(request);
  connection.close();
  if (outcome.case !== "lease") throw new Error(outcome.value?.reasons.map((r) => r.message).join("; "));
  return outcome.value;
}

/** Empty calls beside grants: a lease is given back, and whoever waits first hears that it has the memory. */
async function grantsOf(server, bare, first) {
  const connections = [connectClient(server.address), connectClient(server.address), connectClient(bare.address)];
  const [holder, waiter, empty] = connections.map((connection) => connection.client(SchedulerService));
  const times = { grant: [], empty: [] };
  let lease = first;
  for (let round = -20; round < rounds; round++) {
    const stream = waiter.waitForResources({ workload: roundWork, timeout: durationFromMs(60_000) })[Symbol.asyncIterator]();
    await stream.next();
    const emptyMs = await timed(() => empty.getPolicy({}));
    const from = performance.now();
    const released = holder.releaseLease({ leaseId: lease.id, token: lease.token });
    for (;;) {
      const { value, done } = await stream.next();
      if (done) throw new Error("the stream ended without a grant");
      if (value.event.case !== "granted") continue;
      lease = value.event.value.lease;
      break;
    }
    const grantMs = performance.now() - from;
    await released;
    await stream.next();
    if (round < 0) continue;
    times.grant.push(grantMs);
    times.empty.push(emptyMs);
  }
  for (const connection of connections) connection.close();
  return { ...times, lease };
}

printSetUp("Those who wait", {
  streams: `${streams}, over 10 connections of a client in a process of its own`,
  bare: "grpc-js that sends one message of the same size on each stream, and answers an empty call",
  rounds: `${rounds}: a lease is given back, and the next one in line hears of its grant`,
});
const bare = await startBare();
const sluice = await startSluice();
const alone = await grantsOf(sluice, bare, await occupy(sluice));
const bareCost = await costOf(bare);
await bareCost.crowd.stop();
const { crowd, ...cost } = await costOf(sluice);
const crowded = await grantsOf(sluice, bare, alone.lease);
await crowd.stop();
await Promise.all([sluice.stop(), bare.stop()]);

printTable(
  ["", "sluice", "bare"],
  [
    ["KiB of each stream, opened", cost.kib.toFixed(1), bareCost.kib.toFixed(1)],
    ["KiB of each stream, at most", cost.mostKib.toFixed(1), bareCost.mostKib.toFixed(1)],
    ["ms of processor a second, idle", cost.cpu.toFixed(0), bareCost.cpu.toFixed(0)],
  ],
);
const row = (title, { grant, empty }) => [
  title,
  ...[0.5, 0.99].flatMap((p) => [percentile(grant, p).toFixed(2), percentile(empty, p).toFixed(2)]),
  `${(median(grant) / median(empty)).toFixed(2)} ×`,
];
printTable(
  ["", "grant p50", "empty p50", "grant p99", "empty p99", "p50"],
  [row("nobody else waits", alone), row(`${streams} others wait`, crowded)],
);
print("KiB are resident memory. Times in ms, client and server on one machine.");
