import { type Care, endOf } from "./care.ts";
import type { PlanTask } from "./plan-task.ts";
import type { Reservation } from "./reservation.ts";
import type { Mib, Millis } from "./sample.ts";
import type { TicketRecord } from "./state.ts";
import type { GpuUuid, Requirements } from "./types.ts";

/** A start that is kept for the first waiting ticket, in the engine's own terms. Made anew by every pass that serves the queue. */
export interface KeptStart {
  readonly ticket: TicketRecord;
  /** Of the engine's clock. */
  readonly startsAt: Millis;
  /** `bound`: it rests on what owners said, and later tickets must end in time by what theirs say: a promise. */
  readonly care: Care;
  readonly reservation: Reservation;
  /** Position of each device on the timeline. */
  readonly positions: ReadonlyMap<GpuUuid, number>;
}

/** True when work with these durations is over before the kept start. */
export function endsInTime(
  kept: KeptStart,
  lasts: Pick<PlanTask, "likelyMs" | "cautiousMs" | "boundMs">,
  now: Millis,
): boolean {
  return now + endOf(lasts, kept.care) <= kept.startsAt;
}

/** True when the ticket can still start then although other work runs on these GPUs for ever. */
export function leavesRoom(kept: KeptStart, req: Requirements, gpus: readonly GpuUuid[]): boolean {
  const { task, positions } = onTimeline(kept, req, gpus);
  return kept.reservation.leavesRoom(task, positions);
}

/** Other work that may still run then has been let in on these GPUs. */
export function letIn(kept: KeptStart, req: Requirements, gpus: readonly GpuUuid[]): void {
  const { task, positions } = onTimeline(kept, req, gpus);
  kept.reservation.admit(task, positions);
}

function onTimeline(kept: KeptStart, req: Requirements, gpus: readonly GpuUuid[]) {
  const positions: number[] = [];
  for (const uuid of gpus) {
    const at = kept.positions.get(uuid);
    if (at !== undefined) positions.push(at);
  }
  // A GPU that was not usable when the start was kept takes nothing from it.
  return { task: { ...asTask(req), gpuCount: positions.length }, positions };
}

function asTask(req: Requirements) {
  return {
    gpuCount: req.gpuCount,
    vramMb: req.vramMb,
    ramMb: req.ramMb,
    exclusive: req.exclusive,
    devices: undefined,
    likelyMs: 0,
  };
}

/** GPUs on which the ticket is thought to start. */
export function keptGpus(kept: KeptStart): readonly GpuUuid[] {
  const { expectedPools, machine } = kept.reservation;
  return [...kept.positions].filter(([, at]) => expectedPools.has(machine.layout.poolOf[at] as number)).map(([uuid]) => uuid);
}

/** What work that may still run then could take at most; more would leave no room for certain. */
export interface Slack {
  /** By GPU; absent: it takes nothing from the kept start. */
  readonly gpuMb: ReadonlyMap<GpuUuid, Mib>;
  readonly ramMb: Mib;
}

export function slackOf(kept: KeptStart): Slack {
  const { byDevice, ramMb } = kept.reservation.slack();
  return { gpuMb: new Map([...kept.positions].map(([uuid, at]) => [uuid, byDevice[at] as number])), ramMb };
}
