import { describe, expect, it } from "vitest";
import { FairShare } from "../../src/engine/fair-share.ts";
import { WaitingLine } from "../../src/engine/waiting-line.ts";
import { seqs, TestRoom, type TestTicket, waiting } from "./waiting-support.ts";

const hour = 3_600_000;

function lineOf(tickets: TestTicket[], fairShare = new FairShare(0)): WaitingLine<TestTicket> {
  const line = new WaitingLine<TestTicket>(fairShare);
  for (const ticket of tickets) line.add(ticket);
  return line;
}

function many(count: number, of: (i: number) => Omit<Parameters<typeof waiting>[0], "seq"> = () => ({})): TestTicket[] {
  return Array.from({ length: count }, (_, i) => waiting({ seq: i + 1, ...of(i) }));
}

/** The same ticket; counts how often somebody asks what memory it needs. */
function watched(ticket: TestTicket, looked: { times: number }): TestTicket {
  const { vramMb, ...others } = ticket.workload.requirements;
  const requirements = {
    ...others,
    get vramMb() {
      looked.times++;
      return vramMb;
    },
  };
  return { ...ticket, workload: { ...ticket.workload, requirements } };
}

const all = () => true;

describe("the order of service", () => {
  it("is by priority, and by arrival when fair share is off, whatever the costs", () => {
    const line = lineOf([
      waiting({ seq: 1, tenant: "a", cost: 900 }),
      waiting({ seq: 2, tenant: "a", cost: 900 }),
      waiting({ seq: 3, tenant: "b", cost: 1 }),
      waiting({ seq: 4, tenant: "b", priority: 5 }),
      waiting({ seq: 5, tenant: "a", priority: -1 }),
    ]);
    expect(seqs(line.inOrder(0))).toEqual([4, 1, 2, 3, 5]);
    expect(line.head(0)?.seq).toBe(4);
  });

  it("gives tenants turns in proportion to cost: one who came with a hundred does not shut out one who came with two", () => {
    const line = lineOf(
      [
        ...many(100, () => ({ tenant: "crowd", cost: 10 })),
        waiting({ seq: 101, tenant: "single", cost: 10 }),
        waiting({ seq: 102, tenant: "single", cost: 10 }),
      ],
      new FairShare(hour),
    );
    expect(seqs(line.inOrder(0)).slice(0, 5)).toEqual([1, 101, 2, 102, 3]);
  });

  it("puts a tenant who has used much behind one who has not, until that has decayed", () => {
    const share = new FairShare(hour);
    const tickets = [waiting({ seq: 1, tenant: "heavy" }), waiting({ seq: 2, tenant: "light" })];
    const line = lineOf(tickets, share);
    share.charge("heavy", 1000, 0);
    expect(seqs(line.inOrder(0))).toEqual([2, 1]);
    // 1,000 share·ms are less than a half after 11 half-lives; then arrival decides.
    expect(seqs(line.inOrder(11 * hour))).toEqual([1, 2]);
  });

  it("is the order in which all would be served if everything fitted and each admission were charged", () => {
    const share = new FairShare(hour);
    share.charge("b", 25, 0);
    const line = lineOf(
      many(300, (i) => ({ tenant: "abc"[(i * i) % 3] as string, cost: (i * 7) % 40, priority: i % 2 })),
      share,
    );
    const expected = seqs(line.inOrder(0)).filter((seq) => seq % 2 === 0);
    const served: number[] = [];
    for (let next = line.head(0); next !== undefined; next = line.head(0)) {
      line.remove(next);
      // The other priority is asked about as it stood before any of the first was charged.
      if (next.workload.priority === 1) {
        served.push(next.seq);
        share.charge(next.workload.tenant, next.cost, 0);
      }
    }
    expect(served).toEqual(expected);
  });

  it("knows who is next for ever: time alone does not change it", () => {
    const share = new FairShare(hour);
    const line = lineOf([waiting({ seq: 1, tenant: "a" }), waiting({ seq: 2, tenant: "b" })], share);
    share.charge("a", 1e9, 0);
    share.charge("b", 0.9e9, 0);
    for (let h = 0; h < 25; h++) expect(line.head(h * hour)?.seq).toBe(2);
  });

  it("lets tickets further back pass each other as usage decays, because costs of waiting tickets do not", () => {
    const share = new FairShare(hour);
    const [used, ...fresh] = [
      waiting({ seq: 1, tenant: "used", cost: 4 }),
      ...[2, 3, 4].map((seq) => waiting({ seq, tenant: "fresh", cost: 4 })),
    ] as [TestTicket, ...TestTicket[]];
    const line = lineOf([used, ...fresh], share);
    share.charge("used", 10, 0);
    expect([line.positionOf(used, 0), line.positionOf(used, hour), line.positionOf(used, 2 * hour)]).toEqual([4, 3, 2]);
  });
});

