import type { Mib, Millis } from "../engine/sample.ts";
import type { ReplayJob, ReplayResult, Workbook } from "./job.ts";

/** A short job is not slowed down beyond measure by a short wait: durations count as at least this (bounded slowdown). */
const slowdownFromMs: Millis = 10_000;

/** Adds up what a replay shows. */
export class Tally {
  readonly #jobs: number;
  readonly #totalMb: Mib;
  readonly #waits: Millis[] = [];
  #slowdown = 0;
  #done = 0;
  #refused = 0;
  #timedOut = 0;
  #oom = 0;
  #lastEnd: Millis = 0;
  #work = 0;

  constructor(book: Workbook) {
    this.#jobs = book.jobs.length;
    this.#totalMb = book.machine.gpus.reduce((sum, g) => sum + g.totalMb, 0);
  }

  started(job: ReplayJob, waitedMs: Millis): void {
    this.#waits.push(waitedMs);
    this.#slowdown += Math.max(1, (waitedMs + job.durationMs) / Math.max(job.durationMs, slowdownFromMs));
  }

  finished(job: ReplayJob, now: Millis): void {
    this.#done++;
    this.#lastEnd = now;
    this.#work += job.durationMs * job.requirements.vramMb * job.requirements.gpuCount;
  }

  refused(): void {
    this.#refused++;
  }

  timedOut(): void {
    this.#timedOut++;
  }

  outOfMemory(): void {
    this.#oom++;
  }

  /** @param seconds how long the replay took. */
  result(seconds: number, verdicts: number): ReplayResult {
    const waits = Float64Array.from(this.#waits).sort();
    const at = (share: number): Millis => waits[Math.min(waits.length - 1, Math.floor(waits.length * share))] ?? 0;
    const mean = (sum: number): number => (waits.length === 0 ? 0 : sum / waits.length);
    const capacity = this.#totalMb * this.#lastEnd;
    return {
      jobs: this.#jobs,
      done: this.#done,
      refused: this.#refused,
      timed_out: this.#timedOut,
      oom: this.#oom,
      wait_mean_s: round(mean(waits.reduce((a, b) => a + b, 0)) / 1000, 3),
      wait_p50_s: round(at(0.5) / 1000, 3),
      wait_p99_s: round(at(0.99) / 1000, 3),
      wait_max_s: round((waits[waits.length - 1] ?? 0) / 1000, 3),
      slowdown_mean: round(mean(this.#slowdown), 3),
      makespan_s: round(this.#lastEnd / 1000, 3),
      util_pct: capacity === 0 ? 0 : round((100 * this.#work) / capacity, 2),
      decisions_per_s: seconds === 0 ? 0 : Math.round(verdicts / seconds),
    };
  }
}

function round(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
