import type { GpuProcessSample, GpuSample, MachineSample, Millis, ProcessSample } from "../../src/engine/sample.ts";
import type { Random } from "./random.ts";

/** A process that fills GPU memory up to a target, and gives it back late after its end. */
export interface SimProcess {
  readonly pid: number;
  readonly key: string;
  readonly gpus: readonly string[];
  /** Memory on each of its GPUs, now and at most. */
  usedMb: number;
  targetMb: number;
  /** What was promised for it; it may take more. */
  readonly promisedMb: number;
  /** Host memory of its tree; 0: it is not measured. */
  ramMb: number;
  /** The driver does not tell its memory. */
  isUntold: boolean;
  alive: boolean;
}

function listed(p: SimProcess, gpuUuid: string): GpuProcessSample {
  const process = { pid: p.pid, gpuUuid, name: "job", lineage: [p.key] };
  return p.isUntold ? process : { ...process, usedMb: p.usedMb };
}

function sumOf(sizes: Iterable<number>): number {
  let sum = 0;
  for (const mb of sizes) sum += mb;
  return sum;
}

interface SimGpu {
  readonly uuid: string;
  readonly index: number;
  readonly totalMb: number;
  readonly reservedMb: number;
  foreignMb: number;
  lost: boolean;
}

/** What the machine was like when it was measured; the engine hears of it later. */
interface Reading {
  readonly at: Millis;
  readonly used: ReadonlyMap<string, number>;
  readonly foreign: ReadonlyMap<string, number>;
  readonly lost: ReadonlySet<string>;
  readonly treeRam: ReadonlyMap<string, number>;
}

/** The truth that the engine never sees: physical memory, with processes that grow and memory that comes back late. */
export class SimMachine {
  readonly gpus: SimGpu[];
  readonly processes: SimProcess[] = [];
  readonly attribution: boolean;
  /** Memory of ended processes that is not back yet. */
  lagging: { readonly process: SimProcess; readonly gpu: string; readonly mb: number; readonly until: Millis }[] = [];
  #reading: Reading | undefined;
  #list: MachineSample["processes"];
  /** Readings that were delivered, newest last: what the engine last decided on. */
  delivered: Reading | undefined;
  #pids = 100;

  readonly #sometimesUnknown: boolean;

  /** @param sometimesUnknown at some moments the driver answers [N/A] for the memory of a GPU. */
  constructor(random: Random, attribution: boolean, sometimesUnknown: boolean) {
    this.attribution = attribution;
    this.#sometimesUnknown = sometimesUnknown;
    this.gpus = Array.from({ length: random.whole(1, 4) }, (_, index) => ({
      uuid: `GPU-${index}`,
      index,
      totalMb: random.pick([8_000, 16_000, 24_000]) ?? 8_000,
      reservedMb: random.pick([0, 300]) ?? 0,
      foreignMb: random.chance(0.3) ? random.whole(0, 6_000) : 0,
      lost: false,
    }));
  }

  /** What was measured and not delivered is for nobody. */
  forgetReadings(): void {
    this.#reading = undefined;
    this.#list = undefined;
  }

  gpu(uuid: string): SimGpu {
    const gpu = this.gpus.find((g) => g.uuid === uuid);
    if (gpu === undefined) throw new Error(`no ${uuid}`);
    return gpu;
  }

  start(gpus: readonly string[], targetMb: number, promisedMb: number): SimProcess {
    const pid = this.#pids++;
    const process = { pid, key: `${pid}:1`, gpus, usedMb: 0, targetMb, promisedMb, ramMb: 0, isUntold: false, alive: true };
    this.processes.push(process);
    return process;
  }

  /** Memory appears over time. */
  grow(random: Random): void {
    for (const p of this.processes) {
      if (p.alive && p.usedMb < p.targetMb) p.usedMb = Math.min(p.targetMb, p.usedMb + random.whole(1, p.targetMb));
    }
  }

  end(process: SimProcess, now: Millis, lagMs: Millis): void {
    if (!process.alive) return;
    process.alive = false;
    for (const gpu of process.gpus)
      if (process.usedMb > 0 && lagMs > 0) this.lagging.push({ process, gpu, mb: process.usedMb, until: now + lagMs });
    process.usedMb = 0;
  }

