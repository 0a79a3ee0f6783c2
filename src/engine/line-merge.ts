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
  const heap: Cursor<T>[] = [];
  for (const line of lines) {
    if (!sieve.line(line)) continue;
    const cursor = new Cursor(line, usageOf(line.tenant));
    if (cursor.advance(sieve)) heap.push(cursor);
    else line.tighten();
  }
  for (let i = (heap.length >> 1) - 1; i >= 0; i--) sink(heap, i);
  for (let top = heap[0]; top !== undefined; top = heap[0]) {
    const entry = top.entry as Entry<T>;
    if (entry.chunk !== undefined && sieve.entry(entry)) {
      yield entry.ticket;
      sieve.resume();
    }
    if (!top.advance(sieve)) {
      const last = heap.pop() as Cursor<T>;
      if (last === top) continue;
      heap[0] = last;
    }
    sink(heap, 0);
  }
}

function isBefore<T extends Waiting>(a: Cursor<T>, b: Cursor<T>): boolean {
  return comesBefore(a.key, a.seq, b);
}

function sink<T extends Waiting>(heap: Cursor<T>[], from: number): void {
  const moved = heap[from] as Cursor<T>;
  let i = from;
  for (;;) {
    let child = 2 * i + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && isBefore(heap[child + 1] as Cursor<T>, heap[child] as Cursor<T>)) child++;
    const next = heap[child] as Cursor<T>;
    if (!isBefore(next, moved)) break;
    heap[i] = next;
    i = child;
  }
  heap[i] = moved;
}
