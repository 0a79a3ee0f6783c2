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

export function workerModeUnsupported(plugin: string): Failure {
  const message = `Plugin "${plugin}" is of mode "worker"; this version runs plugins in mode "command": change its manifest, or use a version that keeps workers.`;
  return new Failure("WORKER_MODE_UNSUPPORTED", message, { plugin });
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
