import type { Reason } from "../engine/types.ts";
import type { Admission } from "./admission.ts";
import type { Deadline } from "./deadline.ts";
import { timedOut } from "./endings.ts";
import type { Execution } from "./execution.ts";
import type { ExecutionRequest } from "./executor.ts";
import { exitMessage } from "./exit-message.ts";
import type { JsonObject } from "./json.ts";
import { type MemoryLimit, type MemoryProfiles, type OutOfMemory, profileKey } from "./memory-profile.ts";
import { killedByKernel, killsNow, type OomKills } from "./oom-kills.ts";
import { failed, type Outcome } from "./outcome.ts";
import type { LoadedPlugin } from "./registry.ts";
import type { Resident } from "./resident.ts";
import { ranOut } from "./resident-load.ts";
import type { WorkerUse } from "./waiter.ts";
import type { CallEnd } from "./worker-call.ts";

export interface WorkerAttemptSite {
  readonly admission: Admission;
  readonly profiles: MemoryProfiles;
  readonly oomKills: OomKills;
}

/** One execution of a plugin in worker mode. */
export interface WorkerTask {
  readonly execution: Execution;
  readonly plugin: LoadedPlugin;
  readonly args: JsonObject;
  readonly request: ExecutionRequest;
  /** Of its wait for a worker. */
  readonly wait: Deadline;
}

/** Tries of one execution: when it runs out of memory it is tried again with more, once. */
const tries = 2;

/** Gets the worker, runs on it, and gives it back, whatever happens. Rejects when there is no outcome to tell. */
export async function runOnWorker(site: WorkerAttemptSite, resident: Resident, task: WorkerTask): Promise<Outcome> {
  let attempt = 0;
  const nextTry = () => {
    attempt += 1;
  };
  for (;;) {
    nextTry();
    const use = await acquire(resident, task, nextTry);
    if ("ok" in use) return use;
    const { end, ran } = await runOnce(site, resident, task, use);
    if (ran !== undefined && attempt < tries && !task.execution.signal.aborted) continue;
    return outcomeOf(task, end, ran, attempt);
  }
}

/**
 * Waits for the worker; answers an outcome when there is none for it.
 * @param triesAgain its worker ran out of memory while it loaded, which was a try.
 */
function acquire(
  resident: Resident,
  { execution, plugin, request, wait }: WorkerTask,
  triesAgain: () => void,
): Promise<WorkerUse | Outcome> {
  return new Promise((resolve, reject) => {
    let reasons: readonly Reason[] = [];
    const settle = (settled: () => void) => {
      wait.signal.removeEventListener("abort", over);
      execution.signal.removeEventListener("abort", over);
      settled();
    };
    const over = () => {
      if (execution.signal.aborted) {
        leave();
        settle(() => reject(execution.signal.reason));
      } else if (!resident.isLoading) {
        // With room and a worker on its way, it is not the wait that takes long.
        leave();
        settle(() => resolve(timedOut(plugin.manifest.name, { reasons })));
      }
    };
    let leave = () => {};
    wait.signal.addEventListener("abort", over);
    execution.signal.addEventListener("abort", over);
    leave = resident.wait({
      plugin,
      tenant: request.tenant,
      priority: request.priority,
      policy: request.policy,
      isLate: () => wait.signal.aborted,
      queued: (place) => {
        reasons = place.reasons;
        execution.waitsAgain();
        execution.queued(place);
      },
      admitted: (lease, env) => execution.admitted(lease, env),
      loading: (message) => execution.loading(message),
      log: (line, stderr) => execution.log(line, stderr),
      triesAgain,
      ready: () => execution.ready(),
      give: (use) => settle(() => resolve(use)),
      fail: (outcome) => settle(() => resolve(outcome)),
      reject: (error) => settle(() => reject(error)),
    });
    if (wait.signal.aborted || execution.signal.aborted) over();
  });
}

interface Run {
  readonly end: CallEnd;
  /** What ran out, when that is known. */
  readonly ran: OutOfMemory | undefined;
}

