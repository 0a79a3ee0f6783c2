import type { FairShare } from "./fair-share.ts";
import { type Room, RoomReading } from "./least-needs.ts";
import { bitsOf, type Chunk, type Entry, entryOf, type Needs, type Waiting } from "./line-chunk.ts";
import { merged, type Sieve } from "./line-merge.ts";
import type { Millis } from "./sample.ts";
import { comesBefore, type Key, TenantLine } from "./tenant-line.ts";

/** A place in the order: of a ticket, or where a newcomer would come. */
export interface Place {
  readonly seq: number;
  readonly workload: { readonly tenant: string; readonly priority: number };
}

interface Band<T extends Waiting> {
  readonly priority: number;
  readonly lines: Map<string, TenantLine<T>>;
  size: number;
}

/**
 * The tickets that wait, in order of service: priority (higher first), then decayed fair share between tenants, then arrival.
 *
 * Fair share: the key of a ticket is what its tenant has used, and the cost of the tenant's tickets before it in the same
 * priority. The lower key comes first, of equal ones the earlier seq. That is the order in which all would be served if
 * everything fitted and each admission were charged.
 *
 * Every answer is for the order at `now`, and follows from what is in the line and what was charged. Usage decays and costs of
 * waiting tickets do not: who is next changes only by charges and by coming and going, but tickets further back may pass each
 * other as time goes by. No ticket precedes itself.
 *
 * Costs, for n tickets of T tenants: adding and removing are about O(log n); what asks about a place is O(T + n / 128); head
 * is O(T).
 */
export class WaitingLine<T extends Waiting> {
  readonly #fairShare: FairShare;
  readonly #entries = new Map<T, Entry<T>>();
  readonly #countOf = new Map<string, number>();
  /** Highest priority first; none is empty. */
  readonly #bands: Band<T>[] = [];

