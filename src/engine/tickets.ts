import { capacityOf } from "./books.ts";
import { largestEver, neverFits } from "./capacity.ts";
import type { Effect, Reply, Submit } from "./events.ts";
import { Failure, invalidArgument } from "./failure.ts";
import type { FitContext } from "./fit.ts";
import { holdFor, tookFrom } from "./holds.ts";
import { type Judgement, judge, policyFor } from "./judge.ts";
import { grant, grantOf, requestKey } from "./leases.ts";
import { rankOf } from "./order.ts";
import { whyNot } from "./reasons.ts";
import type { Millis } from "./sample.ts";
import type { EngineState, LeaseRecord, TicketHold, TicketRecord } from "./state.ts";
import type { Reason, Refusal, Requirements, TicketId, Workload } from "./types.ts";
import { bindingHolds, leaseView, reasonsOf, ticketView } from "./views.ts";

/** Decides about a new request: a lease, a refusal, or a ticket. Check and reserve is one step. */
export function submit(state: EngineState, event: Submit, now: Millis, effects: Effect[]): Reply {
  if (state.draining)
    return failed(new Failure("DRAINING", "the server is shutting down; try again in a moment or at another server"));
  const policy = policyFor(state, event.policy, event.mode);
  if (!state.rules.has(policy)) {
    return failed(
      invalidArgument({
        field: "policy",
        description: `must be one of ${[...state.rules.keys()].join(", ")} or empty, got ${JSON.stringify(policy.slice(0, 64))}`,
      }),
    );
  }
  const earlier = event.requestId === "" ? undefined : findEarlier(state, event, now, effects);
  if (earlier !== undefined) return earlier;

  const { settings } = state;
  const ticket: TicketRecord = {
    id: `ticket-${event.id}`,
    seq: state.nextSeq++,
    workload: event.workload,
    shape: shapeOf(event.workload.requirements, event.pollIntervalMs ?? settings.defaultPollIntervalMs),
    requestId: event.requestId,
    policy: event.policy,
    submittedAt: now,
    deadline: event.timeoutMs === 0 ? undefined : now + (event.timeoutMs ?? settings.defaultTimeoutMs),
    pollIntervalMs: event.mode === "wait" ? (event.pollIntervalMs ?? settings.defaultPollIntervalMs) : settings.maxSampleAgeMs,
    ttlMs: event.ttlMs ?? settings.defaultTtlMs,
    hold: event.hold,
    connected: true,
    graceUntil: undefined,
    overtaken: 0,
    heldPools: undefined,
    policyMessage: "",
  };
  const ctx: FitContext = {
    now,
    ageLimitMs: Math.min(ticket.pollIntervalMs, settings.maxSampleAgeMs),
    holds: bindingHolds(state, ticket),
  };
  const judgement = judge(
    state,
    policy,
    { workload: event.workload, mayWait: event.mode === "wait", waitedMs: 0 },
    ticket.shape,
    ctx,
  );
  if (judgement.verdict === "admit") {
    const lease = admit(state, ticket, event.id, judgement, policy, now, effects, event.mode === "wait");
    return { type: "lease", lease: leaseView(lease) };
  }
  const never = neverFits(state, event.workload.requirements);
  if (event.mode === "now" || judgement.verdict === "refuse" || never !== undefined) {
    const refusal = never ?? refusalNow(state, event.workload, ctx, judgement.message, policy);
    effects.push({ type: "refused", workload: event.workload, ticketId: undefined, refusal, policy });
    return { type: "refused", refusal };
  }
  return enqueue(state, ticket, judgement.message, now, effects);
}

function failed(failure: Failure): Reply {
  return { type: "failure", failure };
}

/** Requests with equal shapes fit in exactly the same cases. */
function shapeOf(req: Requirements, pollIntervalMs: Millis): string {
  return `${req.gpuCount}|${req.vramMb}|${req.ramMb}|${req.exclusive ? 1 : 0}|${pollIntervalMs}|${req.gpuUuids.join(",")}`;
}

/** The ticket or lease that an earlier request with the same id made. */
function findEarlier(state: EngineState, event: Submit, now: Millis, effects: Effect[]): Reply | undefined {
  const known = state.requests.get(requestKey(event.workload.tenant, event.requestId));
  const ticket = known?.ticketId === undefined ? undefined : state.tickets.get(known.ticketId);
  const lease = known?.leaseId === undefined ? undefined : state.leases.get(known.leaseId);
  const workload = ticket?.workload ?? lease?.workload;
  if (workload === undefined) return undefined;
  if (!sameWorkload(workload, event.workload)) {
    return failed(
      invalidArgument({
        field: "request_id",
        description: "was used before with another workload; use a fresh id for each request",
      }),
    );
  }
  if (lease !== undefined) {
    lease.claimBy = undefined;
    return { type: "lease", lease: leaseView(lease) };
  }
  if (ticket === undefined) return undefined;
  if (event.mode === "now") {
    return failed(
      invalidArgument({ field: "request_id", description: "belongs to a ticket that waits; ask with WaitForResources" }),
    );
  }
  const returned = !ticket.connected;
  ticket.connected = true;
  ticket.graceUntil = undefined;
  state.version++;
  if (returned) servePass(state, now, effects);
  return state.tickets.has(ticket.id) ? { type: "ticket", ticketId: ticket.id, resumed: true } : replyOf(ticket.id, effects);
}

