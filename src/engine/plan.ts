import { careFor, comesFirst, endOf, reserve } from "./care.ts";
import { type Outlook, type PlanTask, planConstants } from "./plan-task.ts";
import { largeFirst, ranked, responseRatio, type Score, shortestWaitMs, shortFirst } from "./ranking.ts";
import type { Reservation } from "./reservation.ts";
import type { Millis } from "./sample.ts";
import type { Task, Timeline } from "./timeline.ts";

/**
 * Which of the tickets that fit now are to start, when that is a choice: started in one order they leave other room than in
 * another. A few ways to choose are tried on a timeline, each is followed for some ends into the future, and the one after
 * which tickets are thought to wait least is taken. Time is counted from now.
 */

/** A task that starts, and the positions of its devices. */
export interface PlannedStart {
  readonly task: PlanTask;
  readonly devices: readonly number[];
}

/** The answer of `plan`. */
export interface Plan {
  readonly starts: readonly PlannedStart[];
  /** What is kept for the first that does not start. */
  readonly reservation: Reservation | undefined;
}

interface Way {
  /** Undefined: in order. */
  readonly score: Score | undefined;
  /** A start is kept for the first ticket that does not fit. */
  readonly keeps: boolean;
  /** The first ticket takes part in the contest instead of coming before it. */
  readonly contest: boolean;
}

const inOrder: Way = { score: undefined, keeps: true, contest: false };
/** With every end known: the start of the first ticket is kept in each. The first way is followed in the future of all. */
const exactWays: readonly Way[] = [
  { score: responseRatio, keeps: true, contest: false },
  { score: largeFirst, keeps: true, contest: false },
  { score: shortFirst, keeps: true, contest: false },
  inOrder,
];
const estimatedWays: readonly Way[] = [{ score: largeFirst, keeps: false, contest: true }, inOrder];

/**
 * What is to start now.
 * @param tasks in order of service; at least one.
 */
export function plan(timeline: Timeline, tasks: readonly PlanTask[], outlook: Outlook): Plan {
  const ways = outlook.isExact ? exactWays : estimatedWays;
  const tried = new Map<string, Try>();
  for (const way of ways) {
    const t = attempt(timeline, tasks, outlook, way);
    const key = t.starts
      .map((s) => tasks.indexOf(s.task))
      .sort((a, b) => a - b)
      .join();
    if (!tried.has(key)) tried.set(key, t);
  }
  let best: Try | undefined;
  if (tried.size > 1) {
    const meanWait = Math.max(shortestWaitMs / 2, tasks.reduce((sum, t) => sum + t.waitedMs, 0) / tasks.length);
    let least = Infinity;
    for (const t of tried.values()) {
      const cost = follow(t, outlook, ways[0] as Way, meanWait, least);
      if (cost < least) {
        least = cost;
        best = t;
      }
    }
  }
  best ??= tried.values().next().value as Try;
  return { starts: best.starts, reservation: best.reservation };
}

interface Try {
  readonly timeline: Timeline;
  readonly left: PlanTask[];
  readonly starts: PlannedStart[];
  readonly reservation: Reservation | undefined;
}

function attempt(timeline: Timeline, tasks: readonly PlanTask[], outlook: Outlook, way: Way): Try {
  const copy = timeline.clone();
  const left = [...tasks];
  const starts: PlannedStart[] = [];
  const reservation = fill(copy, left, 0, outlook, way, (task, devices) => starts.push({ task, devices }), true);
  return { timeline: copy, left, starts, reservation };
}

/**
 * What the waits are thought to cost when it goes on like this: wait + wait² ÷ mean wait, so that long ones count more than in
 * proportion. Stops early where it is more than `least`.
 */
