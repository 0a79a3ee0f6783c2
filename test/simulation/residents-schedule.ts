import type { Effect, EngineEvent, Outcome } from "../../src/engine/events.ts";
import { explain } from "../../src/engine/explain.ts";
import type { Millis } from "../../src/engine/sample.ts";
import type { LeaseRecord } from "../../src/engine/state.ts";
import type { LeaseView, Requirements, Workload } from "../../src/engine/types.ts";
import { everybodyHasAPlan, evictionsAreInTheBooks, evictionsWereRight } from "./eviction-invariants.ts";
import { must, neverOverCapacity } from "./invariants.ts";
import type { SimProcess } from "./machine.ts";
import { Random } from "./random.ts";
import { Schedule, type ScheduleResult } from "./schedule.ts";

export interface ResidentsResult extends ScheduleResult {
  readonly plans: number;
  readonly evicted: number;
  readonly softReleases: number;
  readonly refills: number;
}

/**
 * One random schedule with residents: leases that are kept when idle, with executions that begin and end; workers that end some
 * time after they were asked, other programs that do or do not; pins, importances, minimum residences; memory that is given back
 * and asked for again; workers that take more or nothing at all, or whose memory cannot be told. Everything follows from the seed.
 * Throws when a promise is broken.
 */
export function runResidents(seed: number, steps: number): ResidentsResult {
  const schedule = new ResidentsSchedule(seed);
  const result = schedule.run(steps);
  schedule.close();
  return { ...result, ...schedule.counts };
}

class ResidentsSchedule extends Schedule {
  readonly counts = { plans: 0, evicted: 0, softReleases: 0, refills: 0 };
  /** Who was asked to go, and when its process ends because of it. */
  readonly #asked = new Map<string, Millis>();
  #executions = 0;

  constructor(seed: number) {
    const random = new Random(seed ^ 0x5eed);
    super(seed, {
      minResidenceMs: random.pick([0, 0, 500, 3_000]) ?? 0,
      evictionGraceMs: random.pick([1, 1_000, 5_000]) ?? 1,
    });
  }

  protected override act(): void {
    this.#endAsked();
    const r = this.random.next();
    if (r < 0.24) this.measure();
    else if (r < 0.42) this.submit();
    else if (r < 0.57) this.#load();
    else if (r < 0.63) this.#startExecution();
    else if (r < 0.77) this.#finishExecution();
    else if (r < 0.82) this.#keepOtherwise();
    else if (r < 0.86) this.#softRelease();
    else if (r < 0.89) this.#refill();
    else if (r < 0.9) this.endProcess();
    else if (r < 0.91) this.release();
    else if (r < 0.92) this.foreign();
    else if (r < 0.95) this.client();
    else if (r < 0.953) this.loseGpu();
    else if (r < 0.96) this.setPolicy();
    else this.step({ type: "tick" });
  }

  protected override submit(): void {
    const { random } = this;
    const workload: Workload = {
      name: random.pick(["a", "b", "c", "d"]) ?? "a",
      tenant: random.pick(["a", "b"]) ?? "a",
      priority: random.chance(0.1) ? random.whole(-1, 1) : 0,
      labels: {},
      requirements: this.#needs(),
      ...(random.chance(0.2) ? { importance: random.whole(-1, 1) } : {}),
      ...(random.chance(this.saysHowLong / 2) ? { expectedDurationMs: random.whole(1, 20_000) } : {}),
    };
    const pollIntervalMs = random.pick([500, 2_000, 10_000]) ?? 2_000;
    // What is due by now happens first.
    this.step({ type: "tick" });
    const shown = explain(this.state, workload, "queue", this.now).victims.map((v) => v.leaseId);
    const { reply, effects } = this.step({
      type: "submit",
      id: `s${++this.ids}`,
      mode: random.chance(0.7) ? "wait" : "now",
      workload,
      requestId: random.chance(0.2) ? `r${random.whole(0, 8)}` : "",
      policy: random.pick(["safety", "queue", "queue", "queue"]) ?? "queue",
      hold: random.chance(0.8) ? "stream" : "ttl",
      ttlMs: random.whole(1_000, 20_000),
      timeoutMs: random.whole(0, 20_000),
      pollIntervalMs,
    });
    if (pollIntervalMs === this.state.settings.defaultPollIntervalMs) this.#wasShown(shown, reply, effects);
  }

