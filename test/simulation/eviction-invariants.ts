import { availableOf } from "../../src/engine/books.ts";
import { contextOf, keepStart } from "../../src/engine/context.ts";
import type { Effect } from "../../src/engine/events.ts";
import { deviceBlock, exclusivityConflict, placementFor, ramAvailable } from "../../src/engine/fit.ts";
import { isToBeMeasured, mayEvict, stayUntil } from "../../src/engine/keeping.ts";
import { quotaReason } from "../../src/engine/quota.ts";
import type { Millis } from "../../src/engine/sample.ts";
import { type EngineState, hostPool, type LeaseRecord, type Pool, type TicketRecord } from "../../src/engine/state.ts";
import { must } from "./invariants.ts";

type Evict = Extract<Effect, { type: "evict" }>;

/** Memory that is thought away, worked out from the leases and not from what the engine thinks of them. */
interface Away {
  readonly leases: Set<LeaseRecord>;
  readonly mb: Map<string, number>;
}

function add(away: Away, key: string, mb: number): void {
  away.mb.set(key, (away.mb.get(key) ?? 0) + mb);
}

/** Those that are leaving, except these. */
function leaving(state: EngineState, except: ReadonlySet<LeaseRecord>): Away {
  const away: Away = { leases: new Set(), mb: new Map() };
  for (const lease of state.leases.values()) {
    if (except.has(lease)) continue;
    if (lease.phase === "held" && lease.eviction !== undefined) leave(away, lease);
    if (lease.phase === "settling" || lease.phase === "releasing") away.leases.add(lease);
  }
  for (const pool of state.pools.values()) add(away, pool.key, pool.drainingMb);
  return away;
}

function leave(away: Away, lease: LeaseRecord): void {
  away.leases.add(lease);
  for (const h of lease.holdings) {
    // What was not measured is not counted on.
    if (h.residentMb !== undefined) add(away, h.pool, Math.max(h.reservedMb, h.residentMb));
  }
}

function without(state: EngineState, except: ReadonlySet<LeaseRecord>, victims: Iterable<LeaseRecord>): Away {
  const away = leaving(state, except);
  for (const lease of victims) leave(away, lease);
  return away;
}

/** By the engine's rules, holds and kept starts included. */
function fits(state: EngineState, ticket: TicketRecord, gone: Away, now: Millis): boolean {
  const { kept } = state;
  keepStart(state, now);
  const ctx = { ...contextOf(state, ticket, now), gone };
  state.kept = kept;
  if (quotaReason(state, ticket.workload, gone.leases) !== undefined) return false;
  return placementFor(state, ticket.workload.requirements, ctx) !== undefined;
}

/** By the plain books, pool by pool. */
function covers(state: EngineState, ticket: TicketRecord, gone: Away, now: Millis): boolean {
  const { requirements: req } = ticket.workload;
  const ageLimitMs = Math.min(ticket.pollIntervalMs, state.settings.maxSampleAgeMs);
  const room = (pool: Pool) => (availableOf(state, pool) ?? -Infinity) + (gone.mb.get(pool.key) ?? 0);
  let devices = 0;
  for (const gpu of state.sample?.gpus ?? []) {
    const pool = state.pools.get(gpu.uuid);
    if (pool === undefined || deviceBlock(gpu, pool, { now, ageLimitMs }) !== undefined) continue;
    if (req.gpuUuids.length > 0 && !req.gpuUuids.includes(gpu.uuid)) continue;
    if (exclusivityConflict(pool, req.exclusive, gone) === undefined && room(pool) >= req.vramMb) devices++;
  }
  const host = state.pools.get(hostPool);
  const ram = host === undefined || ramAvailable(state, { now, holds: [] }) === undefined ? -Infinity : room(host);
  return devices >= req.gpuCount && (req.ramMb === 0 || ram >= req.ramMb);
}

/** Whoever was asked to go in this step: allowed to, needed and enough, and nobody more. */
export function evictionsWereRight(state: EngineState, effects: readonly Effect[], now: Millis): number {
  const made = effects.filter((e): e is Evict => e.type === "evict");
  // Who was granted after a plan may have come first and taken what it counted on.
  const lastGrant = effects.findLastIndex((e) => e.type === "granted");
  const victims = made.map((e) => e.leases.map((l) => state.leases.get(l.id)).filter((l) => l !== undefined));
  for (const [i, effect] of made.entries()) {
    const ticket = state.tickets.get(effect.ticketId);
    for (const lease of victims[i] ?? []) mayGo(lease, ticket, now);
    if (ticket === undefined || effects.indexOf(effect) < lastGrant) continue;
    // And so may have done whoever comes first and could have a plan only with what this one frees.
    const others = made.slice(i + 1).map((e) => state.tickets.get(e.ticketId));
    if (others.some((other) => other !== undefined && state.line.precedes(other, ticket, state.orderAt))) continue;
    const later = victims.slice(i).flat();
    before(later, () => planWasRight(state, ticket, victims[i] ?? [], new Set(later), now));
  }
  return made.length;
}

