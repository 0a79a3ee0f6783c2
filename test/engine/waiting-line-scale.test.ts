import { describe, expect, it } from "vitest";
import { FairShare } from "../../src/engine/fair-share.ts";
import { WaitingLine } from "../../src/engine/waiting-line.ts";
import { TestRoom, type TestTicket, waiting } from "./waiting-support.ts";

const sizes = [100, 10_000, 100_000] as const;
const never = () => false;

/** Needs of all kinds; none of them fits into the room of `event`. */
function ticketOf(seq: number, tenants: number): TestTicket {
  return waiting({
    seq,
    tenant: `t${(seq * 7) % tenants}`,
    cost: 1 + (seq % 50),
    gpuCount: 1 + (seq % 2),
    vramMb: 4000 + (seq % 97) * 100,
    ramMb: seq % 3 === 0 ? 500 : 0,
  });
}

class Load {
  readonly share = new FairShare(3_600_000);
  readonly line = new WaitingLine<TestTicket>(this.share);
  readonly tenants: number;
  #seq = 0;
  #now = 0;

  constructor(size: number, tenants: number) {
    this.tenants = tenants;
    for (let i = 0; i < size; i++) this.line.add(this.next());
  }

  next(): TestTicket {
    return ticketOf(++this.#seq, this.tenants);
  }

  /** What a submit, a grant from the middle, and a pass that finds nothing ask of the line. */
  event(): number {
    const { line } = this;
    const now = this.#now++;
    const newcomer = this.next();
    line.add(newcomer);
    let seen = line.positionOf(newcomer, now);
    const head = line.head(now) as TestTicket;
    line.overtake(newcomer, "gpu", now, never);
    for (const ticket of line.candidates(new TestRoom([3000, 2000], 9000), now)) seen += ticket.seq;
    for (const ticket of line.overtakenAtLeast(Number.MAX_SAFE_INTEGER, now)) seen += ticket.seq;
    line.remove(head);
    this.share.charge(head.workload.tenant, head.cost, now);
    return seen;
  }

  /** µs for one event, in one round. */
  round(): number {
    let sink = 0;
    const began = performance.now();
    for (let i = 0; i < 200; i++) sink += this.event();
    const us = (performance.now() - began) * 5;
    expect(sink).toBeGreaterThan(0);
    return us;
  }
}

/**
 * The best of several rounds of each, in µs for one event: what else the machine does only ever adds. The rounds take turns,
 * so that a slow minute and a collector's pause meet all of them, and none is measured by code that was compiled for another.
 */
function measure(loads: readonly Load[]): number[] {
  const best = loads.map(() => Infinity);
  for (let round = 0; round < 16; round++) {
    for (const [i, load] of loads.entries()) best[i] = Math.min(best[i] as number, load.round());
  }
  return best;
}

describe("the cost of an event", () => {
  it.each([1, 20])("hardly grows with the number of waiting tickets, of %i tenants", (tenants) => {
    const [few, many, most] = measure(sizes.map((size) => new Load(size, tenants))) as [number, number, number];
    const told = `µs per event at ${sizes.join(", ")}: ${[few, many, most].map((us) => us.toFixed(1)).join(", ")}`;
    // A list that is gone through would be 100 and 1,000 times as slow.
    expect(many, told).toBeLessThan(4 * few);
    expect(most, told).toBeLessThan(40 * few);
  });
});

describe("memory", () => {
  it("does not grow with tickets that have left: a line that was long works like one that never was", () => {
    const load = new Load(100_000, 3);
    const tickets = [...load.line.inOrder(0)];
    // One in a thousand stays, so that a chunk for each that ever was would show.
    for (const [i, ticket] of tickets.entries()) if (i % 1000 !== 0) load.line.remove(ticket);
    expect(load.line.size).toBe(100);
    const [long, fresh] = measure([load, new Load(100, 3)]) as [number, number];
    expect(long).toBeLessThan(4 * fresh);
  });
});
