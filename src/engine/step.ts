import { takeFigures } from "./books.ts";
import { chargeOn } from "./charges.ts";
import type { Effect, EngineEvent, Outcome, Reply } from "./events.ts";
import { evictAgain, evictForWaiting } from "./evict.ts";
import { Failure } from "./failure.ts";
import { giveBack, keep, stayUntil } from "./keeping.ts";
import { attach, drainLeases, endLease, finishExecution, processExited, startExecution } from "./leases.ts";
import { servePass } from "./pass.ts";
import { refillLease } from "./refill.ts";
import { attribute } from "./residents.ts";
import { restore } from "./restore.ts";
import type { Millis } from "./sample.ts";
import { noteLease, takeSaves } from "./saves.ts";
import { mayBeNews, mayServeMore } from "./served.ts";
import type { EngineState, LeaseRecord } from "./state.ts";
import { judgeCapacityAgain, submit, timeOut, withdraw } from "./tickets.ts";
import type { LeaseId, Refusal, TicketId } from "./types.ts";
import { leaseView } from "./views.ts";
import type { Wake } from "./wake.ts";

const done: Reply = { type: "done" };

/**
 * The engine: one event at one moment, all its consequences. Runs to the end before anything else can happen, so what was
 * checked is what is reserved. `state` is changed in place; nothing else is touched, no clock is read, nothing is awaited.
 *
 * After every step: no waiting ticket fits that is not kept back for a stated reason.
 */
export function step(state: EngineState, event: EngineEvent, now: Millis): Outcome {
  const effects: Effect[] = [];
  const versionBefore = state.version;
  // Whatever was due before this event happened before it: a lease that has expired cannot be renewed.
  const freed = runDue(state, now, effects);
  // What that made free goes to those who wait, before somebody comes in this very moment; but not before a newer measurement.
  if (freed && event.type === "submit") servePass(state, now, effects);
  const { reply, serve } = handle(state, event, now, effects);
  if (serve || (freed && event.type !== "submit")) servePass(state, now, effects);
  makeRoom(state, now, effects, freed || serve || mayNeedRoom(event));
  if (state.version !== versionBefore) effects.push({ type: "changed" });
  else if (event.type === "sample" || event.type === "tick") {
    effects.push({ type: mayBeNews(state, now) ? "changed" : "measured" });
  }
  const save = takeSaves(state);
  if (save !== undefined) effects.unshift(save);
  return { reply, effects };
}

/** Evictions that end, and those that begin, change what others may have beside their tickets. */
function makeRoom(state: EngineState, now: Millis, effects: Effect[], isNeeded: boolean): void {
  let hasEnded: boolean;
  let isAsked: boolean;
  do {
    hasEnded = state.evictions.underWay.size > 0 && evictAgain(state, now, effects);
    if (hasEnded) servePass(state, now, effects);
    isAsked = (isNeeded || hasEnded) && state.suspended === undefined && evictForWaiting(state, now, effects);
    if (isAsked) servePass(state, now, effects);
  } while (hasEnded || isAsked);
}

/** False for events after which nobody waits who did not before, and nobody is idle who was not. */
function mayNeedRoom(event: EngineEvent): boolean {
  return event.type !== "renew" && event.type !== "attach" && event.type !== "start-execution";
}

interface Handled {
  readonly reply: Reply;
  /** True when the event may have made room, or changed who decides. */
  readonly serve: boolean;
}

