import {
  defaultTenant,
  maxDurationMs,
  maxGpus,
  maxIdBytes,
  maxMib,
  maxNameBytes,
  maxPriority,
  maxTenantBytes,
  unnamed,
} from "../engine/request-limits.ts";
import type { Millis } from "../engine/sample.ts";
import { badInput, shown } from "./bad-input.ts";
import { cellsOf, millisecondsOf, mostProblems } from "./csv.ts";
import { maxJobs, type ReplayJob } from "./job.ts";
import type { Line } from "./lines.ts";

const required = ["id", "arrive_s", "duration_s", "gpus", "vram_mib_per_gpu", "host_ram_mib"] as const;
/** `qos` is a class of service of the systems that such lists come from. It is accepted, and nothing depends on it. */
const optional = ["qos", "name", "tenant", "priority", "expected_s", "timeout_s"] as const;
const known: readonly string[] = [...required, ...optional];

type Column = (typeof required)[number] | (typeof optional)[number];

/** One millisecond, the shortest expected_duration of a request. */
const shortestS = 0.001;
const longestS = maxDurationMs / 1000;

/**
 * Reads a list of jobs: comma-separated values with a header. Columns may stand in any order.
 *
 * Without a column `expected_s` the owner of each job knows exactly how long it runs. With it, an empty cell means that nothing is
 * said beforehand. An empty `timeout_s`, or 0, waits for ever.
 * @param source names the list in errors.
 * @returns the jobs in order of arrival; those that arrive at the same moment keep the order of the list.
 * @throws Failure INVALID_ARGUMENT that names line, column, value and limit of each problem, up to ten.
 */
export function readJobList(lines: Iterable<Line>, source: string): readonly ReplayJob[] {
  const problems: string[] = [];
  const jobs: ReplayJob[] = [];
  const lineOf = new Map<string, number>();
  let columns: readonly Column[] | undefined;
  for (const line of lines) {
    if (line.text.trim() === "") continue;
    const cells = cellsOf(line.text);
    if (cells === undefined) {
      problems.push(`line ${line.number}: a quotation mark is not closed`);
    } else if (columns === undefined) {
      columns = columnsOf(cells, line.number, source);
    } else if (cells.length !== columns.length) {
      problems.push(`line ${line.number} has ${cells.length} values, and the header names ${columns.length} columns`);
    } else {
      if (jobs.length >= maxJobs) throw badInput(source, `line ${line.number}: a list may have at most ${maxJobs} jobs`);
      const row = new Row(columns, cells, line.number, problems);
      const job = jobOf(row);
      const earlier = lineOf.get(job.id);
      if (earlier !== undefined) row.wrong("id", `is the id of line ${earlier} already; each job needs its own`);
      lineOf.set(job.id, line.number);
      jobs.push(job);
    }
    if (problems.length >= mostProblems) throw badInput(source, ...problems, "there may be more; nothing after this was read");
  }
  if (problems.length > 0) throw badInput(source, ...problems);
  if (columns === undefined) throw badInput(source, `is empty; its first line must name the columns ${required.join(",")}`);
  return jobs.sort((a, b) => a.arriveMs - b.arriveMs);
}

function jobOf(row: Row): ReplayJob {
  const durationMs = row.seconds("duration_s", shortestS, longestS);
  const gpuCount = row.whole("gpus", 0, maxGpus);
  const vramMb = row.whole("vram_mib_per_gpu", 0, maxMib);
  if (gpuCount === 0 && vramMb > 0) row.wrong("vram_mib_per_gpu", "is not allowed; it must be 0 when gpus is 0");
  const expectedMs = row.has("expected_s") ? row.secondsOrNone("expected_s", shortestS, longestS) : durationMs;
  const timeoutMs = row.secondsOrNone("timeout_s", 0, longestS);
  return {
    id: row.text("id", maxIdBytes, undefined),
    name: row.text("name", maxNameBytes, unnamed),
    arriveMs: row.seconds("arrive_s", 0, longestS),
    durationMs,
    requirements: { gpuCount, vramMb, ramMb: row.whole("host_ram_mib", 0, maxMib), gpuUuids: [], exclusive: false },
    tenant: row.text("tenant", maxTenantBytes, defaultTenant),
    priority: row.has("priority") && row.cell("priority") !== "" ? row.whole("priority", -maxPriority, maxPriority) : 0,
    ...(expectedMs === undefined ? {} : { expectedDurationMs: expectedMs }),
    ...(timeoutMs === undefined || timeoutMs === 0 ? {} : { timeoutMs }),
  };
}

/** One job's cells. Whatever is wrong is added to the problems, and a usable value is answered all the same. */
class Row {
  readonly #columns: readonly Column[];
  readonly #cells: readonly string[];
  readonly #line: number;
  readonly #problems: string[];

  constructor(columns: readonly Column[], cells: readonly string[], line: number, problems: string[]) {
    this.#columns = columns;
    this.#cells = cells;
    this.#line = line;
    this.#problems = problems;
  }

  has(column: Column): boolean {
    return this.#columns.includes(column);
  }

  /** Empty where the list has no such column. */
  cell(column: Column): string {
    return this.#cells[this.#columns.indexOf(column)] ?? "";
  }

  wrong(column: Column, why: string): void {
    this.#problems.push(`line ${this.#line}, ${column}: ${shown(this.cell(column))} ${why}`);
  }

  whole(column: Column, min: number, max: number): number {
    const cell = this.cell(column);
    const value = Number(cell);
    if (/^-?\d{1,15}$/.test(cell) && value >= min && value <= max) return value;
    this.wrong(column, `is not allowed; it must be a whole number from ${min} to ${max}`);
    return 0;
  }

  seconds(column: Column, min: number, max: number): Millis {
    const ms = millisecondsOf(this.cell(column), min, max);
    if (ms !== undefined) return ms;
    this.wrong(column, `is not allowed; it must be a number of seconds from ${min} to ${max}`);
    return 0;
  }

  secondsOrNone(column: Column, min: number, max: number): Millis | undefined {
    return this.cell(column) === "" ? undefined : this.seconds(column, min, max);
  }

  /** @param whenEmpty undefined: must not be empty. */
  text(column: Column, maxBytes: number, whenEmpty: string | undefined): string {
    const cell = this.cell(column);
    if (cell === "" && whenEmpty !== undefined) return whenEmpty;
    if (cell === "" || Buffer.byteLength(cell) > maxBytes || /[\p{Cc}\u2028\u2029]/u.test(cell)) {
      const least = whenEmpty === undefined ? "1 to" : "at most";
      this.wrong(column, `is not allowed; it must be ${least} ${maxBytes} bytes of text without control characters`);
    }
    return cell;
  }
}

function columnsOf(cells: readonly string[], line: number, source: string): readonly Column[] {
  const problems = [
    ...cells.filter((cell) => !known.includes(cell)).map((cell) => `${shown(cell)} is not a column of a job list`),
    ...required.filter((column) => !cells.includes(column)).map((column) => `the column ${column} is missing`),
    ...cells.filter((cell, i) => cells.indexOf(cell) !== i).map((cell) => `the column ${shown(cell)} is there twice`),
  ];
  if (problems.length > 0) {
    const told = problems.slice(0, mostProblems).map((problem) => `line ${line}: ${problem}`);
    throw badInput(source, ...told, `the columns are ${required.join(",")}; these may be added: ${optional.join(",")}`);
  }
  return cells as readonly Column[];
}
