import { capacityOf } from "../../src/engine/books.ts";
import { contextOf } from "../../src/engine/context.ts";
import type { Effect } from "../../src/engine/events.ts";
import { placementFor } from "../../src/engine/fit.ts";
import { quotaReason, reasonsNow } from "../../src/engine/quota.ts";
import type { Millis } from "../../src/engine/sample.ts";
import type { EngineState, TicketHold, TicketRecord } from "../../src/engine/state.ts";
import { step } from "../../src/engine/step.ts";
import type { LeaseView, Reason } from "../../src/engine/types.ts";
import { reasonsOf, ticketView } from "../../src/engine/views.ts";
import type { SimMachine, SimProcess } from "./machine.ts";

/** What must hold after every step, each named after its promise. A broken one throws with what was seen. */
export function must(promise: string, holds: boolean, seen: unknown): void {
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
        // Who is seen to have outgrown its promise is charged what it has.
        const holding = l.holdings.find((h) => h.gpuUuid === uuid);
        const grows = process?.alive ? Math.min(process.targetMb, process.promisedMb) : 0;
        const booked = Math.max(holding?.reservedMb ?? share.vramMb, holding?.residentMb ?? 0);
        // One that gives memory back takes none until it has asked for it again.
        const givesBack = l.givenBackAt !== undefined || l.keeping?.ready === false;
        claimed += givesBack ? grows : Math.max(booked, grows);
        if (process !== undefined) counted.add(process);
      }
    }
    const others = machine.processes
      .filter((p) => p.alive && p.gpus.includes(uuid) && !counted.has(p))
      .reduce((sum, p) => sum + Math.min(p.usedMb, p.promisedMb), 0);
    const foreign = machine.delivered?.foreign.get(uuid) ?? 0;
    // Late memory of a process whose lease is still held is part of what that lease was promised.
    const lagging = machine.promisedLaggingOn(uuid, now, counted);
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

/** The line is in order, and everybody's place is its place. */
function queueIsInOrder(state: EngineState, queue: readonly TicketRecord[]): void {
  must("every ticket is in the queue once", queue.length === state.tickets.size && new Set(queue).size === queue.length, {
    queue: queue.length,
    tickets: state.tickets.size,
  });
  for (const [i, ticket] of queue.entries()) {
    const position = state.line.positionOf(ticket, state.orderAt);
    must("its place is its place", position === i + 1, { id: ticket.id, position, at: i + 1 });
    const next = queue[i + 1];
    if (next === undefined) continue;
    const inOrder = ticket.workload.priority >= next.workload.priority && state.line.precedes(ticket, next, state.orderAt);
    must("the queue is in order", inOrder, { a: ticket.id, b: next.id });
    const isFair =
      ticket.workload.priority > next.workload.priority ||
      ticket.workload.tenant !== next.workload.tenant ||
      ticket.seq < next.seq;
    must("a tenant's tickets keep their order", isFair, { a: ticket.id, b: next.id });
  }
}

/** Every waiting ticket has a current reason; quiescence: none that waits by the queue's rules fits. */
function everyWaitHasATrueReason(state: EngineState, queue: readonly TicketRecord[], now: Millis): void {
  for (const ticket of queue) {
    const reasons = reasonsOf(state, ticket, now);
    must("every waiting ticket has a reason", reasons.length > 0, ticket.id);
    const own = reasonsNow(state, ticket.workload, contextOf(state, ticket, now));
    const tail = reasons.slice(reasons.length - own.length);
    must("reasons that tickets share are those of each", own.length === 0 || ageless(tail) === ageless(own), { tail, own });
    if (!ticket.connected) continue;
    const fits =
      quotaReason(state, ticket.workload) === undefined &&
      placementFor(state, ticket.workload.requirements, contextOf(state, ticket, now)) !== undefined;
    must("quiescence: no waiting ticket fits", !fits, { ticket: ticket.id, reasons });
    must("who waits by the queue's rules is told what is missing", reasons[0]?.code !== "POLICY", {
      ticket: ticket.id,
      reasons,
    });
    for (const r of reasons) {
      if (r.code === "INSUFFICIENT_GPU_MEMORY" && r.availableMb !== undefined && r.neededMb !== undefined) {
        must("a reason is true", r.availableMb < r.neededMb, r);
      }
      if (r.code === "HELD_FOR_EARLIER_TICKET" || r.code === "BEHIND_IN_QUEUE") {
        const waits = (r.heldBy ?? []).every((id) => state.tickets.has(id) && id !== ticket.id);
        must("what is held is held for somebody who waits", waits, r);
      }
    }
  }
  const first = queue[0];
  if (first !== undefined) everyEstimateIsAhead(state, first, now);
}

function everyEstimateIsAhead(state: EngineState, ticket: TicketRecord, now: Millis): void {
  const { expectedStart, estimateBasis, eta } = ticketView(state, ticket, now);
  must("an estimate says what it rests on", (expectedStart === undefined) === (estimateBasis === undefined), { estimateBasis });
  must("nobody is expected to have started already", expectedStart === undefined || expectedStart >= now, {
    expectedStart,
    now,
  });
  must("an upper bound is a moment", eta === undefined || Number.isFinite(eta), { eta });
}

