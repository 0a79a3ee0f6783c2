import type { EngineEvent, Reply } from "../engine/events.ts";
import type { MachineSample, Mib, Millis } from "../engine/sample.ts";
import { defaultSettings, type EngineSettings } from "../engine/settings.ts";
import { createState, type EngineState } from "../engine/state.ts";
import { nextWake, step } from "../engine/step.ts";
import type { LeaseView } from "../engine/types.ts";
import { builtInPolicies } from "../policy/load.ts";
import { Agenda } from "./agenda.ts";
import type { ReplayJob, ReplayOptions, ReplayResult, Workbook } from "./job.ts";
import { Tally } from "./tally.ts";
import { VirtualMachine } from "./virtual-machine.ts";

/** A measurement is ready this long after what it shows, so that it is newer than what it follows. */
const measuredAfterMs: Millis = 0.001;

/**
 * Drives the real engine over a list of work on a virtual clock: the same events as from a live server, from a machine whose
 * truth is known. Whoever is admitted takes its memory min(5 s, half its duration) later and gives it back at once when it
 * ends. The engine hears of memory only by measurements: one after everything that changed it, before whatever is decided when the
 * last is old, and whenever the engine wants to be woken. Those in between show nothing new and would change nothing.
 */
export function replay(book: Workbook, options: ReplayOptions, watch: Watch = () => {}): ReplayResult {
  return new World(book, options, watch).run();
}

/** Sees the engine after every step. */
export type Watch = (state: EngineState, now: Millis) => void;

type Happening =
  | { readonly kind: "foreign"; readonly gpuIndex: number; readonly usedMb: Mib }
  | { readonly kind: "end" | "grow"; readonly run: Run }
  | { readonly kind: "arrive"; readonly job: ReplayJob };

/** A job that was admitted and runs. */
interface Run {
  readonly job: ReplayJob;
  readonly lease: LeaseView;
  readonly pid: number;
  readonly startedAt: Millis;
}

class World {
  readonly #state: EngineState;
  readonly #machine: VirtualMachine;
  readonly #agenda = new Agenda<Happening>();
  readonly #tally: Tally;
  readonly #options: ReplayOptions;
  readonly #watch: Watch;
  readonly #jobs = new Map<string, ReplayJob>();
  readonly #running = new Map<string, Run>();
  #now: Millis = 0;
  #measuredAt: Millis = Number.NEGATIVE_INFINITY;

  constructor(book: Workbook, options: ReplayOptions, watch: Watch) {
    this.#options = options;
    this.#watch = watch;
    this.#state = createState(settingsOf(options), builtInPolicies(), options.policy);
    this.#machine = new VirtualMachine(book.machine);
    this.#tally = new Tally(book);
    for (const { atMs, gpuIndex, usedMb } of book.machine.foreign) {
      this.#agenda.add(atMs, { kind: "foreign", gpuIndex, usedMb });
    }
    for (const job of book.jobs) this.#agenda.add(job.arriveMs, { kind: "arrive", job });
  }

