// What nvidia-smi and memory really take on a machine with a GPU; docs/measurements.md has results.
//   node bench/real-gpu/measure.mjs
// Needs nvidia-smi, the driver's libcuda.so.1 and a C compiler. Takes the first GPU, for about two minutes.
import { execFileSync, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { print, printTable } from "../lib/print.mjs";
import { holding } from "./cuda-job.mjs";

const columns = "timestamp,index,uuid,name,driver_version,memory.total,memory.reserved,memory.used,memory.free,utilization.gpu";
const csv = "--format=csv,noheader,nounits";

const median = (xs) => [...xs].sort((a, b) => a - b)[Math.floor(xs.length / 2)];
const ms = (x) => x.toFixed(0);

function smi(...args) {
  return execFileSync("nvidia-smi", args, { encoding: "utf8" });
}

function timed(...args) {
  const times = [];
  for (let i = 0; i < 15; i++) {
    const began = performance.now();
    smi(...args);
    times.push(performance.now() - began);
  }
  return times;
}

/** Used memory of GPU 0 (MiB) as a running loop tells it. */
class UsedMemory {
  constructor(periodMs) {
    this.ticks = [];
    this.child = spawn("nvidia-smi", ["-i", "0", "--query-gpu=memory.used", csv, "-lms", String(periodMs)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    createInterface({ input: this.child.stdout }).on("line", (line) => {
      this.ticks.push({ at: performance.now(), used: Number(line) });
    });
  }

  get used() {
    return this.ticks.at(-1)?.used;
  }

  async until(condition, limitMs = 30_000) {
    const began = performance.now();
    let seen = this.ticks.length;
    while (performance.now() - began < limitMs) {
      const tick = this.ticks[seen];
      if (tick === undefined) await delay(1);
      else if (condition(tick.used)) return tick.at;
      else seen++;
    }
    throw new Error(`not seen within ${limitMs} ms; used is ${this.used} MiB`);
  }

  stop() {
    this.child.kill("SIGKILL");
  }
}

async function loopTicks(periodMs, count) {
  const memory = new UsedMemory(periodMs);
  while (memory.ticks.length < count) await delay(10);
  memory.stop();
  const gaps = memory.ticks.slice(1).map((tick, i) => tick.at - memory.ticks[i].at);
  return gaps.slice(1);
}

/** ms from the end of a process to the first reading that shows its memory free. */
async function returnLag(mib, end) {
  const memory = new UsedMemory(20);
  await memory.until(() => true);
  await delay(500);
  const before = memory.used;
  const job = await holding(mib);
  await memory.until((used) => used >= before + mib);
  await delay(300);
  const with_ = memory.used;
  const told = performance.now();
  if (end === "SIGKILL") job.child.kill("SIGKILL");
  else job.child.kill("SIGTERM");
  await job.end;
  const over = performance.now();
  const back = await memory.until((used) => used <= before + 0.02 * mib);
  memory.stop();
  return { readyMs: job.readyMs, contextMb: with_ - before - mib, exitMs: over - told, lagMs: back - over };
}

print(`nvidia-smi on ${smi("--query-gpu=name,driver_version,memory.total", csv).trim()}`);
print(`${new Date().toISOString().slice(0, 10)}, ${process.version}\n`);

const calls = [
  ["--query-gpu, 10 columns", timed(`--query-gpu=${columns}`, csv)],
  ["--query-compute-apps", timed("--query-compute-apps=gpu_uuid,pid,used_memory,process_name", csv)],
  ["-q -x", timed("-q", "-x")],
  ["-L", timed("-L")],
];
printTable(
  ["one call", "median ms", "max ms"],
  calls.map(([name, times]) => [name, ms(median(times)), ms(Math.max(...times))]),
);
print("");

const loops = [];
for (const period of [100, 500, 1_000]) {
  const gaps = await loopTicks(period, 22);
  loops.push([`-lms ${period}`, ms(median(gaps)), ms(Math.max(...gaps))]);
}
printTable(["loop", "median ms from line to line", "max ms"], loops);
print("");

const total = Number(smi("-i", "0", "--query-gpu=memory.free", csv));
const sizes = [0, 1_024, 8_192, Math.floor(total * 0.8)];
const rows = [];
for (const mib of sizes) {
  for (const end of ["SIGTERM", "SIGKILL"]) {
    if (mib === 0 && end === "SIGKILL") continue;
    const runs = [];
    for (let i = 0; i < 5; i++) runs.push(await returnLag(mib, end));
    rows.push([
      String(mib),
      end,
      ...["readyMs", "contextMb", "exitMs", "lagMs"].map((key) => ms(median(runs.map((r) => r[key])))),
      ms(Math.max(...runs.map((r) => r.lagMs))),
    ]);
  }
}
printTable(
  ["job MiB", "ended by", "to have it, ms", "CUDA's own MiB", "signal to exit, ms", "exit to free, ms", "max ms"],
  rows,
);