/** What became of a ticket that was decided on in this very step. */
function replyOf(ticketId: TicketId, effects: readonly Effect[]): Reply {
  for (const effect of effects) {
    if (effect.type === "granted" && effect.ticketId === ticketId) return { type: "lease", lease: effect.lease };
    if (effect.type === "refused" && effect.ticketId === ticketId) return { type: "refused", refusal: effect.refusal };
  }
  return { type: "done" };
}

function sameWorkload(a: Workload, b: Workload): boolean {
  const plain = (w: Workload) =>
    JSON.stringify([
      w.name,
      w.tenant,
      w.priority,
      w.expectedDurationMs ?? null,
      w.requirements,
      Object.entries(w.labels).sort(),
    ]);
  return plain(a) === plain(b);
}

function enqueue(state: EngineState, ticket: TicketRecord, policyMessage: string, now: Millis, effects: Effect[]): Reply {
  const { settings, queue } = state;
  const { tenant } = ticket.workload;
  const ofTenant = state.waitingByTenant.get(tenant) ?? 0;
  if (queue.length >= settings.maxQueue) {
    return failed(
      new Failure("QUEUE_FULL", `the queue is full: ${queue.length} tickets wait, which is the limit; try again later`, {
        limit: String(settings.maxQueue),
      }),
    );
  }
  if (ofTenant >= settings.maxQueuePerTenant) {
    return failed(
      new Failure(
        "TENANT_QUEUE_FULL",
        `tenant ${tenant} has ${ofTenant} tickets in the queue, which is the limit; try again later`,
        { limit: String(settings.maxQueuePerTenant) },
      ),
    );
  }
  ticket.policyMessage = policyMessage;
  queue.splice(rankOf(queue, ticket), 0, ticket);
  state.tickets.set(ticket.id, ticket);
  state.waitingByTenant.set(tenant, ofTenant + 1);
  if (ticket.requestId !== "") state.requests.set(requestKey(tenant, ticket.requestId), { ticketId: ticket.id });
  if (ticket.deadline !== undefined) state.wakes.push({ at: ticket.deadline, kind: "ticket-deadline", id: ticket.id });
  state.version++;
  effects.push({ type: "queued", ticket: ticketView(state, ticket, now) });
  // With no overtaking allowed at all, memory is held from the first moment, and that may move what is held for others.
  if (settings.maxOvertakes === 0) {
    servePass(state, now, effects);
    if (!state.tickets.has(ticket.id)) return replyOf(ticket.id, effects);
  }
  return { type: "ticket", ticketId: ticket.id, resumed: false };
}

function admit(
  state: EngineState,
  ticket: TicketRecord,
  id: string,
  judgement: Judgement,
  policy: string,
  now: Millis,
  effects: Effect[],
  wasWait: boolean,
): LeaseRecord {
  const lease = grant(state, grantOf(ticket, id, judgement.gpus, policy, judgement.overcommitted), now);
  // Permissive grants are the operator's choice to do without protection.
  if (policy !== "permissive") countOvertaking(state, ticket, lease, now);
  effects.push({
    type: "granted",
    lease: leaseView(lease),
    ticketId: wasWait ? ticket.id : undefined,
    waitedMs: now - ticket.submittedAt,
  });
  return lease;
}

/** Every earlier ticket that waits and could have used what was taken has been overtaken once more. */
function countOvertaking(state: EngineState, by: TicketRecord, lease: LeaseRecord, now: Millis): void {
  const end = rankOf(state.queue, by);
  let reached = false;
  for (let i = 0; i < end; i++) {
    const ticket = state.queue[i] as TicketRecord;
    if (!ticket.connected || !tookFrom(ticket, lease)) continue;
    ticket.overtaken++;
    if (ticket.overtaken === state.settings.maxOvertakes) reached = true;
  }
  // What is held for tickets behind the one that was served stays held.
  if (reached) state.holds = [...allHolds(state, end, now), ...state.holds.filter((h) => rankOf(state.queue, h.ticket) >= end)];
}

/** The holds of the first `end` tickets of the queue, in order. */
function allHolds(state: EngineState, end: number, now: Millis): TicketHold[] {
  const holds: TicketHold[] = [];
  for (let i = 0; i < end; i++) {
    const ticket = state.queue[i] as TicketRecord;
    if (!ticket.connected || ticket.overtaken < state.settings.maxOvertakes) continue;
    const hold = holdFor(state, ticket, holds, now);
    if (hold !== undefined) holds.push(hold);
  }
  return holds;
}

