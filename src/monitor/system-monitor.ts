import type { MachineSample, Millis, ProcessKey } from "../engine/sample.ts";

/** What every monitor is given. Nothing here decides anything. */
export interface MonitorContext {
  /** The engine's clock. */
  now(): Millis;
  /** Roots of the process trees whose host memory is of interest: those that leases have attached. */
  watchedTrees(): readonly ProcessKey[];
  readonly log: MonitorLog;
}

/** The part of a logger that monitors use; pino fits. */
export interface MonitorLog {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export interface MonitorStatus {
  /** True when the newest sample is complete and the source answers. */
  readonly healthy: boolean;
  /** One sentence for people: how it is, and what to do when it is not well. */
  readonly message: string;
}

/**
 * A source of measurements. It owns everything it starts (children, timers, connections) and keeps going on its own after any
 * failure of its source: it says what it no longer knows and tries again.
 */
export interface SystemMonitor {
  readonly name: string;
  /**
   * Begins to measure. Resolves with the first sample, or, when the source fails, with the first sample that says so. Later
   * samples go to `onSample`, in order. Never rejects because of what the source does.
   */
  start(onSample: (sample: MachineSample) => void): Promise<MachineSample>;
  /**
   * Asks for a fresh measurement soon, because somebody's decision waits for one. A monitor that measures often enough may
   * ignore it. Never measures twice at the same time.
   */
  refresh(): void;
  status(): MonitorStatus;
  /** Ends everything that was started. Idempotent. Resolves when no child is left that could be ended. */
  stop(): Promise<void>;
}
