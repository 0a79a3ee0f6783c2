import type { Mib } from "../../engine/sample.ts";
import { isUuid, mibOf, numberOf, splitRow, timestampOf, wordOf } from "./csv-row.ts";

/** Columns that every supported driver knows. One unknown column kills the whole query, so the rest is optional. */
const streamColumns = [
  "timestamp",
  "index",
  "uuid",
  "memory.total",
  "memory.reserved",
  "memory.used",
  "memory.free",
  "utilization.gpu",
  "temperature.gpu",
  "power.draw",
  "compute_mode",
  "mig.mode.current",
] as const;

/** What the first question asks for; free text stands last. */
const coreColumns = [
  "count",
  "index",
  "uuid",
  "pci.bus_id",
  "memory.total",
  "memory.reserved",
  "memory.used",
  "memory.free",
  "mig.mode.current",
  "mig.mode.pending",
  "compute_mode",
  "utilization.gpu",
  "temperature.gpu",
  "power.draw",
  "driver_version",
  "name",
] as const;

export type Column = (typeof streamColumns)[number] | (typeof coreColumns)[number];

/** Columns that older drivers do not know, in the order in which they are given up: R510, then R450. */
export const optionalColumns: readonly Column[] = ["memory.reserved", "mig.mode.pending", "mig.mode.current"];

/** The columns of the one-shot question, without those that this driver has refused. */
export function coreQuery(refused: ReadonlySet<Column>): Column[] {
  return coreColumns.filter((column) => !refused.has(column));
}

/** The columns of the stream, without those that this driver has refused. */
export function streamQuery(refused: ReadonlySet<Column>): Column[] {
  return streamColumns.filter((column) => !refused.has(column));
}

/** One line about one GPU. A figure that could not be read is absent; `words` has what stood in its place. */
export interface GpuRow {
  /** Wall-clock time at which nvidia-smi began with this row, in ms since 1970. */
  readonly wallMs?: number;
  /** How many GPUs the driver counts, which may be more than have a row. */
  readonly count?: number;
  readonly index?: number;
  readonly uuid?: string;
  readonly name?: string;
  readonly pciBusId?: string;
  readonly driverVersion?: string;
  readonly totalMb?: Mib;
  readonly reservedMb?: Mib;
  readonly usedMb?: Mib;
  readonly freeMb?: Mib;
  readonly loadPercent?: number;
  readonly temperatureC?: number;
  readonly powerW?: number;
  readonly computeMode?: string;
  readonly migCurrent?: string;
  readonly migPending?: string;
  /** The unified-memory hint of `-q -x`; CSV queries do not ask for it. */
  readonly addressingMode?: string;
  readonly words: Readonly<Partial<Record<Column, string>>>;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/**
 * Reads one line of `--query-gpu=<columns> --format=csv,noheader,nounits` (units are tolerated). Undefined when the line is
 * something else: a sentence, half a row, a header. A row of bracketed words is a row: it tells that a GPU is lost.
 */
export function parseGpuRow(line: string, columns: readonly Column[]): GpuRow | undefined {
  const cells = splitRow(line, columns.length, columns.at(-1) === "name");
  if (cells === undefined) return undefined;
  const row: Mutable<GpuRow> & { words: Partial<Record<Column, string>> } = { words: {} };
  for (const [position, column] of columns.entries()) {
    const cell = cells[position] as string;
    const word = wordOf(cell);
    if (word !== undefined) row.words[column] = word;
    else if (!put(row, column, cell)) return undefined;
  }
  return row;
}

/** False when the cell cannot be what the column holds: then the line is no row at all. */
function put(row: Mutable<GpuRow>, column: Column, cell: string): boolean {
  switch (column) {
    case "timestamp":
      return set(row, "wallMs", timestampOf(cell));
    case "count":
      return set(row, "count", mibOf(cell));
    case "index":
      return set(row, "index", mibOf(cell));
    case "uuid":
      return set(row, "uuid", isUuid(cell) ? cell : undefined);
    case "memory.total":
      return set(row, "totalMb", mibOf(cell));
    case "memory.reserved":
      return set(row, "reservedMb", mibOf(cell));
    case "memory.used":
      return set(row, "usedMb", mibOf(cell));
    case "memory.free":
      return set(row, "freeMb", mibOf(cell));
    case "utilization.gpu":
      return set(row, "loadPercent", numberOf(cell));
    case "temperature.gpu":
      return set(row, "temperatureC", numberOf(cell));
    case "power.draw":
      return set(row, "powerW", numberOf(cell));
    case "compute_mode":
      return set(row, "computeMode", shortText(cell));
    case "mig.mode.current":
      return set(row, "migCurrent", shortText(cell));
    case "mig.mode.pending":
      return set(row, "migPending", shortText(cell));
    case "pci.bus_id":
      return set(row, "pciBusId", shortText(cell));
    case "driver_version":
      return set(row, "driverVersion", shortText(cell));
    case "name":
      return set(row, "name", cell.slice(0, 200));
  }
}

function set<K extends keyof GpuRow>(row: Mutable<GpuRow>, key: K, value: GpuRow[K] | undefined): boolean {
  if (value === undefined) return false;
  row[key] = value as Mutable<GpuRow>[K];
  return true;
}

function shortText(cell: string): string | undefined {
  return /^[\w .:-]{1,64}$/.test(cell) ? cell : undefined;
}

/** All rows of a finished answer, in order; lines that are no rows are counted, not returned. */
export function parseGpuRows(
  text: string,
  columns: readonly Column[],
): { readonly rows: readonly GpuRow[]; readonly rejected: number } {
  const rows: GpuRow[] = [];
  let rejected = 0;
  // What has no newline at its end was cut off: it is not a row, even if it looks like one.
  for (const line of text.split("\n").slice(0, -1)) {
    if (line.trim() === "") continue;
    const row = parseGpuRow(line.replace(/\r$/, ""), columns);
    if (row) rows.push(row);
    else rejected++;
  }
  return { rows, rejected };
}
