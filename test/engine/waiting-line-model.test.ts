import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FairShare } from "../../src/engine/fair-share.ts";
import type { Needs } from "../../src/engine/line-chunk.ts";
import { WaitingLine } from "../../src/engine/waiting-line.ts";
import { seqs, TestRoom, type TestTicket, waiting } from "./waiting-support.ts";

const tenants = ["a", "b", "c", "d"];

/** The same promises, worked out from scratch each time. */
class Model {
  readonly tickets: TestTicket[] = [];
  readonly overtaken = new Map<TestTicket, number>();
  readonly uncounted = new Set<TestTicket>();
  readonly share: FairShare;

  constructor(share: FairShare) {
    this.share = share;
  }

  key(place: TestTicket, now: number): number {
    const { tenant, priority } = place.workload;
    return this.tickets
      .filter((t) => t.workload.tenant === tenant && t.workload.priority === priority && t.seq < place.seq)
      .reduce((sum, t) => sum + this.share.weigh(t.cost), this.share.usageOf(tenant, now));
  }

  ordered(tickets: TestTicket[], now: number): TestTicket[] {
    return tickets
      .map((ticket) => ({ ticket, key: this.key(ticket, now), priority: ticket.workload.priority }))
      .sort((x, y) => y.priority - x.priority || x.key - y.key || x.ticket.seq - y.ticket.seq)
      .map((x) => x.ticket);
  }

  remove(ticket: TestTicket): void {
    this.tickets.splice(this.tickets.indexOf(ticket), 1);
    this.overtaken.delete(ticket);
    this.uncounted.delete(ticket);
  }

  before(place: TestTicket, now: number): TestTicket[] {
    const others = this.tickets.filter((t) => t.seq !== place.seq);
    const order = this.ordered([...others, place], now);
    return order.slice(0, order.indexOf(place));
  }

  *candidates(now: number, roomOf: (tenant: string) => TestRoom): Generator<TestTicket> {
    for (const priority of [...new Set(this.tickets.map((t) => t.workload.priority))].sort((x, y) => y - x)) {
      const band = this.tickets.filter((t) => t.workload.priority === priority);
      for (const ticket of this.ordered(band, now)) {
        if (roomOf(ticket.workload.tenant).fits(ticket.workload.requirements)) yield ticket;
      }
    }
  }
}

const small = fc.integer({ min: 0, max: 4 });
const wish = fc.record({
  tenant: fc.constantFrom(...tenants),
  priority: fc.constantFrom(0, 0, 0, 1, -3),
  cost: fc.constantFrom(0, 1, 5, 5, 17.5, 1000),
  gpuCount: fc.constantFrom(0, 1, 1, 1, 2, 3, 4, 6, 12),
  vramMb: fc.constantFrom(0, 100, 250, 600),
  ramMb: fc.constantFrom(0, 0, 10, 300),
  gpuUuids: fc.constantFrom<string[]>([], [], [], ["GPU-a"], ["GPU-b"]),
});

const command = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant("add" as const), wish, old: fc.boolean() }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant("flood" as const),
      wishes: fc.array(wish, { minLength: 1, maxLength: 5 }),
      count: fc.integer({ min: 20, max: 400 }),
      inRuns: fc.boolean(),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("remove" as const), at: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("thin" as const), keep: fc.integer({ min: 1, max: 9 }) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant("charge" as const),
      tenant: fc.constantFrom(...tenants),
      cost: fc.integer({ min: -900, max: 900 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.integer({ min: 0, max: 3000 }) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("overtake" as const),
      at: fc.nat(),
      newcomer: fc.option(wish, { freq: 4 }),
      took: fc.constantFrom<Needs>("gpu", "ram", "both"),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("count" as const), at: fc.nat(), counted: fc.boolean() }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("serve" as const),
      gpus: fc.array(fc.constantFrom(0, 100, 600, 2000), { maxLength: 6 }),
      ramMb: fc.constantFrom(0, 10, 900),
      salt: fc.nat(),
      cap: fc.integer({ min: 1, max: 20 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("look" as const), at: fc.nat(), wish, limit: small }) },
);
type Command = typeof command extends fc.Arbitrary<infer C> ? C : never;

class Both {
  readonly share: FairShare;
  readonly line: WaitingLine<TestTicket>;
  readonly model: Model;
  now = 1000;
  #seq = 0;

  constructor(halfLifeMs: number) {
    this.share = new FairShare(halfLifeMs);
    this.line = new WaitingLine(this.share);
    this.model = new Model(this.share);
  }

  nextSeq(): number {
    this.#seq += 10;
    return this.#seq;
  }

  add(ticket: TestTicket): void {
    this.line.add(ticket);
    this.model.tickets.push(ticket);
  }

  remove(ticket: TestTicket): void {
    expect(this.line.remove(ticket)).toBe(true);
    this.model.remove(ticket);
  }

  some(at: number): TestTicket | undefined {
    return this.model.tickets[at % this.model.tickets.length];
  }

