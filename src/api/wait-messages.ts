import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { type WaitForResourcesResponse, WaitForResourcesResponseSchema } from "#gen/sluice/v1/scheduler_pb.js";
import type { TicketView } from "../engine/types.ts";
import { durationToProto, estimateToProto, reasonToProto } from "./convert.ts";

type Event = NonNullable<MessageInitShape<typeof WaitForResourcesResponseSchema>["event"]>;

/** One message of a wait's stream. */
export function message(ticketId: string, requestId: string, event: Event): WaitForResourcesResponse {
  return create(WaitForResourcesResponseSchema, { ticketId, requestId, event });
}

/** Where a ticket stands, as its reader is told. */
export function queued(ticket: TicketView): WaitForResourcesResponse {
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
