import { Failure } from "../engine/failure.ts";
import type { Reason, Refusal } from "../engine/types.ts";
import type { Ending } from "./execution.ts";
import { failed, type Outcome } from "./outcome.ts";
import type { SlotPlace } from "./slots.ts";

/** Why an execution was asked to end; its message is told. */
export class Cancelled extends Error {}

/** The lease of an execution was gone when it was about to be used. */
export class LeaseLost extends Error {}

export function clientGone(): Cancelled {
  return new Cancelled("The client went away before it was done: ask again, with a request_id to let it go on next time.");
}

export function draining(): Failure {
  return new Failure("DRAINING", "The server is shutting down and takes no new executions: try again in a moment.");
}

/** Its worker failed to start in the same way so often that it is not tried for a while. */
export function workerBroken(plugin: string, lastError: string, waitMs: number): Failure {
  const wait = Math.ceil(waitMs / 1000);
  const message = `The worker of plugin "${plugin}" failed several times in the same way, so it is not tried again for ${wait} s: ${lastError.replace(/\.?$/, ".")} Repair the plugin and load it (LoadPlugin), which tries at once.`;
  return new Failure("WORKER_BROKEN", message, { plugin, retry_after_ms: String(Math.ceil(waitMs)) });
}

/** Its time was over while its worker was being loaded, and then that failed. */
export function tooLate(plugin: string): Outcome {
  return timedOut(plugin, { reasons: [{ code: "POLICY", message: "its worker could not be loaded meanwhile" }] });
}

/** @param what is to be done with the worker: "unloaded", "released". */
export function pluginBusy(plugin: string, what: string, executions: number, isLoading: boolean): Failure {
  const why =
    executions > 0 ? `${executions} executions run on it` : isLoading ? "it is being loaded" : "executions wait for it";
  const message = `The worker of plugin "${plugin}" cannot be ${what} now: ${why}. Wait until that is over, or cancel them (CancelExecution).`;
  return new Failure("PLUGIN_BUSY", message, { plugin, executions: String(executions) });
}

export function releaseUnsupported(plugin: string): Failure {
  const message = `The worker of plugin "${plugin}" cannot give memory back and live: unload it instead (UnloadPlugin).`;
  return new Failure("RELEASE_UNSUPPORTED", message, { plugin });
}

/** Why an execution waits for its turn. */
export function slotReason(plugin: string, place: SlotPlace): Reason {
  const message = `Plugin "${plugin}" runs ${place.running} of ${place.limit} executions (its max_concurrency).`;
  return { code: "BEHIND_IN_QUEUE", message };
}

export function notAdmitted(plugin: string, refusal: Refusal): Outcome {
  return failed("NOT_ADMITTED", `Plugin "${plugin}" was not admitted: ${sentences(refusal)}`, { refusal });
}

export function timedOut(plugin: string, refusal: Refusal): Outcome {
  const message = `Plugin "${plugin}" waited as long as it was allowed to: ${sentences(refusal)} Ask again with a longer timeout, or 0 for ever.`;
  return failed("TIMED_OUT", message, { refusal });
}

export function leaseLost(plugin: string, error: Error): Outcome {
  return failed("LEASE_LOST", `Plugin "${plugin}" lost its lease as it began: ${error.message} Run it again.`);
}

/** How an execution ends that threw. @param signal the execution's. */
export function endingOf(error: unknown, signal: AbortSignal): Ending {
  if (error instanceof Cancelled) return { outcome: failed("CANCELLED", error.message) };
  if (error instanceof Failure && error.reason === "TICKET_CANCELLED") {
    return { outcome: failed("CANCELLED", error.message) };
  }
  if (error instanceof Failure && error.reason === "WORKER_BROKEN") {
    return { outcome: failed("WORKER_BROKEN", error.message), error };
  }
  if (error instanceof Failure) {
    return { outcome: failed(error === signal.reason ? "CANCELLED" : "NOT_ADMITTED", error.message), error };
  }
  // Not for the caller's eyes: the boundary turns it into INTERNAL with an id, and the log has the rest.
  return { outcome: failed("NOT_ADMITTED", "It failed inside the server; the server's log says why."), error };
}

/** Not all of them: a machine has up to 64 GPUs, and an error's text travels in headers. */
function sentences({ reasons }: Refusal): string {
  const first = reasons.slice(0, 3).map((r) => r.message.replace(/\.?$/, "."));
  return reasons.length <= 3 ? first.join(" ") : `${first.join(" ")} (and ${reasons.length - 3} more reasons)`;
}