function handle(state: EngineState, event: EngineEvent, now: Millis, effects: Effect[]): Handled {
  const { changes } = state.fairShare;
  // A tenant is charged again, or not any more: another one's tickets may come first now.
  const isMoved = () => state.line.tenants > 1 && state.fairShare.changes !== changes;
  switch (event.type) {
    case "submit":
      return { reply: submit(state, event, now, effects), serve: false };
    case "cancel":
      return cancel(state, event.ticketId, effects);
    case "disconnect":
      return disconnect(state, event.ticketId, now, effects);
    case "undelivered":
      return undelivered(state, event.leaseId, now, effects);
    case "renew":
      return withLease(state, event.leaseId, event.token, (lease) => {
        if (lease.expiresAt !== undefined) {
          const ttlMs = event.ttlMs ?? lease.ttlMs;
          lease.expiresAt = now + ttlMs;
          if (ttlMs > lease.longestTtlMs) {
            lease.longestTtlMs = ttlMs;
            noteLease(state, lease);
          }
          state.wakes.push({ at: lease.expiresAt, kind: "lease-expiry", id: lease.id });
          effects.push({ type: "renewed", leaseId: lease.id, expiresAt: lease.expiresAt });
        }
        return undefined;
      });
    case "release": {
      const lease = state.leases.get(event.leaseId);
      if (lease === undefined || lease.phase !== "held") return { reply: releasedBefore(state, event.leaseId), serve: false };
      if (event.token !== 0 && event.token !== lease.token) return { reply: stale(lease, event.token), serve: false };
      endLease(state, lease, event.why ?? (lease.eviction === undefined ? "released" : "evicted"), now, effects);
      return { reply: { type: "lease", lease: leaseView(lease) }, serve: true };
    }
    case "start-execution": {
      const handled = withLease(state, event.leaseId, event.token, (lease) => {
        if (lease.eviction !== undefined) return beingEvicted(lease);
        startExecution(state, lease, event.executionId, now);
        return undefined;
      });
      return { ...handled, serve: isMoved() };
    }
    case "finish-execution": {
      const lease = state.leases.get(event.leaseId);
      if (lease !== undefined) finishExecution(state, lease, event.executionId, now);
      return { reply: done, serve: isMoved() };
    }
    case "keep": {
      const handled = withLease(state, event.leaseId, event.token, (lease) => {
        keep(state, lease, event.keeping, now);
        return undefined;
      });
      return { ...handled, serve: isMoved() };
    }
    case "give-back":
      return withLease(state, event.leaseId, event.token, (lease) => {
        giveBack(lease, now);
        if (state.line.size > 0) effects.push({ type: "refresh" });
        return undefined;
      });
    case "refill":
      return refill(state, event, now, effects);
    case "attach":
      return withLease(state, event.leaseId, event.token, (lease) => {
        const owner = state.processOwner.get(event.process);
        if (owner !== undefined && owner !== lease) {
          const pid = Number.parseInt(event.process, 10);
          return new Failure(
            "PROCESS_ATTACHED",
            `process ${pid} already works for ${owner.id}; a process can work for one lease`,
            { pid: String(pid), lease_id: owner.id },
          );
        }
        if (owner === undefined) attach(state, lease, event.process, effects);
        return undefined;
      });
    case "process-exited":
      processExited(state, event.process, now, effects);
      return { reply: done, serve: true };
    case "sample":
      state.sample = event.sample;
      takeFigures(state, event.sample);
      attribute(state, event.sample);
      drainLeases(state, now);
      judgeCapacityAgain(state, effects);
      return { reply: done, serve: mayServeMore(state, now) };
    case "set-policy":
      state.policy = event.policy;
      if (event.discipline !== undefined) state.discipline = event.discipline;
      state.version++;
      return { reply: done, serve: true };
    case "drain":
      state.draining = true;
      for (const ticket of [...state.line.inOrder(state.orderAt)]) {
        withdraw(
          state,
          ticket,
          new Failure("DRAINING", "the server is shutting down; ask again, at this server or another"),
          effects,
        );
      }
      return { reply: done, serve: false };
    case "suspend":
      state.suspended = event.why;
      state.version++;
      return { reply: done, serve: true };
    case "resume":
      state.suspended = undefined;
      state.version++;
      return { reply: done, serve: true };
    case "restore":
      restore(state, event, now, effects);
      // Some may have waited for as long as they wanted to while the server was away.
      runDue(state, now, effects);
      return { reply: done, serve: true };
    case "tick":
      return { reply: done, serve: mayServeMore(state, now) };
  }
}

