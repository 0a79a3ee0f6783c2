import type { LeaseView, Refusal } from "../../src/engine/types.ts";
import type { Admission, AdmissionRequest, Admitted, QueuePlace } from "../../src/executor/admission.ts";

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
    const id = `e${this.executions.size + 1}`;
    this.executions.set(id, false);
    this.log.push(`start ${leaseId}`);
    return id;
  }

  finishExecution(leaseId: string, executionId: string): void {
    if (!this.executions.has(executionId)) throw new Error(`unknown execution ${executionId}`);
    this.executions.set(executionId, true);
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
      gpus: [],
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
    const env = { SLUICE_LEASE_ID: id, SLUICE_LEASE_TOKEN: String(this.#leases), CUDA_VISIBLE_DEVICES: "GPU-0" };
    return { kind: "granted", lease, env };
  }
}
