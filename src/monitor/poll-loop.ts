import type { Millis } from "../engine/sample.ts";
import type { MonitorLog } from "./system-monitor.ts";

/** Asked for more often than this, measurements would only measure themselves. */
const shortestGapMs: Millis = 100;

const afterErrorMs: Millis = 1000;

/**
 * Repeats a piece of work, never twice at the same time: the wait begins when the work has ended, so a slow source stretches
 * the period and builds no backlog.
 */
export class PollLoop {
  private readonly work: () => Promise<Millis>;
  private readonly log: MonitorLog;
  private timer: NodeJS.Timeout | undefined;
  private running: Promise<void> | undefined;
  private dueAt = 0;
  private stopped = false;
  private wanted = false;

  /** @param work answers how long to wait before the next time. When it rejects, that is logged, and it is done again. */
  constructor(work: () => Promise<Millis>, log: MonitorLog) {
    this.work = work;
    this.log = log;
  }

  /** Resolves when the work was done once. Never rejects. */
  start(): Promise<void> {
    return this.turn();
  }

  /** Does the work soon: almost now, or once more after the one that is running, because that one may have begun too early. */
  kick(): void {
    if (this.running !== undefined) this.wanted = true;
    else if (this.timer !== undefined && this.dueAt > performance.now() + shortestGapMs) this.schedule(shortestGapMs);
  }

  /** Resolves when the work that is running has ended; there is no other one after it. */
  async stop(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.timer);
    this.timer = undefined;
    await this.running;
  }

  private turn(): Promise<void> {
    this.timer = undefined;
    this.running ??= this.once().then((waitMs) => {
      this.running = undefined;
      if (!this.stopped) this.schedule(this.wanted ? Math.min(waitMs, shortestGapMs) : waitMs);
    });
    return this.running;
  }

  private async once(): Promise<Millis> {
    this.wanted = false;
    try {
      return await this.work();
    } catch (error) {
      this.log.warn({ err: error }, "A measurement failed.");
      return afterErrorMs;
    }
  }

  private schedule(waitMs: Millis): void {
    clearTimeout(this.timer);
    this.dueAt = performance.now() + waitMs;
    this.timer = setTimeout(() => void this.turn(), waitMs);
  }
}
