import { setTimeout as delay } from "node:timers/promises";
import { durationFromMs, durationMs, timestampDate, timestampMs } from "@bufbuild/protobuf/wkt";
import { type Client, Code, ConnectError } from "@connectrpc/connect";
import type { Queued, SchedulerService } from "#gen/sluice/v1/scheduler_pb.js";
import { Hold, type Lease, type Reason, type Refusal, type Workload } from "#gen/sluice/v1/types_pb.js";
import { reasonText } from "../describe-work.ts";
import type { Standing, WaitLine } from "./wait-line.ts";
import { awayMs, isAway } from "./while-away.ts";

/** What is asked for. */
export interface WaitRequest {
  readonly workload: Workload;
  /** Empty: whoever goes away loses the place at once. */
  readonly requestId: string;
  /** Undefined: the server's. */
  readonly graceMs?: number;
  readonly policy: string;
  /** Undefined: the server's default; 0: for ever. */
  readonly timeoutMs: number | undefined;
  readonly ttlMs: number | undefined;
}

export type WaitOutcome =
  | { readonly kind: "granted"; readonly lease: Lease; readonly grantedAt: number }
  | { readonly kind: "refused"; readonly refusal: Refusal | undefined }
  | { readonly kind: "timed-out"; readonly waitedMs: number; readonly reasons: readonly Reason[] }
  | { readonly kind: "interrupted" };

/** How long nobody may answer at the very first. A restart takes a second or two; a wrong address should be told soon. */
const firstAnswerMs = 5_000;

/**
 * Waits for a lease. One that is started while the server restarts asks for a few seconds; a server that goes away meanwhile (a restart) is asked again for a minute: a job that has waited all
 * night should not die of it.
 * @param interrupt takes the request out of the queue.
 */
export async function waitForLease(
  scheduler: Client<typeof SchedulerService>,
  request: WaitRequest,
  line: WaitLine,
  interrupt: AbortSignal,
): Promise<WaitOutcome> {
  const start = performance.now();
  let lastHeard: number | undefined;
  let ticketId = "";
  let away = false;
  for (;;) {
    try {
      const timeoutMs =
        request.timeoutMs === undefined || request.timeoutMs === 0 ? request.timeoutMs : remaining(request.timeoutMs, start);
      for await (const message of scheduler.waitForResources(wire(request, timeoutMs), { signal: interrupt })) {
        lastHeard = performance.now();
        away = false;
        ticketId = message.ticketId;
        const { event } = message;
        if (event.case === "queued") line.update(standingFrom(event.value));
        else if (event.case === "granted" && event.value.lease !== undefined) {
          return { kind: "granted", lease: event.value.lease, grantedAt: lastHeard };
        } else if (event.case === "refused") return { kind: "refused", refusal: event.value.refusal };
        else if (event.case === "timedOut") {
          const waitedMs = event.value.waited === undefined ? performance.now() - start : durationMs(event.value.waited);
          return { kind: "timed-out", waitedMs, reasons: event.value.reasons };
        }
      }
      throw new ConnectError("the server ended the wait without an answer", Code.Unavailable);
    } catch (error) {
      if (interrupt.aborted) {
        // With a request_id the server would keep the place of a client that only went away.
        if (request.requestId !== "" && ticketId !== "")
          await scheduler.cancelTicket({ ticketId }, { timeoutMs: 1_000 }).catch(() => {});
        return { kind: "interrupted" };
      }
      const patienceMs = lastHeard === undefined ? firstAnswerMs : awayMs;
      if (!isAway(error) || performance.now() - (lastHeard ?? start) > patienceMs) throw error;
      if (!away)
        line.note(lastHeard === undefined ? "no server answers yet; asking again" : "the server is away; asking again");
      away = true;
      await delay(1_000, undefined, { signal: interrupt }).catch(() => {});
      if (interrupt.aborted) return { kind: "interrupted" };
    }
  }
}

function wire(request: WaitRequest, timeoutMs: number | undefined) {
  return {
    workload: request.workload,
    requestId: request.requestId,
    policy: request.policy,
    hold: Hold.TTL,
    ...(request.graceMs === undefined ? {} : { graceTime: durationFromMs(request.graceMs) }),
    ...(timeoutMs === undefined ? {} : { timeout: durationFromMs(timeoutMs) }),
    ...(request.ttlMs === undefined ? {} : { leaseTtl: durationFromMs(request.ttlMs) }),
  };
}

// At least 1 ms: 0 would mean for ever.
function remaining(timeoutMs: number, start: number): number {
  return Math.max(1, Math.ceil(timeoutMs - (performance.now() - start)));
}

/** @param now this machine's clock, in ms. */
export function standingFrom(queued: Queued, now = Date.now()): Standing {
  const { eta, expectedStart } = queued;
  return {
    position: queued.position,
    queueLength: Math.max(queued.queueLength, queued.position),
    waitedMs: queued.waited === undefined ? 0 : durationMs(queued.waited),
    reasons: queued.reasons.map(reasonText),
    ...(expectedStart === undefined ? {} : { expectedInMs: timestampMs(expectedStart) - now }),
    ...(eta === undefined ? {} : { latest: localTime(timestampDate(eta), now) }),
  };
}

const nearMs = 20 * 3_600_000;

/** The time of day, with the date when it could be taken for another day's. Not before the moment itself: minutes are rounded up. */
function localTime(moment: Date, now: number): string {
  const shown = new Date(Math.ceil(moment.getTime() / 60_000) * 60_000);
  const time = shown.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  if (moment.getTime() - now < nearMs) return time;
  return `${shown.toLocaleDateString("en-GB", { day: "numeric", month: "short" })} ${time}`;
}
