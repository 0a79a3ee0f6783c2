// What a server costs that nobody asks: its start, its memory, how often it wakes, what measuring eight GPUs takes, and how soon a
// measurement becomes a decision. Linux only. node bench/idle.mjs [SECONDS]
import { idleOf, monitorOf, startTimes } from "./lib/idle.mjs";
import { print, printSetUp, printTable } from "./lib/print.mjs";

const seconds = Number(process.argv[2] ?? 20);
const gpus = 8;
const periodMs = 500;
const starts = 11;

printSetUp("A server that nobody asks", {
  starts: `${starts}, each beside a start of Node that prints a word`,
  idle: `${seconds} s without a GPU`,
  gpus: `${gpus}, told by a pretended nvidia-smi every ${periodMs} ms, ${seconds} s`,
});
const start = await startTimes(starts);
const idle = await idleOf(seconds);
const monitor = await monitorOf(gpus, periodMs, seconds, 15);
printTable(
  ["", "measured", "target"],
  [
    ["ms from the start of node until ready, median", start.sluice.toFixed(0), "400"],
    ["of which Node itself", start.node.toFixed(0), ""],
    ["MiB resident, idle", idle.rssMib.toFixed(0), "90"],
    ["times awake a second, idle", idle.awake.toFixed(1), "4"],
    ["% of a core, idle", (idle.cpu / 10).toFixed(2), ""],
    [`% of a core with ${gpus} GPUs`, (monitor.cpu / 10).toFixed(2), "1"],
    ["ms from a measurement until a grant is decided, median", monitor.decidedMs.toFixed(1), "5"],
    ["ms from a measurement until it is heard of, median", monitor.heardMs.toFixed(1), ""],
    ["ms of an empty call in between, median", monitor.emptyMs.toFixed(1), ""],
  ],
);
print(
  "The lease says in whole milliseconds when it was granted. It is heard of by a client that has slept, as the empty call's was.",
);
