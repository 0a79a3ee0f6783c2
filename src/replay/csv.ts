import type { Millis } from "../engine/sample.ts";

/** So many problems of one list are told; whoever has more has the same one on every line. */
export const mostProblems = 10;

/** The values of a line; undefined when a quoted one does not end. */
export function cellsOf(text: string): readonly string[] | undefined {
  if (!text.includes('"')) return text.split(",").map((cell) => cell.trim());
  const cells: string[] = [];
  const form = /\s*(?:"((?:[^"]|"")*)"\s*|([^",]*))(,|$)/y;
  for (let end = ","; end === ","; ) {
    const match = form.exec(text);
    if (match === null) return undefined;
    cells.push(match[1] === undefined ? (match[2] ?? "").trim() : match[1].replaceAll('""', '"'));
    end = match[3] ?? "";
  }
  return cells;
}

/**
 * A number of seconds, kept to the microsecond. Some programs write small numbers as 1e-05.
 * @returns undefined when it is none, or beyond the limits.
 */
export function millisecondsOf(cell: string, minS: number, maxS: number): Millis | undefined {
  const value = Number(cell);
  if (!/^\d+(\.\d*)?(e[+-]?\d{1,3})?$/i.test(cell) || value < minS || value > maxS) return undefined;
  return Math.round(value * 1e6) / 1000;
}
