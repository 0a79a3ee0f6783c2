import type { Mib, Millis, ProcessKey } from "./sample.ts";
import type { EngineState, LeaseRecord, PoolKey, TicketRecord } from "./state.ts";
import type { GpuUuid, Hold, LeasedGpu, LeaseEnd, LeaseId, TicketId, Workload } from "./types.ts";

/**
 * What of a lease has to outlive the server, as plain data. Measurements do not: the next life makes its own.
 * Times are of the clock that granted it.
 */
export interface LeaseMemo {
  readonly id: LeaseId;
  readonly token: number;
  readonly workload: Workload;
  readonly gpus: readonly LeasedGpu[];
  /** What it was promised, by the memory that it is charged to. */
  readonly holdings: readonly HoldingMemo[];
  readonly requestId: string;
  readonly policy: string;
  readonly grantedAt: Millis;
  /** The longest time to live that its holder was ever told. */
  readonly ttlMs: Millis;
  readonly overcommitted: boolean;
  readonly estimateMs: Millis;
  readonly share: number;
  readonly chargedFrom: Millis;
  readonly chargedUntil: Millis;
  readonly executions: readonly string[];
  readonly processes: readonly ProcessKey[];
  /** Set for one that is over while a process of it still runs. */
  readonly end?: LeaseEnd;
  readonly endedAt?: Millis;
}

export interface HoldingMemo {
  readonly pool: PoolKey;
  readonly gpuUuid?: GpuUuid;
  readonly reservedMb: Mib;
  /** Use of the pool at the time of the grant; absent is not known. */
  readonly baselineMb?: Mib;
}

/** What of a ticket has to outlive the server. */
export interface TicketMemo {
  readonly id: TicketId;
  /** Order of arrival within the life that took it. */
  readonly seq: number;
  readonly workload: Workload;
  readonly cost: number;
  readonly requestId: string;
  readonly policy: string;
  readonly submittedAt: Millis;
  /** Absent: waits for ever. */
  readonly deadline?: Millis;
  readonly pollIntervalMs: Millis;
  readonly ttlMs: Millis;
  readonly hold: Hold;
  /** Absent: as the settings say. */
  readonly graceMs?: Millis;
}

/** One that changed; `memo` undefined: it is gone. */
export interface Saved<Memo> {
  readonly id: string;
  readonly memo: Memo | undefined;
}

/** What one step changed of that. */
export interface SaveEffect {
  readonly type: "save";
  readonly leases: readonly Saved<LeaseMemo>[];
  readonly tickets: readonly Saved<TicketMemo>[];
}

/** Which leases and tickets the present step has changed. */
export interface Saves {
  readonly leases: Set<LeaseId>;
  readonly tickets: Set<TicketId>;
}

/** A lease that lives as long as its holder's stream ends with the server. */
export function noteLease(state: EngineState, lease: LeaseRecord): void {
  if (lease.hold === "ttl") state.saves?.leases.add(lease.id);
}

/**
 * A client without a request id cannot find its ticket again. While the server shuts down tickets leave the line, but not for ever:
 * who comes back to the next life with the same id has its place.
 */
export function noteTicket(state: EngineState, ticket: TicketRecord): void {
  if (ticket.requestId !== "" && !state.draining) state.saves?.tickets.add(ticket.id);
}

/** Takes what was noted. Undefined: nothing changed that has to be written down. */
export function takeSaves(state: EngineState): SaveEffect | undefined {
  const { saves } = state;
  if (saves === undefined || saves.leases.size + saves.tickets.size === 0) return undefined;
  const effect: SaveEffect = {
    type: "save",
    leases: [...saves.leases].map((id) => {
      const lease = state.leases.get(id);
      return { id, memo: lease !== undefined && outlives(lease) ? leaseMemo(lease) : undefined };
    }),
    tickets: [...saves.tickets].map((id) => {
      const ticket = state.tickets.get(id);
      return { id, memo: ticket === undefined ? undefined : ticketMemo(ticket) };
    }),
  };
  saves.leases.clear();
  saves.tickets.clear();
  return effect;
}

/** All that has to outlive the server, as it is now. */
export function everything(state: EngineState): {
  readonly leases: readonly LeaseMemo[];
  readonly tickets: readonly TicketMemo[];
} {
  return {
    leases: [...state.leases.values()].filter(outlives).map(leaseMemo),
    tickets: [...state.tickets.values()].filter((t) => t.requestId !== "").map(ticketMemo),
  };
}

/** What settles does so on measurements that are newer than its end; all of the next life's are. */
function outlives(lease: LeaseRecord): boolean {
  return lease.hold === "ttl" && (lease.phase === "held" || lease.phase === "orphan");
}

function leaseMemo(lease: LeaseRecord): LeaseMemo {
  return {
    id: lease.id,
    token: lease.token,
    workload: lease.workload,
    gpus: lease.gpus,
    holdings: lease.holdings.map((h) => ({
      pool: h.pool,
      reservedMb: h.reservedMb,
      ...(h.gpuUuid === undefined ? {} : { gpuUuid: h.gpuUuid }),
      ...(h.baselineMb === undefined ? {} : { baselineMb: h.baselineMb }),
    })),
    requestId: lease.requestId,
    policy: lease.policy,
    grantedAt: lease.grantedAt,
    ttlMs: lease.longestTtlMs,
    overcommitted: lease.overcommitted,
    estimateMs: lease.estimateMs,
    share: lease.share,
    chargedFrom: lease.chargedFrom,
    chargedUntil: lease.chargedUntil,
    executions: [...lease.executions],
    processes: [...lease.processes],
    ...(lease.end === undefined ? {} : { end: lease.end }),
    ...(lease.endedAt === undefined ? {} : { endedAt: lease.endedAt }),
  };
}

function ticketMemo(ticket: TicketRecord): TicketMemo {
  return {
    id: ticket.id,
    seq: ticket.seq,
    workload: ticket.workload,
    cost: ticket.cost,
    requestId: ticket.requestId,
    policy: ticket.policy,
    submittedAt: ticket.submittedAt,
    pollIntervalMs: ticket.pollIntervalMs,
    ttlMs: ticket.ttlMs,
    hold: ticket.hold,
    graceMs: ticket.graceMs,
    ...(ticket.deadline === undefined ? {} : { deadline: ticket.deadline }),
  };
}