/** Serves the queue in order: grants all that fit, refuses what its policy refuses by now. One event, as many grants as fit. */
export function servePass(state: EngineState, now: Millis, effects: Effect[]): void {
  const failedShapes = new Set<string>();
  state.holds = [];
  let i = 0;
  while (i < state.queue.length) {
    const ticket = state.queue[i] as TicketRecord;
    if (!ticket.connected) {
      i++;
      continue;
    }
    const policy = policyFor(state, ticket.policy, "wait");
    const ctx: FitContext = {
      now,
      ageLimitMs: Math.min(ticket.pollIntervalMs, state.settings.maxSampleAgeMs),
      holds: state.holds,
    };
    const request = { workload: ticket.workload, mayWait: true, waitedMs: now - ticket.submittedAt };
    const judgement = judge(state, policy, request, ticket.shape, ctx, failedShapes);
    if (judgement.verdict === "admit") {
      removeTicket(state, ticket);
      admit(state, ticket, ticket.id.slice("ticket-".length), judgement, policy, now, effects, true);
    } else if (judgement.verdict === "refuse") {
      const refusal =
        neverFits(state, ticket.workload.requirements) ?? refusalNow(state, ticket.workload, ctx, judgement.message, policy);
      refuseTicket(state, ticket, refusal, policy, effects);
    } else {
      ticket.policyMessage = judgement.message;
      if (ticket.overtaken >= state.settings.maxOvertakes) {
        const hold = holdFor(state, ticket, state.holds, now);
        if (hold !== undefined) state.holds.push(hold);
      }
      i++;
    }
  }
}

/** When the machine itself has changed, waiting tickets that can never fit any more are told so at once. */
export function judgeCapacityAgain(state: EngineState, effects: Effect[]): void {
  const pools = [...state.pools.values()].map(
    (p) => `${p.key}=${p.devices.map((d) => d.uuid).join("+")}:${capacityOf(state, p)}`,
  );
  const signature = `${state.sample?.gpusUnknown === true}|${pools.join("|")}`;
  if (signature === state.capacitySignature) return;
  state.capacitySignature = signature;
  for (const ticket of [...state.queue]) {
    const refusal = neverFits(state, ticket.workload.requirements);
    if (refusal !== undefined) refuseTicket(state, ticket, refusal, policyFor(state, ticket.policy, "wait"), effects);
  }
}

function refuseTicket(state: EngineState, ticket: TicketRecord, refusal: Refusal, policy: string, effects: Effect[]): void {
  removeTicket(state, ticket);
  effects.push({ type: "refused", workload: ticket.workload, ticketId: ticket.id, refusal, policy });
}

/** Why not now, and what would fit on an empty machine. */
export function refusalNow(state: EngineState, workload: Workload, ctx: FitContext, message: string, policy: string): Refusal {
  const reasons: Reason[] = [...whyNot(state, workload.requirements, ctx)];
  if (message !== "") reasons.unshift({ code: "POLICY", message });
  if (reasons.length === 0) reasons.push({ code: "POLICY", message: `policy ${policy} does not admit it now` });
  const largest = largestEver(state, workload.requirements);
  return { reasons, ...(largest === undefined ? {} : { largestThatFits: largest }) };
}

/** Takes a ticket out of the queue, whatever becomes of it. */
export function removeTicket(state: EngineState, ticket: TicketRecord): void {
  const at = rankOf(state.queue, ticket);
  state.queue.splice(at, 1);
  state.tickets.delete(ticket.id);
  const left = (state.waitingByTenant.get(ticket.workload.tenant) ?? 1) - 1;
  if (left > 0) state.waitingByTenant.set(ticket.workload.tenant, left);
  else state.waitingByTenant.delete(ticket.workload.tenant);
  if (ticket.requestId !== "") state.requests.delete(requestKey(ticket.workload.tenant, ticket.requestId));
  state.holds = state.holds.filter((h) => h.ticket !== ticket);
  state.version++;
}

export function timeOut(state: EngineState, ticket: TicketRecord, now: Millis, effects: Effect[]): void {
  const reasons = reasonsOf(state, ticket, now);
  removeTicket(state, ticket);
  effects.push({
    type: "timed-out",
    ticketId: ticket.id,
    workload: ticket.workload,
    waitedMs: now - ticket.submittedAt,
    reasons,
  });
}

export function withdraw(state: EngineState, ticket: TicketRecord, failure: Failure, effects: Effect[]): void {
  removeTicket(state, ticket);
  effects.push({ type: "withdrawn", ticketId: ticket.id, workload: ticket.workload, failure });
}
