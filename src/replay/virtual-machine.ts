import type { GpuProcessSample, GpuSample, MachineSample, Mib, Millis } from "../engine/sample.ts";
import type { ReplayMachine } from "./job.ts";

interface Gpu {
  readonly uuid: string;
  readonly totalMb: Mib;
  readonly reservedMb: Mib;
  foreignMb: Mib;
  usedMb: Mib;
}

interface Process {
  readonly gpus: readonly number[];
  vramMb: Mib;
  ramMb: Mib;
}

/** A machine of which everything is known: memory is taken when it is there, and what does not fit fails. */
export class VirtualMachine {
  readonly #gpus: readonly Gpu[];
  readonly #ramMb: Mib;
  readonly #processes = new Map<number, Process>();
  #usedRamMb: Mib = 0;
  #pids = 1;

  constructor(machine: ReplayMachine) {
    this.#gpus = machine.gpus.map((g, i) => ({
      uuid: `GPU-${i}`,
      totalMb: g.totalMb,
      reservedMb: g.reservedMb,
      foreignMb: 0,
      usedMb: 0,
    }));
    this.#ramMb = machine.ramMb;
  }

  /** Answers the pid of a process that has no memory yet. */
  start(gpus: readonly number[]): number {
    const pid = this.#pids++;
    this.#processes.set(pid, { gpus, vramMb: 0, ramMb: 0 });
    return pid;
  }

  /** Takes memory on each of the process's GPUs and of the host. False: it does not fit physically, and nothing was taken. */
  take(pid: number, vramMb: Mib, ramMb: Mib): boolean {
    const process = this.#processes.get(pid);
    if (process === undefined) return false;
    const fits = process.gpus.every((i) => {
      const gpu = this.#gpus[i] as Gpu;
      return gpu.usedMb + gpu.foreignMb + vramMb <= gpu.totalMb - gpu.reservedMb;
    });
    if (!fits || this.#usedRamMb + ramMb > this.#ramMb) return false;
    for (const i of process.gpus) (this.#gpus[i] as Gpu).usedMb += vramMb;
    this.#usedRamMb += ramMb;
    process.vramMb += vramMb;
    process.ramMb += ramMb;
    return true;
  }

  stop(pid: number): void {
    const process = this.#processes.get(pid);
    if (process === undefined) return;
    this.#processes.delete(pid);
    for (const i of process.gpus) (this.#gpus[i] as Gpu).usedMb -= process.vramMb;
    this.#usedRamMb -= process.ramMb;
  }

  setForeign(gpuIndex: number, usedMb: Mib): void {
    const gpu = this.#gpus[gpuIndex];
    if (gpu !== undefined) gpu.foreignMb = usedMb;
  }

  measure(observedAt: Millis): MachineSample {
    const list: GpuProcessSample[] = [];
    const treeRam = new Map<string, Mib>();
    for (const [pid, process] of this.#processes) {
      treeRam.set(`${pid}:1`, process.ramMb);
      if (process.vramMb === 0) continue;
      const lineage = [`${pid}:1`];
      for (const i of process.gpus) {
        list.push({ pid, gpuUuid: (this.#gpus[i] as Gpu).uuid, usedMb: process.vramMb, name: "job", lineage });
      }
    }
    return {
      source: "replay",
      simulated: true,
      gpus: this.#gpus.map((gpu, index) => row(gpu, index, observedAt)),
      host: { totalMb: this.#ramMb, availableMb: this.#ramMb - this.#usedRamMb, observedAt },
      processes: { observedAt, list },
      treeRam,
      message: "",
    };
  }
}

function row(gpu: Gpu, index: number, observedAt: Millis): GpuSample {
  // Foreign memory may be more than fits beside the work of the list: then nothing is free, as on a real machine.
  const usedMb = Math.min(gpu.usedMb + gpu.foreignMb, gpu.totalMb - gpu.reservedMb);
  return {
    uuid: gpu.uuid,
    index,
    name: "replayed",
    kind: "full",
    totalMb: gpu.totalMb,
    reservedMb: gpu.reservedMb,
    usedMb,
    freeMb: gpu.totalMb - gpu.reservedMb - usedMb,
    computeMode: "Default",
    health: "ok",
    healthMessage: "",
    observedAt,
    attribution: true,
  };
}
