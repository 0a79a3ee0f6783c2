import { checkSlots, type ResidentRequest, type ResidentsResult } from "./residents-request.ts";

/**
 * Known rules for which resident goes, to hold the engine's own against. All residents are equal in size and in the time that a load
 * takes; each request needs its model to be resident, and one that is not is loaded, where all slots are taken in place of another.
 */

/** What a rule notes of each resident. */
interface Rule<Note> {
  /** The note after request `i`. `before`: the one until then; undefined: it has just been loaded. */
  readonly use: (before: Note | undefined, i: number) => Note;
  /** The least goes; among equals the one that was not used for longest. */
  readonly rank: (note: Note) => number;
  readonly evicted?: (note: Note) => void;
}

/**
 * Belady's optimal: the one whose next use is furthest away goes. It needs to know the future, and no rule has fewer misses.
 * @param requests in order of time.
 * @param slots a whole number from 1.
 * @throws RangeError when `slots` is not.
 */
export function optimal(requests: readonly ResidentRequest[], slots: number): ResidentsResult {
  const nextUse: number[] = [];
  const seen = new Map<string, number>();
  for (const [i, { model }] of [...requests.entries()].reverse()) {
    nextUse[i] = seen.get(model) ?? Infinity;
    seen.set(model, i);
  }
  return count<number>(requests, slots, { use: (_, i) => nextUse[i] ?? Infinity, rank: (next) => -next });
}

/**
 * The one that was not used for longest goes.
 * @param requests in order of time.
 * @param slots a whole number from 1.
 * @throws RangeError when `slots` is not.
 */
export function leastRecentlyUsed(requests: readonly ResidentRequest[], slots: number): ResidentsResult {
  return count<number>(requests, slots, { use: (_, i) => i, rank: (last) => last });
}

/**
 * Greedy-dual with frequencies as the papers have it: a use sets H = L + the uses since it was loaded, the least H goes, and L rises
 * to it. An eviction forgets the uses.
 * @param requests in order of time.
 * @param slots a whole number from 1.
 * @throws RangeError when `slots` is not.
 */
export function greedyDual(requests: readonly ResidentRequest[], slots: number): ResidentsResult {
  let age = 0;
  return count<{ readonly uses: number; readonly h: number }>(requests, slots, {
    use: (before) => {
      const uses = (before?.uses ?? 0) + 1;
      return { uses, h: age + uses };
    },
    rank: ({ h }) => h,
    evicted: ({ h }) => {
      age = h;
    },
  });
}

function count<Note>(requests: readonly ResidentRequest[], slots: number, rule: Rule<Note>): ResidentsResult {
  checkSlots(slots);
  // In order of last use, because a use takes its model out and puts it in again at the end.
  const residents = new Map<string, Note>();
  let misses = 0;
  let evictions = 0;
  for (const [i, { model }] of requests.entries()) {
    const before = residents.get(model);
    if (before === undefined) {
      misses++;
      if (residents.size >= slots) {
        evict(residents, rule);
        evictions++;
      }
    }
    const note = rule.use(before, i);
    residents.delete(model);
    residents.set(model, note);
  }
  return { requests: requests.length, misses, evictions };
}

function evict<Note>(residents: Map<string, Note>, rule: Rule<Note>): void {
  let least: { readonly model: string; readonly note: Note; readonly rank: number } | undefined;
  for (const [model, note] of residents) {
    const rank = rule.rank(note);
    if (least === undefined || rank < least.rank) least = { model, note, rank };
  }
  if (least === undefined) return;
  residents.delete(least.model);
  rule.evicted?.(least.note);
}
