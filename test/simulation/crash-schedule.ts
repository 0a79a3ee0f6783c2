import type { Effect, EngineEvent } from "../../src/engine/events.ts";
import { everything, type LeaseMemo, type SaveEffect, type TicketMemo } from "../../src/engine/saves.ts";
import { createState } from "../../src/engine/state.ts";
import { builtInPolicies } from "../../src/policy/load.ts";
import { must } from "./invariants.ts";
import { Schedule } from "./schedule.ts";

export interface CrashResult {
  readonly crashes: number;
  readonly leases: number;
  readonly tickets: number;
}

/**
 * Random schedules in which the server is killed now and then and starts again with what it had written down. Processes go on
 * meanwhile, and so do the promises.
 */
export class CrashSchedule extends Schedule {
  /** What is on the disk. */
  readonly #leases = new Map<string, LeaseMemo>();
  readonly #tickets = new Map<string, TicketMemo>();
  #crashes = 0;
  #restoredLeases = 0;
  #restoredTickets = 0;

  constructor(seed: number) {
    super(seed);
    this.state = createState(this.state.settings, builtInPolicies(), this.state.policy, true);
  }

  get crashed(): CrashResult {
    return { crashes: this.#crashes, leases: this.#restoredLeases, tickets: this.#restoredTickets };
  }

  protected override act(): void {
    if (this.random.chance(0.03)) this.#crash();
    else super.act();
  }

  protected override afterStep(event: EngineEvent, effects: readonly Effect[]): void {
    const saves = effects.filter((e): e is SaveEffect => e.type === "save");
    must("what is to be written down comes first", saves.length === 0 || effects[0] === saves[0], { event });
    for (const { leases, tickets } of saves) {
      for (const { id, memo } of leases) put(this.#leases, id, memo);
      for (const { id, memo } of tickets) put(this.#tickets, id, memo);
    }
    const all = everything(this.state);
    must("what is written down is what has to outlive the server", same(this.#leases, all.leases), {
      event,
      written: [...this.#leases.values()],
      there: all.leases,
    });
    must("the queue that is written down is the queue", same(this.#tickets, all.tickets), {
      event,
      written: [...this.#tickets.keys()],
      there: all.tickets.map((t) => t.id),
      effects,
    });
  }

  #crash(): void {
    const { settings, nextToken } = this.state;
    const before = new Map([...this.#leases.keys()].map((id) => [id, this.state.leases.get(id)?.phase]));
    const order = [...this.#tickets.values()].sort((a, b) => a.seq - b.seq).map((t) => t.id);
    // A holder whose stream breaks ends its work, as does one whose lease is not known any more.
    for (const [id, process] of this.processOf) {
      if (process.alive && !before.has(id)) this.machine.end(process, this.now, 0);
    }
    this.now += this.random.whole(1, 5_000);
    this.machine.grow(this.random);
    this.machine.forgetReadings();
    const stored = JSON.parse(JSON.stringify({ leases: [...this.#leases.values()], tickets: [...this.#tickets.values()] }));
    this.state = createState({ ...settings, firstToken: nextToken }, builtInPolicies(), this.state.policy, true);
    this.step({ type: "restore", ...(stored as { leases: LeaseMemo[]; tickets: TicketMemo[] }) });
    this.#crashes++;
    this.#restoredLeases += stored.leases.length;
    this.#restoredTickets += stored.tickets.length;
    for (const [id, phase] of before) {
      const lease = this.state.leases.get(id);
      must("no lease is lost", lease?.phase === phase, { id, phase, is: lease?.phase });
      const lives = lease?.expiresAt === undefined ? undefined : lease.expiresAt - this.now;
      const ttlMs = lease?.longestTtlMs ?? 0;
      must("a lease gets its whole time once more", lives === undefined || (lives >= ttlMs && lives <= 1.5 * ttlMs), {
        id,
        lives,
      });
    }
    const waiting = order.filter((id) => this.state.tickets.has(id));
    const seqs = waiting.map((id) => this.state.tickets.get(id)?.seq ?? 0);
    must("no ticket is lost", waiting.length === order.length || this.#timedOutMeanwhile(stored.tickets), { order, waiting });
    must(
      "tickets keep their order",
      seqs.every((seq, i) => i === 0 || seq > (seqs[i - 1] ?? 0)),
      seqs,
    );
    this.measure();
  }

  #timedOutMeanwhile(tickets: readonly TicketMemo[]): boolean {
    return tickets.every((t) => this.state.tickets.has(t.id) || (t.deadline !== undefined && t.deadline <= this.now));
  }
}

function put<Memo>(map: Map<string, Memo>, id: string, memo: Memo | undefined): void {
  if (memo === undefined) map.delete(id);
  else map.set(id, memo);
}

/**
 * What changes by time and measurements alone is not written down each time: for which time its tenant has been charged, and use at the
 * time of the grant, which is corrected downwards; the higher one credits a lease with less.
 */
function same<Memo extends { readonly id: string }>(written: ReadonlyMap<string, Memo>, there: readonly Memo[]): boolean {
  const moving = new Set(["chargedFrom", "chargedUntil", "baselineMb"]);
  const plain = (memo: Memo | undefined) => JSON.stringify(memo, (key, value) => (moving.has(key) ? undefined : value));
  return written.size === there.length && there.every((memo) => plain(written.get(memo.id)) === plain(memo));
}

/** @throws when a promise is broken. */
export function runCrashes(seed: number, steps: number): CrashResult {
  const schedule = new CrashSchedule(seed);
  schedule.run(steps);
  return schedule.crashed;
}
