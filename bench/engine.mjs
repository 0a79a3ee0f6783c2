// What one event costs the engine while many tickets wait, and what finished work leaves behind.
// node --expose-gc bench/engine.mjs [--seconds N] [--waiting 100,1000,10000,100000] [--discipline NAME] [--events]
import { parseArgs } from "node:util";
import * as engine from "./lib/dist.mjs";
import { EngineLoad } from "./lib/load.mjs";
import { print, printSetUp, printTable } from "./lib/print.mjs";

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "3" },
    waiting: { type: "string", default: "100,1000,10000,100000" },
    discipline: { type: "string" },
    events: { type: "boolean", default: false },
    heap: { type: "string", default: "10000,100000" },
  },
});
const budgetMs = 1_000 * Number(values.seconds);
const lengths = values.waiting.split(",").map(Number);
const [fewFinished, manyFinished] = values.heap.split(",").map(Number);
/** Work that ends before anything is measured: by then some tickets have been overtaken as often as they may be. */
const warmUpRounds = 150;

const kinds = [];
for (const discipline of engine.disciplines) {
  if (values.discipline !== undefined && values.discipline !== discipline) continue;
  for (const durations of discipline === "backfill" ? [true, false] : [true]) {
    for (const tenants of [1, 20])
      for (const sizes of ["few", "distinct"]) kinds.push({ discipline, durations, tenants, sizes });
  }
}

printSetUp("Cost of one event", {
  machine: "8 GPUs of 24576 MiB, simulated and full; a virtual clock",
  mix: "for each end of a lease: 3 measurements and more, 1.25 submits, 2 renewals, 1/4 cancel, an attach for each grant",
  "warm-up": `${warmUpRounds} ends of leases`,
  measured: `for ${values.seconds} s each, the mean of all events in µs; * the warm-up took too long and was cut`,
});
warmUp();
const rows = [];
for (const kind of kinds) rows.push(rowOf(kind));
print("µs for one event, by tickets that wait; × is the ratio to the first");
printTable(["discipline", "tenants", "sizes", ...lengths.flatMap((n, i) => (i === 0 ? [String(n)] : [String(n), "×"]))], rows);
heap();

/** The first lengths would pay for the compiler otherwise. */
function warmUp() {
  for (const kind of kinds) new EngineLoad(engine, { ...kind, waiting: 100 }).rounds(40);
}

function rowOf(kind) {
  const costs = lengths.map((waiting) => costOf({ ...kind, waiting }));
  const name = kind.durations ? kind.discipline : `${kind.discipline}, no durations`;
  const cells = costs.flatMap(({ us, isCut }, i) => {
    const cost = `${us.toFixed(1)}${isCut ? "*" : ""}`;
    return i === 0 ? [cost] : [cost, (us / costs[0].us).toFixed(2)];
  });
  return [name, kind.tenants, kind.sizes, ...cells];
}

function costOf(options) {
  const load = new EngineLoad(engine, options);
  const isCut = roundsFor(load, warmUpRounds, 3 * budgetMs) < warmUpRounds;
  load.reset();
  roundsFor(load, Infinity, budgetMs);
  if (values.events) printEvents(load, options);
  return { us: load.usPerEvent, isCut };
}

/** At least one round; answers how many. */
function roundsFor(load, most, ms) {
  const began = performance.now();
  let rounds = 0;
  do {
    load.round();
    rounds++;
  } while (rounds < most && performance.now() - began < ms);
  return rounds;
}

function printEvents(load, { discipline, durations, tenants, sizes, waiting }) {
  print(`${discipline}${durations ? "" : ", no durations"}, tenants ${tenants}, ${sizes} sizes, ${waiting} wait`);
  const events = [...load.spent].sort((a, b) => b[1].ms - a[1].ms);
  printTable(
    ["event", "events", "µs each"],
    events.map(([event, { count, ms }]) => [event, count, ((1_000 * ms) / count).toFixed(1)]),
  );
}

/** What the engine keeps of work that has ended: nothing that grows. */
function heap() {
  if (globalThis.gc === undefined) {
    print("SKIPPED: the heap is measured with node --expose-gc only");
    return;
  }
  const load = new EngineLoad(engine, { discipline: "best-effort", waiting: 100, tenants: 20, sizes: "distinct" });
  const usedAfter = (finished) => {
    while (load.finished < finished) load.round();
    load.reset();
    globalThis.gc();
    globalThis.gc();
    return process.memoryUsage().heapUsed / 2 ** 20;
  };
  const few = usedAfter(fewFinished);
  const many = usedAfter(manyFinished);
  print("Heap after work has finished, no two pieces alike; 100 tickets wait (best-effort)");
  printTable(
    ["finished", "MiB", "×"],
    [
      [fewFinished, few.toFixed(2), "1.00"],
      [manyFinished, many.toFixed(2), (many / few).toFixed(2)],
    ],
  );
}
