// What those who wait cost, and how soon they hear of a grant or of a change: sluice beside a bare grpc-js server, in one run. Linux
// only. node bench/waiting.mjs [STREAMS] [ROUNDS]
import { median, percentile } from "./lib/numbers.mjs";
import { print, printSetUp, printTable } from "./lib/print.mjs";
import { startBare, startSluice } from "./lib/processes.mjs";
import { churnOf, crowdOf, grantsOf, occupy, pollingOf, wakesOf } from "./lib/waiting.mjs";

const streams = Number(process.argv[2] ?? 10_000);
const rounds = Number(process.argv[3] ?? 300);
/** Long enough for what opening the streams has left to be collected, and for two heartbeats of each. */
const times = { settleMs: 5_000, idleMs: 20_000 };
const grantsPerSecond = 100;
const warmUp = 1_000;

printSetUp("Those who wait", {
  streams: `${streams}, over 10 connections of a client in a process of its own`,
  bare: "grpc-js that sends one message of the same size on each stream, and answers an empty call",
  rounds: `${rounds} after ${warmUp} that do not count: a lease is given back, and the next one in line hears of its grant`,
  polling: "15 rounds of Allocate every 2 s, as the ancestor waits",
});
const bare = await startBare();
const sluice = await startSluice();
const alone = await grantsOf(sluice, bare, await occupy(sluice), rounds, warmUp);
const polling = await pollingOf(sluice, alone.lease, 15);
const bareCost = await crowdOf(bare, streams, "broadcast", times);
const bareWakes = await wakesOf(bareCost.crowd, 5, 500);
await bareCost.crowd.stop();
const { crowd, ...cost } = await crowdOf(sluice, streams, "arrival", times);
const wakes = await wakesOf(crowd, 5, 5_000);
const crowded = await grantsOf(sluice, bare, polling.lease, rounds, warmUp);
const churn = await churnOf(sluice, crowded.lease, grantsPerSecond, 15);
await crowd.stop();
await Promise.all([sluice.stop(), bare.stop()]);

printTable(
  ["", "sluice", "bare", "ratio", "target"],
  [
    ["KiB of each stream, opened", cost.kib.toFixed(1), bareCost.kib.toFixed(1), ratio(cost.kib, bareCost.kib), "16 KiB"],
    [
      "KiB of each stream, at most",
      cost.mostKib.toFixed(1),
      bareCost.mostKib.toFixed(1),
      ratio(cost.mostKib, bareCost.mostKib),
      "16 KiB",
    ],
    [
      "ms until all have heard",
      median(wakes).toFixed(0),
      median(bareWakes).toFixed(0),
      ratio(median(wakes), median(bareWakes)),
      "1.5 ×",
    ],
    ["ms of processor a second, idle", cost.cpu.toFixed(0), bareCost.cpu.toFixed(0), "", ""],
    [`the same with ${churn.perSecond.toFixed(0)} grants a second`, churn.cpu.toFixed(0), "", "", "500 ms"],
  ],
);
const row = (title, { grant, empty }, p, target) => [
  title,
  percentile(grant, p).toFixed(2),
  percentile(empty, p).toFixed(2),
  ratio(percentile(grant, p), percentile(empty, p)),
  target,
];
printTable(
  ["ms", "release to grant", "empty call", "ratio", "target"],
  [
    row("nobody else waits, p50", alone, 0.5, "2 ×"),
    row("nobody else waits, p99", alone, 0.99, "5 ×"),
    row(`${streams} others wait, p50`, crowded, 0.5, "2 ×"),
    row(`${streams} others wait, p99`, crowded, 0.99, "5 ×"),
  ],
);
const polled = median(polling.times);
print(
  `Asking every 2 s: ${polled.toFixed(0)} ms from release to grant at the median, ${ratio(polled, median(alone.grant))} (target 500 ×).`,
);
print("KiB are resident memory. Client and server are on one machine.");

function ratio(a, b) {
  return `${(a / b).toFixed(a / b < 10 ? 2 : 0)} ×`;
}