/** As it was before these were asked to go. */
function before(later: readonly LeaseRecord[], check: () => void): void {
  const evictions = later.map((lease) => lease.eviction);
  for (const lease of later) lease.eviction = undefined;
  check();
  for (const [i, lease] of later.entries()) lease.eviction = evictions[i];
}

function planWasRight(
  state: EngineState,
  ticket: TicketRecord,
  victims: readonly LeaseRecord[],
  later: ReadonlySet<LeaseRecord>,
  now: Millis,
): void {
  const seen = { ticket: ticket.id, needs: ticket.workload.requirements, victims: victims.map((l) => l.id) };
  must("an eviction is needed", !fits(state, ticket, without(state, later, []), now), seen);
  must("an eviction is enough", fits(state, ticket, without(state, later, victims), now), seen);
  must("an eviction is enough by the books", covers(state, ticket, without(state, later, victims), now), seen);
  for (const lease of victims) {
    const others = victims.filter((l) => l !== lease);
    must("no victim is needless", !fits(state, ticket, without(state, later, others), now), { ...seen, needless: lease.id });
  }
}

function mayGo(lease: LeaseRecord, ticket: TicketRecord | undefined, now: Millis): void {
  const { id, keeping, phase, executions, workload } = lease;
  const seen = { id, phase, keeping, executions: [...executions], now };
  must("only an idle lease is asked to go", phase === "held" && executions.size === 0, seen);
  must("only who listens is asked to go", keeping?.ready === true, seen);
  must("nobody pinned goes", keeping?.pinned === false, seen);
  must("nobody goes before its time", keeping !== undefined && now >= stayUntil(keeping), seen);
  const importance = ticket?.workload.importance ?? 0;
  must("nobody more important goes", ticket === undefined || (workload.importance ?? 0) <= importance, { seen, importance });
}

/** The engine looks at so many tickets. */
const looksAtMost = 16;

/** A ticket whose only obstacle is that others are idle has had them asked by now. */
export function everybodyHasAPlan(state: EngineState, now: Millis): void {
  let looked = 0;
  for (const ticket of state.line.inOrder(state.orderAt)) {
    if (!ticket.connected || state.evictions.byTicket.has(ticket.id)) continue;
    if (++looked > looksAtMost) return;
    const idle = [...state.keepers].filter((l) => mayEvict(state, l, ticket.workload, now));
    if (idle.length === 0 || [...state.keepers].some((l) => isToBeMeasured(state, l, now))) continue;
    const seen = { ticket: ticket.id, needs: ticket.workload.requirements, idle: idle.map((l) => l.id) };
    const isInVain =
      fits(state, ticket, without(state, new Set(), []), now) || !fits(state, ticket, without(state, new Set(), idle), now);
    must("whoever waits only for idle leases has a plan in that very step", isInVain, seen);
  }
}

/** What the engine remembers of evictions is what its leases and tickets say. */
export function evictionsAreInTheBooks(state: EngineState, now: Millis): void {
  const { byTicket, underWay } = state.evictions;
  for (const lease of state.leases.values()) {
    const { id, phase, keeping, eviction, executions } = lease;
    const isKept = phase === "held" && keeping !== undefined;
    must("who listens is known, nobody else", state.keepers.has(lease) === isKept, { id, phase, keeping });
    if (phase !== "held" || eviction === undefined) continue;
    must("nobody is evicted under an execution", executions.size === 0, { id });
    must("who is asked to go belongs to an eviction", underWay.has(eviction) && eviction.victims.has(lease), { id });
    if (eviction.victims.get(lease)?.holder === "worker") continue;
    must("another program is asked only while somebody waits", byTicket.get(eviction.ticketId) === eviction, { id });
    must("another program has until its deadline", now <= eviction.deadline, { id, now, deadline: eviction.deadline });
  }
  for (const lease of state.keepers) must("no listener of a lease that is over", state.leases.has(lease.id), { id: lease.id });
  for (const [id, eviction] of byTicket) {
    const isOpen = state.tickets.has(id) && eviction.ticketId === id && underWay.has(eviction);
    must("a plan is for somebody who waits", isOpen, { id });
    const isHeld = state.holds.some((h) => h.ticket.id === id && h.since === undefined);
    must("what it frees is held", isHeld === (state.tickets.get(id)?.connected === true), { id });
  }
  for (const hold of state.holds) {
    must("nothing is held for an eviction that is over", hold.since !== undefined || byTicket.has(hold.ticket.id), {
      ticket: hold.ticket.id,
    });
  }
  for (const { ticketId, victims } of underWay) {
    const phases = [...victims.keys()].map((l) => l.phase);
    const goesOn = phases.some((p) => p === "held" || p === "settling" || p === "releasing");
    must("an eviction is over when all have gone", goesOn, { ticketId, phases });
  }
}
