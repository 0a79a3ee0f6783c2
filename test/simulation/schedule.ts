import type { Effect, EngineEvent, Outcome } from "../../src/engine/events.ts";
import { defaultSettings, disciplines, type EngineSettings, type TenantLimits } from "../../src/engine/settings.ts";
import { createState, type EngineState } from "../../src/engine/state.ts";
import { step } from "../../src/engine/step.ts";
import type { LeaseView, Requirements } from "../../src/engine/types.ts";
import { builtInPolicies } from "../../src/policy/load.ts";
import { afterEveryStep, boundedOvertaking, Grants, neverOverCapacity, overtakenEnough } from "./invariants.ts";
import { SimMachine, type SimProcess } from "./machine.ts";
import { Random } from "./random.ts";

export interface ScheduleResult {
  readonly granted: number;
  readonly refused: number;
  readonly timedOut: number;
  readonly steps: number;
}

/**
 * One random schedule: a machine with its own truth, holders that load, crash, outlive their leases and lie, measurements that
 * come late or not at all, clients that vanish and return. In one of seven, processes take up to 1.3 times what was promised; in
 * one of eleven, memory is sometimes [N/A]. Everything follows from the seed. Throws when a promise is broken.
 */
export function runSchedule(seed: number, steps: number): ScheduleResult {
  return new Schedule(seed).run(steps);
}

export class Schedule {
  protected readonly random: Random;
  protected readonly machine: SimMachine;
  protected state: EngineState;
  readonly #grants = new Grants();
  protected readonly leases = new Map<string, LeaseView>();
  protected readonly processOf = new Map<string, SimProcess>();
  /** How many requests come with a duration; with all of them, starts are promised. */
  protected readonly saysHowLong: number;
  /** How much of what was promised a process takes at most. */
  protected readonly greed: number;
  protected now = 10_000;
  protected ids = 0;
  #granted = 0;
  #refused = 0;
  #timedOut = 0;

  constructor(seed: number, more: Partial<EngineSettings> = {}) {
    const random = new Random(seed);
    this.random = random;
    this.saysHowLong = random.pick([0, 0.5, 1]) ?? 0;
    // Without attribution, foreign growth is taken for a lease's own: an estimate, not a promise. There, foreign use is still.
    this.machine = new SimMachine(random, random.chance(0.75), seed % 11 === 2);
    this.greed = seed % 7 === 3 ? 1.3 : 1;
    const settings = {
      ...defaultSettings,
      maxOvertakes: random.pick([0, 1, 4, 16]) ?? 16,
      maxSampleAgeMs: random.pick([1_000, 5_000, 60_000]) ?? 5_000,
      // Longer than memory really takes to come back in the simulation.
      releaseLagMs: 5_000,
      graceMs: 3_000,
      claimTimeoutMs: 2_000,
      maxQueue: 30,
      discipline: random.pick(disciplines) ?? "backfill",
      fairShareHalfLifeMs: random.pick([0, 10_000, 3_600_000]) ?? 0,
      tenantLimits: new Map<string, TenantLimits>(
        random.chance(0.3) ? [["a", random.pick([{ gpus: 2 }, { vramMb: 12_000 }, { gpus: 3, vramMb: 20_000 }]) ?? {}]] : [],
      ),
      ...more,
    };
    this.state = createState(settings, builtInPolicies(), random.pick(["", "queue", "safety"]) ?? "");
  }

