import { admit, refreshHolds, refusalNow, refuseTicket } from "./admit.ts";
import { neverFits } from "./capacity.ts";
import { contextOf, keepStart, keptStart, prospectFor, servable, settleOnPools, windowOf } from "./context.ts";
import type { Effect } from "./events.ts";
import { judge, policyFor } from "./judge.ts";
import { endsInTime, type KeptStart, letIn, slackOf } from "./kept-start.ts";
import { lastsNow, sceneOf, type TicketTask } from "./outlook.ts";
import { plan } from "./plan.ts";
import { quotaReason } from "./quota.ts";
import { roomOf } from "./room.ts";
import type { Mib, Millis } from "./sample.ts";
import { noteServed } from "./served.ts";
import { asksEach, type EngineState, type TicketRecord } from "./state.ts";
import type { GpuUuid } from "./types.ts";

/**
 * A kept start that has come and was not taken is kept anew no sooner than this. Work that is a little late may end at any moment, so
 * the start that waits for it is always just ahead.
 */
const keptAgainMs = 50;

/**
 * Serves the queue: grants what its discipline lets start now, refuses what its policy refuses by now. One event, as many grants
 * as fit. Afterwards no waiting ticket fits that is not kept back for a stated reason.
 */
export function servePass(state: EngineState, now: Millis, effects: Effect[]): void {
  state.orderAt = now;
  let granted: number;
  let tenants: number;
  do {
    granted = state.nextToken;
    tenants = state.line.tenants;
    passOnce(state, now, effects);
    // Whoever was served was charged, so that another tenant's tickets may be first now.
  } while (state.nextToken > granted && tenants > 1);
  state.keptWakeAt = undefined;
  if (state.kept !== undefined) {
    state.keptWakeAt = Math.max(state.kept.startsAt, now + keptAgainMs);
    state.wakes.push({ at: state.keptWakeAt, kind: "kept-start", id: state.kept.ticket.id });
  }
  // For whom room is kept may have changed, and nothing else.
  state.sharedReasons = undefined;
  noteServed(state, now);
}

function passOnce(state: EngineState, now: Millis, effects: Effect[]): void {
  state.kept = undefined;
  state.chosen = undefined;
  if (state.line.size === 0) {
    state.holds = [];
    return;
  }
  refreshHolds(state, now);
  if (state.suspended !== undefined) return;
  if (state.askedEach > 0 || asksEach(state, state.policy)) {
    askEach(state, now, effects);
    return;
  }
  switch (state.discipline) {
    case "strict-fifo":
      inOrder(state, now, effects);
      break;
    case "backfill":
      planned(state, now, effects);
      // Those that were not weighed, where nothing is kept back for those that were.
      if (state.chosen === undefined) sweep(state, now, effects);
      break;
    case "best-effort":
      sweep(state, now, effects);
      break;
  }
}

/** A policy that goes by more than the fit is asked about every ticket. Nothing is planned, but the first keeps its start. */
function askEach(state: EngineState, now: Millis, effects: Effect[]): void {
  keepStart(state, now);
  for (const ticket of state.line.inOrder(state.orderAt)) if (ticket.connected) serve(state, ticket, now, effects);
}

function inOrder(state: EngineState, now: Millis, effects: Effect[]): void {
  for (const ticket of state.line.inOrder(state.orderAt)) {
    // Who is away or over a limit does not block the others.
    if (!ticket.connected || quotaReason(state, ticket.workload) !== undefined) continue;
    if (!serve(state, ticket, now, effects)) return;
  }
}

/** So many tickets that fit and may not start are looked at in one pass, besides those that were weighed. */
const sweepAtMost = 256;

/** Whoever fits, in order. */
function sweep(state: EngineState, now: Millis, effects: Effect[]): void {
  const lastHeld = state.holds.at(-1)?.ticket;
  let isBehindHolds = false;
  let isTooLate = tooLateBeside(state, now);
  let keptBack = 0;
  for (const ticket of servable(
    state,
    roomOf(state, now, () => isBehindHolds),
  )) {
    if (isTooLate(ticket)) {
      state.verdicts++;
    } else if (serve(state, ticket, now, effects)) {
      isTooLate = tooLateBeside(state, now);
      continue;
    }
    if (++keptBack >= sweepAtMost) return;
    // From here on, what is held need not be looked at again for each.
    isBehindHolds ||= lastHeld !== undefined && state.line.precedes(lastHeld, ticket, state.orderAt);
  }
}

