import { type Outlook, type PlanTask, planConstants } from "./plan-task.ts";
import { Reservation } from "./reservation.ts";
import type { Millis } from "./sample.ts";
import type { Timeline } from "./timeline.ts";

/** How surely other work must be over in time: `bound`: its owner says so. `never`: it counts as if it ran for ever. */
export type Care = "likely" | "cautious" | "bound" | "never";

/** How carefully others are judged by the start that is kept for the first. */
export function careFor(head: PlanTask, now: Millis, outlook: Outlook): Care {
  if (outlook.isExact) return "bound";
  if (head.isStrict) return "never";
  return isAged(head, now, outlook) ? "cautious" : "likely";
}

/** When work is over that starts now, judged with this care. */
export function endOf(task: Pick<PlanTask, "likelyMs" | "cautiousMs" | "boundMs">, care: Care): Millis {
  switch (care) {
    case "likely":
      return task.likelyMs;
    case "cautious":
      return task.cautiousMs;
    case "bound":
      return task.boundMs;
    case "never":
      return Infinity;
  }
}

/** With estimates, the GPUs that are kept for a ticket that has waited for long stay the same, or it would follow each guess. */
export function reserve(timeline: Timeline, head: PlanTask, now: Millis, care: Care): Reservation | undefined {
  const pools = care === "cautious" || care === "never" ? head.keptPools : undefined;
  const kept = pools === undefined ? undefined : Reservation.earliest(timeline, head, now, pools);
  return kept ?? Reservation.earliest(timeline, head, now);
}

/** True when the first ticket has waited for so long that nobody is chosen before it. */
export function comesFirst(task: PlanTask, now: Millis, outlook: Outlook): boolean {
  return (
    task.isStrict ||
    waitsFor(task, now, outlook, planConstants.oldAfterMs, planConstants.oldAfterWaits) ||
    isAged(task, now, outlook)
  );
}

/** One GPU comes free by and by; several at the same time only when somebody sees to it. */
function isAged(task: PlanTask, now: Millis, outlook: Outlook): boolean {
  return task.gpuCount > 1 && waitsFor(task, now, outlook, planConstants.agedAfterMs, planConstants.agedAfterWaits);
}

function waitsFor(task: PlanTask, now: Millis, outlook: Outlook, ms: Millis, waits: number): boolean {
  return task.waitedMs + now > Math.max(ms, waits * outlook.usualWaitMs);
}
