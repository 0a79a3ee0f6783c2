import type { GpuSample, MachineSample, Millis } from "../engine/sample.ts";
import { PollLoop } from "./poll-loop.ts";
import { blindSample, type RemoteStats, type RemoteStatsClient, remoteSample } from "./remote-stats.ts";
import type { MonitorContext, MonitorStatus, SystemMonitor } from "./system-monitor.ts";

/** How often and how long a RemoteMonitor asks; the defaults are what the service uses. */
export interface RemoteTiming {
  readonly periodMs: Millis;
  readonly timeoutMs: Millis;
  readonly firstBackoffMs: Millis;
  readonly longestBackoffMs: Millis;
}

const defaultTiming: RemoteTiming = { periodMs: 500, timeoutMs: 2000, firstBackoffMs: 1000, longestBackoffMs: 10_000 };

/** After this many periods without an answer nothing is known any more. */
const blindAfterPeriods = 3;

/**
 * A monitor whose measurements are those of another server. One call at a time; on failures it waits longer and longer, and
 * goes on by itself when the other server answers again.
 */
export class RemoteMonitor implements SystemMonitor {
  /** The address of the other server. */
  readonly name: string;
  private readonly context: MonitorContext;
  private readonly client: RemoteStatsClient;
  private readonly timing: RemoteTiming;
  private readonly loop: PollLoop;
  private readonly ending = new AbortController();
  private onSample: ((sample: MachineSample) => void) | undefined;
  private latest: MachineSample | undefined;
  private answeredAt: Millis | undefined;
  private failures = 0;
  private blindTimer: NodeJS.Timeout | undefined;

  constructor(context: MonitorContext, address: string, client: RemoteStatsClient, timing: RemoteTiming = defaultTiming) {
    this.name = address;
    this.context = context;
    this.client = client;
    this.timing = timing;
    this.loop = new PollLoop(() => this.poll(), context.log);
  }

  async start(onSample: (sample: MachineSample) => void): Promise<MachineSample> {
    await this.loop.start();
    this.onSample = onSample;
    this.latest ??= this.nothing();
    return this.latest;
  }

  refresh(): void {
    // While it does not answer, asking more often would only keep it from coming back.
    if (this.failures === 0) this.loop.kick();
  }

  status(): MonitorStatus {
    if (this.failures > 0) return { healthy: false, message: this.failureMessage() };
    if (this.answeredAt === undefined) return { healthy: false, message: "No measurement yet." };
    return { healthy: true, message: this.latest?.message || `${this.name} answers.` };
  }

  async stop(): Promise<void> {
    clearTimeout(this.blindTimer);
    this.ending.abort();
    await this.loop.stop();
    this.client.close?.();
  }

  private async poll(): Promise<Millis> {
    const sentAt = this.context.now();
    let sample: MachineSample | undefined;
    let why: unknown;
    try {
      // Taken apart in here too: what another server sends may be anything.
      sample = remoteSample(this.name, await this.ask(), sentAt, this.latest?.gpus ?? []);
    } catch (error) {
      why = error;
    }
    if (this.ending.signal.aborted) return this.timing.periodMs;
    if (sample) this.answered(sample);
    else this.failed(why);
    if (this.failures === 0) return this.timing.periodMs;
    return Math.min(this.timing.firstBackoffMs * 2 ** Math.min(this.failures - 1, 16), this.timing.longestBackoffMs);
  }

  /** Gives up after the timeout even when the client does not, and then takes no notice of what the call answers later. */
  private async ask(): Promise<RemoteStats> {
    const call = new AbortController();
    const { promise: givenUp, reject } = withRejecter();
    const giveUp = (why: string) => {
      call.abort();
      reject(new Error(why));
    };
    const timer = setTimeout(() => giveUp(`no answer within ${this.timing.timeoutMs} ms`), this.timing.timeoutMs);
    const onEnd = () => giveUp("stopped");
    this.ending.signal.addEventListener("abort", onEnd);
    try {
      // Called inside, so that a client that throws is a failure like any other.
      return await Promise.race([Promise.resolve().then(() => this.client.getSystemStats(call.signal)), givenUp]);
    } finally {
      clearTimeout(timer);
      this.ending.signal.removeEventListener("abort", onEnd);
    }
  }

  private answered(sample: MachineSample): void {
    clearTimeout(this.blindTimer);
    this.blindTimer = undefined;
    if (this.failures > 0) this.context.log.info({ monitor: this.name }, "The monitor answers again.");
    this.failures = 0;
    this.answeredAt = this.context.now();
    this.publish(sample);
  }

  private failed(error: unknown): void {
    if (this.failures === 0) this.context.log.warn({ monitor: this.name, err: error }, "The monitor does not answer.");
    this.failures++;
    if (this.answeredAt === undefined) {
      this.publish(this.nothing());
      return;
    }
    const blindAt = this.answeredAt + blindAfterPeriods * this.timing.periodMs;
    // A timer, and not the next failure: that one may be a long pause away.
    this.blindTimer ??= setTimeout(() => this.goBlind(), Math.max(0, blindAt - this.context.now()));
  }

  private goBlind(): void {
    if (this.latest) this.publish(blindSample(this.latest, this.failureMessage()));
  }

  private publish(sample: MachineSample): void {
    this.latest = sample;
    this.onSample?.(sample);
  }

  private nothing(): MachineSample {
    const gpus: readonly GpuSample[] = [];
    return { source: this.name, simulated: false, gpus, treeRam: new Map(), message: this.failureMessage() };
  }

  private failureMessage(): string {
    return `The monitor at ${this.name} does not answer; check that it runs and can be reached from here.`;
  }
}

function withRejecter(): { promise: Promise<never>; reject: (error: Error) => void } {
  let reject: (error: Error) => void = () => undefined;
  const promise = new Promise<never>((_, no) => {
    reject = no;
  });
  // It may be rejected when nobody waits for it any more.
  promise.catch(() => undefined);
  return { promise, reject };
}
