import { LeastNeeds } from "./least-needs.ts";
import type { Requirements } from "./types.ts";

/** What the waiting line must know of a ticket. */
export interface Waiting {
  /** Order of arrival; no two are equal. */
  readonly seq: number;
  /** In share·ms; see fair-share.ts. */
  readonly cost: number;
  readonly workload: { readonly tenant: string; readonly priority: number; readonly requirements: Requirements };
}

/** What a grant took, or a ticket needs. */
export type Needs = "gpu" | "ram" | "both";

const gpuBit = 1;
const ramBit = 2;
/** Tickets are counted in groups: what they need as bits, and one group more for those with a list of GPUs. */
const listed = 4;
const groups = [0, gpuBit, ramBit, gpuBit | ramBit, listed] as const;

/** How often each whole group of tickets has been overtaken. */
export type GroupCounts = number[];

export function noCounts(): GroupCounts {
  return groups.map(() => 0);
}

/** Counts every group that needs any of what was taken, except those with a list of GPUs: they are asked about one by one. */
export function countGroups(counts: GroupCounts, took: number): void {
  // Written out: it is done for every chunk of a long line.
  if (took !== ramBit) counts[gpuBit] = (counts[gpuBit] as number) + 1;
  if (took !== gpuBit) counts[ramBit] = (counts[ramBit] as number) + 1;
  counts[gpuBit | ramBit] = (counts[gpuBit | ramBit] as number) + 1;
}

/** Whether it may use only certain GPUs. */
export function isListed(ticket: Waiting): boolean {
  return ticket.workload.requirements.gpuUuids.length > 0;
}

/** A ticket in the line. */
export interface Entry<T extends Waiting> {
  readonly ticket: T;
  readonly seq: number;
  /** Weighed: whole share·ms. */
  readonly cost: number;
  /** Bits. */
  readonly needs: number;
  group: number;
  /** Times overtaken, without what its chunk and its line count for the whole group. */
  overtaken: number;
  /** Undefined: not in the line any more. */
  chunk: Chunk<T> | undefined;
}

export function entryOf<T extends Waiting>(ticket: T, cost: number): Entry<T> {
  const req = ticket.workload.requirements;
  const needs = (req.gpuCount > 0 ? gpuBit : 0) | (req.ramMb > 0 ? ramBit : 0);
  const group = isListed(ticket) ? listed : needs;
  return { ticket, seq: ticket.seq, cost, needs, group, overtaken: 0, chunk: undefined };
}

/** The bits of what was taken. */
export function bitsOf(took: Needs): number {
  return took === "gpu" ? gpuBit : took === "ram" ? ramBit : gpuBit | ramBit;
}

/**
 * Up to some hundred neighbours of one tenant's line, with what lets a pass skip or count them all at once: the sum of their
 * costs, the least that any of them needs, and one counter of overtaking for each group of tickets with like needs.
 */
export class Chunk<T extends Waiting> {
  /** By seq. */
  readonly entries: Entry<T>[] = [];
  readonly least = new LeastNeeds();
  cost = 0;
  readonly #passed = noCounts();
  readonly #passedInLine: Readonly<GroupCounts>;
  /** The greatest `overtaken` of an entry in each group; -Infinity: none. */
  readonly #greatest: number[] = groups.map(() => -Infinity);

  /** @param passedInLine counts that hold for the whole line, this chunk included. */
  constructor(passedInLine: Readonly<GroupCounts>) {
    this.#passedInLine = passedInLine;
  }

  get last(): Entry<T> {
    return this.entries[this.entries.length - 1] as Entry<T>;
  }

  /** Index of the first entry whose seq is `seq` or later. */
  indexOf(seq: number): number {
    const { entries } = this;
    let low = 0;
    let high = entries.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((entries[middle] as Entry<T>).seq < seq) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Sum of the costs before an index. */
  costBefore(index: number): number {
    let sum = 0;
    for (let i = 0; i < index; i++) sum += (this.entries[i] as Entry<T>).cost;
    return sum;
  }

  /** Takes an entry in, from outside the line or from another chunk; it keeps its count. */
  insert(entry: Entry<T>, index: number): void {
    entry.overtaken = this.overtakenOf(entry) - this.#passedBy(entry.group);
    entry.chunk = this;
    if (index === this.entries.length) this.entries.push(entry);
    else this.entries.splice(index, 0, entry);
    this.cost += entry.cost;
    this.#include(entry);
  }

  #include(entry: Entry<T>): void {
    this.least.include(entry.ticket.workload.requirements);
    if (entry.overtaken > (this.#greatest[entry.group] as number)) this.#greatest[entry.group] = entry.overtaken;
  }

  /** Takes an entry out for good. True when what is known of the whole chunk may have changed. */
  remove(entry: Entry<T>): boolean {
    this.entries.splice(this.indexOf(entry.seq), 1);
    this.cost -= entry.cost;
    entry.chunk = undefined;
    const decided = entry.overtaken === this.#greatest[entry.group] || this.least.isLeast(entry.ticket.workload.requirements);
    if (decided) this.#summarise();
    return decided;
  }

  #summarise(): void {
    this.least.clear();
    this.#greatest.fill(-Infinity);
    for (const entry of this.entries) this.#include(entry);
  }

  /** Moves all entries from `index` on to the end of another chunk. */
  moveTo(other: Chunk<T>, index: number): void {
    for (const entry of this.entries.splice(index)) {
      this.cost -= entry.cost;
      other.insert(entry, other.entries.length);
    }
    this.#summarise();
  }

  #passedBy(group: number): number {
    return (this.#passed[group] as number) + (this.#passedInLine[group] as number);
  }

  overtakenOf(entry: Entry<T>): number {
    return entry.overtaken + (entry.chunk === undefined ? 0 : entry.chunk.#passedBy(entry.group));
  }

  /** The greatest count of any entry; -Infinity when there is none. */
  get mostOvertaken(): number {
    let most = -Infinity;
    for (const group of groups) most = Math.max(most, (this.#greatest[group] as number) + this.#passedBy(group));
    return most;
  }

  /** All that need any of what was taken have been overtaken once more; those with a list of GPUs where `alsoListed` says so. */
  overtake(took: number, alsoListed: (ticket: T) => boolean): void {
    countGroups(this.#passed, took);
    if (this.#greatest[listed] === -Infinity) return;
    for (const entry of this.entries) if (entry.group === listed) this.#count(entry, took, alsoListed);
  }

  /** The same for the entries before an index only. */
  overtakeBefore(index: number, took: number, alsoListed: (ticket: T) => boolean): void {
    for (let i = 0; i < index; i++) this.#count(this.entries[i] as Entry<T>, took, alsoListed);
  }

  #count(entry: Entry<T>, took: number, alsoListed: (ticket: T) => boolean): void {
    const { group } = entry;
    if (group === listed ? (entry.needs & took) === 0 || !alsoListed(entry.ticket) : (group & took) === 0) return;
    entry.overtaken++;
    if (entry.overtaken > (this.#greatest[group] as number)) this.#greatest[group] = entry.overtaken;
  }

  /** While it is uncounted, an entry keeps the count that it has. */
  setCounted(entry: Entry<T>, counted: boolean): void {
    const count = this.overtakenOf(entry);
    entry.group = !counted ? 0 : isListed(entry.ticket) ? listed : entry.needs;
    entry.overtaken = count - this.#passedBy(entry.group);
    this.#summarise();
  }
}
