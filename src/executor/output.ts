import { BoundedBytes, firstText } from "./bytes.ts";
import { type JsonValue, jsonProblem } from "./json.ts";

/** Longest line that is told, in bytes; the rest of it is cut. */
export const maxLineBytes = 8_192;
/** Largest result, in bytes. */
export const maxResultBytes = 1_048_576;

const lineFeed = 0x0a;
const carriageReturn = 0x0d;

/**
 * Cuts a stream of bytes into lines, without their ends.
 * @param progressBars a carriage return ends a line too: programs draw progress with it and end no line for hours.
 */
export class LineSplitter {
  readonly #line: BoundedBytes;
  readonly #progressBars: boolean;
  #afterReturn = false;

  constructor(maxBytes: number, progressBars: boolean) {
    this.#line = new BoundedBytes(maxBytes);
    this.#progressBars = progressBars;
  }

  /** The lines that end in this chunk. */
  *push(chunk: Uint8Array): Generator<Line> {
    let from = 0;
    for (let i = 0; i < chunk.length; i += 1) {
      const byte = chunk[i];
      if (byte !== lineFeed && !(this.#progressBars && byte === carriageReturn)) continue;
      // "\r\n" is one end, also when it comes in two chunks.
      const rest = byte === lineFeed && this.#afterReturn && i === from && this.#line.length === 0;
      this.#line.append(chunk.subarray(from, i));
      from = i + 1;
      this.#afterReturn = this.#progressBars && byte === carriageReturn;
      if (rest) continue;
      yield this.#take();
    }
    if (from < chunk.length) {
      this.#line.append(chunk.subarray(from));
      this.#afterReturn = false;
    }
  }

  /** The last line, when it has no end. */
  *end(): Generator<Line> {
    if (this.#line.length > 0) yield this.#take();
  }

  #take(): Line {
    const bytes = this.#line.bytes();
    const ended = bytes.at(-1) === carriageReturn && !this.#line.overflowed ? bytes.subarray(0, -1) : bytes;
    const line = { bytes: Buffer.from(ended), cut: this.#line.overflowed };
    this.#line.clear();
    return line;
  }
}

export interface Line {
  readonly bytes: Buffer;
  /** True when it was longer than the limit. */
  readonly cut: boolean;
}

/**
 * Finds the result in what a command writes to stdout: the last line that is not blank when it is JSON, else everything.
 *
 * Lines are told as they come, but for one that may be the result: it is held back until another follows. Memory is bounded
 * by twice the largest result, however much is written.
 */
export class ResultCollector {
  readonly #all = new BoundedBytes(maxResultBytes);
  readonly #splitter = new LineSplitter(maxResultBytes, false);
  #held: { readonly line: string; readonly value: JsonValue; blanks: number } | undefined;
  #lastWasCut = false;

  /** The lines that can be told now. */
  *push(chunk: Uint8Array): Generator<string> {
    this.#all.append(chunk);
    for (const line of this.#splitter.push(chunk)) yield* this.#add(line);
  }

  *end(): Generator<string> {
    for (const line of this.#splitter.end()) yield* this.#add(line);
  }

  *#add(line: Line): Generator<string> {
    const told = firstText(line.bytes, maxLineBytes);
    if (line.bytes.length <= maxLineBytes && told.trim() === "") {
      if (this.#held === undefined) yield told;
      else this.#held.blanks += 1;
      return;
    }
    if (this.#held !== undefined) {
      const { line: before, blanks } = this.#held;
      this.#held = undefined;
      yield before;
      for (let i = 0; i < blanks; i += 1) yield "";
    }
    this.#lastWasCut = line.cut;
    const value = line.cut ? undefined : parsed(line.bytes);
    if (value === undefined) yield told;
    else this.#held = { line: told, value: value.value, blanks: 0 };
  }

  /** The result, or why there is none. Call it once everything was pushed and ended. */
  result(): { readonly value: JsonValue } | { readonly problem: string } {
    if (this.#held !== undefined) {
      const problem = jsonProblem(this.#held.value);
      return problem === undefined ? { value: this.#held.value } : { problem: `Its result ${problem}.` };
    }
    if (this.#lastWasCut) return { problem: `Its result is larger than ${maxResultBytes} bytes.` };
    const text = this.#all.bytes().toString("utf8");
    if (this.#all.overflowed || Buffer.byteLength(text) > maxResultBytes) {
      return {
        problem: `It wrote more than ${maxResultBytes} bytes to stdout and its last line is not JSON: let it write its result as JSON in one last line.`,
      };
    }
    return { value: text };
  }
}

function parsed(bytes: Buffer): { readonly value: JsonValue } | undefined {
  try {
    return { value: JSON.parse(bytes.toString("utf8")) as JsonValue };
  } catch {
    return undefined;
  }
}