/** Limits hold for every lease that was not granted by the permissive policy. */
function nobodyIsOverALimit(state: EngineState): void {
  const has = new Map<string, { gpus: number; vramMb: number }>();
  for (const lease of state.leases.values()) {
    if (lease.phase !== "held") continue;
    const { tenant } = lease.workload;
    const before = has.get(tenant) ?? { gpus: 0, vramMb: 0 };
    has.set(tenant, {
      gpus: before.gpus + lease.gpus.length,
      vramMb: before.vramMb + lease.gpus.reduce((sum, g) => sum + g.vramMb, 0),
    });
  }
  for (const [tenant, sums] of has) {
    const counted = state.running.get(tenant) ?? { gpus: 0, vramMb: 0 };
    must("what a tenant has is counted", counted.gpus === sums.gpus && counted.vramMb === sums.vramMb, {
      tenant,
      counted,
      sums,
    });
    const limits = state.settings.tenantLimits.get(tenant);
    must("nobody is over a limit", sums.gpus <= (limits?.gpus ?? Infinity) && sums.vramMb <= (limits?.vramMb ?? Infinity), {
      tenant,
      sums,
      limits,
    });
  }
}

/** A warm worker that ran once fits again: its lease is enough, whoever waits and whatever was measured since. */
function aWarmWorkerFitsAgain(state: EngineState, now: Millis): void {
  for (const { id, token, phase, wasUsed, executions, claimBy, keeping, eviction } of state.leases.values()) {
    // To use a lease that may be taken back is to claim it, and would change what comes; to use a resident, who goes next.
    if (phase !== "held" || !wasUsed || executions.size > 0 || claimBy !== undefined) continue;
    if (keeping !== undefined || eviction !== undefined) continue;
    const books = () =>
      JSON.stringify([...state.pools.values()].map((p) => [p.key, p.claimedMb, p.outstandingMb, p.foreignMb]));
    const before = books();
    const executionId = "once-more";
    const { reply, effects } = step(state, { type: "start-execution", leaseId: id, token, executionId }, now);
    const isRunning = state.leases.get(id)?.executions.has(executionId) === true;
    must("a warm worker that ran once fits again", isRunning && books() === before, { id, reply, effects });
    step(state, { type: "finish-execution", leaseId: id, executionId }, now);
    const isIdle = state.leases.get(id)?.executions.size === 0;
    must("a warm worker keeps its lease when it has run", isIdle && books() === before, { id });
  }
}

export function afterEveryStep(state: EngineState, now: Millis): void {
  const queue = [...state.line.inOrder(state.orderAt)];
  oneLedger(state);
  nobodyIsOverALimit(state);
  queueIsInOrder(state, queue);
  everyWaitHasATrueReason(state, queue, now);
  aWarmWorkerFitsAgain(state, now);
}

/** Tickets that have been overtaken as often as a ticket may be. */
export function overtakenEnough(state: EngineState): ReadonlySet<TicketRecord> {
  const { maxOvertakes } = state.settings;
  const all = [...state.tickets.values()];
  return new Set(all.filter((t) => t.connected && state.line.overtakenOf(t) >= maxOvertakes));
}

/**
 * Bounded overtaking: whoever comes later takes from what is held for a ticket only as far as the ticket still fits beside it and
 * everybody who came since the hold began.
 */
export function boundedOvertaking(state: EngineState, before: ReadonlySet<TicketRecord>, lease: LeaseView, now: Millis): void {
  const record = state.leases.get(lease.id);
  if (lease.policy === "permissive" || lease.overcommitted || record === undefined) return;
  for (const hold of state.holds) {
    if (!before.has(hold.ticket) || hold.since === undefined || lease.token < hold.since) continue;
    if (hold.ticket.workload.priority < lease.workload.priority) continue;
    // Of one tenant, who came later is behind.
    const isBehind = hold.ticket.workload.tenant === lease.workload.tenant && orderOf(hold.ticket.id) < orderOf(lease.id);
    if (hold.ticket.workload.priority === lease.workload.priority && !isBehind) continue;
    for (const key of hold.pools)
      if (record.holdings.some((h) => h.pool === key)) besideIsLeft(state, hold, hold.since, key, lease, now);
  }
}

/** Ids of a schedule are numbered as they were submitted. */
function orderOf(id: string): number {
  return Number(id.replace(/^\D+/, ""));
}

function besideIsLeft(state: EngineState, hold: TicketHold, from: number, key: string, lease: LeaseView, now: Millis): void {
  const pool = state.pools.get(key);
  const capacity = pool === undefined ? undefined : capacityOf(state, pool);
  if (pool === undefined || capacity === undefined || key === "host") return;
  let since = 0;
  for (const h of pool.holdings) {
    const { token, phase } = h.lease;
    // What an ended lease has not given back is part of foreign use.
    if (phase !== "releasing" && token >= from && token <= lease.token) since += Math.max(h.reservedMb, h.residentMb ?? 0);
  }
  const left = capacity - (pool.foreignMb ?? 0) - since - hold.ticket.workload.requirements.vramMb;
  must("bounded overtaking: the ticket still fits beside those who came since", left >= 0, {
    lease: lease.id,
    ticket: hold.ticket.id,
    key,
    left,
    now,
  });
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

/** An age in a text may be a tenth of a second old. */
function ageless(reasons: readonly Reason[]): string {
  return JSON.stringify(reasons).replace(/is [\d.]+ s old/g, "is old");
}