/** Tells who would surely be in the way of the kept start, without looking for a place: most who are kept back. */
function tooLateBeside(state: EngineState, now: Millis): (ticket: TicketRecord) => boolean {
  const { kept } = state;
  if (kept === undefined) return () => false;
  const room = roomOf(state, now, undefined, slackOf(kept));
  const { ramMb } = room;
  const vramMb = new Map<number, Mib>();
  return (ticket) => {
    if (ticket === kept.ticket) return false;
    const req = ticket.workload.requirements;
    let most = vramMb.get(req.gpuCount);
    if (most === undefined) {
      most = req.gpuCount === 0 ? Infinity : room.vramMb(req.gpuCount);
      vramMb.set(req.gpuCount, most);
    }
    const leavesRoom = req.vramMb <= most && (req.ramMb === 0 || req.ramMb <= ramMb);
    return !leavesRoom && state.line.precedes(kept.ticket, ticket, state.orderAt) && !endsBefore(state, kept, ticket, now);
  };
}

function endsBefore(state: EngineState, kept: KeptStart, ticket: TicketRecord, now: Millis): boolean {
  return endsInTime(kept, lastsNow(state, ticket.workload, ticket.kind), now);
}

/** Starts what the plan starts, and keeps the start that it keeps. */
function planned(state: EngineState, now: Millis, effects: Effect[]): void {
  const room = roomOf(state, now);
  if (servable(state, room).next().done === true) return;
  const scene = sceneOf(state, now);
  // Who starts next is decided on what is about to be free too: else the little that is free now would be given away first.
  if (scene.isSettling) {
    scene.timeline.advance();
    scene.certain.advance();
  }
  const [first, ...others] = windowOf(state, scene, room, now);
  if (first === undefined) return;
  const prospect = prospectFor(state, scene, first);
  const tasks = [settleOnPools(state, first, scene, prospect), ...others];
  state.verdicts += tasks.length;
  const { starts, reservation } = plan(prospect.timeline, tasks, prospect.outlook);
  const devicesOf = new Map(starts.map((s) => [(s.task as TicketTask).ticket, s.devices]));
  // In order of service, so that nobody counts as overtaken by somebody who starts at the same moment.
  for (const { ticket } of tasks) {
    const devices = devicesOf.get(ticket);
    if (devices === undefined) continue;
    const on = devices.map((i) => scene.devices[i]?.uuid as GpuUuid);
    serve(state, ticket, now, effects, on, scene.isSettling);
  }
  // What waits to be seen may turn out otherwise: until then nothing is promised.
  if (scene.isSettling) state.chosen = tasks.find((t) => devicesOf.has(t.ticket) && state.line.has(t.ticket))?.ticket;
  if (reservation === undefined || state.chosen !== undefined) return;
  const { ticket } = reservation.task as TicketTask;
  if (state.line.has(ticket)) state.kept = keptStart(ticket, scene, prospect.outlook, reservation, now);
}

/**
 * Asks the policy about one waiting ticket and does what it says. True when the ticket has left the line.
 * @param on the GPUs that were chosen for it; absent: where it fits best.
 * @param onlyThere true: it waits for these GPUs rather than take others.
 */
function serve(
  state: EngineState,
  ticket: TicketRecord,
  now: Millis,
  effects: Effect[],
  on?: readonly GpuUuid[],
  onlyThere = false,
): boolean {
  const policy = policyFor(state, ticket.policy, "wait");
  const { workload } = ticket;
  const ctx = contextOf(state, ticket, now);
  const request = { workload, mayWait: true, waitedMs: now - ticket.submittedAt };
  const judgement = judge(state, policy, request, ctx, on, onlyThere);
  if (judgement.verdict === "admit") {
    admit(state, ticket, judgement, policy, now, effects, true);
    const gpus = judgement.gpus.map((g) => g.uuid);
    if (ctx.kept !== undefined && ctx.kept === state.kept) letIn(ctx.kept, workload.requirements, gpus);
    return true;
  }
  if (judgement.verdict === "refuse") {
    const refusal = neverFits(state, workload.requirements) ?? refusalNow(state, workload, ctx, judgement.message, policy);
    refuseTicket(state, ticket, refusal, policy, effects);
    return true;
  }
  ticket.policyMessage = judgement.message;
  return false;
}