  run(c: Command): void {
    const { line, model, share, now } = this;
    if (c.do === "add") {
      const seq = c.old ? Math.max(1, this.nextSeq() - 355) : this.nextSeq();
      if (!model.tickets.some((t) => t.seq === seq)) this.add(waiting({ ...c.wish, seq }));
    } else if (c.do === "flood") {
      for (let i = 0; i < c.count; i++)
        this.add(
          waiting({
            ...(c.wishes[c.inRuns ? Math.floor((i * c.wishes.length) / c.count) : i % c.wishes.length] as object),
            seq: this.nextSeq(),
          }),
        );
    } else if (c.do === "remove") {
      const ticket = this.some(c.at);
      if (ticket !== undefined) this.remove(ticket);
    } else if (c.do === "thin") {
      for (const [i, ticket] of [...model.tickets].entries()) if (i % c.keep !== 0) this.remove(ticket);
    } else if (c.do === "charge") {
      if (c.cost > 0) share.charge(c.tenant, c.cost, now);
      else share.refund(c.tenant, -c.cost, now);
    } else if (c.do === "wait") {
      this.now += c.ms;
    } else if (c.do === "overtake") {
      this.overtake(c.newcomer === null ? this.some(c.at) : waiting({ ...c.newcomer, seq: this.nextSeq() }), c.took);
    } else if (c.do === "count") {
      const ticket = this.some(c.at);
      if (ticket === undefined) return;
      line.setCounted(ticket, c.counted);
      if (c.counted) model.uncounted.delete(ticket);
      else model.uncounted.add(ticket);
    } else if (c.do === "serve") {
      this.serve(new TestRoom(c.gpus, c.ramMb), c.salt, c.cap);
    } else {
      this.look(this.some(c.at), waiting({ ...c.wish, seq: this.nextSeq() - 5 * c.limit }), c.limit);
    }
  }

  overtake(by: TestTicket | undefined, took: Needs): void {
    if (by === undefined) return;
    const listed = (t: TestTicket) => t.workload.requirements.gpuUuids.includes("GPU-a");
    this.line.overtake(by, took, this.now, listed);
    for (const ticket of this.model.before(by, this.now)) {
      const { gpuCount, ramMb, gpuUuids } = ticket.workload.requirements;
      const needs = (gpuCount > 0 && took !== "ram") || (ramMb > 0 && took !== "gpu");
      if (!needs || this.model.uncounted.has(ticket) || (gpuUuids.length > 0 && !listed(ticket))) continue;
      this.model.overtaken.set(ticket, (this.model.overtaken.get(ticket) ?? 0) + 1);
    }
  }

  /** The caller's part of a pass: it grants some, refuses some, lets others wait, in both at the same time. */
  serve(room: TestRoom, salt: number, cap: number): void {
    const granted = new Map<string, number>();
    const none = new TestRoom([], -1);
    const roomOf = (tenant: string) => ((granted.get(tenant) ?? 0) >= cap ? none : room);
    const expected = this.model.candidates(this.now, roomOf);
    for (const ticket of this.line.candidates(room, this.now, roomOf)) {
      expect(ticket).toBe(expected.next().value);
      const { tenant, requirements } = ticket.workload;
      const decision = (ticket.seq * 31 + salt) % 4;
      if (decision < 2) {
        if (decision === 0) this.overtake(ticket, "both");
        this.remove(ticket);
        this.share.charge(tenant, ticket.cost, this.now);
        room.take(requirements);
        granted.set(tenant, (granted.get(tenant) ?? 0) + 1);
      } else if (decision === 2) {
        this.remove(ticket);
      }
    }
    expect(expected.next().done).toBe(true);
  }

  look(ticket: TestTicket | undefined, newcomer: TestTicket, limit: number): void {
    const { line, model, now } = this;
    if (model.tickets.some((t) => t.seq === newcomer.seq)) return;
    const ahead = model.before(newcomer, now);
    expect(line.positionFor(newcomer, now)).toBe(ahead.length + 1);
    if (ticket === undefined) return;
    expect(line.precedes(ticket, newcomer, now)).toBe(ahead.includes(ticket));
    const order = model.ordered(model.tickets, now);
    const other = order[limit % order.length] as TestTicket;
    expect(line.precedes(ticket, other, now)).toBe(order.indexOf(ticket) < order.indexOf(other));
    expect(seqs(line.overtakenAtLeast(limit, now))).toEqual(seqs(order.filter((t) => (model.overtaken.get(t) ?? 0) >= limit)));
  }

  compare(): void {
    const { line, model, now } = this;
    const order = model.ordered(model.tickets, now);
    expect(seqs(line.inOrder(now))).toEqual(seqs(order));
    expect(line.size).toBe(order.length);
    expect(line.head(now)).toBe(order[0]);
    for (const tenant of tenants) {
      expect(line.countOf(tenant)).toBe(order.filter((t) => t.workload.tenant === tenant).length);
    }
    const wrong = order.find(
      (t, i) => line.positionOf(t, now) !== i + 1 || line.overtakenOf(t) !== (model.overtaken.get(t) ?? 0) || !line.has(t),
    );
    expect(wrong).toBeUndefined();
  }
}

describe("the waiting line", () => {
  it("does what a list that is sorted and counted anew each time would do", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(0, 1000, 1000, 100_000),
        fc.array(command, { maxLength: 40, size: "max" }),
        (halfLifeMs, commands) => {
          const both = new Both(halfLifeMs);
          for (const c of commands) both.run(c);
          both.compare();
          // And it ends as empty as it began.
          for (const ticket of [...both.model.tickets]) both.remove(ticket);
          both.compare();
        },
      ),
      { numRuns: 150 },
    );
  });
});
