import type { MachineSample, Millis } from "../engine/sample.ts";
import type { HostProbe } from "./host-probe.ts";
import { PollLoop } from "./poll-loop.ts";
import { readHost } from "./read-host.ts";
import type { MonitorContext, MonitorStatus, SystemMonitor } from "./system-monitor.ts";

const defaultPeriodMs: Millis = 2000;

/** `sys-mon-host`: host memory and CPU, and no GPUs. */
export class HostMonitor implements SystemMonitor {
  readonly name = "sys-mon-host";
  private readonly context: MonitorContext;
  private readonly probe: HostProbe;
  private readonly loop: PollLoop;
  private onSample: ((sample: MachineSample) => void) | undefined;
  private latest: MachineSample | undefined;
  private stopped = false;

  constructor(context: MonitorContext, probe: HostProbe, periodMs: Millis = defaultPeriodMs) {
    this.context = context;
    this.probe = probe;
    this.loop = new PollLoop(async () => {
      await this.measure();
      return periodMs;
    }, context.log);
  }

  async start(onSample: (sample: MachineSample) => void): Promise<MachineSample> {
    await this.loop.start();
    this.onSample = onSample;
    return this.latest as MachineSample;
  }

  refresh(): void {
    this.loop.kick();
  }

  status(): MonitorStatus {
    if (!this.latest) return { healthy: false, message: "No measurement yet." };
    if (this.latest.message !== "") return { healthy: false, message: this.latest.message };
    return { healthy: true, message: "Host memory and CPU only: this monitor knows no GPUs." };
  }

  async stop(): Promise<void> {
    this.stopped = true;
    await this.loop.stop();
  }

  private async measure(): Promise<void> {
    const reading = await readHost(this.context, this.probe);
    this.latest = { source: this.name, simulated: false, gpus: [], ...reading };
    if (!this.stopped) this.onSample?.(this.latest);
  }
}
