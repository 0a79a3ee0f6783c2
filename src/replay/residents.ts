import type { Effect, EngineEvent, Outcome } from "../engine/events.ts";
import { defaultTenant } from "../engine/request-limits.ts";
import type { Mib, Millis } from "../engine/sample.ts";
import { defaultSettings, type EngineSettings } from "../engine/settings.ts";
import { createState, type EngineState } from "../engine/state.ts";
import { step } from "../engine/step.ts";
import type { LeaseView } from "../engine/types.ts";
import { builtInPolicies } from "../policy/load.ts";
import { maxJobs } from "./job.ts";
import { checkSlots, type ResidentRequest, type ResidentsResult } from "./residents-request.ts";
import { VirtualMachine } from "./virtual-machine.ts";

/** What a load takes and what a worker holds: the same for all, so that nothing but their uses tells who goes. */
const reloadMs: Millis = 10_000;
const slotMb: Mib = 4_096;
/** A measurement is ready this long after what it shows, so that it is newer than what it follows. */
const measuredAfterMs: Millis = 0.001;

/** Nothing is kept back, and whoever is idle may go at once: only the rule decides. */
const settings: EngineSettings = {
  ...defaultSettings,
  margin: { percent: 0, atLeastMb: 0 },
  ramMargin: { percent: 0, atLeastMb: 0 },
  minResidenceMs: 0,
};

/**
 * Drives the real engine over requests for models, on one GPU with room for exactly `slots` workers. A request whose model is resident
 * is an execution on its lease. For any other one a lease is asked for, and whom the engine names gives its own back. The events are
 * those of the server's executor, in its order. Loads and executions take no time, so that no request ever waits for another: what is
 * left is the rule by which residents go.
 * @param requests in order of time.
 * @param slots a whole number from 1.
 * @param watch sees the engine after every step.
 * @throws RangeError when `slots` is not.
 */
export function replayResidents(
  requests: readonly ResidentRequest[],
  slots: number,
  watch: (state: EngineState, now: Millis) => void = () => {},
): ResidentsResult {
  checkSlots(slots);
  const workers = new Workers(slots, watch);
  for (const request of requests) workers.serve(request);
  return { requests: requests.length, misses: workers.misses, evictions: workers.evictions };
}

/** A worker with its model in memory. */
interface Worker {
  readonly model: string;
  readonly lease: LeaseView;
  readonly pid: number;
}

class Workers {
  misses = 0;
  evictions = 0;
  readonly #state: EngineState = createState(settings, builtInPolicies(), "queue");
  readonly #machine: VirtualMachine;
  readonly #watch: (state: EngineState, now: Millis) => void;
  readonly #byModel = new Map<string, Worker>();
  #now: Millis = 0;
  #executions = 0;
  /** Undefined: nothing was measured since memory was taken last. */
  #measuredAt: Millis | undefined;

  constructor(slots: number, watch: (state: EngineState, now: Millis) => void) {
    this.#machine = new VirtualMachine({ gpus: [{ totalMb: slots * slotMb, reservedMb: 0 }], ramMb: 0, foreign: [] });
    this.#watch = watch;
  }

  serve({ atMs, model }: ResidentRequest): void {
    this.#now = Math.max(this.#now, atMs);
    const worker = this.#byModel.get(model);
    if (worker === undefined) this.#load(model);
    else this.#finish(worker, this.#start(worker));
  }

  #load(model: string): void {
    this.misses++;
    const lease = this.#ask(model);
    const pid = this.#machine.start(lease.gpus.map((g) => g.index));
    const worker: Worker = { model, lease, pid };
    this.#byModel.set(model, worker);
    // A load is an execution on the lease until the one that it is for has begun. The engine does not count it as a use.
    const load = this.#start(worker);
    this.#step({ type: "attach", leaseId: lease.id, token: lease.token, process: `${pid}:1` });
    if (!this.#machine.take(pid, slotMb, 0)) throw new Error(`the engine gave the memory of a worker away, to ${model}`);
    this.#measuredAt = undefined;
    const keeping = { holder: "worker" as const, pinned: false, ready: true, reloadMs };
    this.#step({ type: "keep", leaseId: lease.id, token: lease.token, keeping });
    const execution = this.#start(worker);
    this.#finish(worker, load);
    this.#finish(worker, execution);
  }

  /** A lease for one more worker; whoever has to go for it is gone. */
  #ask(model: string): LeaseView {
    const maxAgeMs = Math.min(settings.defaultPollIntervalMs, settings.maxSampleAgeMs) / 2;
    if (this.#measuredAt === undefined || this.#now - this.#measuredAt > maxAgeMs) this.#measure();
    const { reply, effects } = this.#step({
      type: "submit",
      // Of workers that are worth the same the one goes whose name comes first: here the one that was loaded first.
      id: String(this.misses).padStart(String(maxJobs).length, "0"),
      mode: "wait",
      workload: {
        name: model,
        requirements: { gpuCount: 1, vramMb: slotMb, ramMb: 0, gpuUuids: [], exclusive: false },
        tenant: defaultTenant,
        priority: 0,
        labels: {},
      },
      requestId: "",
      policy: "",
      hold: "stream",
      timeoutMs: 0,
    });
    if (reply.type === "lease") return reply.lease;
    this.#giveBack(effects);
    for (const effect of this.#measure()) if (effect.type === "granted") return effect.lease;
    throw new Error(`the engine neither found nor made room for ${model}`);
  }

  #giveBack(effects: readonly Effect[]): void {
    for (const effect of effects) {
      if (effect.type !== "evict") continue;
      for (const { id, token, workload } of effect.leases) {
        const worker = this.#byModel.get(workload.name);
        if (worker?.lease.id !== id) throw new Error(`the engine asks for ${id}, which is over`);
        this.evictions++;
        this.#byModel.delete(worker.model);
        this.#machine.stop(worker.pid);
        this.#step({ type: "release", leaseId: id, token });
      }
    }
  }

  #start({ lease }: Worker): string {
    const executionId = `execution-${++this.#executions}`;
    this.#step({ type: "start-execution", leaseId: lease.id, token: lease.token, executionId });
    return executionId;
  }

  #finish({ lease }: Worker, executionId: string): void {
    this.#step({ type: "finish-execution", leaseId: lease.id, executionId });
  }

  #measure(): readonly Effect[] {
    const sample = this.#machine.measure(this.#now + measuredAfterMs);
    this.#now += 2 * measuredAfterMs;
    this.#measuredAt = this.#now;
    return this.#step({ type: "sample", sample }).effects;
  }

  /** It need not be woken in between: what was due before an event the engine does before it. */
  #step(event: EngineEvent): Outcome {
    const outcome = step(this.#state, event, this.#now);
    if (outcome.reply.type === "failure") throw outcome.reply.failure;
    this.#watch(this.#state, this.#now);
    return outcome;
  }
}
