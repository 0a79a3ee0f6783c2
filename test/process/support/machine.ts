import { readFileSync } from "node:fs";

/** A GPU of the machine that a test runs on. Sizes are MiB. */
export interface MachineGpu {
  readonly totalMb: number;
  /** What the driver keeps; 346 when not given. */
  readonly reservedMb?: number;
  /** Used by processes that nobody can see; 0 when not given. */
  readonly foreignMb?: number;
}

/** What the driver keeps on every card that does not say otherwise. */
export const defaultReservedMb = 346;

/** A job that met "CUDA out of memory". */
export interface OutOfMemory {
  readonly pid: number;
}

/**
 * A machine with GPUs as the server sees it: through a separate nvidia-smi process, and through jobs that really are processes and
 * die of "out of memory" (exit 77) when what they take is not there. Everything that is changed is seen by nvidia-smi's next
 * reading, also by a loop that is running.
 */
export interface Machine {
  /** What to start as nvidia-smi. */
  readonly nvidiaSmi: string;
  uuid(index: number): string;
  setGpus(gpus: readonly MachineGpu[]): void;
  /** Memory on one GPU that is used by processes that nobody can see. */
  foreign(index: number, mib: number): void;
  /**
   * Program and arguments of a job that takes memory on the first GPUs of CUDA_VISIBLE_DEVICES, so much on each of them.
   * @param gpuCount 1 when not given.
   */
  job(mib: number, seconds: number, rampSeconds?: number, gpuCount?: number): readonly [string, ...string[]];
  /** Memory stays used for so long after its process has ended. */
  releaseLag(ms: number): void;
  lose(index: number): void;
  recover(index: number): void;
  /** While on, every reading blocks. */
  hang(on: boolean): void;
  /** The driver cannot be reached (exit 9) while on. */
  noDriver(on: boolean): void;
  /** While on, the output is mixed with junk. Undefined where that cannot be made. */
  garbage?(on: boolean): void;
  outOfMemory(): readonly OutOfMemory[];
  dispose(): void;
}

/** A kind of machine to run the same tests on. */
export interface Backend {
  readonly name: string;
  /** Why it cannot be used here; undefined when it can. */
  readonly missing: string | undefined;
  create(gpus: readonly MachineGpu[]): Machine;
}

/** Pids of the children of a process. */
export function childrenOf(pid: number): readonly number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

/** The arguments that a running process was started with; empty when it does not run. */
export function commandLineOf(pid: number): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
  } catch {
    return [];
  }
}
