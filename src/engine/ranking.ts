import type { Outlook, PlanTask } from "./plan-task.ts";
import type { Millis } from "./sample.ts";

/** Waits below this are not told apart, and means of waits count as at least half of it: nobody minds. */
export const shortestWaitMs = 10_000;

/** What a task is worth at a moment from now; the highest is served first. */
export type Score = (task: PlanTask, now: Millis, outlook: Outlook) => number;

/** Large ones first, and more so the longer they have waited: small ones find room anyway. */
export const largeFirst: Score = (task, now, outlook) =>
  task.size * (1 + (task.waitedMs + now) / Math.max(shortestWaitMs, outlook.usualWaitMs));
/** How long it takes with its wait, as a multiple of how long it runs (highest response ratio next). */
export const responseRatio: Score = (task, now) => (task.waitedMs + now + task.likelyMs) / Math.max(1, task.likelyMs);
/** The shortest first. */
export const shortFirst: Score = (task) => -task.likelyMs;

/**
 * By score, within each group: priority and fair share decide whose turn it is, the score which of their tickets takes it.
 * Where there is one tenant and one priority, that is all of them.
 */
export function ranked(
  tasks: readonly PlanTask[],
  now: Millis,
  outlook: Outlook,
  score: Score | undefined,
): readonly PlanTask[] {
  const [first] = tasks;
  if (score === undefined || first === undefined || tasks.length < 2) return tasks;
  let isOneGroup = true;
  const scored: { readonly task: PlanTask; readonly score: number }[] = [];
  for (const task of tasks) {
    isOneGroup &&= task.group === first.group;
    scored.push({ task, score: score(task, now, outlook) });
  }
  // Sorting is stable: of equals the earlier one is better.
  const best = scored.sort((a, b) => b.score - a.score).map(({ task }) => task);
  if (isOneGroup) return best;
  const groups = new Map<string, PlanTask[]>();
  for (const task of best) {
    const group = groups.get(task.group);
    if (group === undefined) groups.set(task.group, [task]);
    else group.push(task);
  }
  const taken = new Map<string, number>();
  return tasks.map(({ group }) => {
    const at = taken.get(group) ?? 0;
    taken.set(group, at + 1);
    return groups.get(group)?.[at] as PlanTask;
  });
}
