import type { Millis } from "../engine/sample.ts";
import type { Refusal, Requirements } from "../engine/types.ts";
import type { QueuePlace } from "./admission.ts";
import type { LoadedPlugin } from "./registry.ts";
import { type LoadEnd, type LoadSite, loadWorker } from "./resident-load.ts";
import { newTenancy, type Tenancy } from "./tenancy.ts";
import type { WorkerProcess } from "./worker-process.ts";

/** What a start asks for, and for whom. */
export interface StartRequest {
  readonly plugin: LoadedPlugin;
  readonly requirements: Requirements;
  readonly tenant: string;
  readonly priority: number;
  readonly policy: string;
}

/** Those who wait for it, and whoever keeps the worker. */
export interface StartAudience {
  readonly signal: AbortSignal;
  queued(place: QueuePlace): void;
  /** It has room. */
  granted(tenancy: Tenancy): void;
  /** Its process is there, and loads. */
  started(): void;
  loading(message: string): void;
  log(line: string, stderr: boolean): void;
  ready(): Promise<void> | undefined;
  /** The engine wants its memory for somebody else. */
  evict(): void;
  /** Its lease is over, whoever ended it. */
  leaseEnded(): void;
  /** The worker on this lease did not answer to a cancellation: it must be given nothing more. */
  stuck(tenancy: Tenancy): void;
}

/** How a start ended. After anything but `ready` nothing of it is left, and the lease was given back. */
export type StartEnd =
  | { readonly kind: "refused"; readonly refusal: Refusal }
  /** `counted`: the load counts as an execution on the lease until this one is finished. */
  | { readonly kind: "ready"; readonly worker: WorkerProcess; readonly tookMs: Millis; readonly counted: string }
  | Exclude<LoadEnd, { kind: "ready" }>;

/**
 * One start of a worker: room for it, its process, its model. It counts as an execution on its lease from the grant on, because a
 * model that is being loaded is never evicted (E8). Rejects with what it could not even wait for, and with the signal's reason.
 */
export async function startWorker(site: LoadSite, request: StartRequest, audience: StartAudience): Promise<StartEnd> {
  const { admission } = site;
  const { plugin, requirements, tenant, priority, policy } = request;
  const { name, importance } = plugin.manifest;
  const answer = await admission.admit(
    // Those who wait have their own limits; the start waits as long as one of them does.
    { name, requirements, tenant, priority, importance, policy, timeoutMs: 0 },
    audience.signal,
    (place) => audience.queued(place),
  );
  if (answer.kind !== "granted") return { kind: "refused", refusal: answer.refusal };
  const { lease, env } = answer;
  const tenancy = newTenancy(plugin, lease, env);
  const memory = admission.watchMemory(lease.id, () => tenancy.worker?.memoryGrew());
  let isKept = false;
  try {
    admission.onLease(lease.id, { evict: () => audience.evict(), ended: () => audience.leaseEnded() });
    const counted = admission.startExecution(lease.id, lease.token);
    audience.granted(tenancy);
    const end = await loadWorker(site, plugin, lease, env, {
      ...audience,
      started(worker) {
        tenancy.worker = worker;
        // Not visible: it has ended already, or its memory cannot be credited; it may load all the same.
        admission.attachProcess(lease.id, lease.token, worker.pid);
        audience.started();
      },
      loading: (message) => audience.loading(message),
      log: (line, stderr) => audience.log(line, stderr),
      ready: () => audience.ready(),
      stuck: () => audience.stuck(tenancy),
    });
    tenancy.loadPeak = memory.peak();
    if (end.kind !== "ready") return end;
    isKept = true;
    tenancy.canRelease = end.canRelease;
    return { kind: "ready", worker: end.worker, tookMs: end.tookMs, counted };
  } finally {
    memory.stop();
    if (!isKept) admission.release(lease.id, lease.token);
  }
}
