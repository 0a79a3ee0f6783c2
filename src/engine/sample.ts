/**
 * What a monitor tells the engine. Mechanism on one side, policy on the other; this file is the border.
 *
 * All sizes are MiB. All times are milliseconds of the engine's clock (see gate/clock.ts): wall time at start plus monotonic
 * time since, so differences never jump. A number that was not measured is absent; absent is never the same as 0.
 */

/** Mebibytes (1,048,576 bytes). */
export type Mib = number;

/** Milliseconds, of the engine's clock when it is a moment. */
export type Millis = number;

/**
 * Identity of a process that survives reuse of its pid: `"<pid>:<start time>"`, the start time in clock ticks since boot as
 * /proc/<pid>/stat field 22 gives it, or `"<pid>:?"` where the platform does not tell.
 */
export type ProcessKey = string;

/**
 * `ok`: measured and well. `degraded`: something that decisions need is missing. `lost`: known from before, does not answer
 * now. `unknown`: nothing is known now (no sample yet, monitor broken). Only `ok` takes new work.
 */
export type GpuHealth = "ok" | "degraded" | "lost" | "unknown";

/** `unified` parts share one memory with the host and are charged against host memory. */
export type GpuKind = "full" | "mig" | "unified";

export interface GpuSample {
  readonly uuid: string;
  readonly index: number;
  readonly name: string;
  readonly kind: GpuKind;
  /** Devices with the same pool share their memory (two compute instances of one MIG GPU instance). Absent: its own. */
  readonly poolId?: string;
  readonly parentUuid?: string;
  readonly pciBusId?: string;
  readonly totalMb?: Mib;
  /** What the driver keeps for itself. total = reserved + used + free within ±2 MiB since driver R510. */
  readonly reservedMb?: Mib;
  readonly usedMb?: Mib;
  readonly freeMb?: Mib;
  readonly loadPercent?: number;
  readonly temperatureC?: number;
  readonly powerW?: number;
  /** As nvidia-smi says it: Default, Exclusive_Process, Prohibited. */
  readonly computeMode?: string;
  readonly health: GpuHealth;
  /** Why health is not `ok`; empty when it is. */
  readonly healthMessage: string;
  /** The earliest moment that the memory figures may be from. Never later than the truth: admission compares it. */
  readonly observedAt: Millis;
  /** True when the driver tells memory for each process on this GPU. */
  readonly attribution: boolean;
}

export interface HostSample {
  /** min(physical, cgroup limit). */
  readonly totalMb?: Mib;
  /** min(MemAvailable, cgroup limit − working set). */
  readonly availableMb?: Mib;
  readonly cgroupLimitMb?: Mib;
  readonly cpuPercent?: number;
  readonly observedAt: Millis;
}

export interface GpuProcessSample {
  readonly pid: number;
  readonly gpuUuid: string;
  readonly usedMb?: Mib;
  readonly name: string;
  /** The process itself first, then its parent, and so on up; empty when it is not visible in this PID namespace. */
  readonly lineage: readonly ProcessKey[];
}

export interface ProcessSample {
  /** The earliest moment that the list may be from. */
  readonly observedAt: Millis;
  readonly list: readonly GpuProcessSample[];
}

/** Everything that is known about the machine at one moment. Immutable; a monitor makes a new one for every tick. */
export interface MachineSample {
  /** Name of the monitor. */
  readonly source: string;
  readonly simulated: boolean;
  /** Every GPU that was ever seen in this life, ascending index; one that no longer answers stays, as `lost`. */
  readonly gpus: readonly GpuSample[];
  /**
   * True when the source could not tell which GPUs there are (driver not loaded, tool missing), so that an empty `gpus` does not
   * mean "no GPU". A request for a GPU then waits instead of being told that it can never fit.
   */
  readonly gpusUnknown?: boolean;
  readonly host?: HostSample;
  /**
   * The newest process list whose reading was finished before every memory figure in `gpus` was taken. The order matters: a
   * list that is newer than the memory figures would credit a worker with memory that `free` has not lost yet, and admit the
   * same bytes twice.
   */
  readonly processes?: ProcessSample;
  /** Host memory of each watched process tree, by its root. A tree that could not be measured is absent. */
  readonly treeRam: ReadonlyMap<ProcessKey, Mib>;
  readonly driverVersion?: string;
  /** What is wrong and what to do, in one sentence; empty when all is well. */
  readonly message: string;
}
