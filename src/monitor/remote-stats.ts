import type { GpuHealth, GpuKind, GpuSample, HostSample, MachineSample, Mib, Millis } from "../engine/sample.ts";

/** One GPU as another server tells it. A number that it does not tell is absent. */
export interface RemoteGpu {
  readonly uuid: string;
  readonly index: number;
  readonly name: string;
  readonly kind: GpuKind;
  readonly poolId?: string;
  readonly parentUuid?: string;
  readonly pciBusId?: string;
  readonly totalMb?: Mib;
  readonly reservedMb?: Mib;
  readonly usedMb?: Mib;
  readonly freeMb?: Mib;
  readonly loadPercent?: number;
  readonly temperatureC?: number;
  readonly powerW?: number;
  readonly computeMode?: string;
  readonly health: GpuHealth;
  readonly healthMessage: string;
  /** Age of the memory figures when the other server made its message; without it they cannot be used. */
  readonly ageMs?: Millis;
}

/** The host as another server tells it. */
export interface RemoteHost {
  readonly totalMb?: Mib;
  readonly availableMb?: Mib;
  readonly cgroupLimitMb?: Mib;
  readonly cpuPercent?: number;
  readonly ageMs?: Millis;
}

/** A process on a GPU of the other machine: its pid means nothing here, so it is for display only. */
export interface RemoteProcess {
  readonly pid: number;
  readonly gpuUuid: string;
  readonly usedMb?: Mib;
  readonly name: string;
}

/** The newest measurements of another server. */
export interface RemoteStats {
  /** Name of the monitor that it measures with. */
  readonly source: string;
  readonly simulated: boolean;
  readonly message: string;
  readonly driverVersion?: string;
  readonly gpus: readonly RemoteGpu[];
  readonly host?: RemoteHost;
  /** With its age by the other server's clock alone, like every age here; where that is not known the list is left out. */
  readonly processes?: { readonly ageMs: Millis; readonly list: readonly RemoteProcess[] };
}

/** Asks another server that speaks MonitorService. */
export interface RemoteStatsClient {
  /** Rejects when it fails, and soon after `signal` is aborted. */
  getSystemStats(signal: AbortSignal): Promise<RemoteStats>;
  /** Gives the connection up; nothing is asked afterwards. */
  close?(): void;
}

/**
 * Turns an answer into a sample.
 *
 * The clock of another machine says nothing about ours, so only ages are used. The age was true when the message was made,
 * and that was after the request had been sent; so "sent − age", by our own clock, is never later than the moment of the
 * measurement. The time that the request took is lost as freshness, which errs on the safe side.
 * @param sentAt when the request was sent.
 * @param known GPUs of earlier answers; those that are not in this one stay, as lost.
 */
export function remoteSample(name: string, stats: RemoteStats, sentAt: Millis, known: readonly GpuSample[]): MachineSample {
  const gpus = new Map<string, GpuSample>();
  for (const gpu of stats.gpus) {
    if (gpu.uuid !== "" && !gpus.has(gpu.uuid)) gpus.set(gpu.uuid, gpuSample(gpu, sentAt));
  }
  for (const gpu of known) {
    if (!gpus.has(gpu.uuid)) gpus.set(gpu.uuid, withoutFigures(gpu, "lost", `${name} no longer tells of this GPU.`));
  }
  return {
    source: name,
    simulated: stats.simulated,
    gpus: [...gpus.values()].sort((a, b) => a.index - b.index),
    ...(stats.host && { host: hostSample(stats.host, sentAt) }),
    ...(stats.processes && {
      processes: {
        observedAt: sentAt - stats.processes.ageMs,
        list: stats.processes.list.map((p) => ({
          ...numbers(p, ["usedMb"]),
          pid: p.pid,
          gpuUuid: p.gpuUuid,
          name: p.name,
          lineage: [],
        })),
      },
    }),
    treeRam: new Map(),
    ...(stats.driverVersion !== undefined && { driverVersion: stats.driverVersion }),
    message: stats.message,
  };
}

/** The last sample with everything taken out that is not known any more: what is left is which GPUs there are, and their size. */
export function blindSample(last: MachineSample, message: string): MachineSample {
  const { processes: _, host, ...rest } = last;
  return {
    ...rest,
    gpus: last.gpus.map((gpu) => withoutFigures(gpu, "unknown", message)),
    ...(host && { host: { ...numbers(host, ["totalMb", "cgroupLimitMb"]), observedAt: host.observedAt } }),
    message,
  };
}

function gpuSample(gpu: RemoteGpu, sentAt: Millis): GpuSample {
  const ageMs = age(gpu.ageMs);
  const sample: GpuSample = {
    uuid: gpu.uuid,
    index: gpu.index,
    name: gpu.name,
    kind: gpu.kind,
    ...(gpu.poolId !== undefined && { poolId: gpu.poolId }),
    ...(gpu.parentUuid !== undefined && { parentUuid: gpu.parentUuid }),
    ...(gpu.pciBusId !== undefined && { pciBusId: gpu.pciBusId }),
    ...(gpu.computeMode !== undefined && { computeMode: gpu.computeMode }),
    ...numbers(gpu, ["totalMb", "reservedMb", "usedMb", "freeMb", "loadPercent", "temperatureC", "powerW"]),
    health: gpu.health,
    healthMessage: gpu.healthMessage,
    observedAt: sentAt - (ageMs ?? 0),
    // Pids belong to the other machine: they cannot be matched with the processes that leases attach here.
    attribution: false,
  };
  if (ageMs === undefined) return withoutFigures(sample, "unknown", "The other server does not tell how old its figures are.");
  const complete = sample.kind === "unified" || (sample.totalMb !== undefined && sample.freeMb !== undefined);
  if (sample.health !== "ok" || complete) return sample;
  return { ...sample, health: "degraded", healthMessage: "The other server does not tell the memory of this GPU." };
}

function hostSample(host: RemoteHost, sentAt: Millis): HostSample {
  const ageMs = age(host.ageMs);
  if (ageMs === undefined) return { ...numbers(host, ["totalMb", "cgroupLimitMb"]), observedAt: sentAt };
  return { ...numbers(host, ["totalMb", "availableMb", "cgroupLimitMb", "cpuPercent"]), observedAt: sentAt - ageMs };
}

function withoutFigures(gpu: GpuSample, health: GpuHealth, healthMessage: string): GpuSample {
  const { usedMb: _used, freeMb: _free, loadPercent: _load, temperatureC: _temperature, powerW: _power, ...rest } = gpu;
  return { ...rest, health, healthMessage };
}

function age(ms: Millis | undefined): Millis | undefined {
  return ms !== undefined && Number.isFinite(ms) && ms >= 0 ? ms : undefined;
}

/** The named numbers of `from` that are numbers and not negative. */
function numbers<K extends string>(from: { readonly [P in K]?: number }, names: readonly K[]): { [P in K]?: number } {
  const found: { [P in K]?: number } = {};
  for (const name of names) {
    const value = from[name];
    if (value !== undefined && Number.isFinite(value) && value >= 0) found[name] = value;
  }
  return found;
}