  /** @param except processes that are left out. */
  laggingOn(uuid: string, now: Millis, except: ReadonlySet<SimProcess> = new Set()): number {
    return this.#late(uuid, now, except).reduce((sum, l) => sum + l.mb, 0);
  }

  /** The same without what processes took beyond what was promised for them: nobody can know of that before it is measured. */
  promisedLaggingOn(uuid: string, now: Millis, except: ReadonlySet<SimProcess>): number {
    return this.#late(uuid, now, except).reduce((sum, l) => sum + Math.min(l.mb, l.process.promisedMb), 0);
  }

  #late(uuid: string, now: Millis, except: ReadonlySet<SimProcess>) {
    return this.lagging.filter((l) => l.gpu === uuid && l.until > now && !except.has(l.process));
  }

  usedOn(uuid: string, now: Millis): number {
    let used = this.gpu(uuid).foreignMb + this.laggingOn(uuid, now);
    for (const p of this.processes) if (p.alive && p.gpus.includes(uuid)) used += p.usedMb;
    return used;
  }

  /** nvidia-smi reads the memory figures. */
  read(now: Millis): void {
    this.lagging = this.lagging.filter((l) => l.until > now);
    this.#reading = {
      at: now,
      used: new Map(this.gpus.map((g) => [g.uuid, this.usedOn(g.uuid, now)])),
      foreign: new Map(this.gpus.map((g) => [g.uuid, g.foreignMb])),
      lost: new Set(this.gpus.filter((g) => g.lost).map((g) => g.uuid)),
      treeRam: new Map(this.processes.filter((p) => p.alive && p.ramMb > 0).map((p) => [p.key, p.ramMb])),
    };
  }

  /** nvidia-smi lists the processes; the list only ever goes out with memory figures that were read later. */
  list(now: Millis): void {
    this.#list = {
      observedAt: now,
      list: this.processes.filter((p) => p.alive && p.usedMb > 0).flatMap((p) => p.gpus.map((gpuUuid) => listed(p, gpuUuid))),
    };
  }

  /** What was read reaches the engine, late as it may be; undefined when nothing was read. */
  deliver(): MachineSample | undefined {
    const reading = this.#reading;
    if (reading === undefined) return undefined;
    this.delivered = reading;
    const list = this.#list !== undefined && this.#list.observedAt <= reading.at ? this.#stillAlive(this.#list) : undefined;
    return {
      source: "simulation",
      simulated: true,
      gpus: this.gpus.map((g) => this.#row(g, reading)),
      host: { totalMb: 64_000, availableMb: 60_000 - sumOf(reading.treeRam.values()), observedAt: reading.at },
      treeRam: reading.treeRam,
      message: "",
      ...(list === undefined || !this.attribution ? {} : { processes: list }),
    };
  }

  /** A process that has ended since it was listed is left out, as the monitor does. */
  #stillAlive(list: ProcessSample): ProcessSample {
    const alive = new Set(this.processes.filter((p) => p.alive).map((p) => p.pid));
    return { observedAt: list.observedAt, list: list.list.filter((p) => alive.has(p.pid)) };
  }

  #row(g: SimGpu, reading: Reading): GpuSample {
    const base = {
      uuid: g.uuid,
      index: g.index,
      name: "sim",
      kind: "full" as const,
      observedAt: reading.at,
      attribution: this.attribution,
    };
    if (reading.lost.has(g.uuid)) return { ...base, health: "lost", healthMessage: "GPU is lost" };
    if (this.#sometimesUnknown && reading.at % 5 === g.index) {
      return { ...base, totalMb: g.totalMb, health: "degraded", healthMessage: "its memory is [N/A]" };
    }
    const usedMb = reading.used.get(g.uuid) ?? 0;
    return {
      ...base,
      totalMb: g.totalMb,
      reservedMb: g.reservedMb,
      usedMb,
      // The driver never shows less than nothing, however much was taken.
      freeMb: Math.max(0, g.totalMb - g.reservedMb - usedMb),
      computeMode: "Default",
      health: "ok",
      healthMessage: "",
    };
  }
}