  constructor(fairShare: FairShare) {
    this.#fairShare = fairShare;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Tenants that have a ticket in the line. */
  get tenants(): number {
    return this.#countOf.size;
  }

  /** Waiting tickets of a tenant, in all priorities. */
  countOf(tenant: string): number {
    return this.#countOf.get(tenant) ?? 0;
  }

  has(ticket: T): boolean {
    return this.#entries.has(ticket);
  }

  /** @throws Error when the ticket, or its seq for the same tenant and priority, is in the line already. */
  add(ticket: T): void {
    if (this.#entries.has(ticket)) throw new Error(`the ticket with seq ${ticket.seq} waits already`);
    const { tenant, priority } = ticket.workload;
    const at = this.#bandIndex(priority);
    let band = this.#bands[at];
    if (band?.priority !== priority) {
      band = { priority, lines: new Map(), size: 0 };
      this.#bands.splice(at, 0, band);
    }
    let line = band.lines.get(tenant);
    if (line === undefined) {
      line = new TenantLine(tenant);
      band.lines.set(tenant, line);
    }
    const entry = entryOf(ticket, this.#fairShare.weigh(ticket.cost));
    line.add(entry);
    band.size++;
    this.#entries.set(ticket, entry);
    this.#countOf.set(tenant, this.countOf(tenant) + 1);
  }

  /** Its count of overtaking is forgotten. False: it was not in the line. */
  remove(ticket: T): boolean {
    const entry = this.#entries.get(ticket);
    if (entry === undefined) return false;
    const { tenant, priority } = ticket.workload;
    const at = this.#bandIndex(priority);
    const band = this.#bands[at] as Band<T>;
    const line = band.lines.get(tenant) as TenantLine<T>;
    line.remove(entry);
    if (line.size === 0) band.lines.delete(tenant);
    if (--band.size === 0) this.#bands.splice(at, 1);
    this.#entries.delete(ticket);
    const left = this.countOf(tenant) - 1;
    if (left > 0) this.#countOf.set(tenant, left);
    else this.#countOf.delete(tenant);
    return true;
  }

  /** The ticket that is next. */
  head(now: Millis): T | undefined {
    let head: Entry<T> | undefined;
    let place: Key = { key: Infinity, seq: Infinity };
    for (const line of this.#bands[0]?.lines.values() ?? []) {
      const { first } = line;
      const key = this.#fairShare.usageOf(line.tenant, now);
      if (first === undefined || !comesBefore(key, first.seq, place)) continue;
      head = first;
      place = { key, seq: first.seq };
    }
    return head?.ticket;
  }

  /** All tickets in order. While it runs, tickets may leave the line (they are then passed over); none may be added. */
  inOrder(now: Millis): Iterable<T> {
    const all = () => true;
    return this.#pass({ line: all, chunk: all, entry: all, resume: () => {} }, now);
  }

  /** 1 is next; 0: not in the line. */
  positionOf(ticket: T, now: Millis): number {
    return this.#entries.has(ticket) ? this.positionFor(ticket, now) : 0;
  }

  /** Where somebody would come who is not in the line; 1: before all. */
  positionFor(place: Place, now: Millis): number {
    const { tenant, priority } = place.workload;
    const at = this.#bandIndex(priority);
    let before = 0;
    for (let i = 0; i < at; i++) before += (this.#bands[i] as Band<T>).size;
    const band = this.#bands[at];
    if (band?.priority !== priority) return before + 1;
    const own = band.lines.get(tenant);
    before += own?.rankOf(place.seq) ?? 0;
    if (own !== undefined && band.lines.size === 1) return before + 1;
    const key = this.#keyOf(band, tenant, place.seq, now);
    for (const line of band.lines.values()) {
      if (line !== own) before += line.before(key, this.#fairShare.usageOf(line.tenant, now)).rank;
    }
    return before + 1;
  }

  /** Whether a waiting ticket comes before another ticket or a newcomer. False for one that is not in the line. */
  precedes(ticket: T, place: Place, now: Millis): boolean {
    if (!this.#entries.has(ticket)) return false;
    const { tenant, priority } = ticket.workload;
    if (priority !== place.workload.priority) return priority > place.workload.priority;
    if (tenant === place.workload.tenant) return ticket.seq < place.seq;
    const band = this.#bands[this.#bandIndex(priority)] as Band<T>;
    const { key, seq } = this.#keyOf(band, tenant, ticket.seq, now);
    return comesBefore(key, seq, this.#keyOf(band, place.workload.tenant, place.seq, now));
  }

  /**
   * The tickets that may fit, in order, skipping quickly over those that certainly cannot: one is yielded when it needs no
   * more memory per GPU than `room` has for that many GPUs, and no more RAM. What is not needed is never missing.
   *
   * While it runs `room` may shrink, tickets may leave the line, and tenants may be charged; no ticket may be added. Usage is
   * read when the pass comes to a priority; within it, one that has left counts as charged.
   * @param roomOf what a tenant may have of the room; absent: all of it. Must not be more than `room`.
   * @param isStill room does not shrink while it runs.
   */
  candidates(room: Room, now: Millis, roomOf?: (tenant: string) => Room, isStill = false): Iterable<T> {
    const whole = new RoomReading(room);
    const readings = new Map<string, RoomReading>();
    const readingOf = (tenant: string): RoomReading => {
      if (roomOf === undefined) return whole;
      let reading = readings.get(tenant);
      if (reading === undefined) {
        reading = new RoomReading(roomOf(tenant));
        readings.set(tenant, reading);
      }
      return reading;
    };
    const sieve: Sieve<T> = {
      line: (line) => line.least.mayFit(readingOf(line.tenant)),
      chunk: (chunk) => chunk.least.mayFit(readingOf(chunk.last.ticket.workload.tenant)),
      entry: ({ ticket }) => {
        const { tenant, requirements: req } = ticket.workload;
        return readingOf(tenant).fits(req.gpuCount, req.vramMb, req.ramMb);
      },
      resume: () => {
        if (isStill) return;
        whole.forget();
        readings.clear();
      },
    };
    return this.#pass(sieve, now);
  }

  /**
   * `by` takes something: every waiting ticket that precedes it and needs anything of what was taken has been overtaken once
   * more. To be called before `by` is charged, as that would move its place; it may be in the line still or not.
   * @param alsoListed whether one that may use only certain GPUs could have used what was taken, RAM included. Asked for each
   *   that precedes and needs anything of the kind.
   */
  overtake(by: Place, took: Needs, now: Millis, alsoListed: (ticket: T) => boolean): void {
    const { tenant, priority } = by.workload;
    const bits = bitsOf(took);
    for (const band of this.#bands) {
      if (band.priority < priority) break;
      const place = band.priority > priority ? { key: Infinity, seq: Infinity } : this.#keyOf(band, tenant, by.seq, now);
      for (const line of band.lines.values()) {
        line.overtake(line.before(place, this.#fairShare.usageOf(line.tenant, now)), bits, alsoListed);
      }
    }
  }

  /** How often it has been overtaken since it was added; 0 when it is not in the line. */
  overtakenOf(ticket: T): number {
    const entry = this.#entries.get(ticket);
    return entry?.chunk?.overtakenOf(entry) ?? 0;
  }

  /** While false, the ticket keeps its place and the count it has, but no overtaking of it is counted. True to begin with. */
  setCounted(ticket: T, counted: boolean): void {
    const entry = this.#entries.get(ticket);
    entry?.chunk?.setCounted(entry, counted);
  }

  /** In order, those that have been overtaken at least `limit` times. While it runs, as for `inOrder`. */
  overtakenAtLeast(limit: number, now: Millis): Iterable<T> {
    const sieve: Sieve<T> = {
      line: (line) => line.mostOvertaken >= limit,
      chunk: (chunk) => chunk.mostOvertaken >= limit,
      entry: (entry) => (entry.chunk as Chunk<T>).overtakenOf(entry) >= limit,
      resume: () => {},
    };
    return this.#pass(sieve, now);
  }

  *#pass(sieve: Sieve<T>, now: Millis): Generator<T, void, undefined> {
    const usageOf = (tenant: string) => this.#fairShare.usageOf(tenant, now);
    for (const band of [...this.#bands]) yield* merged(band.lines.values(), usageOf, sieve);
  }

  #keyOf(band: Band<T>, tenant: string, seq: number, now: Millis): Key {
    return { key: this.#fairShare.usageOf(tenant, now) + (band.lines.get(tenant)?.costBefore(seq) ?? 0), seq };
  }

  /** Index of the band of a priority, or where it belongs. */
  #bandIndex(priority: number): number {
    let low = 0;
    let high = this.#bands.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#bands[middle] as Band<T>).priority > priority) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
