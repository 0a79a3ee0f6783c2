import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { HandlerContext } from "@connectrpc/connect";
import {
  type WatchLeaseRequest,
  type WatchLeaseResponse,
  WatchLeaseResponseSchema,
  type WatchQueueResponse,
  WatchQueueResponseSchema,
} from "#gen/sluice/v1/scheduler_pb.js";
import { Failure } from "../engine/failure.ts";
import type { Gate } from "../gate/gate.ts";
import { leaseEndToProto, leaseToProto } from "./convert-lease.ts";
import { queueToProto } from "./convert-queue.ts";
import { timestampToProto } from "./convert-time.ts";
import { heartbeatMs } from "./wait-end.ts";

/** A watcher of the whole queue is told at most this often: its messages are large. */
const queueSettleMs = 250;

/** WatchLease: first the lease as it is, then what happens to it, until it ends. */
export async function* watchLease(
  gate: Gate,
  request: WatchLeaseRequest,
  ctx: HandlerContext,
): AsyncGenerator<WatchLeaseResponse> {
  const id = request.leaseId;
  const mailbox = gate.watchLease(id);
  let keeps = false;
  let asked = false;
  let lease = gate.lease(id);
  try {
    if (lease === undefined)
      throw new Failure("LEASE_EXPIRED", `lease ${id.slice(0, 128)} is not known here`, { lease_id: id.slice(0, 128) });
    if (request.token !== 0n && request.token !== BigInt(lease.token)) {
      throw new Failure("STALE_TOKEN", `token ${request.token} is not the token of ${id}`, {
        lease_id: id,
        token: String(request.token),
      });
    }
    yield event({ case: "snapshot", value: { lease: leaseToProto(lease, {}) } });
    // Whoever gives the token speaks for the holder, and can be asked to give the lease back.
    keeps = request.token !== 0n && gate.holderCame(id, lease.token);
    for (;;) {
      const end = mailbox.last ?? gate.lease(id)?.end;
      if (end instanceof Failure) throw end;
      if (end !== undefined) {
        yield event({ case: "ended", value: { why: leaseEndToProto(end) } });
        return;
      }
      if (lease.eviction?.deadline !== undefined && !asked) {
        const { deadline, reason } = lease.eviction;
        asked = true;
        yield event({ case: "evictionRequested", value: { deadline: timestampToProto(deadline), reason } });
      }
      const news = await mailbox.next(ctx.signal, heartbeatMs, 0);
      const before = lease.expiresAt;
      lease = gate.lease(id) ?? lease;
      const withdrawn = asked && lease.eviction === undefined && lease.end === undefined;
      if (withdrawn) asked = false;
      if (news === "idle" || withdrawn) yield event({ case: "snapshot", value: { lease: leaseToProto(lease, {}) } });
      if (news === "changed" && lease.expiresAt !== undefined && lease.expiresAt !== before) {
        yield event({ case: "renewed", value: { expiresAt: timestampToProto(lease.expiresAt) } });
      }
    }
  } finally {
    if (lease !== undefined && keeps) gate.holderLeft(id, lease.token);
    gate.leaveLease(id, mailbox);
  }
}

/** WatchQueue: the whole latest state on every change. */
export async function* watchQueue(gate: Gate, ctx: HandlerContext): AsyncGenerator<WatchQueueResponse> {
  const mailbox = gate.watchState();
  try {
    for (;;) {
      yield create(WatchQueueResponseSchema, queueToProto(gate.queue()));
      if ((await mailbox.next(ctx.signal, heartbeatMs, queueSettleMs)) === "closed") {
        if (mailbox.last !== undefined) throw mailbox.last;
        return;
      }
    }
  } finally {
    gate.leaveState(mailbox);
  }
}

type Event = NonNullable<MessageInitShape<typeof WatchLeaseResponseSchema>["event"]>;

function event(e: Event): WatchLeaseResponse {
  return create(WatchLeaseResponseSchema, { event: e });
}
