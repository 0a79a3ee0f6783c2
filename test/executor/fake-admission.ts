import { Failure } from "../../src/engine/failure.ts";
import type { LeaseView, Refusal } from "../../src/engine/types.ts";
import type {
  Admission,
  AdmissionRequest,
  Admitted,
  LeaseListener,
  MemoryWatch,
  QueuePlace,
  WorkerKeeping,
} from "../../src/executor/admission.ts";
import type { MemoryLimit } from "../../src/executor/memory-profile.ts";

interface Waiting {
  readonly request: AdmissionRequest;
  readonly answer: (answer: Admitted) => void;
  readonly tell: (place: QueuePlace) => void;
}

/** A gate without memory: grants at once, or when the test says so, and keeps book of what was given and given back. */
export class FakeAdmission implements Admission {
  /** `wait`: until grantNext() or refuseNext(). An Error is thrown. */
  mode: "grant" | "wait" | Refusal | Error = "grant";
  readonly requests: AdmissionRequest[] = [];
  readonly waiting: Waiting[] = [];
  /** How often each lease was released. */
  readonly released = new Map<string, number>();
  /** Executions that were started on leases, by id; true once finished. */
  readonly executions = new Map<string, boolean>();
  readonly attached: number[] = [];
  /** What happened, in order. */
  readonly log: string[] = [];
  /** Thrown by the next startExecution. */
  startError: Error | undefined;
  /** What was said of each lease by `keep`, newest last. */
  readonly kept = new Map<string, WorkerKeeping[]>();
  /** Answer of the next refills; undefined: yes. */
  refillRefusal: Refusal | undefined;
  /** What is measured for every lease from now on. */
  measured: MemoryLimit = {};
  readonly #listeners = new Map<string, LeaseListener>();
  readonly #views = new Map<string, LeaseView>();
  readonly #unfinished = new Map<string, Set<string>>();
  readonly #watches = new Set<{ peak: MemoryLimit; readonly onGrowth: () => void }>();
  #leases = 0;

  get held(): number {
    return [...this.released.values()].filter((n) => n === 0).length;
  }

