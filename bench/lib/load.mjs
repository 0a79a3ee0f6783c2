/**
 * A machine whose GPUs are full and before which a given number of tickets waits, driven event by event on a virtual clock. What
 * ends is replaced by what was first in line, and what has left the line by somebody new, so that the length of the queue stays.
 */

/** Random numbers from a seed: the same ones everywhere, from 0 up to 1 (mulberry32). */
export function randomFrom(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const gpuMb = 24_576;
const ramMbPerGpu = 98_304;
const fewVramMb = [6_144, 8_192, 11_264, 14_336, 20_480];
/** Mean duration of work, and how often a server measures. */
const meanMs = 45_000;
const measureEveryMs = 2_000;

/** Needs out of a few, or different for each ticket. One in ten wants two GPUs, one in twenty-five half of the machine. */
function needsOf(random, sizes, gpus) {
  const dice = random();
  const gpuCount = dice < 0.04 ? gpus / 2 : dice < 0.14 ? 2 : 1;
  const distinct = sizes === "distinct";
  const vramMb = distinct ? 4_000 + Math.floor(random() * 20_000) : fewVramMb[Math.floor(random() * fewVramMb.length)];
  const ramMb = distinct ? 1_000 + Math.floor(random() * 40_000) : 8_192;
  return { gpuCount, vramMb, ramMb, gpuUuids: [], exclusive: false };
}

/** Events of one kind: how many, and how long they took in all. */
class Spent {
  count = 0;
  ms = 0;
}

export class EngineLoad {
  /** What was measured since the last `reset`, by kind of event. */
  spent = new Map();
  finished = 0;
  #engine;
  #options;
  #random;
  #machine;
  #now = 0;
  #measuredAt = 0;
  #submitted = 0;
  #rounds = 0;
  /** Ids of waiting tickets, and where in the list each is. */
  #waiting = [];
  #placeOf = new Map();
  #running = [];

  constructor(engine, options) {
    this.#engine = engine;
    this.#options = { gpus: 8, tenants: 1, sizes: "few", discipline: "backfill", durations: true, seed: 1, ...options };
    this.#random = randomFrom(this.#options.seed);
    const { gpus, discipline } = this.#options;
    this.#machine = new engine.VirtualMachine({
      gpus: Array.from({ length: gpus }, () => ({ totalMb: gpuMb, reservedMb: 0 })),
      ramMb: gpus * ramMbPerGpu,
      foreign: [],
    });
    const settings = { ...engine.defaultSettings, maxQueue: Infinity, maxQueuePerTenant: Infinity, discipline };
    this.state = engine.createState(settings, engine.builtInPolicies(), "queue");
    this.#fill();
  }

  /** One event more or less of each kind that a server sees while one piece of work ends. */
  round() {
    const first = this.#running.reduce((a, b) => (b.endsAt < a.endsAt ? b : a));
    while (first.endsAt - this.#measuredAt > measureEveryMs) {
      this.#now = Math.max(this.#now, Math.min(first.endsAt, this.#measuredAt + measureEveryMs));
      // Idle time is passed over, or most events would be of this kind.
      if (first.endsAt - this.#now > 2 * measureEveryMs) this.#now = first.endsAt - measureEveryMs;
      this.#measure("measurement, idle");
    }
    this.#now = Math.max(this.#now, first.endsAt);
    this.#running.splice(this.#running.indexOf(first), 1);
    this.#machine.stop(first.pid);
    this.#step("end of a lease", { type: "process-exited", process: `${first.pid}:1` });
    this.finished++;
    this.#measure("measurement, memory is back");
    this.#refill();
    if (++this.#rounds % 4 === 0 && this.#waiting.length > 0) {
      const ticketId = this.#waiting[Math.floor(this.#random() * this.#waiting.length)];
      this.#forget(ticketId);
      this.#step("cancel", { type: "cancel", ticketId });
      this.#refill();
    }
    this.#now += 500;
    this.#grow();
    this.#measure("measurement, memory was taken");
    for (let i = 0; i < 2 && this.#running.length > 0; i++) {
      const { lease } = this.#running[Math.floor(this.#random() * this.#running.length)];
      this.#step("renew", { type: "renew", leaseId: lease.id, token: lease.token });
    }
  }

  rounds(count) {
    for (let i = 0; i < count; i++) this.round();
  }

  reset() {
    this.spent = new Map();
  }

  /** Mean of all events since the last `reset`. */
  get usPerEvent() {
    let count = 0;
    let ms = 0;
    for (const s of this.spent.values()) {
      count += s.count;
      ms += s.ms;
    }
    return (1_000 * ms) / count;
  }

  /** Tickets come while the last measurement is too old to be decided on, which is quick; then there is a new one. */
  #fill() {
    this.#measure("fill");
    this.#now += 60_000;
    this.#refill();
    this.#measure("fill");
    this.#grow();
    this.#measure("fill");
    this.#refill();
    this.reset();
  }

  #refill() {
    // A machine with room takes newcomers at once: then one of them waits less.
    for (let tries = 0; this.#waiting.length < this.#options.waiting && tries < this.#options.waiting + 64; tries++)
      this.#submit();
  }

  #submit() {
    const { tenants, sizes, gpus, durations } = this.#options;
    const random = this.#random;
    const n = ++this.#submitted;
    const runsMs = Math.min(10 * meanMs, 1_000 - meanMs * Math.log(1 - random()));
    const said = durations ? { expectedDurationMs: runsMs } : {};
    const requirements = needsOf(random, sizes, gpus);
    const name = sizes === "distinct" ? `job-${n}` : `job-${n % 7}`;
    this.#pending.set(`ticket-${n}`, { runsMs, requirements });
    const reply = this.#step("submit", {
      type: "submit",
      id: String(n),
      mode: "wait",
      workload: { name, requirements, tenant: `t${n % tenants}`, priority: 0, labels: {}, ...said },
      requestId: "",
      policy: "",
      hold: "ttl",
      ttlMs: 3_600_000,
      timeoutMs: 0,
    });
    if (reply.type === "failure") throw reply.failure;
    if (reply.type !== "ticket") return;
    this.#placeOf.set(reply.ticketId, this.#waiting.push(reply.ticketId) - 1);
  }

  /** What was asked for and has not started yet. */
  #pending = new Map();

  #forget(ticketId) {
    this.#pending.delete(ticketId);
    const at = this.#placeOf.get(ticketId);
    if (at === undefined) return;
    this.#placeOf.delete(ticketId);
    const last = this.#waiting.pop();
    if (last === ticketId) return;
    this.#waiting[at] = last;
    this.#placeOf.set(last, at);
  }

  #measure(kind) {
    const sample = this.#machine.measure(this.#now + 0.001);
    this.#now += 0.002;
    this.#measuredAt = this.#now;
    this.#step(kind, { type: "sample", sample });
  }

  /** Whoever has a lease and no memory yet takes it. */
  #grow() {
    for (const run of this.#running) {
      if (run.hasMemory) continue;
      run.hasMemory = true;
      const { vramMb, ramMb } = run.lease.workload.requirements;
      if (!this.#machine.take(run.pid, vramMb, ramMb)) throw new Error(`${run.lease.id} does not get what it was granted`);
    }
  }

  #step(kind, event) {
    const began = performance.now();
    const { reply, effects } = this.#engine.step(this.state, event, this.#now);
    const ms = performance.now() - began;
    let spent = this.spent.get(kind);
    if (spent === undefined) {
      spent = new Spent();
      this.spent.set(kind, spent);
    }
    spent.count++;
    spent.ms += ms;
    for (const effect of effects) if (effect.type === "granted") this.#start(effect);
    return reply;
  }

  #start({ lease, ticketId }) {
    const runsMs = this.#pending.get(ticketId).runsMs;
    this.#forget(ticketId);
    const pid = this.#machine.start(lease.gpus.map((g) => g.index));
    this.#running.push({ lease, pid, endsAt: this.#now + runsMs, hasMemory: false });
    this.#step("attach", { type: "attach", leaseId: lease.id, token: lease.token, process: `${pid}:1` });
  }
}

/** Median of the cost of one event in µs, over some batches of rounds. */
export function medianCost(load, batches, roundsPerBatch) {
  const costs = [];
  for (let i = 0; i < batches; i++) {
    load.reset();
    load.rounds(roundsPerBatch);
    costs.push(load.usPerEvent);
  }
  return costs.sort((a, b) => a - b)[Math.floor(costs.length / 2)];
}
