// How fast `sluice replay` goes, on generated lists.
// node bench/replay.mjs [--jobs N,N]
import { parseArgs } from "node:util";
import * as engine from "./lib/dist.mjs";
import { randomFrom } from "./lib/load.mjs";
import { print, printSetUp, printTable } from "./lib/print.mjs";

const { values } = parseArgs({ options: { jobs: { type: "string", default: "500,2000" } } });
const sizes = values.jobs.split(",").map(Number);
const machines = [1, 4, 8];
const vramMb = 24_576;
const meanMs = 45_000;
/** What arrives, as a share of the GPU memory × time that there is. */
const load = 0.9;
const targetPerS = 100_000;

/** Arrivals at random, durations with a long tail, a third of the memory on average; some want several GPUs. */
function listOf(count, gpus, seed) {
  const random = randomFrom(seed);
  const jobs = [];
  let arriveMs = 0;
  for (let i = 0; i < count; i++) {
    const gpuCount = random() < 0.1 ? Math.min(gpus, 2 + Math.floor(3 * random())) : 1;
    const durationMs = Math.round(Math.min(20 * meanMs, 500 + (meanMs / 2) * -Math.log(1 - random()) * (0.2 + 3.6 * random())));
    const needs = { gpuCount, vramMb: 1_024 + Math.floor(random() * 20_000), ramMb: 1_000 + Math.floor(random() * 40_000) };
    arriveMs += (durationMs * gpuCount * needs.vramMb) / (load * gpus * vramMb) / 0.85;
    jobs.push({
      id: String(i),
      name: `job-${i % 40}`,
      arriveMs: Math.round(arriveMs),
      durationMs,
      requirements: { ...needs, gpuUuids: [], exclusive: false },
      tenant: `t${i % 3}`,
      priority: 0,
      expectedDurationMs: durationMs,
    });
  }
  return jobs;
}

function runOf(jobs, gpus, discipline, durations) {
  const machine = {
    gpus: Array.from({ length: gpus }, () => ({ totalMb: vramMb, reservedMb: 0 })),
    ramMb: gpus * 98_304,
    foreign: [],
  };
  let events = 0;
  let verdicts = 0;
  let longest = 0;
  const began = performance.now();
  const result = engine.replay(
    { machine, jobs, remarks: [] },
    { policy: "queue", marginMb: 0, discipline, durations },
    (state) => {
      events++;
      verdicts = state.verdicts;
      longest = Math.max(longest, state.line.size);
    },
  );
  const seconds = (performance.now() - began) / 1_000;
  if (result.done !== jobs.length || result.oom > 0) throw new Error(`${discipline} lost work: ${JSON.stringify(result)}`);
  return { events, verdicts, longest, seconds };
}

printSetUp("Speed of replay", {
  lists: `generated; ${values.jobs} jobs, 3 tenants, mean duration 45 s, GPUs busy to ${100 * load} %`,
  machines: `${machines.join(", ")} GPUs of ${vramMb} MiB`,
  counted: "decisions: verdicts on a request or a waiting ticket; events: steps of the engine without attaches",
});
const ways = engine.disciplines.flatMap((discipline) =>
  discipline === "backfill"
    ? [
        [discipline, true],
        [discipline, false],
      ]
    : [[discipline, true]],
);
for (const [discipline, durations] of ways) runOf(listOf(500, 4, 7), 4, discipline, durations);
const rows = [];
const slow = [];
for (const [discipline, durations] of ways) {
  const name = durations ? discipline : `${discipline}, no durations`;
  for (const gpus of machines) {
    for (const count of sizes) {
      const { events, verdicts, longest, seconds } = runOf(listOf(count, gpus, count + gpus), gpus, discipline, durations);
      const perS = (n) => Math.round(n / seconds);
      rows.push([name, gpus, count, longest, perS(verdicts), perS(events), perS(count)]);
      if (discipline === "backfill" && perS(verdicts) < targetPerS) slow.push(`${name}, ${gpus} GPUs, ${count} jobs`);
    }
  }
}
printTable(["discipline", "GPUs", "jobs", "most waiting", "decisions/s", "events/s", "jobs/s"], rows);
print(
  `${slow.length === 0 ? "pass" : "FAIL"}  backfill makes at least ${targetPerS} decisions a second (${slow.join("; ") || "everywhere"})`,
);
