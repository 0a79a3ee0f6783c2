import { LeastNeeds } from "./least-needs.ts";
import { Chunk, countGroups, type Entry, isListed, noCounts, type Waiting } from "./line-chunk.ts";

const chunkSize = 128;

/** A place in the order within one priority. */
export interface Key {
  /** Usage of the tenant and costs of its tickets before, in whole share·ms. */
  readonly key: number;
  readonly seq: number;
}

/** Whether a place with this key and seq is served before the other. */
export function comesBefore(key: number, seq: number, other: Key): boolean {
  return key < other.key || (key === other.key && seq < other.seq);
}

/** All entries of the first `chunk` chunks and the first `index` of the next, `rank` in all. */
export interface Split {
  readonly chunk: number;
  readonly index: number;
  readonly rank: number;
}

/** The waiting tickets of one tenant in one priority, by arrival: a list of chunks, so that what is done to many is done to chunks. */
export class TenantLine<T extends Waiting> {
  readonly tenant: string;
  /** None is empty. */
  readonly chunks: Chunk<T>[] = [];
  /** Not more than any ticket needs; may be less than that until `tighten`. */
  readonly least = new LeastNeeds();
  /** Not less than any ticket's count; may be more than that until `tighten`. */
  mostOvertaken = -Infinity;
  size = 0;
  cost = 0;
  #loose = false;
  /** How many entries come before each chunk; undefined: somebody has come or gone since. */
  #starts: readonly number[] | undefined;
  readonly #passed = noCounts();
  #listed = 0;

  constructor(tenant: string) {
    this.tenant = tenant;
  }

  get first(): Entry<T> | undefined {
    return this.chunks[0]?.entries[0];
  }

