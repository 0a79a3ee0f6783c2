// Control characters, and the marks that turn or hide the text around them.
const unsafe = /[\p{Cc}\u200b-\u200f\u2028\u2029\u202a-\u202e\u2060-\u2069\ufeff]/gu;

/** Text from elsewhere, made safe to print: what a terminal would obey is shown as its code instead. */
export function clean(text: string): string {
  return text.replace(unsafe, (char) => {
    const code = char.codePointAt(0) ?? 0;
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`;
  });
}

/** A length of time for people: 45s, 3m12s, 2h05m, 3d04h. */
export function age(ms: number): string {
  const s = Math.max(0, Math.floor(ms / 1000));
  const two = (n: number) => String(n).padStart(2, "0");
  if (s < 60) return `${s}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m${two(s % 60)}s`;
  if (s < 86_400) return `${Math.floor(s / 3600)}h${two(Math.floor((s % 3600) / 60))}m`;
  return `${Math.floor(s / 86_400)}d${two(Math.floor((s % 86_400) / 3600))}h`;
}

/**
 * A length of time that is not known exactly, in one unit: 40 s, 3 min, 2 h, 4 d.
 * @param way how it is rounded to that unit: up for what must not be shorter.
 */
export function roughly(ms: number, way: (value: number) => number = Math.round): string {
  const s = Math.max(0, ms / 1000);
  if (way(s) < 60) return `${way(s)} s`;
  if (way(s / 60) < 60) return `${way(s / 60)} min`;
  if (way(s / 3600) < 48) return `${way(s / 3600)} h`;
  return `${way(s / 86_400)} d`;
}

/** Columns that a text takes in a terminal. */
export function width(text: string): number {
  let columns = 0;
  for (const char of text) columns += columnsOf(char);
  return columns;
}

/** The beginning of a text that takes at most so many columns, with … when something was cut. */
export function cut(text: string, columns: number): string {
  if (width(text) <= columns) return text;
  let kept = "";
  let used = 0;
  for (const char of text) {
    used += columnsOf(char);
    if (used > columns - 1) break;
    kept += char;
  }
  return columns < 1 ? "" : `${kept}…`;
}

function columnsOf(char: string): number {
  if (/\p{Mark}/u.test(char)) return 0;
  return /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|[\u{1f300}-\u{1faff}]|[\u{20000}-\u{3fffd}]/u.test(
    char,
  )
    ? 2
    : 1;
}

/** One column of a table. */
export interface Column<Row> {
  readonly title: string;
  readonly right?: boolean;
  cell(row: Row): string;
}

/** An aligned table with a header; every cell is made safe to print. */
export function table<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): string {
  const cells = [columns.map((column) => column.title), ...rows.map((row) => columns.map((column) => clean(column.cell(row))))];
  const widths = columns.map((_, i) => Math.max(...cells.map((line) => width(line[i] ?? ""))));
  return cells
    .map((line) =>
      line
        .map((cell, i) => {
          const padding = " ".repeat((widths[i] ?? 0) - width(cell));
          return columns[i]?.right === true ? padding + cell : cell + padding;
        })
        .join("  ")
        .trimEnd(),
    )
    .map((line) => `${line}\n`)
    .join("");
}

/** A number that may be unknown. */
export function known(value: number | undefined): string {
  return value === undefined ? "-" : String(value);
}

/** Text that may be empty. */
export function orDash(text: string): string {
  return text === "" ? "-" : text;
}
