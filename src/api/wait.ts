import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { HandlerContext } from "@connectrpc/connect";
import {
  type WaitForResourcesRequest,
  type WaitForResourcesResponse,
  WaitForResourcesResponseSchema,
} from "#gen/sluice/v1/scheduler_pb.js";
import { Hold as HoldProto } from "#gen/sluice/v1/types_pb.js";
import { Failure, type FieldViolation, invalidArgument } from "../engine/failure.ts";
import { maxDurationMs } from "../engine/request-limits.ts";
import type { LeaseView, TicketView } from "../engine/types.ts";
import type { WaitEnd } from "../gate/audience.ts";
import type { Gate } from "../gate/gate.ts";
import { leaseEnv } from "../gate/lease-env.ts";
import type { Seat } from "../gate/seat.ts";
import { durationToProto, estimateToProto, leaseToProto, reasonToProto, refusalToProto, workloadFromProto } from "./convert.ts";
import { duration, text } from "./fields.ts";
import { isNews, type Standing, standingOf } from "./standing.ts";

/** Longest and shortest time to live that a caller may ask for. */
export const ttlLimits = { minMs: 1_000, maxMs: 86_400_000 };
/** A waiting stream says something at least this often, well under the 5 min idle timeout that proxies have (Envoy's default). */
export const heartbeatMs = 15_000;

/** What the scheduler's handlers need besides the gate. */
export interface SchedulerContext {
  readonly gate: Gate;
  /** The address that holders reach this server at. */
  address(): string;
}

type Message = WaitForResourcesResponse;

/** WaitForResources: the stream of one ticket. A reader that is slow is told the latest state next. */
export async function* waitForResources(
  s: SchedulerContext,
  request: WaitForResourcesRequest,
  ctx: HandlerContext,
): AsyncGenerator<Message> {
  const submit = checked(request, ctx);
  const { reply, saved } = s.gate.submit(submit);
  const requestId = submit.requestId;
  switch (reply.type) {
    case "lease":
      yield* granted(s, reply.lease, "", requestId, ctx.signal, saved);
      return;
    case "refused":
      yield message("", requestId, { case: "refused", value: { refusal: refusalToProto(reply.refusal) } });
      return;
    case "ticket":
      yield* wait(s, reply.ticketId, requestId, ctx.signal, saved);
      return;
  }
}

function checked(request: WaitForResourcesRequest, ctx: HandlerContext) {
  const violations: FieldViolation[] = [];
  const workload = workloadFromProto(request.workload, "workload", violations);
  const requestId = text(request.requestId, "request_id", 128, violations);
  const timeoutMs = duration(request.timeout, "timeout", 0, maxDurationMs, violations);
  const pollIntervalMs = duration(request.pollInterval, "poll_interval", 100, 3_600_000, violations);
  const ttlMs = duration(request.leaseTtl, "lease_ttl", ttlLimits.minMs, ttlLimits.maxMs, violations);
  const graceMs = duration(request.graceTime, "grace_time", 0, 86_400_000, violations);
  const policy = text(request.policy, "policy", 128, violations);
  const hold = holdFromProto(request.hold, violations);
  if (hold === "stream" && ctx.protocolName !== "grpc") {
    violations.push({
      field: "hold",
      description: "HOLD_STREAM is only possible on the gRPC door, where a dead client is noticed; use HOLD_TTL",
    });
  }
  if (violations.length > 0) throw invalidArgument(...violations);
  return {
    mode: "wait" as const,
    workload,
    requestId,
    policy,
    hold,
    ...(ttlMs === undefined ? {} : { ttlMs }),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    ...(pollIntervalMs === undefined ? {} : { pollIntervalMs }),
    ...(graceMs === undefined ? {} : { graceMs }),
  };
}

/** Checks how a lease is to be kept alive. */
export function holdFromProto(hold: HoldProto, violations: FieldViolation[]): "ttl" | "stream" {
  if (hold === HoldProto.STREAM) return "stream";
  if (hold !== HoldProto.UNSPECIFIED && hold !== HoldProto.TTL) {
    violations.push({ field: "hold", description: `must be HOLD_TTL or HOLD_STREAM, got ${hold}` });
  }
  return "ttl";
}

async function* wait(
  s: SchedulerContext,
  ticketId: string,
  requestId: string,
  signal: AbortSignal,
  saved: Promise<void> | undefined,
): AsyncGenerator<Message> {
  const { gate } = s;
  let said: Standing | undefined;
  const seat = gate.watchTicket(ticketId, (changed, nextMs) => {
    // It has not begun, and will begin with the latest.
    if (said === undefined) return false;
    if (gate.now() - said.at + nextMs > heartbeatMs) return true;
    const ticket = changed ? gate.ticket(ticketId) : undefined;
    return ticket !== undefined && isNews(said, standingOf(ticket, gate.now()));
  });
  let end: WaitEnd | undefined;
  try {
    await saved;
    do {
      const ticket = gate.ticket(ticketId);
      if (ticket === undefined) continue;
      said = standingOf(ticket, gate.now());
      yield queued(ticket);
    } while ((await seat.next(signal)) === "news");
    end = seat.last;
  } finally {
    leave(gate, ticketId, seat, end);
  }
  if (end !== undefined) yield* told(s, end, ticketId, requestId, signal);
}

/** The reader goes before it was told the end: a grant that came meanwhile was not heard of. */
function leave(gate: Gate, ticketId: string, seat: Seat<WaitEnd>, told: WaitEnd | undefined): void {
  gate.leaveTicket(ticketId, seat);
  const missed = seat.last;
  if (told === undefined && missed?.type === "granted") gate.step({ type: "undelivered", leaseId: missed.lease.id });
}

async function* told(
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
async function* granted(
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

function queued(ticket: TicketView): Message {
  return message(ticket.id, ticket.requestId, {
    case: "queued",
    value: {
      position: ticket.position,
      reasons: ticket.reasons.map(reasonToProto),
      waited: durationToProto(ticket.waitedMs),
      queueLength: ticket.queueLength,
      ...estimateToProto(ticket),
    },
  });
}

type Event = NonNullable<MessageInitShape<typeof WaitForResourcesResponseSchema>["event"]>;

function message(ticketId: string, requestId: string, event: Event): Message {
  return create(WaitForResourcesResponseSchema, { ticketId, requestId, event });
}
