import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ExecutorService } from "#gen/sluice/v1/executor_pb.js";
import { readProcess } from "../../../src/executor/process-tree.ts";
import { FakeNvidiaSmi, type FakeState } from "../../fakes/nvidia-smi/fake.ts";
import { type Server, startServer } from "./server.ts";
import { samplePeriodMs } from "./site.ts";

const fakes = new URL("../../fakes/worker/", import.meta.url);
const program = (name: string) => fileURLToPath(new URL(name, fakes));

/** What a worker on the pretended machine noted. */
export interface WorkerNote {
  readonly t: number;
  readonly pid: number;
  /** Its start in clock ticks since boot, as /proc writes it. */
  readonly start: string;
  readonly event: "start" | "shutdown" | "SIGTERM" | "stdin ended";
  /** Executions that it had not answered then. */
  readonly underWay: number;
}

/** A pretended machine with a folder of plugins. `await using` removes it; servers end before. */
export class WorkerSite implements AsyncDisposable {
  readonly fake: FakeNvidiaSmi;
  readonly plugins: string;
  readonly #dir = mkdtempSync(join(tmpdir(), "sluice-workers-"));
  readonly #servers: Server[] = [];
  readonly #mustEnd: { readonly pid: number; readonly start: number | undefined }[] = [];

  constructor(gpus: FakeState["gpus"]) {
    this.fake = new FakeNvidiaSmi({ gpus });
    this.plugins = join(this.#dir, "plugins");
    mkdirSync(this.plugins);
  }

  /** A folder that is there as long as the machine. */
  get stateDir(): string {
    return join(this.#dir, "state");
  }

  /** Adds a worker that takes so much GPU memory (MiB) when it loads. */
  gpuWorker(name: string, mib: number, more: { readonly answerMs?: number; readonly maxConcurrency?: number } = {}): void {
    this.#manifest(name, {
      resources: { requires_gpu: true, min_gpu_vram_mb: mib },
      command: [process.execPath, program("gpu-worker.mjs"), JSON.stringify({ mib, answerMs: more.answerMs ?? 0 })],
      env: { FAKE_NVIDIA_SMI_STATE: join(this.fake.dir, "state.json") },
      max_concurrency: more.maxConcurrency ?? 1,
      min_residence_s: 0,
    });
  }

  /** Adds a worker that needs no GPU and does as worker.mjs says. */
  worker(name: string, options: object = {}): void {
    this.#manifest(name, { resources: {}, command: [process.execPath, program("worker.mjs"), JSON.stringify(options)] });
  }

  /** Adds a plugin in command mode: a shell that runs `script`. */
  command(name: string, script: string): void {
    this.#manifest(name, { mode: "command", resources: {}, command: ["sh", "-c", script] });
  }

  /** Starts a server on it. Several may be started, one after the other. */
  async serve(args: readonly string[] = []): Promise<Server> {
    const nvidia = ["--nvidia-smi", this.fake.path, "--sample-period", `${samplePeriodMs}`];
    const server = await startServer([...nvidia, "--plugins", this.plugins, "--policy", "queue", ...args]);
    this.#servers.push(server);
    return server;
  }

  /** Has a worker killed at the end that would stay when the test fails. */
  mustEnd(pid: number): void {
    this.#mustEnd.push({ pid, start: readProcess(pid)?.start });
  }

  /** What workers with GPU memory noted, in order. */
  notes(): WorkerNote[] {
    return readFileSync(join(this.fake.dir, "workers.log"), "utf8")
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as WorkerNote);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.#servers) await server.stop();
    for (const { pid, start } of this.#mustEnd) if (start !== undefined && runs(pid, start)) process.kill(pid, "SIGKILL");
    this.fake.dispose();
    rmSync(this.#dir, { recursive: true, force: true, maxRetries: 5 });
  }

  #manifest(name: string, fields: object): void {
    writeFileSync(join(this.plugins, `${name}.json`), JSON.stringify({ name, version: "1.0.0", mode: "worker", ...fields }));
  }
}

/** True while this process runs; a zombie has ended. @param start of /proc, so that a later process with its pid is none. */
export function runs(pid: number, start?: number): boolean {
  const row = readProcess(pid);
  return row !== undefined && !row.zombie && (start === undefined || row.start === start);
}

/** Pid of a plugin's worker; 0 while there is none. */
export async function workerPid(server: Server, name: string): Promise<number> {
  return (await server.client(ExecutorService).getPlugin({ name })).plugin?.worker?.pid ?? 0;
}
