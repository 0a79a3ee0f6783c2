import type { WaitForResourcesResponse } from "#gen/sluice/v1/scheduler_pb.js";
import { Failure } from "../engine/failure.ts";
import type { LeaseView } from "../engine/types.ts";
import type { WaitEnd } from "../gate/audience.ts";
import type { Gate } from "../gate/gate.ts";
import { leaseEnv } from "../gate/lease-env.ts";
import { leaseToProto } from "./convert-lease.ts";
import { reasonToProto, refusalToProto } from "./convert-reasons.ts";
import { durationToProto } from "./convert-time.ts";
import { message } from "./wait-messages.ts";

/** A stream says something at least this often, well under the 5 min idle timeout that proxies have (Envoy's default). */
export const heartbeatMs = 15_000;

/** What the scheduler's handlers need besides the gate. */
export interface SchedulerContext {
  readonly gate: Gate;
  /** The address that holders reach this server at. */
  address(): string;
}

type Message = WaitForResourcesResponse;

/** Tells how a ticket's wait ended; while a lease is held by its stream, goes on until that ends. */
export async function* told(
  s: SchedulerContext,
  end: WaitEnd,
  ticketId: string,
  requestId: string,
  signal: AbortSignal,
): AsyncGenerator<Message> {
  switch (end.type) {
    case "granted":
      yield* granted(s, end.lease, ticketId, requestId, signal);
      return;
    case "refused":
      yield message(ticketId, requestId, { case: "refused", value: { refusal: refusalToProto(end.refusal) } });
      return;
    case "timed-out":
      yield message(ticketId, requestId, {
        case: "timedOut",
        value: { waited: durationToProto(end.waitedMs), reasons: end.reasons.map(reasonToProto) },
      });
      return;
    case "failed":
      throw end.failure;
  }
}

/** Tells of the grant. When the stream breaks before that, the lease goes back; with HOLD_STREAM, when it breaks at all. */
export async function* granted(
  s: SchedulerContext,
  lease: LeaseView,
  ticketId: string,
  requestId: string,
  signal: AbortSignal,
  saved?: Promise<void>,
): AsyncGenerator<Message> {
  const { gate } = s;
  let delivered = false;
  const ended = gate.watchLease(lease.id);
  try {
    await saved;
    yield message(ticketId, requestId, {
      case: "granted",
      value: { lease: leaseToProto(lease, leaseEnv(lease, s.address())) },
    });
    delivered = !signal.aborted;
    if (lease.hold !== "stream") return;
    while ((await ended.next(signal, heartbeatMs, 0)) !== "closed");
    if (ended.last instanceof Failure) throw ended.last;
  } finally {
    gate.leaveLease(lease.id, ended);
    if (lease.hold === "stream") gate.step({ type: "release", leaseId: lease.id, token: 0, why: "stream-closed" });
    else if (!delivered) gate.step({ type: "undelivered", leaseId: lease.id });
  }
}
