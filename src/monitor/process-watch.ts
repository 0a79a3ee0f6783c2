import type { Millis, ProcessKey } from "../engine/sample.ts";
import type { ProcessTable } from "./host-probe.ts";

/** Soon enough to give memory back within one sample period. */
const defaultPeriodMs: Millis = 250;

/**
 * Watches processes that need not be children of this one, and tells once when each has ended. Looks at them in turns, because
 * nothing tells the end of somebody else's process; with nothing to watch there is no timer.
 */
export class ProcessWatch {
  private readonly table: Pick<ProcessTable, "alive">;
  private readonly onExit: (key: ProcessKey) => void;
  private readonly periodMs: Millis;
  private running: ReadonlySet<ProcessKey> = new Set();
  private told: ReadonlySet<ProcessKey> = new Set();
  private timer: NodeJS.Timeout | undefined;
  private stopped = false;

  /** @param onExit may call `set` and `stop`. */
  constructor(table: Pick<ProcessTable, "alive">, onExit: (key: ProcessKey) => void, periodMs: Millis = defaultPeriodMs) {
    this.table = table;
    this.onExit = onExit;
    this.periodMs = periodMs;
  }

  /**
   * Watches exactly these from now on. A process that has ended already is told at the next look, never from within this call.
   * One whose end was told is not told again as long as every `set` names it.
   */
  set(keys: Iterable<ProcessKey>): void {
    const wanted = new Set(keys);
    this.told = new Set([...this.told].filter((key) => wanted.has(key)));
    this.running = new Set([...wanted].filter((key) => !this.told.has(key)));
    this.arm();
  }

  /** Watches nothing any more, for good. Idempotent. */
  stop(): void {
    this.stopped = true;
    this.set([]);
  }

  private arm(): void {
    if (this.running.size === 0 || this.stopped) {
      clearInterval(this.timer);
      this.timer = undefined;
    } else if (this.timer === undefined) {
      this.timer = setInterval(() => this.look(), this.periodMs);
      this.timer.unref();
    }
  }

  private look(): void {
    for (const key of [...this.running]) {
      // It may have been taken off the list by the one who was told just before.
      if (!this.running.has(key) || this.table.alive(key)) continue;
      // First the books, then the telling: whoever is told may set another list, or throw.
      this.running = new Set([...this.running].filter((k) => k !== key));
      this.told = new Set(this.told).add(key);
      this.arm();
      this.onExit(key);
    }
  }
}