describe("a place in the line", () => {
  it("is 1 for the next, and for a newcomer the one it would get", () => {
    const share = new FairShare(hour);
    const line = lineOf(
      many(500, (i) => ({ tenant: i % 5 === 0 ? "a" : "b", cost: 3 })),
      share,
    );
    const order = [...line.inOrder(0)];
    expect(order.map((t) => line.positionOf(t, 0))).toEqual(order.map((_, i) => i + 1));
    for (const tenant of ["a", "b", "c"]) {
      const newcomer = waiting({ seq: 501, tenant });
      const foreseen = line.positionFor(newcomer, 0);
      line.add(newcomer);
      expect(line.positionOf(newcomer, 0)).toBe(foreseen);
      line.remove(newcomer);
    }
    expect(line.positionFor(waiting({ seq: 1000, priority: 1 }), 0)).toBe(1);
    expect(line.positionFor(waiting({ seq: 1000, priority: -1 }), 0)).toBe(501);
  });

  it("is none for a ticket that does not wait", () => {
    const [first, stranger] = [waiting({ seq: 1 }), waiting({ seq: 0 })];
    const line = lineOf([first]);
    expect([line.positionOf(stranger, 0), line.precedes(stranger, first, 0), line.overtakenOf(stranger)]).toEqual([
      0,
      false,
      0,
    ]);
    expect([line.remove(stranger), line.has(stranger), line.has(first)]).toEqual([false, false, true]);
    expect(line.precedes(first, first, 0)).toBe(false);
  });

  it("cannot be taken twice", () => {
    const ticket = waiting({ seq: 1 });
    const line = lineOf([ticket, waiting({ seq: 5 })]);
    expect(() => line.add(ticket)).toThrow("waits already");
    expect(() => line.add(waiting({ seq: 1 }))).toThrow("two tickets with seq 1");
    expect(line.size).toBe(2);
  });

  it("follows from the arrival number, not from when the ticket was added", () => {
    // 389 and 1,000 have no common divisor: every number once, far from in order.
    const tickets = Array.from({ length: 1000 }, (_, i) => waiting({ seq: (i * 389) % 1000 }));
    const line = lineOf(tickets);
    expect(seqs(line.inOrder(0))).toEqual(Array.from({ length: 1000 }, (_, i) => i));
    expect(tickets.every((t) => line.positionOf(t, 0) === t.seq + 1)).toBe(true);
  });

  it("exists at the greatest arrival numbers too", () => {
    const top = Number.MAX_SAFE_INTEGER;
    const line = lineOf([top + 1, top, top - 1].map((seq) => waiting({ seq })));
    expect(seqs(line.inOrder(0))).toEqual([top - 1, top, top + 1]);
  });
});

