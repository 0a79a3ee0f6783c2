import type { Readable } from "node:stream";
import { setImmediate as nextTurn } from "node:timers/promises";
import { firstText, TailBytes } from "./bytes.ts";
import { isJsonObject, type JsonValue } from "./json.ts";
import { type Line, LineSplitter, maxLineBytes } from "./output.ts";
import { Audience } from "./worker-audience.ts";

const stderrTailBytes = 4_096;
const maxProgressBytes = 1_024;
/** More than a pipe and its stream hold: whoever catches up must not wait for what others go on writing. */
const maxUnreadBytes = 1_048_576;

export interface WorkerOutputOptions {
  /** How long one hearer may hold up the worker without taking anything, in ms. */
  readonly slowReaderMs: number;
  /** It said something: in words that follow "the last thing heard of it was …"; undefined: something without words. */
  readonly onHeard: (what?: string) => void;
  /** A hearer threw. */
  readonly onError: (error: unknown) => void;
}

/** What a worker says, and the way of it to those whom it serves. */
export class WorkerOutput {
  readonly audience: Audience;
  /** Resolves when stderr was read to its end. */
  readonly stderrRead: Promise<void>;
  readonly #tail = new TailBytes(stderrTailBytes);
  #stderrBytes = 0;
  #stderrOver = false;
  /** What of stderr was read and waits to be told. */
  #telling: Promise<void> | undefined;
  readonly #onHeard: (what?: string) => void;

  constructor(stderr: Readable, { slowReaderMs, onHeard, onError }: WorkerOutputOptions) {
    this.audience = new Audience(slowReaderMs, onError);
    this.#onHeard = onHeard;
    this.stderrRead = this.#readStderr(stderr);
  }

  /** The last of stderr, at most 4 KiB, with lines for the log that nobody was there to hear. */
  stderrTail(): string {
    return this.#tail.text();
  }

  /**
   * Resolves when what is on stderr now was told. An answer on stdout can overtake what was written to stderr before it: whoever is
   * about to leave the audience waits for this first.
   */
  async caughtUp(): Promise<void> {
    const most = this.#stderrBytes + maxUnreadBytes;
    // The rest of this turn, and one whole turn in which there was nothing to read.
    for (let quiet = 0; quiet < 2 && this.#stderrBytes < most && !this.#stderrOver; ) {
      const before = this.#stderrBytes;
      await nextTurn();
      if (this.#telling === undefined && this.#stderrBytes === before) quiet += 1;
      else quiet = 0;
      await this.#telling;
    }
  }

  /** What is unknown or malformed is ignored. */
  notification(method: string, params: unknown): Promise<void> | undefined {
    if (!isJsonObject(params as JsonValue)) return undefined;
    const { execution_id: id, message, fraction } = params as Readonly<Record<string, unknown>>;
    if (id !== undefined && id !== null && typeof id !== "string") return undefined;
    const to = id ?? undefined;
    if (method === "log" && typeof message === "string") return this.#line(to, cutText(message, maxLineBytes).trimEnd(), false);
    if (method === "progress" && (message === undefined || message === null || typeof message === "string")) {
      return this.#progress(to, cutText(message ?? "", maxProgressBytes), fractionOf(fraction));
    }
    return undefined;
  }

  /** A line on stdout that is no message. */
  stray(line: Buffer): Promise<void> | undefined {
    return this.#line(undefined, firstText(line, maxLineBytes), false);
  }

  #progress(to: string | undefined, message: string, fraction: number | undefined): Promise<void> | undefined {
    this.#onHeard(message === "" ? undefined : `its progress "${message}"`);
    if (message === "" && fraction === undefined) return undefined;
    return this.audience.tell({ executionId: to, stderr: false }, (hearer) => hearer.onProgress(message, fraction)).later;
  }

  #line(to: string | undefined, line: string, stderr: boolean): Promise<void> | undefined {
    this.#onHeard(line.trim() === "" ? undefined : `the line "${cutText(line, 300)}"`);
    const { hearers, later } = this.audience.tell({ executionId: to, stderr }, (hearer) => hearer.onLog(line, stderr));
    if (hearers === 0 && !stderr) this.#tail.append(Buffer.from(`${line}\n`));
    return later;
  }

  async #readStderr(stream: Readable): Promise<void> {
    const splitter = new LineSplitter(maxLineBytes, true);
    for await (const chunk of chunks(stream)) {
      this.#stderrBytes += chunk.length;
      this.#tail.append(chunk);
      this.#onHeard();
      await this.#tell(splitter.push(chunk));
    }
    await this.#tell(splitter.end());
    this.#stderrOver = true;
  }

  async #tell(lines: Iterable<Line>): Promise<void> {
    for (const { bytes } of lines) {
      this.#telling = this.#line(undefined, firstText(bytes, maxLineBytes), true);
      if (this.#telling !== undefined) await this.#telling;
    }
    this.#telling = undefined;
  }
}

/** The chunks of a pipe; one that breaks or is destroyed just ends. */
async function* chunks(stream: Readable): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of stream) yield chunk as Buffer;
  } catch {
    // What was read until now is what there is.
  }
}

function cutText(text: string, maxBytes: number): string {
  return firstText(Buffer.from(text.slice(0, maxBytes)), maxBytes);
}

/** 0 to 1; undefined for what is no number. */
function fractionOf(value: unknown): number | undefined {
  return typeof value === "number" && Number.isFinite(value) ? Math.min(1, Math.max(0, value)) : undefined;
}