/** The holder of a lease that gave memory back wants it again: decided at once, like Allocate, on the GPUs that it is on. */
function refill(state: EngineState, event: Extract<EngineEvent, { type: "refill" }>, now: Millis, effects: Effect[]): Handled {
  let refusal: Refusal | undefined;
  const handled = withLease(state, event.leaseId, event.token, (lease) => {
    if (lease.eviction !== undefined) return beingEvicted(lease);
    refusal = refillLease(state, lease, event.policy, now);
    return undefined;
  });
  if (refusal === undefined) return handled;
  effects.push({ type: "changed" });
  return { reply: { type: "refused", refusal }, serve: false };
}

function beingEvicted(lease: LeaseRecord): Failure {
  const message = `lease ${lease.id} is being taken back for somebody who waits: release it and ask for a new one`;
  return new Failure("LEASE_EVICTING", message, { lease_id: lease.id });
}

function withLease(
  state: EngineState,
  id: LeaseId,
  token: number,
  action: (lease: LeaseRecord) => Failure | undefined,
): Handled {
  const lease = state.leases.get(id);
  if (lease === undefined || lease.phase !== "held") {
    return { reply: { type: "failure", failure: gone(state, id) }, serve: false };
  }
  if (token !== lease.token) return { reply: stale(lease, token), serve: false };
  const failure = action(lease);
  if (failure instanceof Failure) return { reply: { type: "failure", failure }, serve: false };
  // Whoever uses the token has heard of the grant.
  lease.claimBy = undefined;
  return { reply: { type: "lease", lease: leaseView(lease) }, serve: false };
}

function gone(state: EngineState, id: LeaseId): Failure {
  const why = (state.leases.get(id) ?? state.ended.get(id))?.end;
  const text = why === undefined ? "is not known here" : `has ended (${why})`;
  return new Failure("LEASE_EXPIRED", `lease ${id.slice(0, 128)} ${text}; ask for a new one`, { lease_id: id.slice(0, 128) });
}

function stale(lease: LeaseRecord, token: number): Reply {
  const failure = new Failure("STALE_TOKEN", `token ${token} is not the token of ${lease.id}`, {
    lease_id: lease.id,
    token: String(token),
  });
  return { type: "failure", failure };
}

/** Releasing twice is a success: the caller wanted it gone, and it is. */
function releasedBefore(state: EngineState, id: LeaseId): Reply {
  const lease = state.leases.get(id) ?? state.ended.get(id);
  return lease === undefined ? done : { type: "lease", lease: leaseView(lease) };
}

function cancel(state: EngineState, id: TicketId, effects: Effect[]): Handled {
  const ticket = state.tickets.get(id);
  if (ticket === undefined) {
    const failure = new Failure("TICKET_NOT_FOUND", `ticket ${id.slice(0, 128)} does not wait here`, {
      ticket_id: id.slice(0, 128),
    });
    return { reply: { type: "failure", failure }, serve: false };
  }
  withdraw(state, ticket, new Failure("TICKET_CANCELLED", `ticket ${id} was cancelled`, { ticket_id: id }), effects);
  return { reply: done, serve: true };
}

function disconnect(state: EngineState, id: TicketId, now: Millis, effects: Effect[]): Handled {
  const ticket = state.tickets.get(id);
  if (ticket === undefined) return { reply: done, serve: false };
  if (ticket.graceMs === 0) {
    withdraw(state, ticket, new Failure("TICKET_CANCELLED", "the client went away", { ticket_id: id }), effects);
  } else {
    ticket.connected = false;
    state.line.setCounted(ticket, false);
    ticket.graceUntil = now + ticket.graceMs;
    state.wakes.push({ at: ticket.graceUntil, kind: "ticket-grace", id });
    state.version++;
  }
  return { reply: done, serve: true };
}