  admit(request: AdmissionRequest, signal: AbortSignal, onQueued: (place: QueuePlace) => void): Promise<Admitted> {
    this.requests.push(request);
    if (signal.aborted) return Promise.reject(signal.reason);
    if (this.mode instanceof Error) return Promise.reject(this.mode);
    if (this.mode === "grant") return Promise.resolve(this.#grant(request));
    if (this.mode !== "wait") return Promise.resolve({ kind: "refused", refusal: this.mode });
    return new Promise((resolve, reject) => {
      const entry: Waiting = {
        request,
        answer: (answer) => {
          signal.removeEventListener("abort", leave);
          this.waiting.splice(this.waiting.indexOf(entry), 1);
          resolve(answer);
        },
        tell: onQueued,
      };
      const leave = () => {
        this.waiting.splice(this.waiting.indexOf(entry), 1);
        reject(signal.reason);
      };
      signal.addEventListener("abort", leave, { once: true });
      this.waiting.push(entry);
      const message = "GPU 0 has 100 MiB available, 4096 MiB are needed.";
      onQueued({ position: this.waiting.length, reasons: [{ code: "INSUFFICIENT_GPU_MEMORY", message }] });
    });
  }

  grantNext(): void {
    const next = this.waiting[0];
    if (next === undefined) throw new Error("nobody waits");
    next.answer(this.#grant(next.request));
  }

  timeOutNext(refusal: Refusal): void {
    const next = this.waiting[0];
    if (next === undefined) throw new Error("nobody waits");
    next.answer({ kind: "timed-out", refusal });
  }

  startExecution(leaseId: string): string {
    if (this.startError !== undefined) {
      const error = this.startError;
      this.startError = undefined;
      throw error;
    }
    if (this.released.get(leaseId) !== 0) throw new Failure("LEASE_EXPIRED", `lease ${leaseId} has ended`);
    const id = `e${this.executions.size + 1}`;
    const unfinished = this.#unfinished.get(leaseId) ?? new Set();
    this.#unfinished.set(leaseId, unfinished.add(id));
    this.executions.set(id, false);
    this.log.push(`start ${leaseId}`);
    return id;
  }

  finishExecution(leaseId: string, executionId: string): void {
    if (!this.executions.has(executionId)) throw new Error(`unknown execution ${executionId}`);
    this.executions.set(executionId, true);
    this.#unfinished.get(leaseId)?.delete(executionId);
    this.log.push(`finish ${leaseId}`);
  }

  attachProcess(leaseId: string, _token: number, pid: number): boolean {
    this.attached.push(pid);
    this.log.push(`attach ${leaseId}`);
    return true;
  }

  release(leaseId: string): void {
    const times = this.released.get(leaseId);
    if (times === undefined) throw new Error(`unknown lease ${leaseId}`);
    this.released.set(leaseId, times + 1);
    this.log.push(`release ${leaseId}`);
    const listener = this.#listeners.get(leaseId);
    this.#listeners.delete(leaseId);
    listener?.ended();
  }

  keep(leaseId: string, _token: number, keeping: WorkerKeeping): void {
    this.kept.set(leaseId, [...(this.kept.get(leaseId) ?? []), keeping]);
  }

  onLease(leaseId: string, on: LeaseListener): void {
    this.#listeners.set(leaseId, on);
  }

  /** Chooses an idle lease for an eviction, as the engine would. Throws when it may not be chosen. */
  evict(leaseId: string): void {
    if ((this.#unfinished.get(leaseId)?.size ?? 0) > 0) throw new Error(`${leaseId} has unfinished executions`);
    if (this.kept.get(leaseId)?.at(-1)?.ready !== true) throw new Error(`${leaseId} is not kept`);
    this.log.push(`evict ${leaseId}`);
    this.#listeners.get(leaseId)?.evict();
  }

  /** Executions that are counted on a lease now. */
  unfinishedOf(leaseId: string): number {
    return this.#unfinished.get(leaseId)?.size ?? 0;
  }

  giveBack(leaseId: string): void {
    this.log.push(`give back ${leaseId}`);
  }

  refill(leaseId: string): Refusal | undefined {
    this.log.push(`refill ${leaseId}`);
    return this.refillRefusal;
  }

  lease(leaseId: string): LeaseView | undefined {
    return this.#views.get(leaseId);
  }

  watchMemory(_leaseId: string, onGrowth: () => void = () => {}): MemoryWatch {
    const watch = { peak: { ...this.measured }, onGrowth };
    this.#watches.add(watch);
    const stop = () => this.#watches.delete(watch);
    const finish = (done: (peak: MemoryLimit) => void) => {
      stop();
      done(watch.peak);
    };
    return { peak: () => watch.peak, stop, finish };
  }

  /** A measurement: so much, for whoever is watched. */
  measure(memory: MemoryLimit): void {
    this.measured = memory;
    for (const watch of this.#watches) {
      watch.peak = { ...watch.peak, ...memory };
      watch.onGrowth();
    }
  }

  ceiling(): MemoryLimit {
    return {};
  }

  #grant(request: AdmissionRequest): Admitted {
    this.#leases += 1;
    const id = `lease-${process.pid}-${this.#leases}`;
    this.released.set(id, 0);
    this.log.push(`grant ${id}`);
    const lease: LeaseView = {
      id,
      token: this.#leases,
      workload: {
        name: request.name,
        requirements: request.requirements,
        tenant: request.tenant,
        priority: request.priority,
        labels: {},
      },
      gpus: request.requirements.gpuCount === 0 ? [] : [{ uuid: "GPU-0", index: 0, vramMb: request.requirements.vramMb }],
      ramMb: 0,
      grantedAt: 0,
      ttlMs: 60_000,
      hold: "ttl",
      state: "idle",
      requestId: "",
      executions: 0,
      policy: "permissive",
      processes: [],
      overcommitted: false,
    };
    this.#views.set(id, lease);
    const env = { SLUICE_LEASE_ID: id, SLUICE_LEASE_TOKEN: String(this.#leases), CUDA_VISIBLE_DEVICES: "GPU-0" };
    return { kind: "granted", lease, env };
  }
}
