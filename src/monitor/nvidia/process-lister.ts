import type { GpuSample, Mib, Millis } from "../../engine/sample.ts";
import { computeAppsColumns, parseComputeApps } from "./compute-apps.ts";
import { csvBytes, type OneShots } from "./one-shot.ts";
import type { TakenList } from "./process-ledger.ts";
import { oneGpuIsUnreadable, troubleOf } from "./trouble.ts";

export interface ProcessListerOptions {
  readonly shots: OneShots;
  readonly path: string;
  readonly periodMs: Millis;
  readonly timeoutMs: Millis;
  now(): Millis;
  /** Arguments that name the GPUs, when not all can be asked. */
  only(): readonly string[];
  onList(list: TakenList): void;
  /** A GPU that cannot be opened spoils the list of all. */
  onUnreadable(): void;
}

/** Memory that moves by this much on some GPU means that a process came, grew or went. */
const movedMb: Mib = 64;

/**
 * Asks for the compute processes: from time to time, when memory has moved, and when somebody wants to know. By one-shots, because
 * a loop prints nothing at all while there are no processes, which looks like a hang.
 */
export class ProcessLister {
  readonly #options: ProcessListerOptions;
  #timer: NodeJS.Timeout | undefined;
  #running = false;
  #asking = false;
  #again = false;
  #trouble = "";
  #usedAtLast: ReadonlyMap<string, Mib> = new Map();
  #used = new Map<string, Mib>();

  constructor(options: ProcessListerOptions) {
    this.#options = options;
  }

  /** Why the last list could not be had; empty when it could. */
  get trouble(): string {
    return this.#trouble;
  }

  /** Begins to ask, now and then. */
  run(): void {
    this.#running = true;
    this.soon();
  }

  /** Asks no more until `run`; a question that is under way is finished. */
  pause(): void {
    this.#running = false;
    this.#trouble = "";
    clearTimeout(this.#timer);
  }

  stop(): void {
    this.pause();
  }

  /** Asks now; when a question is under way, once more after it, since that one may have been answered too early. */
  soon(): void {
    if (!this.#running) return;
    if (this.#asking) this.#again = true;
    else void this.#ask();
  }

  /** Looks whether memory has moved since the last list. */
  watch(gpus: readonly GpuSample[]): void {
    let moved = false;
    for (const { uuid, usedMb } of gpus) {
      if (usedMb === undefined) continue;
      this.#used.set(uuid, usedMb);
      const before = this.#usedAtLast.get(uuid);
      if (before !== undefined && Math.abs(usedMb - before) >= movedMb) moved = true;
    }
    // While a question is under way its own start counts as "the last list", so this asks again only for what moved since.
    if (moved) this.soon();
    if (this.#usedAtLast.size === 0) this.#usedAtLast = new Map(this.#used);
  }

  async #ask(): Promise<void> {
    this.#asking = true;
    clearTimeout(this.#timer);
    do {
      this.#again = false;
      this.#usedAtLast = new Map(this.#used);
      const askedAt = this.#options.now();
      const answer = await this.#options.shots.ask({
        args: [`--query-compute-apps=${computeAppsColumns}`, "--format=csv,noheader,nounits", ...this.#options.only()],
        timeoutMs: this.#options.timeoutMs,
        maxBytes: csvBytes,
      });
      const endedAt = this.#options.now();
      if (!this.#running) break;
      this.#trouble = troubleOf(answer, this.#options.path) ?? "";
      if (oneGpuIsUnreadable(answer)) this.#options.onUnreadable();
      else if (this.#trouble === "" && answer.kind === "ended")
        this.#options.onList({ askedAt, endedAt, apps: parseComputeApps(answer.text) });
    } while (this.#again && this.#running && this.#trouble === "");
    this.#asking = false;
    if (this.#running) this.#timer = setTimeout(() => this.soon(), this.#options.periodMs);
  }
}
