import type { Mib } from "../engine/sample.ts";
import type { ReplayMachine } from "../replay/job.ts";
import type { Work } from "../replay/read-work.ts";
import type { ReadRecord } from "../replay/recorded-work.ts";
import { exitCode } from "./exit-codes.ts";
import { CliError } from "./io.ts";
import { clean } from "./text.ts";

/** What the command line says about the machine. */
export interface StatedMachine {
  readonly gpus?: number;
  /** Of each GPU, what can be promised. */
  readonly vram?: Mib;
  readonly ram?: Mib;
  readonly margin?: Mib;
}

export interface ReplayedOn {
  readonly machine: ReplayMachine;
  /** Never promised, on each GPU and of the host. */
  readonly marginMb: Mib;
}

/**
 * The machine that a file is replayed on: what the command line says, else what was recorded.
 * @throws CliError when neither says it.
 */
export function machineFor(work: Work, stated: StatedMachine, file: string): ReplayedOn {
  return work.kind === "record" ? recorded(work, stated, file) : told(stated, file);
}

function told(stated: StatedMachine, file: string): ReplayedOn {
  const { gpus, vram = gpus === 0 ? 0 : undefined, ram } = stated;
  if (gpus === undefined || vram === undefined || ram === undefined) {
    const missing = [gpus ?? "--gpus N", vram ?? "--vram MIB", ram ?? "--ram MIB"].filter((f) => typeof f === "string");
    throw new CliError(
      exitCode.usage,
      `say what the machine has: ${missing.join(", ")} ${missing.length === 1 ? "is" : "are"} missing. ${clean(file)} is a list of jobs; only a record knows its machine`,
    );
  }
  return {
    machine: { gpus: Array.from({ length: gpus }, () => ({ totalMb: vram, reservedMb: 0 })), ramMb: ram, foreign: [] },
    marginMb: stated.margin ?? 0,
  };
}

/** Further GPUs are like the first. */
function recorded(record: ReadRecord, stated: StatedMachine, file: string): ReplayedOn {
  const { machine } = record.book;
  const count = stated.gpus ?? machine.gpus.length;
  const like = (i: number) => (i < machine.gpus.length ? i : 0);
  const gpus = Array.from({ length: count }, (_, i) => {
    const gpu = stated.vram === undefined ? machine.gpus[like(i)] : { totalMb: stated.vram, reservedMb: 0 };
    if (gpu !== undefined) return gpu;
    throw new CliError(exitCode.usage, `say --vram MIB: ${clean(file)} was recorded on a machine without GPUs`);
  });
  const foreign = machine.foreign.filter((f) => f.gpuIndex < count);
  if (stated.margin !== undefined) {
    return { machine: { gpus, ramMb: stated.ram ?? machine.ramMb, foreign }, marginMb: stated.margin };
  }
  // A server keeps something else free on each GPU and of the host; a replay the same everywhere. So the least of them is the margin,
  // and what the others keep more is taken off them: exactly what could be promised then can be promised now.
  const margins = gpus.map((_, i) => (stated.vram === undefined ? (record.marginsMb[like(i)] ?? 0) : 0));
  const marginMb = margins.length === 0 ? 0 : Math.min(...margins);
  const ram = stated.ram ?? Math.max(0, machine.ramMb - record.ramMarginMb);
  return {
    machine: {
      gpus: gpus.map((gpu, i) => ({ ...gpu, reservedMb: gpu.reservedMb + (margins[i] ?? 0) - marginMb })),
      ramMb: ram + marginMb,
      foreign,
    },
    marginMb,
  };
}