describe("candidates", () => {
  it("are those that may fit, and thousands that cannot are not looked at one by one", () => {
    const looked = { times: 0 };
    const line = lineOf(many(10_000, (i) => ({ vramMb: i === 7000 ? 1000 : 9000 })).map((t) => watched(t, looked)));
    looked.times = 0;
    expect(seqs(line.candidates(new TestRoom([5000], 0), 0))).toEqual([7001]);
    expect(looked.times).toBeGreaterThan(0);
    expect(looked.times).toBeLessThan(200);
  });

  it("are not searched for among the neighbours of one that has left", () => {
    const looked = { times: 0 };
    const tickets = many(1000, (i) => ({ vramMb: i === 500 ? 1000 : 9000 })).map((t) => watched(t, looked));
    const line = lineOf(tickets);
    line.remove(tickets[500] as TestTicket);
    looked.times = 0;
    expect(seqs(line.candidates(new TestRoom([5000], 0), 0))).toEqual([]);
    expect(looked.times).toBe(0);
  });

  it("come in the order of all tickets: those that are skipped at once count for their tenant as well", () => {
    const line = lineOf(
      [
        ...many(400, () => ({ tenant: "a", cost: 10, vramMb: 9000 })),
        waiting({ seq: 401, tenant: "a", cost: 10 }),
        ...Array.from({ length: 402 }, (_, i) => waiting({ seq: 1000 + i, tenant: "b", cost: 10 })),
      ],
      new FairShare(hour),
    );
    const order = seqs(line.candidates(new TestRoom([5000], 0), 0));
    expect([order.length, order.indexOf(401)]).toEqual([403, 400]);
  });

  it("stop coming as soon as the room has shrunk, while earlier ones leave the line", () => {
    const line = lineOf(many(1000, (i) => ({ tenant: `t${i % 3}`, vramMb: 100 })));
    const room = new TestRoom([450], 0);
    const granted: number[] = [];
    for (const ticket of line.candidates(room, 0)) {
      room.take(ticket.workload.requirements);
      line.remove(ticket);
      granted.push(ticket.seq);
    }
    expect(granted).toEqual([1, 2, 3, 4]);
    expect(line.size).toBe(996);
  });

  it("need what they need of each kind: GPUs at once, memory on each, and RAM", () => {
    const line = lineOf([
      waiting({ seq: 1, gpuCount: 2, vramMb: 500 }),
      waiting({ seq: 2, gpuCount: 3, vramMb: 0 }),
      waiting({ seq: 3, gpuCount: 1, vramMb: 800, ramMb: 64 }),
      waiting({ seq: 4, gpuCount: 1, vramMb: 800, ramMb: 65 }),
      waiting({ seq: 5, gpuCount: 0, vramMb: 0, ramMb: 64 }),
      waiting({ seq: 6, gpuCount: 0, vramMb: 0, ramMb: 0 }),
      waiting({ seq: 7, gpuCount: 2, vramMb: 501 }),
    ]);
    expect(seqs(line.candidates(new TestRoom([800, 500], 64), 0))).toEqual([1, 3, 5, 6]);
  });

  it("who need no RAM fit where RAM is overdrawn or not known", () => {
    const line = lineOf([waiting({ seq: 1 }), waiting({ seq: 2, ramMb: 1 })]);
    expect(seqs(line.candidates(new TestRoom([5000], -300), 0))).toEqual([1]);
    expect(seqs(line.candidates(new TestRoom([5000], Number.NaN), 0))).toEqual([1]);
  });

  it("do not come from a tenant that is at its cap, from the moment it is", () => {
    const line = lineOf(many(9, (i) => ({ tenant: i % 2 === 0 ? "a" : "b" })));
    const seen: number[] = [];
    const room = new TestRoom([5000], 0);
    const none = new TestRoom([], -1);
    for (const ticket of line.candidates(room, 0, (tenant) => (tenant === "a" && seen.includes(3) ? none : room))) {
      seen.push(ticket.seq);
    }
    expect(seen).toEqual([1, 2, 3, 4, 6, 8]);
  });

  it("are found again after what kept them out of sight has left (what is known of a tenant's line is only a bound)", () => {
    const line = lineOf(many(600, (i) => ({ vramMb: i === 300 ? 10 : 100 })));
    const first = [...line.inOrder(0)][300] as TestTicket;
    expect(seqs(line.candidates(new TestRoom([50], 0), 0))).toEqual([301]);
    line.remove(first);
    expect(seqs(line.candidates(new TestRoom([50], 0), 0))).toEqual([]);
    line.add(waiting({ seq: 601, vramMb: 20 }));
    expect(seqs(line.candidates(new TestRoom([50], 0), 0))).toEqual([601]);
  });
});

