import { invalidArgument } from "../engine/failure.ts";
import type { GpuSample, MachineSample, Mib, Millis } from "../engine/sample.ts";
import type { HostProbe } from "./host-probe.ts";
import { PollLoop } from "./poll-loop.ts";
import { readHost } from "./read-host.ts";
import type { MonitorContext, MonitorStatus, SystemMonitor } from "./system-monitor.ts";

/** The GPUs to simulate: the total memory of each, by index. */
export type Simulation = readonly Mib[];

/** As often as a real one measures, so that samples never look old. */
const defaultPeriodMs: Millis = 500;

const mostGpus = 64;
const mostMib: Mib = 16_777_216;
const notReal = "The GPUs are simulated: nothing about them is real, and a grant takes no memory of any GPU.";

/**
 * Reads what to simulate: `24576` (one GPU of that many MiB), `2x24576`, or several of these with commas between.
 * @throws Failure INVALID_ARGUMENT that names the field `simulate`.
 */
export function parseSimulation(spec: string): Simulation {
  const totals: Mib[] = [];
  // Longer than any that is allowed; keeps a huge text from being taken apart.
  if (spec.length > 4096) throw wrong();
  for (const part of spec.split(",")) {
    const match = /^(?:(\d{1,8})x)?(\d{1,8})$/.exec(part.trim());
    const count = Number(match?.[1] ?? 1);
    const totalMb = Number(match?.[2]);
    if (!match || count < 1 || totalMb < 1 || totalMb > mostMib || totals.length + count > mostGpus) throw wrong();
    for (let n = 0; n < count; n++) totals.push(totalMb);
  }
  return totals;
}

function wrong(): Error {
  const form = "[COUNTx]MIB[,…], such as 2x24576 or 24576,81920";
  const limits = `at most ${mostGpus} GPUs of 1 to ${mostMib} MiB each`;
  return invalidArgument({ field: "simulate", description: `must be of the form ${form}: ${limits}` });
}

/** `sys-mon-simulated`: GPUs that do not exist, always empty, on the real host memory of this machine. For trying things out. */
export class SimulatedMonitor implements SystemMonitor {
  readonly name = "sys-mon-simulated";
  private readonly context: MonitorContext;
  private readonly simulation: Simulation;
  private readonly probe: HostProbe;
  private readonly loop: PollLoop;
  private onSample: ((sample: MachineSample) => void) | undefined;
  private latest: MachineSample | undefined;
  private stopped = false;

  constructor(context: MonitorContext, simulation: Simulation, probe: HostProbe, periodMs: Millis = defaultPeriodMs) {
    this.context = context;
    this.simulation = simulation;
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
    return { healthy: this.latest !== undefined, message: this.latest?.message ?? notReal };
  }

  async stop(): Promise<void> {
    this.stopped = true;
    await this.loop.stop();
  }

  private async measure(): Promise<void> {
    const observedAt = this.context.now();
    const { message, ...reading } = await readHost(this.context, this.probe);
    this.latest = {
      source: this.name,
      simulated: true,
      gpus: this.simulation.map((totalMb, index) => simulatedGpu(index, totalMb, observedAt)),
      ...reading,
      // Known, and empty: nothing runs on a GPU that does not exist.
      processes: { observedAt, list: [] },
      message: [notReal, message].filter((m) => m !== "").join(" "),
    };
    if (!this.stopped) this.onSample?.(this.latest);
  }
}

function simulatedGpu(index: number, totalMb: Mib, observedAt: Millis): GpuSample {
  return {
    // The same in every life, so that scripts and leases that outlive a restart find it again.
    uuid: `GPU-51300000-0000-4000-8000-${String(index).padStart(12, "0")}`,
    index,
    name: "Simulated GPU",
    kind: "full",
    totalMb,
    reservedMb: 0,
    usedMb: 0,
    freeMb: totalMb,
    computeMode: "Default",
    health: "ok",
    healthMessage: "",
    observedAt,
    attribution: true,
  };
}
