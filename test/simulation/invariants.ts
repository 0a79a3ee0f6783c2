import type { Effect } from "../../src/engine/events.ts";
import { placementFor } from "../../src/engine/fit.ts";
import { holdFor } from "../../src/engine/holds.ts";
import { compareOrder } from "../../src/engine/order.ts";
import type { Millis } from "../../src/engine/sample.ts";
import type { EngineState, TicketHold } from "../../src/engine/state.ts";
import type { LeaseView } from "../../src/engine/types.ts";
import { contextOf, ticketView } from "../../src/engine/views.ts";
import type { SimMachine, SimProcess } from "./machine.ts";

/** What must hold after every step, each named after its promise. A broken one throws with what was seen. */
function must(promise: string, holds: boolean, seen: unknown): void {
  if (!holds) throw new Error(`${promise}: ${JSON.stringify(seen)}`);
}

export interface Truth {
  readonly machine: SimMachine;
  /** The process of each lease, where it has one. */
  readonly processOf: ReadonlyMap<string, SimProcess>;
}

/**
 * Never over capacity by our own doing: with every lease grown to what it was promised, what is used by others at the time of the
 * measurement that was decided on, and memory that is not back yet, the new lease still fits in physical memory.
 */
export function neverOverCapacity(state: EngineState, lease: LeaseView, truth: Truth, now: Millis): void {
  if (lease.overcommitted) return;
  const { machine, processOf } = truth;
  for (const { uuid } of lease.gpus) {
    const gpu = machine.gpu(uuid);
    let claimed = 0;
    const counted = new Set<SimProcess>();
    for (const l of state.leases.values()) {
      const share = l.gpus.find((g) => g.uuid === uuid);
      if (share === undefined) continue;
      const process = processOf.get(l.id);
      // A lease that nobody holds is what its process still has; one whose process may still grow is all it was promised.
      const mayGrow = l.phase === "held" || l.phase === "orphan";
      if (mayGrow) {
        claimed += share.vramMb;
        if (process !== undefined) counted.add(process);
      }
    }
    const others = machine.processes
      .filter((p) => p.alive && p.gpus.includes(uuid) && !counted.has(p))
      .reduce((sum, p) => sum + p.usedMb, 0);
    const foreign = machine.delivered?.foreign.get(uuid) ?? 0;
    // Late memory of a process whose lease is still held is part of what that lease was promised.
    const lagging = machine.laggingOn(uuid, now, counted);
    const room = gpu.totalMb - gpu.reservedMb;
    must("never over capacity by our own doing", claimed + others + foreign + lagging <= room, {
      lease: lease.id,
      uuid,
      claimed,
      others,
      foreign,
      lagging,
      room,
    });
  }
}

/** One ledger: the sums of every pool are what its live leases add up to. */
function oneLedger(state: EngineState): void {
  for (const pool of state.pools.values()) {
    let claimed = 0;
    for (const lease of state.leases.values()) {
      for (const h of lease.holdings) {
        if (h.pool !== pool.key) continue;
        must("a live lease is in its pool's books", pool.holdings.has(h), { lease: lease.id, pool: pool.key });
        if (lease.phase === "held" || lease.phase === "settling") claimed += Math.max(h.reservedMb, h.residentMb ?? 0);
        if (lease.phase === "orphan") claimed += Math.max(0, h.reservedMb - (h.residentMb ?? 0));
      }
    }
    must("one ledger", claimed === pool.claimedMb, { pool: pool.key, claimed, booked: pool.claimedMb });
    for (const h of pool.holdings)
      must("no lease that is over is in the books", state.leases.has(h.lease.id), { pool: pool.key, lease: h.lease.id });
  }
}

function queueIsSorted(state: EngineState): void {
  for (let i = 1; i < state.queue.length; i++) {
    const [a, b] = [state.queue[i - 1], state.queue[i]];
    must("the queue is in order", a !== undefined && b !== undefined && compareOrder(a, b) < 0, { a: a?.id, b: b?.id });
  }
  must("every ticket is in the queue once", state.queue.length === state.tickets.size, {
    queue: state.queue.length,
    tickets: state.tickets.size,
  });
}

