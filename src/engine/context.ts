import { careFor, reserve } from "./care.ts";
import type { FitContext } from "./fit.ts";
import { endsInTime, type KeptStart } from "./kept-start.ts";
import type { Room } from "./least-needs.ts";
import { lastsNow, type Scene, sceneOf, type TicketTask, taskOf } from "./outlook.ts";
import type { Outlook } from "./plan-task.ts";
import { hasLimits, roomWithin } from "./quota.ts";
import { Reservation } from "./reservation.ts";
import type { Millis } from "./sample.ts";
import type { EngineState, TicketRecord } from "./state.ts";
import type { Timeline } from "./timeline.ts";
import type { Workload } from "./types.ts";

/** Somebody in the order of service: a ticket, or a request that is not in the line. */
export interface Asking {
  readonly seq: number;
  readonly workload: Workload;
  readonly pollIntervalMs: Millis;
}

const allRoom: Room = { vramMb: () => Infinity, ramMb: Infinity };

/** What a fit of this ticket or request is judged under, besides the books. */
export function contextOf(state: EngineState, asking: Asking, now: Millis): FitContext {
  const first = state.discipline === "strict-fifo" ? firstInLine(state) : state.limitHeldFor.get(asking.workload.tenant);
  const kept = bindingStart(state, asking, now);
  const shares = kept !== undefined && sharesLimit(state, kept.ticket, asking);
  const behind = first !== undefined && state.line.precedes(first, asking, state.orderAt) ? first : undefined;
  return {
    now,
    ageLimitMs: Math.min(asking.pollIntervalMs, state.settings.maxSampleAgeMs),
    holds: state.holds.filter((h) => state.line.precedes(h.ticket, asking, state.orderAt)),
    ...(kept === undefined ? {} : { kept }),
    ...(behind !== undefined ? { behind } : shares ? { behind: kept.ticket } : {}),
    ...(state.chosen === undefined ? {} : { chosen: state.chosen }),
  };
}

/** What one of them has of their tenant's limit the other cannot have. */
function sharesLimit(state: EngineState, ticket: TicketRecord, asking: Asking): boolean {
  const { tenant } = asking.workload;
  return ticket.workload.tenant === tenant && hasLimits(state, tenant);
}

/** The kept start that the request must leave room for: it comes later, and is not surely over by then. */
function bindingStart(state: EngineState, asking: Asking, now: Millis): KeptStart | undefined {
  const { kept } = state;
  if (kept === undefined || state.discipline !== "backfill") return undefined;
  if (!state.line.precedes(kept.ticket, asking, state.orderAt)) return undefined;
  return endsInTime(kept, lastsNow(state, asking.workload), now) ? undefined : kept;
}

/** The first ticket whose client is there and whose tenant may have what it needs. */
function firstInLine(state: EngineState): TicketRecord | undefined {
  for (const ticket of servable(state, allRoom)) return ticket;
  return undefined;
}

/**
 * Tickets that may fit, in order, as far as room and limits of their tenants allow; those whose client is away are left out.
 * @param isStill nobody is served while they are looked through, so that room is read once.
 */
export function* servable(state: EngineState, room: Room, isStill = false): Generator<TicketRecord, void, undefined> {
  const roomFor =
    state.settings.tenantLimits.size === 0 ? undefined : (tenant: string) => roomWithin(state, tenant, room) ?? room;
  for (const ticket of state.line.candidates(room, state.orderAt, roomFor, isStill)) if (ticket.connected) yield ticket;
}

/** At most this many tickets are weighed against each other: the first in order, and half as many further ones that fit now. */
const windowSize = 128;

/** The tickets that a plan is about, in order. */
export function windowOf(state: EngineState, scene: Scene, room: Room, now: Millis): readonly TicketTask[] {
  const chosen = new Set<TicketRecord>();
  for (const ticket of servable(state, allRoom, true)) {
    chosen.add(ticket);
    if (chosen.size >= windowSize / 2) break;
  }
  for (const ticket of servable(state, room, true)) {
    if (chosen.size >= windowSize) break;
    chosen.add(ticket);
  }
  return [...chosen].map((ticket) => taskOf(state, ticket, scene, now));
}

/** What a plan is made on, and under which outlook. */
export interface Prospect {
  readonly timeline: Timeline;
  readonly outlook: Outlook;
}

/**
 * A start is promised to a first ticket that says how long it runs, where those whose end is certain give it room: whoever did
 * not say when they end is taken to stay. An empty machine alone makes no promise; without any durations tickets would be served
 * in order whenever it is empty.
 */
export function prospectFor(state: EngineState, scene: Scene, first: TicketTask): Prospect {
  const isExact = first.boundMs !== Infinity && Reservation.earliest(scene.certain, first, 0) !== undefined;
  return {
    timeline: isExact ? scene.certain : scene.timeline,
    outlook: { isExact, usualWaitMs: state.usualWaitMs },
  };
}

/**
 * Keeps a start for the first in line as things are now, for requests that come between two passes. With estimates the GPUs that
 * a ticket waits for stay the same once it has waited for long.
 */
export function keepStart(state: EngineState, now: Millis): void {
  // Who starts is decided already, and waits only to be seen to fit.
  if (state.chosen !== undefined) return;
  state.kept = undefined;
  if (state.discipline !== "backfill") return;
  const first = firstInLine(state);
  if (first === undefined) return;
  const scene = sceneOf(state, now);
  const task = taskOf(state, first, scene, now);
  const { timeline, outlook } = prospectFor(state, scene, task);
  const care = careFor(task, 0, outlook);
  const reservation = reserve(timeline, task, 0, care);
  if (reservation === undefined) return;
  state.kept = keptStart(first, scene, outlook, reservation, now);
  state.wakes.push({ at: state.kept.startsAt, kind: "kept-start", id: first.id });
}

/** A reservation of a plan, in the engine's terms. */
export function keptStart(
  ticket: TicketRecord,
  scene: Scene,
  outlook: Outlook,
  reservation: Reservation,
  now: Millis,
): KeptStart {
  return {
    ticket,
    startsAt: now + reservation.startsAt,
    care: careFor(reservation.task as TicketTask, 0, outlook),
    reservation,
    positions: scene.positions,
  };
}

/** A ticket that has waited for long keeps the GPUs that it waits for. */
export function settleOnPools(state: EngineState, task: TicketTask, scene: Scene, { timeline, outlook }: Prospect): TicketTask {
  const care = careFor(task, 0, outlook);
  if ((care !== "cautious" && care !== "never") || task.keptPools !== undefined || task.gpuCount === 0) return task;
  const reservation = reserve(timeline, task, 0, care);
  if (reservation === undefined) return task;
  const pools = reservation.expectedPools;
  const { ticket } = task;
  ticket.heldPools = new Set([...pools].map((i) => scene.pools[i] as string));
  ticket.heldSince = state.nextToken;
  return { ...task, keptPools: pools };
}