  /** Index of the first chunk that has `seq` or something later. */
  chunkOf(seq: number): number {
    let low = 0;
    let high = this.chunks.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.chunks[middle] as Chunk<T>).last.seq < seq) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  add(entry: Entry<T>): void {
    this.#starts = undefined;
    const at = this.chunkOf(entry.seq);
    if (at === this.chunks.length) this.#append(entry);
    else this.#insert(entry, at);
    this.size++;
    if (isListed(entry.ticket)) this.#listed++;
    this.cost += entry.cost;
    this.least.include(entry.ticket.workload.requirements);
    this.mostOvertaken = Math.max(this.mostOvertaken, (entry.chunk as Chunk<T>).overtakenOf(entry));
  }

  #append(entry: Entry<T>): void {
    let last = this.chunks.at(-1);
    if (last === undefined || last.entries.length >= chunkSize) {
      last = new Chunk(this.#passed);
      this.chunks.push(last);
    }
    last.insert(entry, last.entries.length);
  }

  #insert(entry: Entry<T>, at: number): void {
    let chunk = this.chunks[at] as Chunk<T>;
    if (chunk.entries.length >= chunkSize) {
      const half = new Chunk<T>(this.#passed);
      chunk.moveTo(half, chunkSize / 2);
      this.chunks.splice(at + 1, 0, half);
      if (chunk.last.seq < entry.seq) chunk = half;
    }
    const index = chunk.indexOf(entry.seq);
    if (chunk.entries[index]?.seq === entry.seq) throw new Error(`two tickets with seq ${entry.seq}`);
    chunk.insert(entry, index);
  }

  remove(entry: Entry<T>): void {
    this.#starts = undefined;
    const at = this.chunkOf(entry.seq);
    const chunk = this.chunks[at] as Chunk<T>;
    if (chunk.remove(entry)) this.#loose = true;
    this.size--;
    if (isListed(entry.ticket)) this.#listed--;
    this.cost -= entry.cost;
    if (chunk.entries.length === 0) this.chunks.splice(at, 1);
    else if (!this.#mergeNext(at - 1)) this.#mergeNext(at);
  }

  /** Keeps the number of chunks in proportion to the tickets that are left. */
  #mergeNext(at: number): boolean {
    const chunk = this.chunks[at];
    const next = this.chunks[at + 1];
    if (chunk === undefined || next === undefined || chunk.entries.length + next.entries.length > chunkSize / 2) return false;
    next.moveTo(chunk, 0);
    this.chunks.splice(at + 1, 1);
    return true;
  }

  /** What is known of the whole line is made exact again. Worth it when it has just let somebody look through all in vain. */
  tighten(): void {
    if (!this.#loose) return;
    this.#loose = false;
    this.least.clear();
    this.mostOvertaken = -Infinity;
    for (const chunk of this.chunks) {
      this.least.includeAll(chunk.least);
      this.mostOvertaken = Math.max(this.mostOvertaken, chunk.mostOvertaken);
    }
  }

  /** Σ cost of the tickets that arrived before. */
  costBefore(seq: number): number {
    const at = this.chunkOf(seq);
    const chunk = this.chunks[at];
    if (chunk === undefined) return this.cost;
    const inChunk = chunk.costBefore(chunk.indexOf(seq));
    // Whole numbers: the sum is the same from either end, and newcomers are near the last.
    if (at < this.chunks.length / 2) return inChunk + this.#costOf(0, at);
    return this.cost - this.#costOf(at, this.chunks.length) + inChunk;
  }

  #costOf(from: number, to: number): number {
    let sum = 0;
    for (let i = from; i < to; i++) sum += (this.chunks[i] as Chunk<T>).cost;
    return sum;
  }

  /** How many came before. */
  rankOf(seq: number): number {
    const at = this.chunkOf(seq);
    this.#starts ??= startsOf(this.chunks);
    return (this.#starts[at] ?? this.size) + (this.chunks[at]?.indexOf(seq) ?? 0);
  }

  /** Which tickets come before a place, when the tenant has used `usage`. Keys never fall from one ticket to the next. */
  before(place: Key, usage: number): Split {
    const { chunks } = this;
    const isWhole = (chunk: Chunk<T>, end: number) => comesBefore(end - chunk.last.cost, chunk.last.seq, place);
    let at = 0;
    let key = usage;
    let rank = 0;
    let end = chunks.length;
    let endKey = usage + this.cost;
    let endRank = this.size;
    // From both ends at once: most of those who are asked about have just come, or are about to leave.
    while (at < end) {
      const last = chunks[end - 1] as Chunk<T>;
      if (isWhole(last, endKey)) {
        at = end;
        key = endKey;
        rank = endRank;
        break;
      }
      end--;
      endKey -= last.cost;
      endRank -= last.entries.length;
      const first = chunks[at] as Chunk<T>;
      if (at === end || !isWhole(first, key + first.cost)) break;
      at++;
      key += first.cost;
      rank += first.entries.length;
    }
    const entries = chunks[at]?.entries ?? [];
    let index = 0;
    for (let entry = entries[0]; entry !== undefined && comesBefore(key, entry.seq, place); entry = entries[++index]) {
      key += entry.cost;
    }
    return { chunk: at, index, rank: rank + index };
  }

  /** Those before have been overtaken once more; see Chunk.overtake. */
  overtake(before: Split, took: number, alsoListed: (ticket: T) => boolean): void {
    if (before.rank === 0) return;
    this.mostOvertaken++;
    this.#loose = true;
    // The usual case, somebody at the end of the line, is one step however long the line is.
    if (before.rank === this.size && this.#listed === 0) {
      countGroups(this.#passed, took);
      return;
    }
    for (let i = 0; i < before.chunk; i++) (this.chunks[i] as Chunk<T>).overtake(took, alsoListed);
    this.chunks[before.chunk]?.overtakeBefore(before.index, took, alsoListed);
  }
}

function startsOf(chunks: readonly Chunk<Waiting>[]): readonly number[] {
  let before = 0;
  return chunks.map(({ entries }) => {
    before += entries.length;
    return before - entries.length;
  });
}
