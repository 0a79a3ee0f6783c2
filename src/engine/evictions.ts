import type { Effect, EvictionVictim } from "./events.ts";
import { type Keeping, noteWorth } from "./keeping.ts";
import type { Mib, Millis } from "./sample.ts";
import type { EngineState, LeaseRecord, PoolKey, TicketRecord } from "./state.ts";
import type { TicketId } from "./types.ts";

/**
 * Leases that were asked to go so that one ticket fits. It is under way until the memory of every victim is seen to be back or was
 * waited for long enough; only then another plan is made for the same ticket, from what is measured by then.
 */
export interface Eviction {
  readonly ticketId: TicketId;
  readonly reason: string;
  readonly startedAt: Millis;
  /** When victims that are other programs' lose their lease. */
  readonly deadline: Millis;
  /** Where the ticket is to start: held for it meanwhile. */
  readonly pools: ReadonlySet<PoolKey>;
  readonly victims: Map<LeaseRecord, Victim>;
}

interface Victim {
  /** Who was asked. It may not listen any more. */
  readonly holder: Keeping["holder"];
  readonly costMs: Millis;
  /** Measured for it when it was chosen. */
  readonly expectedMb: ReadonlyMap<PoolKey, Mib>;
  /** By how much the use of each pool fell from the last measurement before its end to the newest since; signed. */
  readonly measuredMb: Map<PoolKey, Mib>;
}

export interface Evictions {
  readonly byTicket: Map<TicketId, Eviction>;
  readonly underWay: Set<Eviction>;
}

/** The ticket has left the line. Other programs that have not given theirs back yet may keep it (E13). */
export function dropEviction(state: EngineState, ticketId: TicketId): void {
  const eviction = state.evictions.byTicket.get(ticketId);
  if (eviction === undefined) return;
  state.evictions.byTicket.delete(ticketId);
  for (const [lease, { holder }] of eviction.victims) {
    if (lease.phase !== "held" || holder !== "watcher") continue;
    lease.eviction = undefined;
    // Being chosen has made it worth nothing; it was not to go after all.
    noteWorth(state, lease, eviction.startedAt);
    eviction.victims.delete(lease);
  }
  if (eviction.victims.size === 0) state.evictions.underWay.delete(eviction);
  state.version++;
}

/** By how much the use of its pools has fallen since the last measurement before its end. */
export function noteMeasured(state: EngineState, lease: LeaseRecord): void {
  const victim = lease.eviction?.victims.get(lease);
  if (victim === undefined) return;
  for (const h of lease.holdings) {
    const before = lease.atEnd.get(h.pool)?.usedMb;
    const after = state.pools.get(h.pool)?.figures?.usedMb;
    if (before !== undefined && after !== undefined) victim.measuredMb.set(h.pool, before - after);
  }
}

/** True when its holder has a deadline, or had one. */
export function hasDeadline(lease: LeaseRecord): boolean {
  return lease.eviction?.victims.get(lease)?.holder === "watcher";
}

/** Tells of evictions that are over. Answers the tickets that wait all the same: they may have another plan. */
export function endEvictions(state: EngineState, now: Millis, effects: Effect[]): readonly TicketRecord[] {
  const stillWait: TicketRecord[] = [];
  for (const eviction of state.evictions.underWay) {
    if ([...eviction.victims.keys()].some((lease) => lease.phase !== "ended" && lease.phase !== "orphan")) continue;
    state.evictions.underWay.delete(eviction);
    if (state.evictions.byTicket.delete(eviction.ticketId)) {
      const ticket = state.tickets.get(eviction.ticketId);
      if (ticket !== undefined) stillWait.push(ticket);
    }
    state.version++;
    const victims = [...eviction.victims].map(([lease, victim]) => asVictim(lease, victim));
    effects.push({
      type: "evicted",
      ticketId: eviction.ticketId,
      reason: eviction.reason,
      tookMs: now - eviction.startedAt,
      victims,
    });
  }
  return stillWait;
}

function asVictim(lease: LeaseRecord, { costMs, expectedMb, measuredMb }: Victim): EvictionVictim {
  const of = (pool: PoolKey) => {
    const expected = expectedMb.get(pool);
    const measured = measuredMb.get(pool);
    return {
      ...(expected === undefined ? {} : { expectedMb: expected }),
      ...(measured === undefined ? {} : { measuredMb: measured }),
    };
  };
  const pools = lease.holdings.map((h) => ({ ...(h.gpuUuid === undefined ? {} : { gpuUuid: h.gpuUuid }), ...of(h.pool) }));
  return {
    leaseId: lease.id,
    name: lease.workload.name,
    costMs,
    ...(lease.end === undefined ? {} : { why: lease.end }),
    pools,
  };
}
