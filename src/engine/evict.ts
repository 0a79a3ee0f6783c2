import { refreshHolds } from "./admit.ts";
import { poolKeyOf } from "./books.ts";
import { keepStart } from "./context.ts";
import type { Effect } from "./events.ts";
import { costOf, planEviction } from "./eviction-plan.ts";
import { type Eviction, endEvictions } from "./evictions.ts";
import { policyFor } from "./judge.ts";
import { mayEvict } from "./keeping.ts";
import { mib } from "./mib.ts";
import type { Mib, Millis } from "./sample.ts";
import type { EngineState, PoolKey, TicketRecord } from "./state.ts";
import { leaseView } from "./views.ts";

/** So many waiting tickets are looked at, in order. */
const looksAtMost = 16;

/** Makes room for those who wait and fit nowhere, where idle leases can be had back. Grants nothing. True: somebody was asked. */
export function evictForWaiting(state: EngineState, now: Millis, effects: Effect[]): boolean {
  if (state.keepers.size === 0 || state.line.size === 0) return false;
  return evictForEach(state, firstWithoutPlan(state), now, effects);
}

/**
 * Tells of evictions that are over. Whoever waits all the same has another plan at once, before somebody takes what came back.
 * True when there is such a ticket: what was held for it is not any more, or otherwise, so that others may fit.
 */
export function evictAgain(state: EngineState, now: Millis, effects: Effect[]): boolean {
  const stillWait = new Set(endEvictions(state, now, effects));
  if (stillWait.size === 0) return false;
  // What was held for those that are over stands in nobody's way any more.
  refreshHolds(state, now);
  const inOrder = [...state.line.inOrder(state.orderAt)].filter((ticket) => stillWait.has(ticket) && ticket.connected);
  evictForEach(state, inOrder, now, effects);
  return true;
}

function* firstWithoutPlan(state: EngineState): Generator<TicketRecord, void, undefined> {
  let looked = 0;
  for (const ticket of state.line.inOrder(state.orderAt)) {
    if (!ticket.connected || state.evictions.byTicket.has(ticket.id)) continue;
    if (looked++ >= looksAtMost) return;
    yield ticket;
  }
}

/**
 * Under the start that is kept for the first, as when they start: whoever would be in its way would not start when others have
 * gone either. Where nobody fitted, the last pass has kept none.
 */
function evictForEach(state: EngineState, tickets: Iterable<TicketRecord>, now: Millis, effects: Effect[]): boolean {
  const { kept } = state;
  let isAsked = false;
  let isKept = false;
  for (const ticket of tickets) {
    if (![...state.keepers].some((lease) => mayEvict(state, lease, ticket.workload, now))) continue;
    if (!isKept) keepStart(state, now);
    // Who is asked to go changes when the first is thought to start.
    isKept = !evictFor(state, ticket, now, effects);
    isAsked ||= !isKept;
  }
  state.kept = kept;
  return isAsked;
}

function evictFor(state: EngineState, ticket: TicketRecord, now: Millis, effects: Effect[]): boolean {
  const policy = policyFor(state, ticket.policy, "wait");
  const plan = planEviction(state, ticket, { policy, waitedMs: now - ticket.submittedAt }, now);
  if (plan === undefined) return false;
  const { requirements: req, name } = ticket.workload;
  const what = [
    ...(req.gpuCount > 0 ? [`${mib(req.vramMb)} on ${req.gpuCount === 1 ? "a GPU" : `${req.gpuCount} GPUs`}`] : []),
    ...(req.ramMb > 0 ? [`${mib(req.ramMb)} of host memory`] : []),
  ];
  const gpus = new Set(plan.gpus.map((g) => g.uuid));
  const devices = (state.sample?.gpus ?? []).filter((d) => gpus.has(d.uuid));
  const eviction: Eviction = {
    ticketId: ticket.id,
    reason: `${name} (${ticket.id}) waits for ${what.join(" and ")}`,
    startedAt: now,
    deadline: now + state.settings.evictionGraceMs,
    pools: new Set(devices.map(poolKeyOf)),
    victims: new Map(),
  };
  for (const lease of plan.victims) {
    const expectedMb = new Map<PoolKey, Mib>();
    for (const h of lease.holdings) if (h.residentMb !== undefined) expectedMb.set(h.pool, h.residentMb);
    const holder = lease.keeping?.holder ?? "worker";
    eviction.victims.set(lease, { holder, costMs: costOf(state, lease, now), expectedMb, measuredMb: new Map() });
    lease.eviction = eviction;
    if (holder === "watcher") state.wakes.push({ at: eviction.deadline, kind: "eviction-deadline", id: lease.id });
  }
  state.keepValues.evicted(plan.victims.map((lease) => lease.workload.name));
  state.evictions.byTicket.set(ticket.id, eviction);
  state.evictions.underWay.add(eviction);
  refreshHolds(state, now);
  state.version++;
  effects.push({
    type: "evict",
    ticketId: ticket.id,
    reason: eviction.reason,
    deadline: eviction.deadline,
    leases: plan.victims.map(leaseView),
  });
  return true;
}
