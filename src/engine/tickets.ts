import { addTicket, admit, refusalNow, refuseTicket, removeTicket } from "./admit.ts";
import { capacityOf } from "./books.ts";
import { neverFits } from "./capacity.ts";
import { contextOf, keepStart } from "./context.ts";
import { kindOf } from "./durations.ts";
import type { Effect, Reply, Submit } from "./events.ts";
import { Failure, invalidArgument } from "./failure.ts";
import { judge, policyFor } from "./judge.ts";
import { requestKey } from "./leases.ts";
import { servePass } from "./pass.ts";
import { queueLimitOf, quotaNever, shareOf } from "./quota.ts";
import type { Millis } from "./sample.ts";
import type { EngineState, TicketRecord } from "./state.ts";
import type { Refusal, TicketId, Workload } from "./types.ts";
import { leaseView, reasonsOf, ticketFacts } from "./views.ts";

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
  if (state.suspended !== undefined) return failed(new Failure("STATE_UNAVAILABLE", state.suspended));
  const ticket = ticketOf(state, event, now);
  return event.mode === "wait" && state.rules.get(policy)?.waitsForFit === true
    ? waitForFit(state, ticket, policy, now, effects)
    : decideNow(state, ticket, event.mode, policy, now, effects);
}

function ticketOf(state: EngineState, event: Submit, now: Millis): TicketRecord {
  const { settings } = state;
  const { workload } = event;
  const kind = kindOf(workload);
  const lastsMs = workload.expectedDurationMs ?? state.durations.estimateMs(kind);
  return {
    id: `ticket-${event.id}`,
    seq: state.nextSeq++,
    workload,
    kind,
    cost: shareOf(state, workload.requirements) * lastsMs,
    requestId: event.requestId,
    policy: event.policy,
    submittedAt: now,
    deadline: event.timeoutMs === 0 ? undefined : now + (event.timeoutMs ?? settings.defaultTimeoutMs),
    pollIntervalMs: event.mode === "wait" ? (event.pollIntervalMs ?? settings.defaultPollIntervalMs) : settings.maxSampleAgeMs,
    ttlMs: event.ttlMs ?? settings.defaultTtlMs,
    hold: event.hold,
    graceMs: event.requestId === "" ? 0 : (event.graceMs ?? settings.graceMs),
    connected: true,
    graceUntil: undefined,
    heldPools: undefined,
    heldSince: 0,
    policyMessage: "",
  };
}

/** A request under a policy that waits for room: it gets in line, and the line is served. */
function waitForFit(state: EngineState, ticket: TicketRecord, policy: string, now: Millis, effects: Effect[]): Reply {
  const refusal = neverFits(state, ticket.workload.requirements) ?? overQuotaForEver(state, ticket.workload);
  if (refusal !== undefined) {
    effects.push({ type: "refused", workload: ticket.workload, ticketId: undefined, refusal, policy });
    return { type: "refused", refusal };
  }
  addTicket(state, ticket);
  servePass(state, now, effects);
  if (!state.line.has(ticket)) return replyOf(ticket.id, effects);
  const full = queueFull(state, ticket.workload.tenant, 1);
  if (full !== undefined) {
    removeTicket(state, ticket);
    // Something may have been kept back for it.
    servePass(state, now, effects);
    return failed(full);
  }
  return wait(state, ticket, now, effects);
}

/** A request that its policy decides about at once: Allocate, or a policy that goes by more than the fit. */
function decideNow(
  state: EngineState,
  ticket: TicketRecord,
  mode: Submit["mode"],
  policy: string,
  now: Millis,
  effects: Effect[],
): Reply {
  const { workload } = ticket;
  const { kept } = state;
  if (policy !== "permissive" && state.line.size > 0) keepStart(state, now);
  const ctx = contextOf(state, ticket, now);
  const judgement = judge(state, policy, { workload, mayWait: mode === "wait", waitedMs: 0 }, ctx);
  if (judgement.verdict === "admit") {
    const lease = admit(state, ticket, judgement, policy, now, effects, mode === "wait");
    // Its tenant was charged, which may bring somebody else's ticket before another.
    servePass(state, now, effects);
    return { type: "lease", lease: leaseView(lease) };
  }
  // Those who wait were served under the start that was kept then.
  state.kept = kept;
  const never = neverFits(state, workload.requirements) ?? overQuotaForEver(state, workload);
  if (mode === "now" || judgement.verdict === "refuse" || never !== undefined) {
    const refusal = never ?? refusalNow(state, workload, ctx, judgement.message, policy);
    effects.push({ type: "refused", workload, ticketId: undefined, refusal, policy });
    return { type: "refused", refusal };
  }
  const full = queueFull(state, workload.tenant, 0);
  if (full !== undefined) return failed(full);
  ticket.policyMessage = judgement.message;
  addTicket(state, ticket);
  // With no overtaking allowed at all, memory is held from the first moment, and that may move what is held for others.
  if (state.settings.maxOvertakes === 0) servePass(state, now, effects);
  return state.line.has(ticket) ? wait(state, ticket, now, effects) : replyOf(ticket.id, effects);
}

function wait(state: EngineState, ticket: TicketRecord, now: Millis, effects: Effect[]): Reply {
  if (ticket.deadline !== undefined) state.wakes.push({ at: ticket.deadline, kind: "ticket-deadline", id: ticket.id });
  effects.push({ type: "queued", ticket: ticketFacts(state, ticket, now) });
  return { type: "ticket", ticketId: ticket.id, resumed: false };
}

function overQuotaForEver(state: EngineState, workload: Workload): Refusal | undefined {
  const reason = quotaNever(state, workload);
  return reason === undefined ? undefined : { reasons: [reason] };
}

/** Why nobody else may wait. @param counted tickets that are in line already although they may not be. */
function queueFull(state: EngineState, tenant: string, counted: number): Failure | undefined {
  const waiting = state.line.size - counted;
  const { maxQueue } = state.settings;
  if (waiting >= maxQueue) {
    return new Failure("QUEUE_FULL", `the queue is full: ${waiting} tickets wait, which is the limit; try again later`, {
      limit: String(maxQueue),
    });
  }
  const ofTenant = state.line.countOf(tenant) - counted;
  const limit = queueLimitOf(state, tenant);
  if (ofTenant < limit) return undefined;
  return new Failure(
    "TENANT_QUEUE_FULL",
    `tenant ${tenant} has ${ofTenant} tickets in the queue, which is the limit; try again later`,
    { limit: String(limit) },
  );
}

function failed(failure: Failure): Reply {
  return { type: "failure", failure };
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
  state.line.setCounted(ticket, true);
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
      w.importance ?? 0,
      w.requirements,
      Object.entries(w.labels).sort(),
    ]);
  return plain(a) === plain(b);
}

/** When the machine itself has changed, waiting tickets that can never fit any more are told so at once. */
export function judgeCapacityAgain(state: EngineState, effects: Effect[]): void {
  const pools = [...state.pools.values()].map(
    (p) => `${p.key}=${p.devices.map((d) => d.uuid).join("+")}:${capacityOf(state, p)}`,
  );
  const signature = `${state.sample?.gpusUnknown === true}|${pools.join("|")}`;
  if (signature === state.capacitySignature) return;
  state.capacitySignature = signature;
  for (const ticket of [...state.line.inOrder(state.orderAt)]) {
    const refusal = neverFits(state, ticket.workload.requirements);
    if (refusal !== undefined) refuseTicket(state, ticket, refusal, policyFor(state, ticket.policy, "wait"), effects);
  }
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
