/**
 * The CSV dialect of nvidia-smi: cells are separated by a comma and a blank, nothing is quoted, and the front-end prints a
 * comma inside a value as `?`. Columns come in the order asked for, so a cell is addressed by its position, never by its title
 * (titles differ between drivers and are aliases of what was asked).
 */

/**
 * Splits one line into exactly `columns` cells, or answers undefined. When a free-text column stands last it takes whatever is
 * left over, so that a front-end which one day does not replace commas cannot shift the columns before it.
 */
export function splitRow(line: string, columns: number, lastIsFreeText = false): string[] | undefined {
  const parts = line.split(",");
  if (parts.length < columns) return undefined;
  if (parts.length > columns) {
    if (!lastIsFreeText) return undefined;
    parts.splice(columns - 1, parts.length, parts.slice(columns - 1).join(","));
  }
  return parts.map((part) => part.trim());
}

const bareWords = new Set(["", "N/A", "None", "Not Supported", "Not Active", "ERR!"]);

/**
 * The word that stands where a value should be, without brackets: `GPU is lost`, `N/A`, `ERR!` …; undefined when the cell holds
 * a value. Anything that begins with a bracket is a word: new drivers invent new ones.
 */
export function wordOf(cell: string): string | undefined {
  if (cell.startsWith("[")) return cell.replace(/^\[+|\]+$/g, "").trim() || "?";
  return bareWords.has(cell) ? cell || "empty" : undefined;
}

/** True for the words that say "this part has no such value", as opposed to "the value could not be read". */
export function isAbsence(word: string): boolean {
  return word === "N/A" || word === "Not Supported" || word === "None" || /deprecated|not supported/i.test(word);
}

/** A number, with or without one of the units that nvidia-smi prints; undefined for everything else, so never NaN or infinite. */
export function numberOf(cell: string): number | undefined {
  const match = /^(-?\d{1,12}(?:\.\d{1,6})?)(?: ?(?:MiB|W|%|C))?$/.exec(cell);
  return match ? Number(match[1]) : undefined;
}

/** A whole number of MiB, not negative. */
export function mibOf(cell: string): number | undefined {
  const value = numberOf(cell);
  return value !== undefined && Number.isInteger(value) && value >= 0 ? value : undefined;
}

/** `GPU-…` or `MIG-…` as CUDA_VISIBLE_DEVICES takes it, in today's form and in that of early MIG drivers (`MIG-GPU-…/1/0`). */
export function isUuid(cell: string): boolean {
  return /^(?:GPU-[0-9a-fA-F-]{8,64}|MIG-[0-9a-fA-F-]{8,64}|MIG-GPU-[0-9a-fA-F-]{8,64}\/\d{1,4}\/\d{1,4})$/.test(cell);
}

/** Milliseconds since 1970 of nvidia-smi's `2026/11/23 22:26:45.574`, read as UTC (children run with TZ=UTC). */
export function timestampOf(cell: string): number | undefined {
  const match = /^(\d{4})\/(\d\d)\/(\d\d) (\d\d):(\d\d):(\d\d)\.(\d{3})$/.exec(cell);
  if (!match) return undefined;
  const [year, month, day, hour, minute, second, ms] = match.slice(1).map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  return Date.UTC(year, month - 1, day, hour, minute, second, ms);
}
