// How long work waits on the job lists of one node, beside reference schedulers and lower bounds.
// node bench/one-node.mjs [FOLDER] [--json]; the folder is SLUICE_TRACES, or ../shared/traces/one-node, when it is not given.
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import * as engine from "./lib/dist.mjs";
import { readLists, replayList, ways } from "./lib/one-node-lists.mjs";
import { cellsOf, targetsOf } from "./lib/one-node-targets.mjs";
import { print, printSetUp, printTable } from "./lib/print.mjs";

const { values, positionals } = parseArgs({ allowPositionals: true, options: { json: { type: "boolean", default: false } } });
const beside = resolve(import.meta.dirname, "../../shared/traces/one-node");
const folder = positionals[0] ?? (process.env.SLUICE_TRACES || beside);

if (!existsSync(join(folder, "manifest.json"))) {
  const where = `there are no job lists in ${folder}; name their folder, or set SLUICE_TRACES`;
  print(values.json ? JSON.stringify({ skipped: where }) : `SKIPPED: ${where}`);
  process.exit(0);
}

const lists = readLists(folder);
const runs = ways.map((way) => lists.map((list) => replayList(engine, folder, list, way)));
const cells = cellsOf(lists, runs);
const targets = targetsOf(lists, runs);

if (values.json) {
  const perList = lists.map((list, i) => ({ ...list, ours: Object.fromEntries(ways.map((way, w) => [way.name, runs[w][i]])) }));
  const perCell = cells.map((c) => ({ ...c, ours: Object.fromEntries(ways.map((way, w) => [way.name, c.ours[w]])) }));
  print(JSON.stringify({ lists: perList, cells: perCell, targets }));
} else {
  printSetUp("Work on one node", {
    lists: `${lists.length} of ${folder}`,
    waits: "seconds, from arrival to grant; makespan as a multiple of its lower bound",
    reference: "easy: EASY backfill that knows durations exactly; sjf: shortest first, the same",
  });
  const names = ["easy", "sjf", "backfill", "no durations", "best-effort", "strict-fifo"];
  const table = (title, number, digits, rows) => {
    const cell = (value) => value[number].toFixed(digits);
    print(title);
    printTable(
      ["", ...names],
      rows.map(({ name, easy, sjf, ours }) => [name, ...[easy, sjf, ...ours].map(cell)]),
    );
  };
  const byList = lists.map((list, i) => ({ name: list.file, easy: list.easy, sjf: list.sjf, ours: runs.map((run) => run[i]) }));
  const byCell = cells.map((c) => ({ name: c.cell, ...c }));
  for (const [of, rows] of [
    ["each list", byList],
    ["the mean of each cell", byCell],
  ]) {
    table(`Mean wait of ${of}, s`, "waitMean", 2, rows);
    table(`Longest wait of ${of}, s`, "waitMax", 2, rows);
    table(`Makespan of ${of}, × bound`, "makespan", 4, rows);
  }
  const nearSjf = cells.filter((c) => c.ours[0].waitMean <= 1.1 * c.sjf.waitMean && c.ours[0].waitMax <= c.easy.waitMax).length;
  print(
    `For information: within 10 % of the mean wait of sjf, at no longer a longest wait than easy: ${nearSjf} of ${cells.length} cells`,
  );
  print();
  for (const { target, passed, detail } of targets) print(`${passed ? "pass" : "FAIL"}  ${target}  (${detail})`);
}
process.exitCode = targets.every((t) => t.passed) ? 0 : 1;
