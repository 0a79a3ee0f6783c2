import { Failure } from "../engine/failure.ts";
import type { Reason } from "../engine/types.ts";
import type { Admission, Admitted } from "./admission.ts";
import { deadline } from "./deadline.ts";
import { LeaseLost, leaseLost, notAdmitted, slotReason, timedOut } from "./endings.ts";
import type { Execution } from "./execution.ts";
import type { ExecutionRequest } from "./executor.ts";
import type { Outcome } from "./outcome.ts";
import type { LoadedPlugin } from "./registry.ts";
import type { Job } from "./runner.ts";
import type { Slots } from "./slots.ts";

type Granted = Extract<Admitted, { kind: "granted" }>;

/** The way of one execution: its turn, its lease, its run, and back with what it got, whatever happens. */
export class Attempts {
  readonly #admission: Admission;
  readonly #slots: Slots;
  readonly #defaultTimeoutMs: number | undefined;
  readonly #onError: (error: unknown) => void;

  /**
   * @param defaultTimeoutMs longest wait for a turn of requests without a timeout; undefined or 0: for ever.
   * @param onError told of what must not happen.
   */
  constructor(admission: Admission, slots: Slots, defaultTimeoutMs: number | undefined, onError: (error: unknown) => void) {
    this.#admission = admission;
    this.#slots = slots;
    this.#defaultTimeoutMs = defaultTimeoutMs;
    this.#onError = onError;
  }

  /** Resolves when nothing of it is left and everything was given back. Rejects when there is no outcome to tell. */
  async run(execution: Execution, plugin: LoadedPlugin, job: Job, request: ExecutionRequest): Promise<Outcome> {
    const timeoutMs = request.timeoutMs ?? this.#defaultTimeoutMs;
    const wait = deadline(execution.signal, timeoutMs ?? 0);
    let reasons: readonly Reason[] = [];
    let leave: () => void;
    try {
      leave = await this.#slots.enter(request.plugin, wait.signal, (place) => {
        reasons = [slotReason(request.plugin, place)];
        execution.queued({ position: place.position, reasons });
      });
    } catch (error) {
      if (execution.signal.aborted) throw execution.signal.reason;
      if (wait.signal.aborted) return timedOut(request.plugin, { reasons });
      throw error;
    } finally {
      wait.stop();
    }
    try {
      // The wait for a turn is part of the wait that was asked for; it must not become 0, which means "for ever".
      const left = timeoutMs ? Math.max(1, Math.ceil(timeoutMs - wait.waitedMs())) : timeoutMs;
      return await this.#admit(execution, plugin, job, request, left);
    } finally {
      leave();
    }
  }

  async #admit(
    execution: Execution,
    plugin: LoadedPlugin,
    job: Job,
    request: ExecutionRequest,
    timeoutMs: number | undefined,
  ): Promise<Outcome> {
    execution.signal.throwIfAborted();
    const { policy, tenant, priority } = request;
    const { requirements, name } = plugin.manifest;
    const asked = { name, requirements, tenant, priority, policy, timeoutMs };
    const answer = await this.#admission.admit(asked, execution.signal, (place) => execution.queued(place));
    if (answer.kind === "refused") return notAdmitted(name, answer.refusal);
    if (answer.kind === "timed-out") return timedOut(name, answer.refusal);
    return await this.#runOnLease(execution, job, name, answer);
  }

  async #runOnLease(execution: Execution, job: Job, name: string, { lease, env }: Granted): Promise<Outcome> {
    const admission = this.#admission;
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
      if (id !== undefined) this.#always(() => admission.finishExecution(lease.id, id));
      this.#always(() => admission.release(lease.id, lease.token));
    }
  }

  /** Giving back goes on whatever one step of it throws. */
  #always(step: () => void): void {
    try {
      step();
    } catch (error) {
      this.#onError(error);
    }
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
