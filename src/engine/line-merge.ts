import { Heap } from "./heap.ts";
import type { Chunk, Entry, Waiting } from "./line-chunk.ts";
import { comesBefore, type TenantLine } from "./tenant-line.ts";

/** What is looked for. `line` and `chunk` may only say no when `entry` would say no to every ticket in it. */
export interface Sieve<T extends Waiting> {
  line(line: TenantLine<T>): boolean;
  chunk(chunk: Chunk<T>): boolean;
  entry(entry: Entry<T>): boolean;
  /** Somebody else has had the word: what was looked for may have become less. */
  resume(): void;
}

/** Where a pass is in one tenant's line: found again by seq, so tickets may leave the line meanwhile. */
class Cursor<T extends Waiting> {
  readonly line: TenantLine<T>;
  /** The one it is at, its key, and its seq. */
  entry: Entry<T> | undefined;
  key = 0;
  seq = -Infinity;
  /** Usage and the cost of all that were passed, also of those that have left since. */
  #next: number;

  constructor(line: TenantLine<T>, usage: number) {
    this.line = line;
    this.#next = usage;
  }

  /** Goes to the next entry that is looked for. */
  advance(sieve: Sieve<T>): boolean {
    const { chunks } = this.line;
    for (let at = this.line.chunkOf(this.seq); at < chunks.length; at++) {
      const chunk = chunks[at] as Chunk<T>;
      const { entries } = chunk;
      let index = chunk.indexOf(this.seq);
      if (entries[index]?.seq === this.seq) index++;
      if (index === 0 && !sieve.chunk(chunk)) {
        this.#next += chunk.cost;
        continue;
      }
      for (; index < entries.length; index++) {
        const entry = entries[index] as Entry<T>;
        this.key = this.#next;
        this.#next += entry.cost;
        if (!sieve.entry(entry)) continue;
        this.entry = entry;
        this.seq = entry.seq;
        return true;
      }
    }
    this.entry = undefined;
    return false;
  }
}

/**
 * The tickets of one priority that are looked for, in order of service: a merge of the tenants' lines with a heap of them.
 *
 * The order is that of the beginning: usage is read once, and a ticket that leaves during the pass still counts for those
 * behind it, as if it had been charged. Tickets may leave meanwhile, and more may fall through the sieve; none may come.
 */
export function* merged<T extends Waiting>(
  lines: Iterable<TenantLine<T>>,
  usageOf: (tenant: string) => number,
  sieve: Sieve<T>,
): Generator<T, void, undefined> {
  const heap = new Heap<Cursor<T>>((a, b) => comesBefore(a.key, a.seq, b));
  for (const line of lines) {
    if (!sieve.line(line)) continue;
    const cursor = new Cursor(line, usageOf(line.tenant));
    if (cursor.advance(sieve)) heap.push(cursor);
    else line.tighten();
  }
  for (let top = heap.peek(); top !== undefined; top = heap.peek()) {
    const entry = top.entry as Entry<T>;
    if (entry.chunk !== undefined && sieve.entry(entry)) {
      yield entry.ticket;
      sieve.resume();
    }
    if (top.advance(sieve)) heap.moveTop();
    else heap.pop();
  }
}