async function runOnce(site: WorkerAttemptSite, resident: Resident, task: WorkerTask, use: WorkerUse): Promise<Run> {
  const { execution, plugin, args } = task;
  const { manifest } = plugin;
  execution.admitted(use.lease, use.env);
  execution.started(use.worker.pid);
  const memory = site.admission.watchMemory(use.lease.id);
  let goesOn = false;
  try {
    const killsBefore = killsNow(site.oomKills);
    const end = await use.worker.execute(
      args,
      {
        executionId: execution.identity.id,
        onLog: (line, stderr) => execution.log(line, stderr),
        onProgress: (message, fraction) => execution.progress(message, fraction),
        ready: () => execution.ready(),
      },
      execution.signal,
    );
    const ran = await whatRanOut(end, killsBefore, site.oomKills);
    const key = profileKey(manifest);
    const granted = {
      vramMb: manifest.requirements.gpuCount > 0 ? (use.lease.gpus[0]?.vramMb ?? 0) : 0,
      ramMb: use.lease.ramMb,
    };
    const reached = larger(memory.peak(), use.loadPeak);
    if (end.kind === "result") {
      resident.succeeded();
      goesOn = true;
      // It may be over before anything was measured of it.
      memory.finish((peak) => site.profiles.observe(key, { ...withLoad(peak, use.loadPeak), failed: false, granted }));
    } else site.profiles.observe(key, { ...reached, failed: true, granted });
    if (ran !== undefined) {
      resident.need.ranOut(manifest, reached, ran);
      // What it could not get may be held in pieces: only a new process has none of them.
      use.retire();
    }
    if (end.kind === "error" && end.fatal) {
      resident.failed(end.message);
      use.retire();
    }
    return { end, ran };
  } finally {
    if (!goesOn) memory.stop();
    use.done();
  }
}

async function whatRanOut(
  end: CallEnd,
  killsBefore: Promise<number | undefined>,
  kills: OomKills,
): Promise<OutOfMemory | undefined> {
  if (end.kind === "out-of-memory") return ranOut(end);
  if (end.kind === "lost" && (await killedByKernel(end.report, kills, killsBefore))) return { resource: "ram" };
  return undefined;
}

/** What a load had reached says nothing by itself: the last measurement of it may be from before it took anything. */
function withLoad(run: MemoryLimit, load: MemoryLimit): MemoryLimit {
  return {
    ...(run.vramMb === undefined ? {} : { vramMb: Math.max(run.vramMb, load.vramMb ?? 0) }),
    ...(run.ramMb === undefined ? {} : { ramMb: Math.max(run.ramMb, load.ramMb ?? 0) }),
  };
}

function larger(a: MemoryLimit, b: MemoryLimit): MemoryLimit {
  const most = (x: number | undefined, y: number | undefined) => (x === undefined ? y : y === undefined ? x : Math.max(x, y));
  const vramMb = most(a.vramMb, b.vramMb);
  const ramMb = most(a.ramMb, b.ramMb);
  return { ...(vramMb === undefined ? {} : { vramMb }), ...(ramMb === undefined ? {} : { ramMb }) };
}

function outcomeOf({ plugin, execution }: WorkerTask, end: CallEnd, ran: OutOfMemory | undefined, attempts: number): Outcome {
  const name = `Plugin "${plugin.manifest.name}"`;
  const told = { attempts };
  if (ran !== undefined && end.kind !== "result") {
    const what = ran.resource === "gpu" ? "GPU memory" : "host memory";
    const field = ran.resource === "gpu" ? "min_gpu_vram_mb" : "min_system_ram_mb";
    const said = end.kind === "out-of-memory" ? `: ${end.message}` : ", and the kernel ended it";
    const again = attempts > 1 ? " It was tried again with more, and ran out again." : "";
    return failed(
      "OUT_OF_MEMORY",
      `${name} ran out of ${what}${said}.${again} Raise resources.${field} in its manifest, or give it less to do.`,
      told,
    );
  }
  switch (end.kind) {
    case "result":
      return { ok: true, result: end.value };
    case "cancelled": {
      const { reason } = execution.signal;
      return failed("CANCELLED", reason instanceof Error ? reason.message : "The execution was cancelled.", told);
    }
    case "error":
      return failed("PLUGIN_ERROR", `${name} failed: ${end.message}`, told);
    case "bad-result":
      return failed("BAD_RESULT", `${name} answered something that cannot be passed on. ${end.problem}`, told);
    case "out-of-memory":
      return failed("OUT_OF_MEMORY", `${name} ran out of memory: ${end.message}`, told);
    case "lost": {
      const { report, stderrTail, problem } = end;
      const more = {
        ...told,
        ...(report.code === undefined ? {} : { exitCode: report.code }),
        ...(report.signal === undefined ? {} : { signal: report.signal }),
        ...(stderrTail === "" ? {} : { stderrTail }),
      };
      const how = problem ?? (report.weKilled ? "was ended" : exitMessage(plugin, report, stderrTail));
      return failed("WORKER_LOST", `The worker of plugin "${plugin.manifest.name}" ended while it ran: ${how}`, more);
    }
  }
}
