import { readFileSync } from "node:fs";
import { join } from "node:path";

/**
 * The job lists of one node: real arrivals and sizes, with lower bounds (manifest.json) and with what simulated schedulers made of
 * them (reference.tsv). Times are seconds.
 */

/** Ways to replay a list. The first two have targets, the others are for comparison. */
export const ways = [
  { name: "backfill", discipline: "backfill", durations: true },
  { name: "backfill, no durations", discipline: "backfill", durations: false },
  { name: "best-effort", discipline: "best-effort", durations: true },
  { name: "strict-fifo", discipline: "strict-fifo", durations: true },
];

/** @throws Error when a file is missing, or has other columns than are read here. */
export function readLists(folder) {
  const lists = JSON.parse(readFileSync(join(folder, "manifest.json"), "utf8"));
  const [header, ...rows] = readFileSync(join(folder, "reference.tsv"), "utf8")
    .trim()
    .split("\n")
    .map((line) => line.split("\t"));
  const cell = (row, column) => {
    const at = header.indexOf(column);
    if (at === -1) throw new Error(`${join(folder, "reference.tsv")} has no column ${column}`);
    return row[at];
  };
  const reference = new Map();
  for (const row of rows) {
    reference.set(`${cell(row, "file")} ${cell(row, "policy")}`, {
      waitMean: Number(cell(row, "wait_mean_s")),
      waitMax: Number(cell(row, "wait_max_s")),
      makespan: Number(cell(row, "makespan_over_lb")),
    });
  }
  return lists.map((list) => {
    const of = (policy) => {
      const found = reference.get(`${list.file} ${policy}`);
      if (found === undefined) throw new Error(`reference.tsv does not say what ${policy} makes of ${list.file}`);
      return found;
    };
    return {
      file: list.file,
      cell: `${list.mix} g${list.gpus} rho ${list.rho.toFixed(2)}`,
      machine: { gpus: list.gpus, vram: list.vram_mib, ram: list.host_ram_mib },
      jobs: list.jobs,
      makespanBound: list.lb_makespan_s,
      easy: of("easy"),
      sjf: of("sjf"),
    };
  });
}

/**
 * Replays one list as `sluice replay FILE --gpus … --vram … --ram …` does.
 * @param engine what reads and replays: the built one, or the sources under test.
 */
export function replayList(engine, folder, list, way) {
  const work = engine.readWork(join(folder, list.file));
  if (work.kind !== "list" || work.jobs.length !== list.jobs) throw new Error(`${list.file} is not the list of the manifest`);
  const { machine, marginMb } = engine.machineFor(work, list.machine, list.file);
  const book = { machine, jobs: work.jobs, remarks: [] };
  const result = engine.replay(book, { policy: "queue", marginMb, discipline: way.discipline, durations: way.durations });
  return {
    jobs: result.jobs,
    done: result.done,
    oom: result.oom,
    // The reference has two decimals.
    waitMean: round(result.wait_mean_s),
    waitMax: round(result.wait_max_s),
    makespan: result.makespan_s / list.makespanBound,
    decisionsPerS: result.decisions_per_s,
  };
}

export function round(seconds) {
  return Math.round(seconds * 100) / 100;
}