function undelivered(state: EngineState, id: LeaseId, now: Millis, effects: Effect[]): Handled {
  const lease = state.leases.get(id);
  if (lease === undefined || lease.phase !== "held") return { reply: done, serve: false };
  if (!lease.isClaimable) {
    // Nobody used it: how long it was there says nothing.
    lease.claimBy = now;
    endLease(state, lease, "stream-closed", now, effects);
    return { reply: done, serve: true };
  }
  lease.claimBy = now + state.settings.claimTimeoutMs;
  state.wakes.push({ at: lease.claimBy, kind: "lease-claim", id });
  return { reply: done, serve: false };
}

/** Does everything that was due by now, in order. True when something may have made room. */
function runDue(state: EngineState, now: Millis, effects: Effect[]): boolean {
  let freed = false;
  for (let wake = state.wakes.peek(); wake !== undefined && wake.at <= now; wake = state.wakes.peek()) {
    state.wakes.pop();
    if (isMeant(state, wake)) {
      due(state, wake, now, effects);
      freed = true;
    }
  }
  if (state.wakes.size > 256 + 4 * (state.leases.size + state.tickets.size)) state.wakes.keep((w) => isMeant(state, w));
  return freed;
}

function due(state: EngineState, wake: Wake, now: Millis, effects: Effect[]): void {
  const ticket = state.tickets.get(wake.id);
  const lease = state.leases.get(wake.id);
  switch (wake.kind) {
    case "ticket-deadline":
      if (ticket !== undefined) timeOut(state, ticket, now, effects);
      break;
    case "ticket-grace":
      if (ticket !== undefined)
        withdraw(state, ticket, new Failure("TICKET_CANCELLED", "the client did not come back in time"), effects);
      break;
    case "lease-expiry":
      if (lease !== undefined) endLease(state, lease, "expired", now, effects);
      break;
    case "lease-claim":
      if (lease !== undefined) endLease(state, lease, "unclaimed", now, effects);
      break;
    case "kept-start":
      break;
    case "lease-charge":
      if (lease !== undefined) chargeOn(state, lease, now);
      break;
    case "resident-stays":
      break;
    case "eviction-deadline":
      if (lease !== undefined) endLease(state, lease, "evicted", now, effects);
      break;
    case "lease-drained":
      drainLeases(state, now);
      break;
  }
}

function isMeant(state: EngineState, wake: Wake): boolean {
  switch (wake.kind) {
    case "ticket-deadline":
      return state.tickets.get(wake.id)?.deadline === wake.at;
    case "ticket-grace":
      return state.tickets.get(wake.id)?.graceUntil === wake.at;
    case "lease-expiry":
      return state.leases.get(wake.id)?.expiresAt === wake.at;
    case "lease-claim":
      return state.leases.get(wake.id)?.claimBy === wake.at;
    case "kept-start":
      return state.kept?.ticket.id === wake.id && state.keptWakeAt === wake.at;
    case "lease-charge": {
      const lease = state.leases.get(wake.id);
      return lease?.phase === "held" && lease.chargedUntil === wake.at;
    }
    case "lease-drained":
      return state.leases.has(wake.id);
    case "resident-stays": {
      const keeping = state.leases.get(wake.id)?.keeping;
      return keeping !== undefined && stayUntil(keeping) === wake.at;
    }
    case "eviction-deadline": {
      const lease = state.leases.get(wake.id);
      return lease?.phase === "held" && lease.eviction?.deadline === wake.at;
    }
  }
}

/** When the engine wants to be stepped next, if nothing happens before; undefined: not before something happens. */
export function nextWake(state: EngineState): Millis | undefined {
  for (let wake = state.wakes.peek(); wake !== undefined; wake = state.wakes.peek()) {
    if (isMeant(state, wake)) return wake.at;
    state.wakes.pop();
  }
  return undefined;
}
