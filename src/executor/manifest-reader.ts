import { isJsonObject, type JsonObject, type JsonValue } from "./json.ts";

/** What is wrong with a manifest. `field` is a path such as `resources.min_gpu_vram_mb`; empty: the whole file. */
export interface ManifestProblem {
  readonly field: string;
  readonly message: string;
}

const tooMany = 100;

// biome-ignore lint/suspicious/noControlCharactersInRegex: finding them is the point: they would forge lines in listings.
const controls = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: as above, but a text of several lines may have line ends and tabs.
const controlsButLines = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]/;

/**
 * Reads fields of one JSON object. Every reading notes what is wrong and answers a usable value all the same, so that one
 * pass finds every problem. A field that is null counts as wrong, never as absent.
 */
export class ManifestReader {
  readonly problems: ManifestProblem[];
  readonly #object: JsonObject;
  readonly #prefix: string;

  /** @param known every key that may be there. */
  constructor(object: JsonObject, prefix: string, known: readonly string[], problems: ManifestProblem[] = []) {
    this.#object = object;
    this.#prefix = prefix;
    this.problems = problems;
    for (const key of Object.keys(object)) {
      if (!known.includes(key)) this.problem(key, `is not a field of a manifest; known here: ${known.join(", ")}`);
    }
  }

  /** Notes a problem of a field of this object. */
  problem(field: string, message: string): void {
    if (this.problems.length >= tooMany) return;
    const path = `${this.#prefix}${field}`;
    this.problems.push({ field: path.length > 200 ? `${path.slice(0, 199)}…` : path, message });
  }

  /** The value as it is; undefined when absent. */
  optional(field: string): JsonValue | undefined {
    return Object.hasOwn(this.#object, field) ? this.#object[field] : undefined;
  }

  /** @param how.lines line ends and tabs are allowed. */
  text(field: string, maxBytes: number, how: { required?: boolean; lines?: boolean } = {}): string {
    const value = this.optional(field);
    if (value === undefined) {
      if (how.required === true) this.problem(field, "is required");
      return "";
    }
    if (typeof value !== "string" || Buffer.byteLength(value) > maxBytes) {
      this.problem(field, `must be a string of at most ${maxBytes} bytes`);
      return "";
    }
    if ((how.lines === true ? controlsButLines : controls).test(value)) {
      this.problem(field, "must not contain control characters");
      return "";
    }
    if (value === "" && how.required === true) this.problem(field, "must not be empty");
    return value;
  }

  wholeNumber(field: string, min: number, max: number, whenAbsent: number): number {
    const value = this.optional(field);
    if (value === undefined) return whenAbsent;
    if (typeof value !== "number" || !Number.isInteger(value) || value < min || value > max) {
      this.problem(field, `must be a whole number from ${min} to ${max}`);
      return whenAbsent;
    }
    // Never -0, which prints as a need that nobody wrote.
    return value + 0;
  }

  /**
   * A number of seconds, in whole ms; undefined when absent. Less than a millisecond counts as one: rounded to 0 it would mean
   * something else in some fields.
   */
  seconds(field: string, { maxMs, zero }: { maxMs: number; zero: boolean }): number | undefined {
    const value = this.optional(field);
    if (value === undefined) return undefined;
    if (typeof value !== "number" || !(value > 0 || (zero && value === 0)) || value * 1000 > maxMs) {
      const limits = zero ? `from 0 to ${maxMs / 1000}` : `more than 0 and at most ${maxMs / 1000}`;
      this.problem(field, `must be a number of seconds, ${limits}`);
      return undefined;
    }
    return value === 0 ? 0 : Math.max(1, Math.round(value * 1000));
  }

  flag(field: string): boolean {
    const value = this.optional(field);
    if (value !== undefined && typeof value !== "boolean") this.problem(field, "must be true or false");
    return value === true;
  }

  /** A list of strings; undefined when absent. */
  texts(field: string, maxEntries: number): readonly string[] | undefined {
    const value = this.optional(field);
    if (value === undefined) return undefined;
    if (!Array.isArray(value) || value.length > maxEntries) {
      this.problem(field, `must be a list of at most ${maxEntries} strings`);
      return undefined;
    }
    return value.map((item: JsonValue, i) => {
      if (typeof item === "string") return item;
      this.problem(`${field}[${i}]`, "must be a string");
      return "";
    });
  }

  /** Reads an object inside this one into the same list of problems; undefined when it is absent or no object. */
  object(field: string, known: readonly string[]): ManifestReader | undefined {
    const value = this.optional(field);
    if (value === undefined) return undefined;
    if (!isJsonObject(value)) {
      this.problem(field, "must be an object");
      return undefined;
    }
    return new ManifestReader(value, `${this.#prefix}${field}.`, known, this.problems);
  }
}