  run(): ReplayResult {
    const startedAt = performance.now();
    this.#measure();
    for (;;) {
      const next = this.#agenda.nextAt ?? Infinity;
      const waits = this.#state.line.size > 0;
      const wake = nextWake(this.#state) ?? Infinity;
      // With nothing running and nothing to come, whoever still waits would wait for ever.
      if (next === Infinity && this.#running.size === 0 && (!waits || wake === Infinity)) break;
      this.#now = Math.max(this.#now, Math.min(next, wake));
      if (next <= this.#now) this.#happen();
      else this.#measure();
    }
    return this.#tally.result((performance.now() - startedAt) / 1000, this.#state.verdicts);
  }

  get #maxAgeMs(): Millis {
    return Math.min(this.#state.settings.defaultPollIntervalMs, this.#state.settings.maxSampleAgeMs);
  }

  /** Everything that happens at this moment: what ends first, then what it shows, then what comes. */
  #happen(): void {
    let changed = false;
    let arrived = false;
    for (const h of this.#agenda.take(this.#now)) {
      switch (h.kind) {
        case "end":
          this.#end(h.run);
          changed = true;
          break;
        case "grow":
          this.#grow(h.run);
          changed = true;
          break;
        case "foreign":
          this.#machine.setForeign(h.gpuIndex, h.usedMb);
          changed = true;
          break;
        case "arrive":
          if (changed || this.#now - this.#measuredAt > this.#maxAgeMs / 2) this.#measure();
          changed = false;
          arrived = true;
          this.#arrive(h.job);
          break;
      }
    }
    if (changed) this.#measure();
    else if (!arrived) this.#step({ type: "tick" });
  }

  #measure(): void {
    const sample: MachineSample = this.#machine.measure(this.#now + measuredAfterMs);
    this.#now += 2 * measuredAfterMs;
    this.#measuredAt = this.#now;
    this.#step({ type: "sample", sample });
  }

  #arrive(job: ReplayJob): void {
    this.#jobs.set(`ticket-${job.id}`, job);
    const said = this.#options.durations ? job.expectedDurationMs : undefined;
    const reply = this.#step({
      type: "submit",
      id: job.id,
      mode: "wait",
      workload: {
        name: job.name,
        requirements: job.requirements,
        tenant: job.tenant,
        priority: job.priority,
        labels: {},
        ...(said === undefined ? {} : { expectedDurationMs: said }),
      },
      requestId: "",
      policy: "",
      hold: "stream",
      timeoutMs: job.timeoutMs ?? 0,
    });
    if (reply.type === "refused") this.#tally.refused();
    if (reply.type === "failure") throw reply.failure;
  }

  #start(job: ReplayJob, lease: LeaseView, waitedMs: Millis): void {
    const pid = this.#machine.start(lease.gpus.map((g) => g.index));
    const run: Run = { job, lease, pid, startedAt: this.#now };
    this.#running.set(lease.id, run);
    this.#tally.started(job, waitedMs);
    this.#agenda.add(this.#now + Math.min(5_000, job.durationMs / 2), { kind: "grow", run });
    this.#agenda.add(this.#now + job.durationMs, { kind: "end", run });
  }

  #grow(run: Run): void {
    if (!this.#running.has(run.lease.id)) return;
    if (this.#machine.take(run.pid, run.job.requirements.vramMb, run.job.requirements.ramMb)) return;
    // Out of memory: it dies, as real work does.
    this.#tally.outOfMemory();
    this.#stop(run);
  }

  #end(run: Run): void {
    if (!this.#running.has(run.lease.id)) return;
    this.#tally.finished(run.job, this.#now);
    this.#stop(run);
  }

  #stop(run: Run): void {
    this.#running.delete(run.lease.id);
    this.#machine.stop(run.pid);
    this.#step({ type: "process-exited", process: keyOf(run.pid) });
  }

  #step(event: EngineEvent): Reply {
    const { reply, effects } = step(this.#state, event, this.#now);
    for (const effect of effects) {
      if (effect.type === "granted") {
        const ticketId = effect.ticketId ?? "";
        const job = this.#jobs.get(ticketId);
        this.#jobs.delete(ticketId);
        if (job !== undefined) this.#start(job, effect.lease, effect.waitedMs);
      } else if (effect.type === "refused" && effect.ticketId !== undefined) {
        this.#jobs.delete(effect.ticketId);
        this.#tally.refused();
      } else if (effect.type === "timed-out") {
        this.#jobs.delete(effect.ticketId);
        this.#tally.timedOut();
      }
    }
    for (const effect of effects) {
      if (effect.type !== "granted") continue;
      const run = this.#running.get(effect.lease.id);
      if (run === undefined) continue;
      const { id, token } = effect.lease;
      step(this.#state, { type: "attach", leaseId: id, token, process: keyOf(run.pid) }, this.#now);
    }
    this.#watch(this.#state, this.#now);
    return reply;
  }
}

function keyOf(pid: number): string {
  return `${pid}:1`;
}

function settingsOf(options: ReplayOptions): EngineSettings {
  const margin = { percent: 0, atLeastMb: options.marginMb };
  return {
    ...defaultSettings,
    margin,
    ramMargin: margin,
    maxQueue: Infinity,
    maxQueuePerTenant: Infinity,
    discipline: options.discipline,
    maxOvertakes: options.maxOvertakes ?? defaultSettings.maxOvertakes,
    fairShareHalfLifeMs: options.fairShareHalfLifeMs ?? defaultSettings.fairShareHalfLifeMs,
  };
}
