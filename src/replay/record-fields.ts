import { lastMoment } from "../engine/request-limits.ts";
import { shown } from "./bad-input.ts";

/** Longest text that a record may hold in one field, in characters. */
const longestText = 4_096;

/** What is wrong with one line; whoever reads the file adds where it is. */
export class BadLine extends Error {
  /** Its number, where that is not the line that is being read. */
  readonly line: number | undefined;

  constructor(message: string, line?: number) {
    super(message);
    this.name = "BadLine";
    this.line = line;
  }
}

/** The fields of one line of a record, each checked as it is taken. @throws BadLine */
export class Fields {
  readonly #values: Readonly<Record<string, unknown>>;
  readonly #place: string;

  /** @param place goes before the name of a field in what is said about it. */
  constructor(value: unknown, place = "") {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw new BadLine(`${place === "" ? "it" : place} must be a JSON object, got ${shown(value)}`);
    }
    this.#values = value as Record<string, unknown>;
    this.#place = place;
  }

  has(name: string): boolean {
    return this.#values[name] !== undefined;
  }

  whole(name: string, min: number, max: number): number {
    const value = this.#values[name];
    if (typeof value === "number" && Number.isInteger(value) && value >= min && value <= max) return value;
    return this.#wrong(name, `must be a whole number from ${min} to ${max}`);
  }

  wholeOr<T>(name: string, min: number, max: number, whenAbsent: T): number | T {
    return this.has(name) ? this.whole(name, min, max) : whenAbsent;
  }

  moment(): number {
    return this.whole("at", 0, lastMoment);
  }

  span(name: string): number {
    return this.whole(name, 0, lastMoment);
  }

  text(name: string): string {
    const value = this.#values[name];
    if (typeof value === "string" && value.length <= longestText) return value;
    return this.#wrong(name, `must be a text of at most ${longestText} characters`);
  }

  /** False where it is absent. */
  isTrue(name: string): boolean {
    const value = this.#values[name];
    if (value === undefined || typeof value === "boolean") return value ?? false;
    return this.#wrong(name, "must be true or false");
  }

  oneOf<const T extends string>(name: string, ...words: readonly T[]): T {
    const found = words.find((word) => word === this.#values[name]);
    return found ?? this.#wrong(name, `must be one of ${words.join(", ")}`);
  }

  list(name: string): readonly unknown[] {
    const value = this.#values[name];
    return Array.isArray(value) ? value : this.#wrong(name, "must be a list");
  }

  #wrong(name: string, rule: string): never {
    throw new BadLine(`${this.#place === "" ? "" : `${this.#place}.`}${name} ${rule}, got ${shown(this.#values[name])}`);
  }
}
