import { age, cut } from "../text.ts";

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
  /** Local time of day of the latest start, when it is known. */
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
    const waitedMs = this.#standing.waitedMs + this.#out.monotonic() - this.#receivedAt;
    // One column less than there is: a full line would make some terminals begin another.
    this.#out.write(`\r${cut(standingText(this.#standing, waitedMs), this.#out.columns() - 1)}\x1b[K`);
    this.#drawn = true;
    this.#told = "drawn";
  }

  #erase(): void {
    if (!this.#drawn) return;
    this.#out.write("\r\x1b[K");
    this.#drawn = false;
  }

  #tellSoon(): void {
    if (this.#standing === undefined || this.#timer !== undefined || standingText(this.#standing) === this.#told) return;
    const wait = this.#toldAt + betweenLinesMs - this.#out.monotonic();
    if (wait > 0) {
      this.#timer = setTimeout(() => {
        this.#timer = undefined;
        this.#tellSoon();
      }, wait);
      return;
    }
    this.#told = standingText(this.#standing);
    this.#toldAt = this.#out.monotonic();
    this.#out.write(`${standingText(this.#standing, this.#standing.waitedMs)}\n`);
  }
}

function standingText(standing: Standing, waitedMs?: number): string {
  const waited = waitedMs === undefined ? "" : ` ${age(waitedMs)}`;
  const latest = standing.latest === undefined ? "" : ` (starts at the latest at ${standing.latest})`;
  return `sluice: waiting${waited}, place ${standing.position} of ${standing.queueLength}${latest}: ${standing.reasons.join("; ")}`;
}