function follow(t: Try, outlook: Outlook, way: Way, meanWait: Millis, least: number): number {
  const cost = (task: PlanTask, now: Millis): number => {
    const wait = task.waitedMs + now;
    return wait + (wait * wait) / meanWait;
  };
  let total = 0;
  for (const s of t.starts) total += cost(s.task, 0);
  const timeline = t.timeline.clone();
  const left = [...t.left];
  let now = 0;
  for (let ends = 0; ends < planConstants.horizon && left.length > 0 && total < least; ends++) {
    const at = timeline.advance();
    if (at === undefined) break;
    now = at;
    fill(timeline, left, now, outlook, way, (task) => {
      total += cost(task, now);
    });
  }
  for (const task of left) total += cost(task, now);
  return total;
}

/** Ends that a forecast looks ahead at most. */
const forecastHorizon = 400;

/** When each task is thought to start if it goes on as it is most often done. Those that are not reached are left out. */
export function forecastStarts(
  timeline: Timeline,
  tasks: readonly PlanTask[],
  outlook: Outlook,
): ReadonlyMap<PlanTask, Millis> {
  const way = (outlook.isExact ? exactWays : estimatedWays)[0] as Way;
  const starts = new Map<PlanTask, Millis>();
  const copy = timeline.clone();
  const left = [...tasks];
  let now: Millis | undefined = 0;
  for (let ends = 0; now !== undefined && left.length > 0 && ends < forecastHorizon; ends++) {
    const at: Millis = now;
    fill(copy, left, at, outlook, way, (task) => starts.set(task, at));
    now = copy.advance();
  }
  return starts;
}

/**
 * Starts whatever the way starts at one moment, and takes it out of `left`. Answers what is kept for the first that does not
 * start, where `isAsked` for it or somebody is measured by it: most of the time nobody fits, and nothing needs to be kept.
 */
function fill(
  timeline: Timeline,
  left: PlanTask[],
  now: Millis,
  outlook: Outlook,
  way: Way,
  started: (task: PlanTask, devices: readonly number[]) => void,
  isAsked = false,
): Reservation | undefined {
  const begin = (task: PlanTask, devices: readonly number[]): void => {
    timeline.start(task, devices, now + (outlook.isExact ? task.boundMs : task.likelyMs));
    left.splice(left.indexOf(task), 1);
    started(task, devices);
  };
  while (left[0] !== undefined && (!way.contest || comesFirst(left[0], now, outlook))) {
    const devices = timeline.place(left[0]);
    if (devices === undefined) break;
    begin(left[0], devices);
  }
  const head = left[0];
  if (head === undefined) return undefined;
  const care = careFor(head, now, outlook);
  const isKept = outlook.isExact || way.keeps || care !== "likely";
  // Whoever does not fit now does not fit after others have started; and one that keeps a start is not in the contest.
  const mostMb = timeline.mostFree();
  const fitting = left.filter((t) => t.vramMb <= mostMb && timeline.mayFit(t) && !(isKept && t === head));
  const reservation = isKept && (isAsked || fitting.length > 0) ? reserve(timeline, head, now, care) : undefined;
  for (const task of ranked(fitting, now, outlook, way.score)) {
    let devices = timeline.place(task);
    if (devices === undefined) continue;
    if (reservation !== undefined && now + endOf(task, care) > reservation.startsAt) {
      // What it has of its tenant's limit then, the first cannot have.
      if (task.limited !== undefined && task.limited === head.limited) continue;
      if (!reservation.mayLeaveRoom(task, timeline)) continue;
      devices = besides(timeline, task, devices, reservation);
      if (devices === undefined) continue;
      reservation.admit(task, devices);
    }
    begin(task, devices);
  }
  return reservation;
}

/** Devices on which other work may run past the start that is kept: where it fits best, else away from the kept ones. */
function besides(
  timeline: Timeline,
  task: Task,
  devices: readonly number[],
  reservation: Reservation,
): readonly number[] | undefined {
  if (reservation.leavesRoom(task, devices)) return devices;
  if (task.gpuCount === 1) return timeline.places(task).find((other) => reservation.leavesRoom(task, other));
  const elsewhere = timeline.place(task, reservation.expectedPools);
  return elsewhere !== undefined && reservation.leavesRoom(task, elsewhere) ? elsewhere : undefined;
}
