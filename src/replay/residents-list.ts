import { maxDurationMs, maxNameBytes, unnamed } from "../engine/request-limits.ts";
import { badInput, shown } from "./bad-input.ts";
import { cellsOf, millisecondsOf, mostProblems } from "./csv.ts";
import { maxJobs } from "./job.ts";
import type { Line } from "./lines.ts";
import type { ResidentRequest } from "./residents-request.ts";

const required = ["t_s", "model"];
const optional = "exec_s";
const known = [...required, optional];

const longestS = maxDurationMs / 1000;

/**
 * Reads a list of requests for models: comma-separated values with a header. Columns may stand in any order; further ones are not
 * looked at. How long an execution takes (`exec_s`) may be left out, because nothing depends on it. Requests that do not name a model
 * count as requests for one and the same.
 * @param source names the list in errors.
 * @returns the requests in order of time; those of the same moment keep the order of the list.
 * @throws Failure INVALID_ARGUMENT that names line, column, value and limit of each problem, up to ten.
 */
export function readRequestList(lines: Iterable<Line>, source: string): readonly ResidentRequest[] {
  const problems: string[] = [];
  const requests: ResidentRequest[] = [];
  let header: readonly string[] | undefined;
  for (const line of lines) {
    if (line.text.trim() === "") continue;
    const cells = cellsOf(line.text);
    if (header === undefined) {
      header = headerOf(line, cells, source);
    } else if (cells === undefined) {
      problems.push(`line ${line.number}: a quotation mark is not closed`);
    } else if (cells.length !== header.length) {
      problems.push(`line ${line.number} has ${cells.length} values, and the header names ${header.length} columns`);
    } else {
      if (requests.length >= maxJobs)
        throw badInput(source, `line ${line.number}: a list may have at most ${maxJobs} requests`);
      const row = new Map(header.map((column, i) => [column, cells[i] ?? ""]));
      requests.push(
        requestOf(row, (column, why) => {
          problems.push(`line ${line.number}, ${column}: ${shown(row.get(column))} is not allowed; it must be ${why}`);
        }),
      );
    }
    if (problems.length >= mostProblems) throw badInput(source, ...problems, "there may be more; nothing after this was read");
  }
  if (problems.length > 0) throw badInput(source, ...problems);
  if (header === undefined) throw badInput(source, `is empty; its first line must name the columns ${known.join(",")}`);
  return requests.sort((a, b) => a.atMs - b.atMs);
}

function requestOf(row: ReadonlyMap<string, string>, wrong: (column: string, why: string) => void): ResidentRequest {
  const seconds = `a number of seconds from 0 to ${longestS}`;
  const atMs = millisecondsOf(row.get("t_s") ?? "", 0, longestS);
  if (atMs === undefined) wrong("t_s", seconds);
  const execution = row.get(optional) ?? "";
  if (execution !== "" && millisecondsOf(execution, 0, longestS) === undefined) wrong(optional, `${seconds}, or empty`);
  const model = row.get("model") ?? "";
  if (!isName(model)) wrong("model", `at most ${maxNameBytes} bytes of text without control characters`);
  return { atMs: atMs ?? 0, model: model === "" ? unnamed : model };
}

function headerOf(line: Line, cells: readonly string[] | undefined, source: string): readonly string[] {
  const where = `line ${line.number}`;
  if (line.text.startsWith("{"))
    throw badInput(source, `${where} is no header: a record does not tell which models were asked for`);
  if (cells === undefined) throw badInput(source, `${where}: a quotation mark is not closed`);
  const problems = [
    ...required.filter((column) => !cells.includes(column)).map((column) => `the column ${column} is missing`),
    ...known
      .filter((column) => cells.indexOf(column) !== cells.lastIndexOf(column))
      .map((column) => `the column ${column} is there twice`),
  ];
  if (problems.length === 0) return cells;
  const told = problems.map((problem) => `${where}: ${problem}`);
  throw badInput(
    source,
    ...told,
    `a list of requests for models has the columns ${known.join(",")}; further ones are not looked at`,
  );
}

function isName(cell: string): boolean {
  return Buffer.byteLength(cell) <= maxNameBytes && !/[\p{Cc}\u2028\u2029]/u.test(cell);
}