  /** Large, so that residents are in each other's way. */
  #needs(): Requirements {
    const { random } = this;
    const needs = this.requirements();
    if (needs.gpuCount === 0 || random.chance(0.3)) return needs;
    return { ...needs, vramMb: random.whole(2_000, 14_000) };
  }

  /**
   * What was explained is what then happens; unless it may start as soon as memory of an ended lease is seen to be free, or somebody
   * who was kept back until now starts in the same step, which is then another situation than the one that was explained.
   */
  #wasShown(shown: readonly string[], reply: Outcome["reply"], effects: readonly Effect[]): void {
    if (reply.type !== "ticket" || reply.resumed || this.state.chosen !== undefined) return;
    if (effects.some((e) => e.type === "granted")) return;
    const made = effects.find((e) => e.type === "evict" && e.ticketId === reply.ticketId);
    const victims = made?.type === "evict" ? made.leases.map((l) => l.id) : [];
    must("what is explained is what is done", shown.join() === victims.join(), { shown, victims, ticket: reply.ticketId });
  }

  /** Somebody loads: its process appears, and it says that it can be asked, mostly after its memory was taken. */
  #load(): void {
    const { random } = this;
    const lease = this.held();
    if (lease === undefined || this.processOf.has(lease.id)) return;
    const { vramMb, ramMb } = lease.workload.requirements;
    const executionId = `load-${lease.id}`;
    const isCounted = random.chance(0.8);
    if (isCounted) this.step({ type: "start-execution", leaseId: lease.id, token: lease.token, executionId });
    if (!this.#isHeld(lease)) return;
    const wanted = random.chance(0.15) ? 0 : Math.round(this.greed * random.whole(Math.floor(vramMb / 2), vramMb));
    const process = this.machine.start(
      lease.gpus.map((g) => g.uuid),
      wanted,
      vramMb,
    );
    process.ramMb = Math.round(random.next() * ramMb);
    process.isUntold = random.chance(0.1);
    this.processOf.set(lease.id, process);
    this.step({ type: "attach", leaseId: lease.id, token: lease.token, process: process.key });
    if (this.state.processOwner.get(process.key)?.id !== lease.id) this.machine.end(process, this.now, 0);
    if (random.chance(0.7)) process.usedMb = process.targetMb;
    if (random.chance(0.5)) this.measure();
    this.now += random.whole(0, 500);
    if (random.chance(0.9)) this.#keep(lease);
    if (isCounted) this.step({ type: "finish-execution", leaseId: lease.id, executionId });
  }

  #keep(lease: LeaseView, ready = true): void {
    const { random } = this;
    this.step({
      type: "keep",
      leaseId: lease.id,
      token: lease.token,
      keeping: {
        holder: this.#isWatcher(lease) ? "watcher" : "worker",
        pinned: random.chance(0.1),
        ready,
        ...(random.chance(0.5) ? { reloadMs: random.whole(0, 30_000) } : {}),
        ...(random.chance(0.2) ? { minResidenceMs: random.whole(0, 5_000) } : {}),
      },
    });
  }

  /** By its number: it does not change. */
  #isWatcher(lease: LeaseView): boolean {
    return lease.token % 4 === 0;
  }

  #isHeld(lease: LeaseView): boolean {
    return this.#record(lease)?.phase === "held";
  }

  #record(lease: LeaseView): LeaseRecord | undefined {
    return this.state.leases.get(lease.id);
  }

  /** It is pinned or not any more, or stops to listen. */
  #keepOtherwise(): void {
    const lease = this.held();
    if (lease === undefined || this.#record(lease)?.keeping === undefined) return;
    if (this.random.chance(0.2)) {
      this.step({ type: "keep", leaseId: lease.id, token: lease.token, keeping: undefined });
    } else this.#keep(lease);
  }

  #startExecution(): void {
    const lease = this.held();
    const record = lease === undefined ? undefined : this.#record(lease);
    if (lease === undefined || record === undefined) return;
    // Whoever gave memory back asks for it first.
    if (record.givenBackAt !== undefined && !this.#refillOf(lease)) return;
    const isLeaving = record.eviction !== undefined;
    const executionId = `e${++this.#executions}`;
    const books = () => JSON.stringify([...this.state.pools.values()].map((p) => [p.key, p.claimedMb, p.outstandingMb]));
    const before = books();
    const { reply, effects } = this.step({ type: "start-execution", leaseId: lease.id, token: lease.token, executionId });
    const hasStarted = this.#record(lease)?.executions.has(executionId) === true;
    if (isLeaving && this.#isHeld(lease) && this.#record(lease)?.eviction !== undefined) {
      must("nothing starts on a lease that is taken back", !hasStarted && reply.type === "failure", { lease: lease.id });
    }
    const othersChanged = effects.some((e) => e.type === "granted" || e.type === "lease-ended");
    if (hasStarted && !othersChanged && effects.every((e) => e.type !== "changed")) {
      must("a resident that works is charged no more than before", books() === before, { lease: lease.id });
    }
  }

  #finishExecution(): void {
    const busy = [...this.state.leases.values()].filter((l) => l.executions.size > 0);
    const lease = this.random.pick(busy);
    const executionId = lease === undefined ? undefined : this.random.pick([...lease.executions]);
    if (lease !== undefined && executionId !== undefined)
      this.step({ type: "finish-execution", leaseId: lease.id, executionId });
  }

  /** An idle one gives memory back, as much as it can: between nothing and all. */
  #softRelease(): void {
    const { random } = this;
    const lease = this.held();
    const record = lease === undefined ? undefined : this.#record(lease);
    const process = lease === undefined ? undefined : this.processOf.get(lease.id);
    if (lease === undefined || record?.keeping === undefined || process === undefined || !process.alive) return;
    if (record.executions.size > 0 || record.eviction !== undefined) return;
    this.#keep(lease, false);
    if (random.chance(0.3)) this.measure();
    if (!this.#isHeld(lease) || this.#record(lease)?.eviction !== undefined || !process.alive) return;
    process.usedMb = Math.round(process.usedMb * random.next());
    process.targetMb = process.usedMb;
    this.now += random.whole(0, 50);
    if (random.chance(0.2)) this.measure();
    this.step({ type: "give-back", leaseId: lease.id, token: lease.token });
    this.#keep(lease);
    this.counts.softReleases++;
  }

  #refill(): void {
    const lease = this.random.pick(
      [...this.state.leases.values()].filter((l) => l.phase === "held" && l.givenBackAt !== undefined),
    );
    const view = lease === undefined ? undefined : this.leases.get(lease.id);
    if (view !== undefined) this.#refillOf(view);
  }

  #refillOf(lease: LeaseView): boolean {
    const claims = () => lease.gpus.reduce((sum, { uuid }) => sum + (this.state.pools.get(uuid)?.claimedMb ?? 0), 0);
    const before = claims();
    const { reply } = this.step({ type: "refill", leaseId: lease.id, token: lease.token, policy: "safety" });
    if (reply.type !== "lease") return false;
    this.counts.refills++;
    const process = this.processOf.get(lease.id);
    if (process?.alive) process.targetMb = Math.round(lease.workload.requirements.vramMb * this.random.next());
    // What it is charged for already, because it has outgrown its promise, it does not take now.
    if (claims() > before) {
      neverOverCapacity(this.state, lease, { machine: this.machine, processOf: this.processOf }, this.now);
    }
    return true;
  }

  /** Workers end some time after they were asked; other programs half of the time, and not always because of it. */
  #endAsked(): void {
    for (const [id, at] of this.#asked) {
      if (at > this.now) continue;
      this.#asked.delete(id);
      const lease = this.leases.get(id);
      const record = this.state.leases.get(id);
      if (lease === undefined || record?.phase !== "held" || record.eviction === undefined) continue;
      const process = this.processOf.get(id);
      if (process !== undefined) this.#end(process);
      const isLate = this.random.chance(0.4);
      if (isLate) this.measure();
      if (process === undefined || this.random.chance(0.5)) {
        this.step({ type: "release", leaseId: id, token: lease.token });
      }
      if (process !== undefined) this.step({ type: "process-exited", process: process.key });
    }
  }

  #end(process: SimProcess): void {
    this.machine.end(process, this.now, this.random.chance(0.5) ? this.random.whole(1, 3_000) : 0);
  }

  protected override afterStep(event: EngineEvent, effects: readonly Effect[]): void {
    const plans = evictionsWereRight(this.state, effects, this.now);
    evictionsAreInTheBooks(this.state, this.now);
    const changesNothing = event.type === "renew" || event.type === "attach" || event.type === "start-execution";
    if (!changesNothing) everybodyHasAPlan(this.state, this.now);
    this.counts.plans += plans;
    for (const e of effects) {
      if (e.type === "evicted") this.counts.evicted++;
      if (e.type !== "evict") continue;
      for (const lease of e.leases) {
        if (this.#isWatcher(lease) && this.random.chance(0.5)) continue;
        this.#asked.set(lease.id, this.now + this.random.whole(0, 2_500));
      }
    }
  }

  /** Everybody leaves, and nothing is left behind. */
  close(): void {
    for (const gpu of this.machine.gpus) gpu.lost = false;
    for (const ticketId of [...this.state.tickets.keys()]) this.step({ type: "cancel", ticketId });
    for (const process of this.machine.processes) {
      this.#end(process);
      this.step({ type: "process-exited", process: process.key });
    }
    for (const { id, token } of [...this.state.leases.values()]) this.step({ type: "release", leaseId: id, token });
    for (let i = 0; i < 3; i++) {
      this.now += 61_000;
      this.machine.list(this.now);
      this.machine.read(this.now + 1);
      this.now += 2;
      const sample = this.machine.deliver();
      if (sample !== undefined) this.step({ type: "sample", sample });
    }
    const { leases, tickets, keepers, evictions, holds, running } = this.state;
    const left = [leases, tickets, keepers, evictions.byTicket, evictions.underWay, running].map((s) => s.size);
    must("nothing is left behind when all have gone", left.every((n) => n === 0) && holds.length === 0, { left });
  }
}
