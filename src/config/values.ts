import { parseAddress } from "../transport/address.ts";

/** A value as it is written in a JSON file. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

/** What a reader of raw values answers; `why` replaces the general sentence about what is allowed. */
export type Parsed<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly why?: string };

/** How the values of a setting are read, explained and printed. */
export interface ValueType<T> {
  /** Placeholder in --help. */
  readonly argument: string;
  /** Completes "must be …". */
  readonly allowed: string;
  /** As printed after numbers; empty when it has none. */
  readonly unit: string;
  /** How the flag is used: with a value, with several, or alone. */
  readonly shape: "value" | "list" | "switch";
  /** What is between several values in one text; a comma when not said. */
  readonly separator?: string;
  /** `raw` is text (flags, environment), or whatever the JSON file holds. */
  parse(raw: unknown): Parsed<T>;
  /** The value as it would be typed in the unit of the setting. */
  toJson(value: T): Json;
}

/** The memory that is kept free on each GPU, or on the host. Undefined: the larger of 2 % and 256 MiB. */
export type Margin = { readonly kind: "mb"; readonly mb: number } | { readonly kind: "percent"; readonly percent: number };

const no: Parsed<never> = { ok: false };

function yes<T>(value: T): Parsed<T> {
  return { ok: true, value };
}

function decimal(raw: unknown): number | undefined {
  if (typeof raw === "number") return Number.isFinite(raw) ? raw : undefined;
  if (typeof raw !== "string" || !/^-?\d+(\.\d+)?$/.test(raw.trim())) return undefined;
  return Number(raw);
}

/** Whole numbers from `min` to `max`. */
export function whole(min: number, max: number, argument = "N"): ValueType<number> {
  return {
    argument,
    allowed: `a whole number from ${min} to ${max}`,
    unit: "",
    shape: "value",
    parse: (raw) => {
      const value = decimal(raw);
      return value === undefined || !Number.isInteger(value) || value < min || value > max ? no : yes(value);
    },
    toJson: (value) => value,
  };
}

const units = {
  ms: { factor: 1, words: "milliseconds" },
  s: { factor: 1_000, words: "seconds" },
  h: { factor: 3_600_000, words: "hours" },
} as const;

/** A duration that is typed in `unit` and kept in ms. */
export function duration(unit: keyof typeof units, min: number, max: number, zero?: string): ValueType<number> {
  const { factor, words } = units[unit];
  return {
    argument: unit.toUpperCase(),
    allowed: `a number of ${words} from ${min} to ${max}${zero === undefined ? "" : `, or 0 ${zero}`}`,
    unit,
    shape: "value",
    parse: (raw) => {
      const value = decimal(raw);
      if (value === undefined) return no;
      if (value === 0 && zero !== undefined) return yes(0);
      return value < min || value > max ? no : yes(Math.round(value * factor));
    },
    toJson: (value) => value / factor,
  };
}

/** Free text, also empty where `empty` says what that means. */
export function text(argument: string, allowed: string, empty = false): ValueType<string> {
  return {
    argument,
    allowed,
    unit: "",
    shape: "value",
    parse: (raw) =>
      typeof raw === "string" && (empty || raw.trim() !== "") && !/\p{Cc}/u.test(raw) && raw.length <= 4096 ? yes(raw) : no,
    toJson: (value) => value,
  };
}

/** One of some words. */
export function oneOf<const T extends string>(...words: readonly T[]): ValueType<T> {
  return {
    argument: words.join("|"),
    allowed: `one of ${words.join(", ")}`,
    unit: "",
    shape: "value",
    parse: (raw) => {
      const found = words.find((word) => word === raw);
      return found === undefined ? no : yes(found);
    },
    toJson: (value) => value,
  };
}

/** Yes or no. */
export const yesNo: ValueType<boolean> = {
  argument: "yes|no",
  allowed: "yes or no (true, false, on, off, 1 and 0 are understood too)",
  unit: "",
  shape: "switch",
  parse: (raw) => {
    if (typeof raw === "boolean") return yes(raw);
    if (typeof raw !== "string" && typeof raw !== "number") return no;
    const word = String(raw).toLowerCase();
    if (["yes", "true", "on", "1"].includes(word)) return yes(true);
    return ["no", "false", "off", "0"].includes(word) ? yes(false) : no;
  },
  toJson: (value) => value,
};

/** Several texts, at least `min`: a JSON array, a flag given more than once, or one text with commas. */
export function list(
  argument: string,
  allowed: string,
  check: (item: string) => boolean,
  min = 0,
): ValueType<readonly string[]> {
  return {
    argument,
    allowed,
    unit: "",
    shape: "list",
    parse: (raw) => {
      const parts = Array.isArray(raw) ? raw : [raw];
      if (!parts.every((part): part is string => typeof part === "string")) return no;
      const items = parts.flatMap((part) => part.split(",")).map((item) => item.trim());
      if (items.length < min) return no;
      const bad = items.find((item) => item === "" || !check(item));
      if (bad !== undefined) return items.length > 1 ? { ok: false, why: `"${bad}" in it is not ${allowed}` } : no;
      return yes([...new Set(items)]);
    },
    toJson: (value) => value,
  };
}

/** Where a door listens. */
export function isAddress(value: string): boolean {
  try {
    parseAddress(value);
    return true;
  } catch {
    return false;
  }
}

/** MiB, a percentage of the device, or empty for the default. */
export const margin: ValueType<Margin | undefined> = {
  argument: "MIB|PERCENT",
  allowed: 'a number of MiB such as 512, or a percentage from 0% to 90% such as "3%"',
  unit: "",
  shape: "value",
  parse: (raw) => {
    if (raw === "") return yes(undefined);
    if (typeof raw === "string" && /^\d{1,2}(\.\d+)?%$/.test(raw)) {
      const percent = Number(raw.slice(0, -1));
      return percent > 90 ? no : yes({ kind: "percent", percent });
    }
    const mb = decimal(raw);
    return mb === undefined || !Number.isInteger(mb) || mb < 0 || mb > 16_777_216 ? no : yes({ kind: "mb", mb });
  },
  toJson: (value) => (value === undefined ? "" : value.kind === "mb" ? value.mb : `${value.percent}%`),
};