describe("overtaking", () => {
  it("is counted once for each earlier ticket that needs anything of what was taken", () => {
    const tickets = [
      waiting({ seq: 1, gpuCount: 1 }),
      waiting({ seq: 2, gpuCount: 0, ramMb: 10 }),
      waiting({ seq: 3, gpuCount: 1, ramMb: 10 }),
      waiting({ seq: 4, gpuCount: 0 }),
      waiting({ seq: 5, gpuCount: 1, ramMb: 10, priority: 1 }),
      waiting({ seq: 7, gpuCount: 1, ramMb: 10 }),
      waiting({ seq: 8, gpuCount: 1, priority: -1 }),
    ];
    const line = lineOf(tickets);
    const counts = () => tickets.map((t) => line.overtakenOf(t));
    line.overtake(waiting({ seq: 6 }), "gpu", 0, all);
    expect(counts()).toEqual([1, 0, 1, 0, 1, 0, 0]);
    line.overtake(waiting({ seq: 6 }), "ram", 0, all);
    expect(counts()).toEqual([1, 1, 2, 0, 2, 0, 0]);
    line.overtake(waiting({ seq: 6 }), "both", 0, all);
    expect(counts()).toEqual([2, 2, 3, 0, 3, 0, 0]);
    expect(seqs(line.overtakenAtLeast(3, 0))).toEqual([5, 3]);
  });

  it("of tickets with a list of GPUs is counted where the caller says so, and asked only when they need such a thing", () => {
    const yes = waiting({ seq: 1, gpuUuids: ["GPU-a"] });
    const no = waiting({ seq: 2, gpuUuids: ["GPU-b"] });
    const line = lineOf([yes, no, ...[3, 4, 5].map((seq) => waiting({ seq }))]);
    const asked: number[] = [];
    const took = (t: TestTicket) => {
      asked.push(t.seq);
      return t.workload.requirements.gpuUuids.includes("GPU-a");
    };
    line.overtake(waiting({ seq: 9 }), "gpu", 0, took);
    line.overtake(waiting({ seq: 9 }), "ram", 0, took);
    expect([line.overtakenOf(yes), line.overtakenOf(no), asked]).toEqual([1, 0, [1, 2]]);
  });

  it("starts at 0 for a newcomer among tickets that have all been overtaken, and again after leaving", () => {
    const tickets = many(50);
    const line = lineOf(tickets);
    for (let i = 0; i < 3; i++) line.overtake(waiting({ seq: 1000 }), "gpu", 0, all);
    const late = waiting({ seq: 100 });
    line.add(late);
    line.overtake(waiting({ seq: 1000 }), "gpu", 0, all);
    expect(line.overtakenOf(late)).toBe(1);
    expect(seqs(line.overtakenAtLeast(4, 0))).toEqual(seqs(tickets));
    const first = tickets[0] as TestTicket;
    line.remove(first);
    line.add(first);
    expect(line.overtakenOf(first)).toBe(0);
  });

  it("is not counted while a ticket's client is away, which keeps the count it has", () => {
    const ticket = waiting({ seq: 1 });
    const line = lineOf([ticket, waiting({ seq: 2 })]);
    const by = waiting({ seq: 3 });
    line.overtake(by, "gpu", 0, all);
    line.setCounted(ticket, false);
    line.overtake(by, "gpu", 0, all);
    expect(line.overtakenOf(ticket)).toBe(1);
    line.setCounted(ticket, true);
    line.overtake(by, "gpu", 0, all);
    expect([line.overtakenOf(ticket), ...seqs(line.overtakenAtLeast(2, 0))]).toEqual([2, 1, 2]);
  });

  it("follows the order: by a tenant whose turn it was nobody is overtaken", () => {
    const share = new FairShare(hour);
    const heavy = waiting({ seq: 1, tenant: "heavy" });
    const light = waiting({ seq: 2, tenant: "light" });
    const line = lineOf([heavy, light], share);
    share.charge("heavy", 1000, 0);
    line.overtake(light, "gpu", 0, all);
    expect(line.overtakenOf(heavy)).toBe(0);
    line.overtake(heavy, "gpu", 0, all);
    expect(line.overtakenOf(light)).toBe(1);
  });
});
