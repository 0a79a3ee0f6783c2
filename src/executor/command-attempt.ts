import { Failure } from "../engine/failure.ts";
import type { Requirements } from "../engine/types.ts";
import type { Admission, Admitted } from "./admission.ts";
import { LeaseLost, leaseLost, notAdmitted, timedOut } from "./endings.ts";
import type { Execution } from "./execution.ts";
import type { ExecutionRequest } from "./executor.ts";
import { type LearnedMemory, type MemoryLimit, type MemoryProfiles, profileKey } from "./memory-profile.ts";
import type { Outcome } from "./outcome.ts";
import type { LoadedPlugin } from "./registry.ts";
import type { Job } from "./runner.ts";

type Granted = Extract<Admitted, { kind: "granted" }>;

export interface CommandSite {
  readonly admission: Admission;
  readonly profiles: MemoryProfiles;
  readonly learnedMemory: LearnedMemory;
  /** Told of what must not happen. */
  readonly onError: (error: unknown) => void;
}

/** One execution of a plugin in command mode. */
export interface CommandTask {
  readonly execution: Execution;
  readonly plugin: LoadedPlugin;
  readonly job: Job;
  readonly request: ExecutionRequest;
  /** For the gate, in ms; 0: for ever. Asked before each try. */
  readonly leftMs: () => number;
}

/**
 * Gets a lease, runs on it, and gives back what it got, whatever happens; tries once more with more memory when it ran out.
 * Resolves when nothing of it is left. Rejects when there is no outcome to tell.
 */
export async function runAsCommand(site: CommandSite, task: CommandTask): Promise<Outcome> {
  const { manifest } = task.plugin;
  const { profiles, learnedMemory, admission } = site;
  const key = profileKey(manifest);
  const ceiling = admission.ceiling();
  const first = await runOnce(site, task, profiles.needOf(key, manifest.requirements, learnedMemory, ceiling));
  const { outcome, reached } = first;
  if (outcome.ok || outcome.failure.code !== "OUT_OF_MEMORY" || task.execution.signal.aborted) return outcome;
  const ran = { resource: "ram" as const };
  task.execution.waitsAgain();
  const more = profiles.afterOutOfMemory(key, manifest.requirements, reached, ran, learnedMemory, ceiling);
  const again = (await runOnce(site, task, more)).outcome;
  return again.ok ? again : { ok: false, failure: { ...again.failure, attempts: 2 } };
}

async function runOnce(
  site: CommandSite,
  { execution, plugin, job, request, leftMs }: CommandTask,
  requirements: Requirements,
): Promise<{ outcome: Outcome; reached: MemoryLimit }> {
  execution.signal.throwIfAborted();
  const { policy, tenant, priority } = request;
  const { name, importance } = plugin.manifest;
  const asked = { name, requirements, tenant, priority, importance, policy, timeoutMs: leftMs() };
  const answer = await site.admission.admit(asked, execution.signal, (place) => execution.queued(place));
  if (answer.kind === "refused") return { outcome: notAdmitted(name, answer.refusal), reached: {} };
  if (answer.kind === "timed-out") return { outcome: timedOut(name, answer.refusal), reached: {} };
  const memory = site.admission.watchMemory(answer.lease.id);
  try {
    const outcome = await runOnLease(site, execution, job, name, answer);
    const reached = memory.peak();
    const granted = { ramMb: requirements.ramMb, ...(requirements.gpuCount > 0 ? { vramMb: requirements.vramMb } : {}) };
    site.profiles.observe(profileKey(plugin.manifest), { ...reached, failed: !outcome.ok, granted });
    return { outcome, reached };
  } finally {
    memory.stop();
  }
}

async function runOnLease(
  { admission, onError }: CommandSite,
  execution: Execution,
  job: Job,
  name: string,
  { lease, env }: Granted,
): Promise<Outcome> {
  // Giving back goes on whatever one step of it throws.
  const always = (step: () => void) => {
    try {
      step();
    } catch (error) {
      onError(error);
    }
  };
  let counted: string | undefined;
  try {
    execution.signal.throwIfAborted();
    counted = onLease(() => admission.startExecution(lease.id, lease.token));
    execution.admitted(lease, env);
    return await job.run({
      env,
      signal: execution.signal,
      onStarted: (pid) => {
        // Not visible: it has ended already, or its memory cannot be credited; it may run all the same.
        onLease(() => admission.attachProcess(lease.id, lease.token, pid));
        execution.started(pid);
      },
      onLog: (line, stderr) => execution.log(line, stderr),
      onProgress: (message, fraction) => execution.progress(message, fraction),
      onLoading: (message) => execution.loading(message),
      ready: () => execution.ready(),
    });
  } catch (error) {
    if (error instanceof LeaseLost) return leaseLost(name, error);
    throw error;
  } finally {
    const id = counted;
    if (id !== undefined) always(() => admission.finishExecution(lease.id, id));
    always(() => admission.release(lease.id, lease.token));
  }
}

function onLease<T>(step: () => T): T {
  try {
    return step();
  } catch (error) {
    if (error instanceof Failure) throw new LeaseLost(error.message);
    throw error;
  }
}
