import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Backend, defaultReservedMb, type Machine, type MachineGpu } from "./machine.ts";

const lab = process.env.GPULAB ?? "";

/**
 * The real nvidia-smi program over a stub of its driver library, where the environment variable GPULAB names the folder of the lab
 * that sets that up (the one with setup.sh).
 */
export const labBackend: Backend = {
  name: "the real nvidia-smi over a stub driver",
  missing: missing(),
  create: (gpus) => new LabMachine(gpus),
};

function missing(): string | undefined {
  if (lab === "") return "the environment variable GPULAB is not set";
  return existsSync(join(lab, "setup.sh")) ? undefined : `GPULAB=${lab} has no setup.sh`;
}

/** The lab reads these files afresh for every call; they are replaced by rename, so they are never half there. */
class LabMachine implements Machine {
  readonly #dir: string;
  #gpus: readonly MachineGpu[];
  readonly #lost = new Set<number>();
  readonly #foreign = new Map<number, number>();

  constructor(gpus: readonly MachineGpu[]) {
    this.#dir = mkdtempSync(join(tmpdir(), "sluice-lab-"));
    this.#gpus = gpus;
    this.setGpus(gpus);
    execFileSync("sh", [join(lab, "setup.sh"), this.#dir], { stdio: ["ignore", "pipe", "inherit"], timeout: 120_000 });
  }

  get nvidiaSmi(): string {
    return join(this.#dir, "bin", "nvidia-smi");
  }

  uuid(index: number): string {
    return `GPU-5eed0000-0000-4000-8000-${index.toString(16).padStart(12, "0")}`;
  }

  setGpus(gpus: readonly MachineGpu[]): void {
    this.#gpus = gpus;
    for (const [i, gpu] of gpus.entries()) this.#foreign.set(i, gpu.foreignMb ?? 0);
    this.#writeForeign();
    this.#writeGpus();
  }

  foreign(index: number, mib: number): void {
    this.#foreign.set(index, mib);
    this.#writeForeign();
  }

  job(mib: number, seconds: number, rampSeconds = 0, gpuCount = 1): readonly [string, ...string[]] {
    const program = join(this.#dir, "bin", "cuda-job");
    const takes = ["--mib", `${mib}`, "--gpus", `${gpuCount}`];
    return [program, ...takes, "--seconds", `${seconds}`, "--ramp-seconds", `${rampSeconds}`];
  }

  releaseLag(ms: number): void {
    this.#write("lag_ms", `${ms}\n`);
  }

  lose(index: number): void {
    this.#lost.add(index);
    this.#writeGpus();
  }

  recover(index: number): void {
    this.#lost.delete(index);
    this.#writeGpus();
  }

  hang(on: boolean): void {
    if (on) this.#write("hang", "");
    else this.#remove("hang");
  }

  noDriver(on: boolean): void {
    if (on) this.#write("fail", "9\n");
    else this.#remove("fail");
  }

  outOfMemory() {
    let text: string;
    try {
      text = readFileSync(join(this.#dir, "oom.log"), "utf8");
    } catch {
      return [];
    }
    return text
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as { pid: number });
  }

  dispose(): void {
    rmSync(this.#dir, { recursive: true, force: true, maxRetries: 5 });
  }

  #writeGpus(): void {
    const lines = this.#gpus.map((gpu, i) =>
      [
        i,
        this.uuid(i),
        "NVIDIA GeForce RTX 4090",
        gpu.totalMb,
        gpu.reservedMb ?? defaultReservedMb,
        this.#lost.has(i) ? "lost" : "ok",
      ].join("\t"),
    );
    this.#write("gpus.tsv", `${lines.join("\n")}\n`);
  }

  #writeForeign(): void {
    const lines = [...this.#foreign].filter(([, mib]) => mib > 0).map(([i, mib]) => `${this.uuid(i)}\t${mib}\n`);
    this.#write("external.tsv", lines.join(""));
  }

  #write(name: string, text: string): void {
    const file = join(this.#dir, name);
    writeFileSync(`${file}.new`, text);
    renameSync(`${file}.new`, file);
  }

  #remove(name: string): void {
    rmSync(join(this.#dir, name), { force: true });
  }
}
