import type { CliIo } from "../io.ts";
import { age, cut, roughly } from "../text.ts";

/** Where the wait line is written. */
export interface LineOutput {
  write(text: string): void;
  readonly isTerminal: boolean;
  columns(): number;
  /** Monotonic milliseconds. */
  monotonic(): number;
}

/** Where a request stands. */
export interface Standing {
  readonly position: number;
  readonly queueLength: number;
  readonly waitedMs: number;
  /** Plain sentences with numbers, safe to print. */
  readonly reasons: readonly string[];
  /** Until it is thought to start, in ms, when something is known about that. */
  readonly expectedInMs?: number;
  /** Local time of the latest start, when it is known. */
  readonly latest?: string;
}

/** At most one line in this time where lines cannot be redrawn: logs should stay readable. */
const betweenLinesMs = 5_000;

/**
 * Tells on standard error where a request stands. In a terminal it is one line, drawn again on each change and each second;
 * elsewhere a line is written when place or reasons change, at most every 5 s.
 */
export class WaitLine {
  readonly #out: LineOutput;
  #standing: Standing | undefined;
  #toldAt = Number.NEGATIVE_INFINITY;
  #receivedAt = 0;
  #told = "";
  #drawn = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(out: LineOutput) {
    this.#out = out;
  }

  /** True once something was written. */
  get shown(): boolean {
    return this.#told !== "";
  }

  update(standing: Standing): void {
    this.#standing = standing;
    this.#receivedAt = this.#out.monotonic();
    if (this.#out.isTerminal) {
      this.#draw();
      this.#timer ??= setInterval(() => this.#draw(), 1_000);
    } else this.#tellSoon();
  }

  /** Writes a line of its own, above the wait line in a terminal. */
  note(text: string): void {
    this.#erase();
    this.#out.write(`sluice: ${text}\n`);
    if (this.#standing !== undefined && this.#out.isTerminal) this.#draw();
  }

  /** Takes the line away. */
  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#standing = undefined;
    this.#erase();
  }

  #draw(): void {
    if (this.#standing === undefined) return;
    const line = standingText(this.#standing, this.#out.monotonic() - this.#receivedAt);
    // One column less than there is: a full line would make some terminals begin another.
    this.#out.write(`\r${cut(line, this.#out.columns() - 1)}\x1b[K`);
    this.#drawn = true;
    this.#told = "drawn";
  }

  #erase(): void {
    if (!this.#drawn) return;
    this.#out.write("\r\x1b[K");
    this.#drawn = false;
  }

  #tellSoon(): void {
    if (this.#standing === undefined || this.#timer !== undefined || newsOf(this.#standing) === this.#told) return;
    const wait = this.#toldAt + betweenLinesMs - this.#out.monotonic();
    if (wait > 0) {
      this.#timer = setTimeout(() => {
        this.#timer = undefined;
        this.#tellSoon();
      }, wait);
      return;
    }
    this.#told = newsOf(this.#standing);
    this.#toldAt = this.#out.monotonic();
    this.#out.write(`${standingText(this.#standing, 0)}\n`);
  }
}

/** What a line of its own is worth: what changes with time alone is left out. */
function newsOf({ position, queueLength, latest = "", reasons }: Standing): string {
  return [position, queueLength, latest, ...reasons].join("\n");
}

/** @param sinceMs time since the standing was told. */
function standingText(standing: Standing, sinceMs: number): string {
  const { position, queueLength, reasons } = standing;
  const place = `place ${position} of ${queueLength}`;
  return `sluice: waiting ${age(standing.waitedMs + sinceMs)}, ${place}${startText(standing, sinceMs)}: ${reasons.join("; ")}`;
}

function startText({ expectedInMs, latest }: Standing, sinceMs: number): string {
  const atLatest = latest === undefined ? "" : `at the latest at ${latest}`;
  if (expectedInMs === undefined) return atLatest === "" ? "" : ` (starts ${atLatest})`;
  const left = expectedInMs - sinceMs;
  const expected = left < 1_000 ? "starts any moment" : `starts in ~ ${roughly(left)}`;
  return ` (${expected}${atLatest === "" ? "" : `, ${atLatest}`})`;
}

/** The wait line of a command. */
export function waitLineOn(io: CliIo): WaitLine {
  return new WaitLine({
    write: io.err,
    isTerminal: io.errIsTerminal,
    columns: io.columns,
    monotonic: () => performance.now(),
  });
}
