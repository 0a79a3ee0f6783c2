import { largestEver } from "./capacity.ts";
import type { Effect } from "./events.ts";
import { dropEviction } from "./evictions.ts";
import type { FitContext } from "./fit.ts";
import { holdFor, holdForEviction, tookFrom } from "./holds.ts";
import type { Judgement } from "./judge.ts";
import { grant, requestKey } from "./leases.ts";
import { quotaReason, reasonsNow } from "./quota.ts";
import type { Millis } from "./sample.ts";
import { noteTicket } from "./saves.ts";
import { asksEach, type EngineState, type LeaseRecord, type TicketHold, type TicketRecord } from "./state.ts";
import type { LeasedGpu, Reason, Refusal, Workload } from "./types.ts";
import { leaseView } from "./views.ts";
import type { Place } from "./waiting-line.ts";

/** Weight of the newest wait in the usual one. */
const newestWaitWeight = 0.05;

/** A request becomes a lease; if it waited in line it leaves it. `wasWait`: it came by WaitForResources. */
export function admit(
  state: EngineState,
  ticket: TicketRecord,
  judgement: Judgement,
  policy: string,
  now: Millis,
  effects: Effect[],
  wasWait: boolean,
): LeaseRecord {
  // Permissive grants are the operator's choice to do without protection.
  if (policy !== "permissive") countOvertaking(state, ticket, judgement.gpus);
  if (state.line.has(ticket)) removeTicket(state, ticket);
  const lease = grant(state, ticket, judgement, policy, now);
  if (wasWait) state.usualWaitMs += newestWaitWeight * (now - ticket.submittedAt - state.usualWaitMs);
  if (policy !== "permissive") refreshHolds(state, now);
  effects.push({
    type: "granted",
    lease: leaseView(lease),
    ticketId: wasWait ? ticket.id : undefined,
    waitedMs: now - ticket.submittedAt,
  });
  return lease;
}

/** Every earlier ticket that waits and could have used what was taken has been overtaken once more. */
export function countOvertaking(
  state: EngineState,
  by: Place & { readonly workload: Workload },
  gpus: readonly LeasedGpu[],
): void {
  const takesRam = by.workload.requirements.ramMb > 0;
  if (gpus.length === 0 && !takesRam) return;
  const took = gpus.length === 0 ? "ram" : takesRam ? "both" : "gpu";
  const uuids = gpus.map((g) => g.uuid);
  state.line.overtake(by, took, state.orderAt, (t) => tookFrom(t, uuids, takesRam));
}

/** Memory is held for so many tickets at the same time; all further ones would share GPUs with these. */
const holdsAtMost = 16;

/** What is held for the first tickets that were overtaken often enough, and for those that leases are taken back for; in order. */
export function refreshHolds(state: EngineState, now: Millis): void {
  const holds: TicketHold[] = [];
  state.limitHeldFor.clear();
  for (const ticket of state.line.overtakenAtLeast(state.settings.maxOvertakes, state.orderAt)) {
    if (!ticket.connected) continue;
    if (quotaReason(state, ticket.workload) !== undefined) {
      // Memory would be held in vain; what it needs is that its tenant's other tickets stop using the limit up.
      const { tenant } = ticket.workload;
      if (!state.limitHeldFor.has(tenant)) state.limitHeldFor.set(tenant, ticket);
      continue;
    }
    const hold = holdFor(state, ticket, holds, now);
    if (hold !== undefined && holds.push(hold) >= holdsAtMost) break;
  }
  const overtaken = new Set(holds.map((h) => h.ticket));
  for (const [id, eviction] of state.evictions.byTicket) {
    const ticket = state.tickets.get(id);
    if (ticket?.connected) holds.push(holdForEviction(ticket, eviction, overtaken.has(ticket)));
  }
  const { line, orderAt } = state;
  if (holds.length > overtaken.size) {
    holds.sort(
      (a, b) => Number(line.precedes(b.ticket, a.ticket, orderAt)) - Number(line.precedes(a.ticket, b.ticket, orderAt)),
    );
  }
  state.holds = holds;
}

export function refuseTicket(
  state: EngineState,
  ticket: TicketRecord,
  refusal: Refusal,
  policy: string,
  effects: Effect[],
): void {
  removeTicket(state, ticket);
  effects.push({ type: "refused", workload: ticket.workload, ticketId: ticket.id, refusal, policy });
}

/** Why not now, and what would fit on an empty machine. */
export function refusalNow(state: EngineState, workload: Workload, ctx: FitContext, message: string, policy: string): Refusal {
  const reasons: Reason[] = [...reasonsNow(state, workload, ctx)];
  if (message !== "") reasons.unshift({ code: "POLICY", message });
  if (reasons.length === 0) reasons.push({ code: "POLICY", message: `policy ${policy} does not admit it now` });
  const largest = largestEver(state, workload.requirements);
  return { reasons, ...(largest === undefined ? {} : { largestThatFits: largest }) };
}

/** Puts a ticket into the line. */
export function addTicket(state: EngineState, ticket: TicketRecord): void {
  noteTicket(state, ticket);
  state.line.add(ticket);
  state.tickets.set(ticket.id, ticket);
  if (asksEach(state, ticket.policy)) state.askedEach++;
  state.pollIntervals.set(ticket.pollIntervalMs, (state.pollIntervals.get(ticket.pollIntervalMs) ?? 0) + 1);
  if (ticket.requestId !== "") {
    state.requests.set(requestKey(ticket.workload.tenant, ticket.requestId), { ticketId: ticket.id });
  }
  state.version++;
}

/** Takes a ticket out of the line, whatever becomes of it. */
export function removeTicket(state: EngineState, ticket: TicketRecord): void {
  noteTicket(state, ticket);
  state.line.remove(ticket);
  state.tickets.delete(ticket.id);
  if (asksEach(state, ticket.policy)) state.askedEach--;
  const alike = (state.pollIntervals.get(ticket.pollIntervalMs) ?? 1) - 1;
  if (alike > 0) state.pollIntervals.set(ticket.pollIntervalMs, alike);
  else state.pollIntervals.delete(ticket.pollIntervalMs);
  if (ticket.requestId !== "") state.requests.delete(requestKey(ticket.workload.tenant, ticket.requestId));
  state.holds = state.holds.filter((h) => h.ticket !== ticket);
  dropEviction(state, ticket.id);
  if (state.kept?.ticket === ticket) state.kept = undefined;
  if (state.chosen === ticket) state.chosen = undefined;
  if (state.limitHeldFor.get(ticket.workload.tenant) === ticket) state.limitHeldFor.delete(ticket.workload.tenant);
  state.version++;
}
