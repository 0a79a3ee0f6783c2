import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";
import type { JsonObject } from "../../../src/executor/json.ts";
import type { CallEnd, InitEnd, WorkerCall } from "../../../src/executor/worker-call.ts";
import type { InitializeOptions, WorkerCommand, WorkerOptions } from "../../../src/executor/worker-options.ts";
import { WorkerProcess } from "../../../src/executor/worker-process.ts";

/** The program of the fake worker. */
export const program = fileURLToPath(new URL("./worker.mjs", import.meta.url));

/** What the fake worker does when it is asked for something; see worker.mjs. */
export interface FakeOptions {
  readonly load?: "ok" | "error" | "die" | "slow";
  readonly code?: number;
  readonly data?: object;
  readonly canRelease?: boolean;
  readonly release?: "fails" | "hangs";
  readonly shutdown?: "hangs";
  readonly exitCode?: number;
  readonly ignoreTerm?: boolean;
  readonly ignoreEof?: boolean;
}

export const params = { protocol: 1, plugin: { name: "fake", version: "1" }, max_concurrency: 4 };

/** Starts the fake worker, without loading it. */
export async function startFake(
  fake: FakeOptions = {},
  options: WorkerOptions = {},
  command: Partial<WorkerCommand> = {},
): Promise<WorkerProcess> {
  const started = await WorkerProcess.start(
    {
      name: "fake",
      argv: [process.execPath, program, JSON.stringify(fake)],
      cwd: tmpdir(),
      env: { PATH: process.env.PATH ?? "" },
      killGraceMs: 500,
      ...command,
    },
    options,
  );
  if (!started.ok) throw new Error(started.message);
  return started.worker;
}

/** What was told while a worker loaded. */
export class Loader {
  readonly lines: string[] = [];
  readonly progress: { readonly message: string; readonly fraction: number | undefined }[] = [];

  load(worker: WorkerProcess, more: Partial<InitializeOptions> = {}): Promise<InitEnd> {
    return worker.initialize(params, {
      stallMs: 60_000,
      signal: new AbortController().signal,
      onLog: (line) => this.lines.push(line),
      onProgress: (message, fraction) => this.progress.push({ message, fraction }),
      ...more,
    });
  }
}

/** Starts and loads the fake worker. */
export async function loadedFake(...how: Parameters<typeof startFake>): Promise<WorkerProcess> {
  const worker = await startFake(...how);
  const end = await new Loader().load(worker);
  if (end.kind !== "ready") throw new Error(`the fake did not load: ${JSON.stringify(end)}`);
  return worker;
}

let calls = 0;

/** One call, and what it heard. */
export class Call implements WorkerCall {
  readonly executionId: string;
  readonly lines: string[] = [];
  readonly stderr: string[] = [];
  readonly progress: { readonly message: string; readonly fraction: number | undefined }[] = [];
  readonly controller = new AbortController();
  tooSlowTimes = 0;

  constructor() {
    calls += 1;
    this.executionId = `execution-${calls}`;
  }

  run(worker: WorkerProcess, args: JsonObject): Promise<CallEnd> {
    return worker.execute(args, this, this.controller.signal);
  }

  onLog(line: string, stderr: boolean): void {
    (stderr ? this.stderr : this.lines).push(line);
  }

  onProgress(message: string, fraction: number | undefined): void {
    this.progress.push({ message, fraction });
  }

  ready(): Promise<void> | undefined {
    return undefined;
  }

  tooSlow(): void {
    this.tooSlowTimes += 1;
  }
}

/** A call whose reader keeps at most `max`, and takes nothing until it is told to. */
export class SlowCall extends Call {
  /** Most that ever waited for the reader. */
  mostKept = 0;
  #kept = 0;
  #max: number;
  #room: { readonly promise: Promise<void>; readonly resolve: () => void } | undefined;

  constructor(max: number) {
    super();
    this.#max = max;
  }

  /** Takes all that waits. */
  take(): void {
    this.#kept = 0;
    this.#room?.resolve();
    this.#room = undefined;
  }

  /** From now on it takes everything at once. */
  hurry(): void {
    this.#max = Number.POSITIVE_INFINITY;
    this.take();
  }

  get full(): boolean {
    return this.#kept >= this.#max;
  }

  override onLog(line: string, stderr: boolean): void {
    super.onLog(line, stderr);
    this.#kept += 1;
    this.mostKept = Math.max(this.mostKept, this.#kept);
  }

  override ready(): Promise<void> | undefined {
    if (!this.full) return undefined;
    if (this.#room === undefined) {
      let resolve = () => {};
      const promise = new Promise<void>((r) => {
        resolve = r;
      });
      this.#room = { promise, resolve };
    }
    return this.#room.promise;
  }
}
