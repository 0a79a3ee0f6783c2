import { chmodSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** Health words: what a run that starts now prints, and what a loop that is already running prints. */
export type FakeHealth =
  /** Numbers. */
  | "ok"
  /** No rows at all, exit 15, unless `-i` names others; in a running loop `[GPU is lost]` in every cell. */
  | "lost"
  /** The same with "Unknown Error", exit 255. */
  | "dead"
  /** `[GPU requires reset]` in every cell, index and uuid too; exit 0. */
  | "reset"
  /** `[Insufficient Permissions]` in the memory and process cells. */
  | "noperm"
  /** `[N/A]` in the memory cells. */
  | "nomem"
  /** Its row is missing, exit 0; a running loop goes on with it. */
  | "hidden"
  /** Its row is missing, in a running loop too. */
  | "silent"
  /** `ERR!` in name and temperature, 0 MiB used. */
  | "broken";

export interface FakeMigDevice {
  uuid: string;
  /** Such as `1g.10gb`. */
  profile: string;
  /** GPU instance; devices with the same share their memory. */
  gi: number;
  ci?: number;
  totalMb: number;
  /** Beyond what the processes on its GPU instance use. */
  usedMb?: number;
}

export interface FakeGpu {
  /** `GPU-` and hexadecimal digits. */
  uuid: string;
  name?: string;
  /** Default 24564. */
  totalMb?: number;
  /** Default 346. */
  reservedMb?: number;
  /** Used by nobody that can be seen; what processes use comes on top. */
  usedMb?: number;
  health?: FakeHealth;
  computeMode?: string;
  temperature?: number;
  power?: number;
  load?: number;
  pciBusId?: string;
  addressingMode?: string;
  migMode?: string;
  migPending?: string;
  /** Present: MIG is enabled. */
  mig?: { devices: FakeMigDevice[] };
}

export interface FakeProcess {
  /** Listed only while it runs, unless `foreign`. */
  pid: number;
  gpuUuid: string;
  /** Absent: `[N/A]`. */
  usedMb?: number;
  name?: string;
  /** Of another PID namespace: always listed, and its name is `[Not Found]`. */
  foreign?: boolean;
  gi?: number;
  ci?: number;
}

export interface FakeState {
  driver?: string;
  gpus: FakeGpu[];
  processes?: FakeProcess[];
  /** NVML cannot be initialised: this exit code with its sentence. */
  fail?: number | { code: number; text: string };
  /** Every call blocks while this is set. */
  hang?: boolean;
  hangMs?: number;
  /** SIGTERM is ignored (also by runs that began before it was set). */
  ignoreTerm?: boolean;
  /** Prints this many bytes (true: 1 GiB) without a newline, as fast as it can, before anything else. */
  flood?: boolean | number;
  /** Prints 20 lines of junk before each round. */
  garbage?: boolean;
  /** Rows lose their end and their newline; XML stops in the middle. */
  truncate?: boolean;
  /** Each row takes this long. */
  delayMs?: number;
  /** Each run takes this long to begin. */
  startDelayMs?: number;
  /** The loop ends by itself after so many rounds. */
  loopExit?: { afterRounds?: number; code?: number; signal?: NodeJS.Signals };
  /** Columns that this driver does not know. */
  unknownFields?: string[];
  /** How long memory stays used after its process has ended. */
  releaseLagMs?: number;
  /** Each round of a loop is written down in rounds.log when its last row is out: milliseconds since 1970, with fractions. */
  logRounds?: boolean;
  /** Error of the time stamps in the rows. */
  clockSkewMs?: number;
}

/** Two GPUs of 24564 MiB, 346 MiB of them reserved, nobody on them. */
export function twoGpus(): FakeState {
  return { gpus: [{ uuid: gpuUuid(0) }, { uuid: gpuUuid(1) }] };
}

/** A uuid that is valid and easy to read. */
export function gpuUuid(index: number): string {
  return `GPU-fa4e0000-0000-4000-8000-${index.toString(16).padStart(12, "0")}`;
}

/**
 * A pretended machine with NVIDIA GPUs, for tests that start real processes.
 *
 * ```ts
 * const fake = new FakeNvidiaSmi(twoGpus());
 * startServer(["--nvidia-smi", fake.path]);                       // behaves like nvidia-smi
 * spawn(fake.jobPath, ["--mib", "4096", "--seconds", "60"], {     // behaves like a CUDA job
 *   env: { ...process.env, CUDA_VISIBLE_DEVICES: gpuUuid(0) },
 * });
 * fake.update((state) => { state.gpus[0]!.health = "lost"; });    // seen by the next round of a loop that runs
 * fake.oomLog();                                                  // jobs that met "CUDA out of memory": must stay empty
 * fake.dispose();
 * ```
 *
 * Both are executable files that know their machine without any environment, so they also work under a program that gives its
 * children an environment of its own. A GPU's used memory = its own `usedMb` + what the running jobs and `processes` hold.
 */
export class FakeNvidiaSmi {
  readonly dir: string;
  /** The nvidia-smi to give to the program under test. */
  readonly path: string;
  /** The CUDA job: `--mib N --seconds S [--ramp-seconds R] [--ignore-term]`; its GPU is the first of CUDA_VISIBLE_DEVICES. */
  readonly jobPath: string;
  #state: FakeState;

  constructor(state: FakeState = twoGpus()) {
    this.dir = mkdtempSync(join(tmpdir(), "fake-nvidia-smi-"));
    mkdirSync(join(this.dir, "bin"));
    this.path = this.#wrapper("nvidia-smi", "nvidia-smi.mjs");
    this.jobPath = this.#wrapper("fake-job", "fake-job.mjs");
    this.#state = state;
    this.set(state);
  }

  /** Replaces the whole state at once. */
  set(state: FakeState): void {
    this.#state = structuredClone(state);
    const file = join(this.dir, "state.json");
    writeFileSync(`${file}.new`, JSON.stringify(this.#state));
    renameSync(`${file}.new`, file);
  }

  /** Changes a copy of the state and sets it. */
  update(change: (state: FakeState) => void): void {
    const next = structuredClone(this.#state);
    change(next);
    this.set(next);
  }

  /** Each nvidia-smi that was started, in order. */
  calls(): { readonly pid: number; readonly t: number; readonly args: readonly string[] }[] {
    return this.#lines("calls.log");
  }

  /** Each job that met "CUDA out of memory". */
  oomLog(): {
    readonly pid: number;
    readonly t: number;
    readonly gpu: string;
    readonly wantedMb: number;
    readonly freeMb: number;
  }[] {
    return this.#lines("oom.log");
  }

  /** What the jobs did: `start`, `grow`, `ready`, `end`. */
  jobsLog(): {
    readonly pid: number;
    readonly t: number;
    readonly event: string;
    readonly heldMb?: number;
    readonly reason?: string;
  }[] {
    return this.#lines("jobs.log");
  }

  /** Removes the machine. What still runs on it is not ended. */
  dispose(): void {
    rmSync(this.dir, { recursive: true, force: true, maxRetries: 5 });
  }

  #lines<T>(name: string): T[] {
    let text: string;
    try {
      text = readFileSync(join(this.dir, name), "utf8");
    } catch {
      return [];
    }
    return text
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as T);
  }

  #wrapper(name: string, script: string): string {
    const file = join(this.dir, "bin", name);
    const target = fileURLToPath(new URL(script, import.meta.url));
    // exec keeps the pid, so that signals and process lists are about the script itself.
    writeFileSync(
      file,
      `#!/bin/sh\nFAKE_NVIDIA_SMI_STATE='${join(this.dir, "state.json")}' exec '${process.execPath}' '${target}' "$@"\n`,
    );
    chmodSync(file, 0o755);
    return file;
  }
}
