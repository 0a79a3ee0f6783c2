import { refreshHolds } from "./admit.ts";
import type { Effect } from "./events.ts";
import { costOf, planEviction } from "./eviction-plan.ts";
import type { Eviction } from "./evictions.ts";
import { mayEvict } from "./keeping.ts";
import { mib } from "./mib.ts";
import type { Mib, Millis } from "./sample.ts";
import type { EngineState, PoolKey, TicketRecord } from "./state.ts";
import { leaseView } from "./views.ts";

/** So many waiting tickets are looked at, in order. */
const looksAtMost = 16;

/** Makes room for those who wait and fit nowhere, where idle leases can be had back. Grants nothing. */
export function evictForWaiting(state: EngineState, now: Millis, effects: Effect[]): void {
  if (state.keepers.size === 0 || state.line.size === 0) return;
  let looked = 0;
  for (const ticket of state.line.inOrder(state.orderAt)) {
    if (!ticket.connected || state.evictions.byTicket.has(ticket.id)) continue;
    if (looked++ >= looksAtMost) return;
    const most = [...state.keepers].some((lease) => mayEvict(lease, ticket.workload, now));
    if (most) evictFor(state, ticket, now, effects);
  }
}

function evictFor(state: EngineState, ticket: TicketRecord, now: Millis, effects: Effect[]): void {
  const plan = planEviction(state, ticket, now);
  if (plan === undefined) return;
  const { requirements: req, name } = ticket.workload;
  const what = [
    ...(req.gpuCount > 0 ? [`${mib(req.vramMb)} on ${req.gpuCount === 1 ? "a GPU" : `${req.gpuCount} GPUs`}`] : []),
    ...(req.ramMb > 0 ? [`${mib(req.ramMb)} of host memory`] : []),
  ];
  const eviction: Eviction = {
    ticketId: ticket.id,
    reason: `${name} (${ticket.id}) waits for ${what.join(" and ")}`,
    startedAt: now,
    deadline: now + state.settings.evictionGraceMs,
    victims: new Map(),
  };
  for (const lease of plan.victims) {
    const expectedMb = new Map<PoolKey, Mib>();
    for (const h of lease.holdings) if (h.residentMb !== undefined) expectedMb.set(h.pool, h.residentMb);
    eviction.victims.set(lease, { costMs: costOf(state, lease, now), expectedMb, measuredMb: new Map() });
    lease.eviction = eviction;
    if (lease.keeping?.holder === "watcher") {
      state.wakes.push({ at: eviction.deadline, kind: "eviction-deadline", id: lease.id });
    }
  }
  state.keepValues.evicted(plan.victims.map((lease) => lease.workload.name));
  state.evictions.byTicket.set(ticket.id, eviction);
  state.evictions.underWay.add(eviction);
  // What it frees is for this ticket: somebody smaller must not take the first piece of it while the rest is on its way.
  const gpus = new Set(plan.gpus.map((g) => g.uuid));
  ticket.heldPools = new Set(
    [...state.pools.values()].filter((p) => p.devices.some((d) => gpus.has(d.uuid))).map((p) => p.key),
  );
  ticket.heldSince = state.nextToken;
  refreshHolds(state, now);
  state.version++;
  effects.push({
    type: "evict",
    ticketId: ticket.id,
    reason: eviction.reason,
    deadline: eviction.deadline,
    leases: plan.victims.map(leaseView),
  });
}
