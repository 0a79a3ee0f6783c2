// How often a model has to be loaded on a list of requests for models, beside the least that is possible and two usual rules.
// node bench/residents.mjs [FOLDER] [--json]; the folder is SLUICE_RESIDENT_TRACES, or ../shared/traces/residents, when it is not given.
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { linesOf } from "../dist/replay/lines.js";
import { replayResidents } from "../dist/replay/residents.js";
import { readRequestList } from "../dist/replay/residents-list.js";
import { greedyDual, leastRecentlyUsed, optimal } from "../dist/replay/residents-rules.js";
import { print, printSetUp, printTable } from "./lib/print.mjs";

const { values, positionals } = parseArgs({ allowPositionals: true, options: { json: { type: "boolean", default: false } } });
const beside = resolve(import.meta.dirname, "../../shared/traces/residents");
const folder = positionals[0] ?? (process.env.SLUICE_RESIDENT_TRACES || beside);
const file = join(folder, "requests.csv");

if (!existsSync(file)) {
  const where = `there is no requests.csv in ${folder}; name its folder, or set SLUICE_RESIDENT_TRACES`;
  print(values.json ? JSON.stringify({ skipped: where }) : `SKIPPED: ${where}`);
  process.exit(0);
}

const slotCounts = [4, 8, 16];
const rules = { optimal, sluice: replayResidents, lru: leastRecentlyUsed, "greedy-dual": greedyDual };
const requests = readRequestList(linesOf(file), file);
const half = Math.ceil(requests.length / 2);
const startedAt = performance.now();
const [whole, ...halves] = [
  ["the list", requests],
  ["its first half", requests.slice(0, half)],
  ["its second half", requests.slice(half)],
].map(([name, list]) => ({
  name,
  rows: slotCounts.map((slots) => ({
    slots,
    ...Object.fromEntries(Object.entries(rules).map(([rule, replay]) => [rule, replay(list, slots)])),
  })),
}));

/** What must hold of the list as a whole. */
const targets = [
  ...["lru", "greedy-dual"].flatMap((rule) =>
    whole.rows.map((row) => ({
      target: `${row.slots} slots: fewer misses than ${rule}`,
      passed: row.sluice.misses < row[rule].misses,
      detail: `${row.sluice.misses} of ${row[rule].misses}: ${percent(row.sluice.misses, row[rule].misses)}`,
    })),
  ),
  {
    target: "never fewer misses than the optimal: else the replay is wrong",
    passed: whole.rows.every((row) => row.sluice.misses >= row.optimal.misses),
    detail: whole.rows.map((row) => percent(row.sluice.misses, row.optimal.misses)).join(", "),
  },
];

function percent(a, b) {
  return `${((100 * a) / b - 100).toFixed(1)} %`;
}

if (values.json) {
  print(JSON.stringify({ whole, halves, targets }));
} else {
  printSetUp("Residents", {
    list: `${requests.length} requests for ${new Set(requests.map((r) => r.model)).size} models of ${file}`,
    replay: "workers of equal size that load in the same time, no minimum residence; executions take no time",
    optimal: "evicts what is needed again last: knows the future, nobody can do better",
    took: `${((performance.now() - startedAt) / 1000).toFixed(1)} s`,
  });
  for (const { name, rows } of [whole, ...halves]) {
    for (const number of ["misses", "evictions"]) {
      // The halves are for information, and there an eviction is a miss but for the first ones.
      if (number === "evictions" && name !== whole.name) continue;
      print(`${number[0].toUpperCase()}${number.slice(1)} on ${name}`);
      printTable(
        ["slots", ...Object.keys(rules)],
        rows.map((row) => [row.slots, ...Object.keys(rules).map((rule) => row[rule][number])]),
      );
    }
  }
  for (const { target, passed, detail } of targets) print(`${passed ? "pass" : "FAIL"}  ${target}  (${detail})`);
}
process.exitCode = targets.every((t) => t.passed) ? 0 : 1;
