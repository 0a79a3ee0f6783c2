import type { ReplayOptions, ReplayResult } from "../replay/job.ts";
import { type Column, table } from "./text.ts";

/** One replay of one file. */
export interface Run extends Pick<ReplayOptions, "discipline" | "durations"> {
  readonly file: string;
  readonly result: ReplayResult;
}

/** The result in the order of the contract, and nothing else. */
export function resultJson(r: ReplayResult): ReplayResult {
  return {
    jobs: r.jobs,
    done: r.done,
    refused: r.refused,
    timed_out: r.timed_out,
    oom: r.oom,
    wait_mean_s: r.wait_mean_s,
    wait_p50_s: r.wait_p50_s,
    wait_p99_s: r.wait_p99_s,
    wait_max_s: r.wait_max_s,
    slowdown_mean: r.slowdown_mean,
    makespan_s: r.makespan_s,
    util_pct: r.util_pct,
    decisions_per_s: r.decisions_per_s,
  };
}

/** One of several results: it says which. */
export function runJson(run: Run, compared: boolean) {
  const way = compared ? { discipline: run.discipline, durations: run.durations } : {};
  return { file: run.file, ...way, ...resultJson(run.result) };
}

/** The table for people. */
export function runTable(runs: readonly Run[], withFile: boolean): string {
  const columns: Column<Run>[] = [
    ...(withFile ? [{ title: "FILE", cell: (run: Run) => run.file }] : []),
    { title: "DISCIPLINE", cell: (run) => `${run.discipline}${run.durations ? "" : ", no durations"}` },
    number("JOBS", 0, (r) => r.jobs),
    number("DONE", 0, (r) => r.done),
    number("REFUSED", 0, (r) => r.refused),
    number("TIMED OUT", 0, (r) => r.timed_out),
    number("OOM", 0, (r) => r.oom),
    number("WAIT MEAN", 1, (r) => r.wait_mean_s),
    number("P50", 1, (r) => r.wait_p50_s),
    number("P99", 1, (r) => r.wait_p99_s),
    number("MAX", 1, (r) => r.wait_max_s),
    number("SLOWDOWN", 2, (r) => r.slowdown_mean),
    number("MAKESPAN", 0, (r) => r.makespan_s),
    number("UTIL %", 1, (r) => r.util_pct),
  ];
  const slowest = runs.reduce((least, run) => Math.min(least, run.result.decisions_per_s), Infinity);
  const speed = runs.length === 1 ? "" : " at least";
  return `${table(columns, runs)}Waits and makespan are seconds. The engine made${speed} ${Math.floor(slowest)} decisions per second.\n`;
}

function number(title: string, digits: number, of: (result: ReplayResult) => number): Column<Run> {
  return { title, right: true, cell: (run) => of(run.result).toFixed(digits) };
}