/** Every waiting ticket has a current reason; quiescence: none that waits by the queue's rules fits. */
function everyWaitHasATrueReason(state: EngineState, now: Millis): void {
  for (const ticket of state.queue) {
    const view = ticketView(state, ticket, now);
    must("every waiting ticket has a reason", view.reasons.length > 0, view.id);
    must("its place is its place", state.queue[view.position - 1] === ticket, { id: view.id, position: view.position });
    if (!ticket.connected) continue;
    const fits = placementFor(state, ticket.workload.requirements, contextOf(state, ticket, now)) !== undefined;
    must("quiescence: no waiting ticket fits", !fits, { ticket: ticket.id, reasons: view.reasons });
    for (const r of view.reasons) {
      if (r.code === "INSUFFICIENT_GPU_MEMORY" && r.availableMb !== undefined && r.neededMb !== undefined) {
        must("a reason is true", r.availableMb < r.neededMb, r);
      }
    }
  }
}

export function afterEveryStep(state: EngineState, now: Millis): void {
  oneLedger(state);
  queueIsSorted(state);
  everyWaitHasATrueReason(state, now);
}

/** What was held before the step, by rights: worked out anew, not read from what the engine keeps. */
export function rightfulHolds(state: EngineState, now: Millis): TicketHold[] {
  const holds: TicketHold[] = [];
  for (const ticket of state.queue) {
    if (!ticket.connected || ticket.overtaken < state.settings.maxOvertakes) continue;
    const kept = ticket.heldPools;
    const hold = holdFor(state, ticket, holds, now);
    ticket.heldPools = kept;
    if (hold !== undefined) holds.push(hold);
  }
  return holds;
}

/** Bounded overtaking: nothing that comes later takes from what is held for a ticket that still waits. */
export function boundedOvertaking(
  state: EngineState,
  before: readonly TicketHold[],
  lease: LeaseView,
  place: { seq: number; workload: { priority: number } },
): void {
  if (lease.policy === "permissive") return;
  const record = state.leases.get(lease.id);
  for (const hold of before) {
    const waits = state.tickets.get(hold.ticket.id);
    if (waits === undefined || !waits.connected || compareOrder(waits, place) > 0) continue;
    // When what was held could not serve it any more, another GPU may be held by now.
    if (waits.heldPools !== undefined && [...hold.pools].some((p) => !waits.heldPools?.has(p))) continue;
    const took = record?.holdings.filter((h) => hold.pools.has(h.pool)).map((h) => h.pool) ?? [];
    must("bounded overtaking: what is held is not taken", took.length === 0, { lease: lease.id, from: hold.ticket.id, took });
  }
}

/** Tokens rise; all or nothing; no grant to a ticket that has ended. */
export class Grants {
  #lastToken = 0;
  readonly #endedTickets = new Set<string>();

  note(effects: readonly Effect[], state: EngineState): void {
    for (const e of effects) {
      if (e.type === "granted") {
        must("tokens rise with every grant", e.lease.token > this.#lastToken, { token: e.lease.token, last: this.#lastToken });
        this.#lastToken = e.lease.token;
        const { gpuCount } = e.lease.workload.requirements;
        const distinct = new Set(e.lease.gpus.map((g) => g.uuid)).size;
        must(
          "all or nothing for several GPUs",
          e.lease.overcommitted || (distinct === gpuCount && e.lease.gpus.length === gpuCount),
          e.lease.gpus,
        );
        if (e.ticketId !== undefined) this.#end(e.ticketId);
      } else if (e.type === "timed-out" || e.type === "withdrawn") this.#end(e.ticketId);
      else if (e.type === "refused" && e.ticketId !== undefined) this.#end(e.ticketId);
    }
    for (const id of state.tickets.keys()) must("a ticket that has ended does not wait", !this.#endedTickets.has(id), id);
  }

  #end(ticketId: string): void {
    must("a ticket ends once", !this.#endedTickets.has(ticketId), ticketId);
    this.#endedTickets.add(ticketId);
  }
}
