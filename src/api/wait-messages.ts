import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { type Queued, type WaitForResourcesResponse, WaitForResourcesResponseSchema } from "#gen/sluice/v1/scheduler_pb.js";
import type { Reason as ReasonProto } from "#gen/sluice/v1/types_pb.js";
import type { Reason, TicketView } from "../engine/types.ts";
import { reasonToProto } from "./convert-reasons.ts";
import { durationToProto, estimateToProto } from "./convert-time.ts";

type Event = NonNullable<MessageInitShape<typeof WaitForResourcesResponseSchema>["event"]>;

/** One message of a wait's stream. */
export function message(ticketId: string, requestId: string, event: Event): WaitForResourcesResponse {
  return create(WaitForResourcesResponseSchema, { ticketId, requestId, event });
}

/** Many tickets wait for the same reasons, which are the same list then, and are the same list in their messages. */
const messagesOf = new WeakMap<readonly Reason[], ReasonProto[]>();

/** Where a ticket stands, as its reader is told. */
export function queued(ticket: TicketView): WaitForResourcesResponse {
  const value: Queued = {
    $typeName: "sluice.v1.Queued",
    position: ticket.position,
    reasons: reasonsToProto(ticket.reasons),
    waited: durationToProto(ticket.waitedMs),
    queueLength: ticket.queueLength,
    ...estimateToProto(ticket),
  };
  return {
    $typeName: "sluice.v1.WaitForResourcesResponse",
    ticketId: ticket.id,
    requestId: ticket.requestId,
    event: { case: "queued", value },
  };
}

function reasonsToProto(reasons: readonly Reason[]): ReasonProto[] {
  let messages = messagesOf.get(reasons);
  if (messages === undefined) {
    messages = reasons.map(reasonToProto);
    messagesOf.set(reasons, messages);
  }
  return messages;
}
