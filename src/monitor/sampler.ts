import { Failure } from "../engine/failure.ts";
import type { MachineSample, Millis } from "../engine/sample.ts";
import type { MonitorLog, MonitorStatus, SystemMonitor } from "./system-monitor.ts";

/** How the active monitor is. */
export interface SamplerStatus extends MonitorStatus {
  /** Name of the active monitor. */
  readonly name: string;
}

/** A monitor with what it has told so far; one that was replaced keeps its slot, and nobody looks at it any more. */
interface Slot {
  readonly monitor: SystemMonitor;
  latest: MachineSample | undefined;
}

/** Longer than any monitor needs for its first sample. */
const defaultFirstSampleLimitMs: Millis = 15_000;

/** Owns the one monitor that feeds decisions, and passes its samples on; replaces it without a gap. */
export class Sampler {
  private readonly log: MonitorLog;
  private readonly firstSampleLimitMs: Millis;
  private readonly subscribers = new Set<(sample: MachineSample) => void>();
  private readonly endings = new Set<Promise<void>>();
  private active: Slot;
  private starting: Promise<MachineSample> | undefined;
  private switching: Promise<unknown> = Promise.resolve();
  private readonly ending = new AbortController();

  /** @param monitor the one to begin with; it is not started yet. */
  constructor(monitor: SystemMonitor, log: MonitorLog, firstSampleLimitMs: Millis = defaultFirstSampleLimitMs) {
    this.active = { monitor, latest: undefined };
    this.log = log;
    this.firstSampleLimitMs = firstSampleLimitMs;
  }

  /** Starts the first monitor and resolves with its first sample, also when that says that nothing can be measured. */
  start(): Promise<MachineSample> {
    if (this.ending.signal.aborted) return Promise.reject(shuttingDown());
    this.starting ??= this.startFirst();
    return this.starting;
  }

  /** The newest sample of the active monitor; undefined before there is one. */
  latest(): MachineSample | undefined {
    return this.active.latest;
  }

  /** Calls `subscriber` for every sample of the active monitor from now on. Answers how to end that. */
  subscribe(subscriber: (sample: MachineSample) => void): () => void {
    // Wrapped, so that somebody who subscribes twice is told twice, and ends each on its own.
    const own = (sample: MachineSample) => subscriber(sample);
    this.subscribers.add(own);
    return () => this.subscribers.delete(own);
  }

  /**
   * Makes `monitor` the active one, if it works: the old one goes on until the new one has measured, and stays when it cannot.
   * Calls are done one after the other. The sampler ends the monitor in either case when it is no longer needed.
   * @throws Failure MONITOR_UNAVAILABLE when the new monitor cannot measure; DRAINING when the sampler has been stopped.
   */
  use(monitor: SystemMonitor): Promise<MachineSample> {
    const turn = this.switching.then(() => this.switchTo(monitor));
    this.switching = turn.catch(() => undefined);
    return turn;
  }

  /** Asks the active monitor for a fresh measurement soon. */
  refresh(): void {
    if (!this.ending.signal.aborted) this.active.monitor.refresh();
  }

  status(): SamplerStatus {
    return { name: this.active.monitor.name, ...this.active.monitor.status() };
  }

  /** Ends every monitor that this has ever started. Idempotent. Nobody is told anything afterwards. */
  async stop(): Promise<void> {
    this.ending.abort(shuttingDown());
    this.end(this.active.monitor);
    await this.switching;
    await Promise.all(this.endings);
  }

  private async startFirst(): Promise<MachineSample> {
    const slot = this.active;
    const first = await slot.monitor.start((sample) => this.take(slot, sample));
    // A sample that came meanwhile is newer.
    if (slot.latest === undefined) this.take(slot, first);
    return slot.latest ?? first;
  }

  private async switchTo(monitor: SystemMonitor): Promise<MachineSample> {
    const slot: Slot = { monitor, latest: undefined };
    let first: MachineSample;
    try {
      first = await this.firstSample(slot);
      if (!isUsable(monitor.status(), first)) throw unavailable(monitor.name, first.message || monitor.status().message);
    } catch (error) {
      this.end(monitor);
      throw error;
    }
    const old = this.active;
    this.active = slot;
    this.end(old.monitor);
    this.log.info({ monitor: monitor.name, before: old.monitor.name }, "Another monitor feeds decisions now.");
    const newest = slot.latest ?? first;
    // One that was replaced before it was ever started has to stay so.
    this.starting ??= Promise.resolve(newest);
    this.take(slot, newest);
    return newest;
  }

  private async firstSample(slot: Slot): Promise<MachineSample> {
    const { signal } = this.ending;
    signal.throwIfAborted();
    let timer: NodeJS.Timeout | undefined;
    let onEnd = () => {};
    const limit = new Promise<never>((_, reject) => {
      onEnd = () => reject(signal.reason);
      signal.addEventListener("abort", onEnd);
      const late = () => reject(unavailable(slot.monitor.name, "It did not measure anything in time."));
      timer = setTimeout(late, this.firstSampleLimitMs);
    });
    try {
      return await Promise.race([slot.monitor.start((sample) => this.take(slot, sample)), limit]);
    } catch (error) {
      if (error instanceof Failure) throw error;
      this.log.warn({ monitor: slot.monitor.name, err: error }, "A monitor could not be started.");
      throw unavailable(slot.monitor.name, "It could not be started; the log says why.");
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", onEnd);
    }
  }

  private take(slot: Slot, sample: MachineSample): void {
    slot.latest = sample;
    if (slot !== this.active || this.ending.signal.aborted) return;
    for (const subscriber of [...this.subscribers]) {
      try {
        subscriber(sample);
      } catch (error) {
        // One reader's mistake must not keep the sample from the others, nor end the monitor's own work.
        this.log.warn({ monitor: slot.monitor.name, err: error }, "A subscriber failed on a sample.");
      }
    }
  }

  /** Does not wait: a monitor whose child hangs in the driver may take long to end. */
  private end(monitor: SystemMonitor): void {
    const ending: Promise<void> = monitor
      .stop()
      .catch((error: unknown) => this.log.warn({ monitor: monitor.name, err: error }, "A monitor did not end well."))
      .finally(() => this.endings.delete(ending));
    this.endings.add(ending);
  }
}

/** It answered: all is well by its own word, or at least one GPU of several was measured. */
function isUsable(status: MonitorStatus, sample: MachineSample): boolean {
  return status.healthy || sample.gpus.some((gpu) => gpu.health === "ok" || gpu.health === "degraded");
}

function unavailable(name: string, message: string): Failure {
  return new Failure("MONITOR_UNAVAILABLE", `${name} cannot be used: ${message} The monitor that was active stays.`, {
    monitor: name,
  });
}

function shuttingDown(): Failure {
  return new Failure("DRAINING", "The service is shutting down; its monitor can no longer be changed.");
}