  run(steps: number): ScheduleResult {
    this.measure();
    for (let i = 0; i < steps; i++) {
      this.now += this.random.whole(0, 300);
      this.machine.grow(this.random);
      this.act();
    }
    return { granted: this.#granted, refused: this.#refused, timedOut: this.#timedOut, steps };
  }

  protected act(): void {
    const r = this.random.next();
    if (r < 0.3) this.measure();
    else if (r < 0.5) this.submit();
    else if (r < 0.6) this.startProcess();
    else if (r < 0.7) this.endProcess();
    else if (r < 0.78) this.release();
    else if (r < 0.84) this.renew();
    else if (r < 0.9) this.foreign();
    else if (r < 0.93) this.client();
    else if (r < 0.95) this.loseGpu();
    else if (r < 0.96) this.setPolicy();
    else this.step({ type: "tick" });
  }

  /** Reads and delivers are apart, so that other things happen in between; sometimes nothing arrives at all. */
  protected measure(): void {
    const { chance } = { chance: (p: number) => this.random.chance(p) };
    if (chance(0.5)) this.machine.list(this.now);
    if (chance(0.8)) {
      this.now += this.random.whole(1, 20);
      this.machine.read(this.now);
    }
    if (chance(0.3)) this.submit();
    this.now += this.random.whole(0, 200);
    const sample = chance(0.9) ? this.machine.deliver() : undefined;
    if (sample !== undefined) this.step({ type: "sample", sample });
  }

  protected requirements(): Requirements {
    const random = this.random;
    const gpuCount = random.chance(0.15) ? random.whole(1, this.machine.gpus.length) : random.chance(0.1) ? 0 : 1;
    return {
      gpuCount,
      vramMb: gpuCount === 0 ? 0 : random.whole(1, random.chance(0.2) ? 26_000 : 9_000),
      ramMb: random.chance(0.2) ? random.whole(1, 40_000) : 0,
      gpuUuids: gpuCount === 1 && random.chance(0.1) ? ["GPU-0"] : [],
      exclusive: gpuCount > 0 && random.chance(0.05),
    };
  }

  protected submit(): void {
    const random = this.random;
    const priority = random.chance(0.2) ? random.whole(-2, 2) : 0;
    const id = `s${++this.ids}`;
    this.step({
      type: "submit",
      id,
      mode: random.chance(0.6) ? "wait" : "now",
      workload: {
        name: "job",
        tenant: random.pick(["a", "b"]) ?? "a",
        priority,
        labels: {},
        requirements: this.requirements(),
        ...(random.chance(this.saysHowLong) ? { expectedDurationMs: random.whole(1, 20_000) } : {}),
      },
      requestId: random.chance(0.3) ? `r${random.whole(0, 8)}` : "",
      policy: random.pick(["safety", "queue", "queue"]) ?? "queue",
      hold: random.chance(0.1) ? "stream" : "ttl",
      ttlMs: random.whole(1_000, 20_000),
      timeoutMs: random.whole(0, 20_000),
      pollIntervalMs: random.pick([500, 2_000, 10_000]) ?? 2_000,
    });
  }

  protected held(): LeaseView | undefined {
    return this.random.pick(
      [...this.state.leases.values()]
        .filter((l) => l.phase === "held")
        .map((l) => this.leases.get(l.id))
        .filter((l) => l !== undefined),
    );
  }

  /** Mostly its process stays within what was promised. To take more is the holder's doing, not ours; but it is charged then. */
  protected startProcess(): void {
    const lease = this.held();
    if (lease === undefined || lease.gpus.length === 0 || this.processOf.has(lease.id)) return;
    const promised = lease.workload.requirements.vramMb;
    const process = this.machine.start(
      lease.gpus.map((g) => g.uuid),
      Math.round(this.greed * this.random.whole(0, promised)),
      promised,
    );
    this.processOf.set(lease.id, process);
    this.step({ type: "attach", leaseId: lease.id, token: lease.token, process: process.key });
    // The lease had just expired: a holder that is told so does not go on.
    if (this.state.processOwner.get(process.key)?.id !== lease.id) this.machine.end(process, this.now, 0);
    if (this.random.chance(0.5))
      this.step({ type: "start-execution", leaseId: lease.id, token: lease.token, executionId: `e${lease.id}` });
  }

  protected endProcess(): void {
    const entry = this.random.pick([...this.processOf].filter(([, p]) => p.alive));
    if (entry === undefined) return;
    this.machine.end(entry[1], this.now, this.random.chance(0.5) ? this.random.whole(1, 3_000) : 0);
    // The watch notices a little later; measurements may come first.
    if (this.random.chance(0.4)) this.measure();
    this.now += this.random.whole(0, 250);
    this.step({ type: "process-exited", process: entry[1].key });
  }

  /** A holder gives back when its process has ended. */
  protected release(): void {
    const lease = this.held();
    if (lease === undefined) return;
    const process = this.processOf.get(lease.id);
    if (process !== undefined) this.machine.end(process, this.now, this.random.chance(0.5) ? this.random.whole(1, 3_000) : 0);
    this.step({ type: "release", leaseId: lease.id, token: lease.token });
  }

  protected renew(): void {
    const lease = this.held();
    if (lease !== undefined) this.step({ type: "renew", leaseId: lease.id, token: lease.token });
  }

  protected foreign(): void {
    if (!this.machine.attribution) return;
    const gpu = this.random.pick(this.machine.gpus);
    if (gpu === undefined) return;
    const room = gpu.totalMb - gpu.reservedMb - this.machine.usedOn(gpu.uuid, this.now);
    gpu.foreignMb = this.random.chance(0.5) ? 0 : gpu.foreignMb + this.random.whole(0, Math.max(0, room));
  }

  protected client(): void {
    const ticket = this.random.pick([...this.state.tickets.values()]);
    const lease = this.held();
    if (ticket !== undefined && this.random.chance(0.7)) {
      this.step(
        this.random.chance(0.5) ? { type: "disconnect", ticketId: ticket.id } : { type: "cancel", ticketId: ticket.id },
      );
    } else if (lease !== undefined && !this.processOf.has(lease.id)) {
      this.step({ type: "undelivered", leaseId: lease.id });
    }
  }

  protected setPolicy(): void {
    const random = this.random;
    const policy = random.pick(["", "queue", "safety"]) ?? "";
    const discipline = random.chance(0.5) ? random.pick(disciplines) : undefined;
    this.step({ type: "set-policy", policy, ...(discipline === undefined ? {} : { discipline }) });
  }

  protected loseGpu(): void {
    const gpu = this.random.pick(this.machine.gpus);
    if (gpu !== undefined) gpu.lost = !gpu.lost;
  }

  protected step(event: EngineEvent): Outcome {
    const overtaken = overtakenEnough(this.state);
    const outcome = step(this.state, event, this.now);
    const { effects } = outcome;
    this.#grants.note(effects, this.state);
    for (const e of effects) this.check(e, overtaken);
    this.afterStep(event, effects);
    afterEveryStep(this.state, this.now);
    return outcome;
  }

  /** What must hold besides. */
  protected afterStep(_event: EngineEvent, _effects: readonly Effect[]): void {}

  protected check(e: Effect, overtaken: ReturnType<typeof overtakenEnough>): void {
    if (e.type === "granted") {
      this.#granted++;
      this.leases.set(e.lease.id, e.lease);
      neverOverCapacity(this.state, e.lease, { machine: this.machine, processOf: this.processOf }, this.now);
      boundedOvertaking(this.state, overtaken, e.lease, this.now);
    } else if (e.type === "refused") this.#refused++;
    else if (e.type === "timed-out") this.#timedOut++;
  }
}
