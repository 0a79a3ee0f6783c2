import type { Millis } from "../../engine/sample.ts";
import type { Child, Children } from "./child.ts";
import type { TimedRow } from "./gpu-fleet.ts";
import { type Column, type GpuRow, parseGpuRow } from "./gpu-row.ts";
import { LineSplitter } from "./line-splitter.ts";
import { RowClock } from "./row-clock.ts";
import { TickCollector } from "./tick-collector.ts";
import { sentenceOf, troubleOf } from "./trouble.ts";

export interface StreamOptions {
  readonly children: Children;
  readonly path: string;
  readonly columns: readonly Column[];
  /** The GPUs in the order in which they will speak; undefined where it is not known which one that is. */
  readonly order: readonly (string | undefined)[];
  /** Extra arguments that name the GPUs, when not all can be asked. */
  readonly only: readonly string[];
  readonly periodMs: Millis;
  /** Longest time without a full round. */
  readonly silenceMs: Millis;
  /** The same for the first round, in which a cold driver has to wake. */
  readonly firstMs: Millis;
  now(): Millis;
  /** Rows of one round, or of the part of it that came before a pause. `full` when every GPU has spoken. */
  onRows(rows: ReadonlyMap<string, TimedRow>, full: boolean): void;
  /** GPUs without a row in a round that is over. */
  onSilent(uuids: readonly string[]): void;
}

/** A loop prints a few hundred bytes for each GPU and round. More than this in a second is no measurement. */
const maxBytesPerSecond = 1 << 20;

/**
 * One run of nvidia-smi in loop mode, from start to end. `ended` resolves when it no longer measures, with the reason in plain
 * words; the child may still have to be reaped then (see `Children`).
 */
export class GpuStream {
  readonly ended: Promise<string>;
  readonly #options: StreamOptions;
  readonly #child: Child | undefined;
  readonly #splitter = new LineSplitter();
  readonly #clock: RowClock;
  readonly #collector: TickCollector<GpuRow>;
  readonly #startedAt = performance.now();
  #pending = new Map<string, TimedRow>();
  #lastFull: number | undefined;
  #windowStart = 0;
  #windowBytes = 0;
  #alien = "";
  #gap: NodeJS.Timeout | undefined;
  readonly #watchdog: NodeJS.Timeout;
  #finish: (reason: string) => void = () => {};
  #over = false;

  constructor(options: StreamOptions) {
    this.#options = options;
    this.#clock = new RowClock(options.now());
    this.#collector = new TickCollector(options.order);
    this.ended = new Promise((resolve) => {
      this.#finish = resolve;
    });
    this.#watchdog = setInterval(() => this.#watch(), Math.max(20, Math.min(options.silenceMs, options.firstMs) / 10));
    this.#child = options.children.spawn(
      [
        `--query-gpu=${options.columns.join(",")}`,
        "--format=csv,noheader,nounits",
        "-lms",
        String(options.periodMs),
        ...options.only,
      ],
      (chunk) => this.#read(chunk),
    );
    if (!this.#child) this.#end(troubleOf({ kind: "barred", pid: options.children.condemned?.pid }, options.path) ?? "");
    void this.#child?.ended.then((end) => {
      // Exit 0 too: a loop that ends has stopped measuring (it exits 0 on SIGTERM).
      const trouble = troubleOf({ kind: "ended", end, text: this.#alien }, this.#options.path);
      this.#end(
        trouble ?? `nvidia-smi's measuring loop ended by itself (exit code ${end.code ?? "unknown"}); it is started again.`,
      );
    });
  }

  /** How long this run has been delivering full rounds. */
  get deliveredMs(): Millis {
    return this.#lastFull === undefined ? 0 : this.#lastFull - this.#startedAt;
  }

  /** Ends it. */
  stop(reason: string): void {
    this.#end(reason);
  }

  #end(reason: string): void {
    if (this.#over) return;
    this.#over = true;
    clearInterval(this.#watchdog);
    clearTimeout(this.#gap);
    this.#child?.end();
    this.#finish(reason);
  }

  #read(chunk: Buffer): void {
    if (this.#over) return;
    const arrivedAt = this.#options.now();
    const at = performance.now();
    if (at - this.#windowStart > 1000) {
      this.#windowStart = at;
      this.#windowBytes = 0;
    }
    this.#windowBytes += chunk.length;
    if (this.#windowBytes > maxBytesPerSecond) {
      this.#end(
        "nvidia-smi prints far more than measurements; it was ended and will be tried again. Run it by hand to see what it prints.",
      );
      return;
    }
    const lines = this.#splitter.push(chunk);
    const observedAt = this.#clock.read(arrivedAt, chunk.length, lines.length > 0, Date.now());
    for (const line of lines) this.#take(line, observedAt);
    this.#flush(at);
  }

  #take(line: string, observedAt: (stamp: number | undefined) => Millis): void {
    const row = parseGpuRow(line, this.#options.columns);
    if (!row) {
      if (line.trim() !== "") this.#alien = `${sentenceOf(line)}\n`;
      return;
    }
    const ended = this.#collector.add(row);
    if (ended) {
      this.#lastFull = performance.now();
      const silent = this.#options.order.filter((uuid): uuid is string => uuid !== undefined && !ended.rows.has(uuid));
      for (const uuid of silent) this.#pending.delete(uuid);
      this.#options.onSilent(silent);
    }
    for (const [uuid, told] of this.#collector.tick.rows) {
      if (told === row) this.#pending.set(uuid, { row, observedAt: observedAt(row.wallMs) });
    }
  }

  #flush(at: number): void {
    clearTimeout(this.#gap);
    if (this.#pending.size === 0) return;
    if (this.#collector.tick.full) {
      this.#lastFull = at;
      this.#deliver(true);
    } else {
      // Half a period without a row: the others are slow or silent, and these should not grow old waiting for them.
      this.#gap = setTimeout(() => this.#deliver(false), this.#options.periodMs / 2);
    }
  }

  #deliver(full: boolean): void {
    if (this.#over) return;
    const rows = this.#pending;
    this.#pending = new Map();
    this.#options.onRows(rows, full);
  }

  #watch(): void {
    // A timer that is late because this process was stopped comes before the data that waits in the pipe: let that in first.
    setImmediate(() => {
      if (this.#over) return;
      const { silenceMs, firstMs } = this.#options;
      const limit = this.#lastFull === undefined ? Math.max(firstMs, silenceMs) : silenceMs;
      const quiet = performance.now() - (this.#lastFull ?? this.#startedAt);
      if (quiet <= limit) return;
      const said = this.#alien ? ` It last said: "${sentenceOf(this.#alien)}".` : "";
      this.#end(
        `nvidia-smi has not delivered a full measurement for ${Math.round(quiet / 100) / 10} s: the GPU driver hangs or is very slow.${said} ` +
          "Look for Xid messages in dmesg; measuring is tried again.",
      );
    });
  }
}
