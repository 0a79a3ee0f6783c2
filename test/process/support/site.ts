import { describe } from "vitest";
import { SchedulerService } from "#gen/sluice/v1/scheduler_pb.js";
import { fakeBackend } from "./fake-machine.ts";
import { labBackend } from "./lab-machine.ts";
import type { Backend, Machine, MachineGpu } from "./machine.ts";
import type { Scheduler } from "./scheduler.ts";
import { type Server, type Started, startProgram, startServer, startSluice } from "./server.ts";

/** Runs the same tests on every kind of machine. Those that cannot be had here are skipped, and it is said why. */
export function onEachMachine(tests: (backend: Backend) => void): void {
  for (const backend of [fakeBackend, labBackend]) {
    if (backend.missing !== undefined) process.stderr.write(`skipped: tests on ${backend.name}, because ${backend.missing}\n`);
    describe.skipIf(backend.missing !== undefined)(`on ${backend.name}`, () => tests(backend));
  }
}

/** Runs long tests once: over the real nvidia-smi where the lab is at hand, else on the fake. */
export function onTheBestMachine(tests: (backend: Backend) => void): void {
  const isLab = labBackend.missing === undefined;
  if (!isLab) process.stderr.write(`not on ${labBackend.name}, because ${labBackend.missing}\n`);
  const backend = isLab ? labBackend : fakeBackend;
  describe(`on ${backend.name}`, () => tests(backend));
}

/** A machine with a server that measures it. `await using` ends the server, the jobs that were started here, and the machine. */
export interface Site extends AsyncDisposable {
  readonly machine: Machine;
  readonly server: Server;
  readonly scheduler: Scheduler;
  /** Starts a job that takes memory on the GPUs of `env`, outside the server's view of who may. */
  startJob(mib: number, seconds: number, env: Readonly<Record<string, string>>): Started;
  /** Starts `sluice run` against this server. */
  run(flags: readonly string[], command: readonly string[]): Started;
}

/** Short, so that tests are; each reading of the real program takes about 10 ms. */
export const samplePeriodMs = 200;

/** Starts a server on a machine of this kind. `before` changes the machine before the server sees it. */
export async function openSite(
  backend: Backend,
  gpus: readonly MachineGpu[],
  args: readonly string[] = [],
  before: (machine: Machine) => void = () => {},
): Promise<Site> {
  const machine = backend.create(gpus);
  const jobs: Started[] = [];
  const remember = (job: Started) => {
    jobs.push(job);
    return job;
  };
  let server: Server;
  try {
    before(machine);
    server = await startServer(["--nvidia-smi", machine.nvidiaSmi, "--sample-period", `${samplePeriodMs}`, ...args]);
  } catch (error) {
    machine.dispose();
    throw error;
  }
  return {
    machine,
    server,
    scheduler: server.client(SchedulerService),
    startJob(mib, seconds, env) {
      const [program, ...rest] = machine.job(mib, seconds);
      return remember(startProgram(program, rest, env));
    },
    run: (flags, command) => remember(startSluice(["run", "--address", server.grpc, ...flags, "--", ...command])),
    async [Symbol.asyncDispose]() {
      // A machine that hangs would keep its nvidia-smi from ending.
      machine.hang(false);
      for (const job of jobs) if (job.ended() === undefined) job.process.kill("SIGKILL");
      // `sluice run` ends its command once it is killed; that command writes into the machine until then.
      await Promise.allSettled(jobs.map((job) => job.end));
      await server.stop();
      machine.dispose();
    },
  };
}
