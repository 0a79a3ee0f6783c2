import { reserve } from "./care.ts";
import { prospectFor, windowOf } from "./context.ts";
import { sceneOf, type TicketTask } from "./outlook.ts";
import { forecastStarts } from "./plan.ts";
import { roomOf } from "./room.ts";
import type { Millis } from "./sample.ts";
import type { EngineState, TicketRecord } from "./state.ts";
import type { EstimateBasis, TicketId } from "./types.ts";

/** Forecasts are not made more often than this: they are estimates, and take longer to make than a decision. */
const freshForMs: Millis = 1_000;
const newcomersAfterMs: Millis = 100;

export interface Forecast {
  readonly madeAt: Millis;
  readonly starts: ReadonlyMap<TicketId, Millis>;
  /** Tickets with a lower `seq` were there when it was made. */
  readonly nextSeq: number;
  /** What is promised to the first. */
  readonly latest: { readonly ticketId: TicketId; readonly at: Millis } | undefined;
  readonly basis: EstimateBasis;
}

/**
 * When a ticket is thought to start: the plan followed until it does. Nothing is said where nothing is known: no durations were
 * given and too few were learned, or the ticket is too far back.
 */
export function expectedStartOf(
  state: EngineState,
  ticket: TicketRecord,
  now: Millis,
): { readonly expectedStart: Millis; readonly estimateBasis: EstimateBasis } | undefined {
  if (state.discipline !== "backfill") return undefined;
  const forecast = forecastAt(state, now, ticket);
  const at = forecast?.starts.get(ticket.id);
  return at === undefined || forecast === undefined
    ? undefined
    : { expectedStart: Math.max(now, at), estimateBasis: forecast.basis };
}

/**
 * The latest start of a ticket, where that can be known: it is the first, and rests on what owners said. Kept since the last pass,
 * or, while nobody else fits, what the next pass would keep.
 */
export function latestStartOf(state: EngineState, ticket: TicketRecord, now: Millis): Millis | undefined {
  const { kept } = state;
  let at: Millis | undefined;
  if (kept?.ticket === ticket && kept.care === "bound") at = kept.startsAt;
  else if (state.discipline === "backfill" && kept === undefined) {
    const latest = forecastAt(state, now)?.latest;
    if (latest?.ticketId === ticket.id) at = latest.at;
  }
  // What has not come true is no bound any more.
  return at === undefined || at < now ? undefined : at;
}

function forecastAt(state: EngineState, now: Millis, ticket?: TicketRecord): Forecast | undefined {
  const last = state.forecast;
  // One that has just come is not in the last forecast.
  const isKnown = last !== undefined && (ticket === undefined || ticket.seq < last.nextSeq);
  if (last !== undefined && now - last.madeAt < (isKnown ? freshForMs : newcomersAfterMs)) return last;
  state.forecast = make(state, now);
  return state.forecast;
}

function make(state: EngineState, now: Millis): Forecast {
  const scene = sceneOf(state, now);
  const tasks = windowOf(state, scene, roomOf(state, now), now);
  const starts = new Map<TicketId, Millis>();
  const [first] = tasks;
  let latest: Forecast["latest"];
  const isDeclared = scene.isDeclared && tasks.every((t) => t.boundMs !== Infinity);
  if (first !== undefined && (isDeclared || state.durations.isKnown)) {
    const { timeline, outlook } = prospectFor(state, scene, first);
    const earliest = outlook.isExact && state.chosen === undefined ? reserve(timeline, first, 0, "bound") : undefined;
    if (earliest !== undefined) latest = { ticketId: first.ticket.id, at: now + earliest.startsAt };
    for (const [task, at] of forecastStarts(timeline, tasks, outlook)) starts.set((task as TicketTask).ticket.id, now + at);
  }
  return { madeAt: now, starts, nextSeq: state.nextSeq, latest, basis: isDeclared ? "declared" : "learned" };
}
