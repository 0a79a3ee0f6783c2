import { Failure } from "../engine/failure.ts";
import type { Millis } from "../engine/sample.ts";
import { Breaker, type BreakerView } from "./breaker.ts";
import { draining, LeaseLost, notAdmitted, pluginBusy, releaseUnsupported, tooLate, workerBroken } from "./endings.ts";
import { IdleTimer } from "./idle-timer.ts";
import { profileKey } from "./memory-profile.ts";
import { endWorker, type LoadSite, loadFailure } from "./resident-load.ts";
import { type StartAudience, type StartEnd, startWorker } from "./resident-start.ts";
import { residentView } from "./resident-view.ts";
import { type NeedSite, StartNeed } from "./start-need.ts";
import type { Tenancy } from "./tenancy.ts";
import type { Waiter, WorkerUse } from "./waiter.ts";
import { Waiters } from "./waiters.ts";
import type { WorkerProcess } from "./worker-process.ts";
import type { WorkerState, WorkerView } from "./worker-view.ts";

/** What keeping workers needs from around it. */
export interface ResidentSite extends LoadSite, NeedSite {
  /** How long a worker may be idle, for manifests that do not say; 0: for ever. */
  readonly idleTtlMs: Millis;
  /** ms since 1970. */
  readonly now: () => Millis;
}

/** Longest wait for a worker to give memory back, in ms. */
const releaseMs = 30_000;

/**
 * The worker of one plugin, and those who wait for it. Its states are drawn in worker-view.ts; `dead` is also the state before the
 * first start, and while its start waits for room.
 *
 * What decides is in one place, `#pump`: it looks at the state and at who waits, and is called after every change of either. So a
 * worker that is chosen to go (by the engine, the idle timer, an operator) cannot be given to somebody in the same moment (E5, E9,
 * E19); whoever comes then waits for the next one.
 */
export class Resident {
  readonly name: string;
  readonly #site: ResidentSite;
  readonly #waiters = new Waiters();
  readonly #breaker = new Breaker();
  readonly #idle: IdleTimer;
  /** What the next start asks for. */
  readonly need: StartNeed;
  #state: WorkerState = "dead";
  #tenancy: Tenancy | undefined;
  #starting: AbortController | undefined;
  #startOver: Promise<void> = Promise.resolve();
  /** What `releasing` and `evicting` wait for. */
  #settled: Promise<void> = Promise.resolve();
  /** It is no good any more: nobody else gets it, and it is ended when nobody uses it. */
  #retiring = false;
  #closed = false;
  #loadTimeMs: Millis | undefined;
  #retryTimer: NodeJS.Timeout | undefined;

  constructor(name: string, site: ResidentSite) {
    this.name = name;
    this.#site = site;
    this.need = new StartNeed(site);
    this.#idle = new IdleTimer(site.now, () => void this.#end());
  }

  /** True once a start has room: from then on no time limit of a wait counts. */
  get isLoading(): boolean {
    return this.#state === "starting" || this.#state === "loading";
  }

  /** Waits for the worker. Answers how to stop waiting. */
  wait(waiter: Waiter): () => void {
    this.#waiters.add(waiter);
    this.#pump();
    return () => {
      if (this.#waiters.take(waiter) === undefined || this.#waiters.size > 0) return;
      this.#starting?.abort(new Failure("EXECUTION_CANCELLED", "nobody waits for it any more"));
    };
  }

  /** What failed before does not count. */
  forgive(): void {
    this.#breaker.reset();
    this.#pump();
  }

  /** A run succeeded: what it needs is known from measurements, and the worker is well. */
  succeeded(): void {
    this.need.clear();
    this.#breaker.succeeded();
  }

  /** A run failed in a way that says that the worker is no good. */
  failed(message: string): void {
    this.#breaker.failed(this.#site.now(), { kind: "fatal", message });
  }

  /** Ends an idle worker; resolves when nothing of it is left. Throws PLUGIN_BUSY while it works, loads or is waited for. */
  async unload(): Promise<void> {
    if ((await this.#idleTenancy("unloaded")) !== undefined) await this.#end();
  }

  /** Has an idle worker give its memory back. Throws PLUGIN_BUSY, RELEASE_UNSUPPORTED. */
  async release(): Promise<void> {
    const tenancy = await this.#idleTenancy("released");
    if (tenancy?.worker === undefined || tenancy.hasGivenBack) return;
    if (!tenancy.canRelease) throw releaseUnsupported(this.name);
    this.#become("releasing");
    this.#settled = this.#giveBack(tenancy, tenancy.worker);
    await this.#settled;
  }

  /** Takes nothing new, and ends the worker. Executions must be over. Idempotent. */
  async shutdown(): Promise<void> {
    this.#closed = true;
    this.#starting?.abort(draining());
    for (const waiter of this.#waiters.takeAll()) waiter.reject(draining());
    clearTimeout(this.#retryTimer);
    await this.#startOver;
    await this.#settled;
    await this.#end();
  }

  /** Undefined where no worker is, none is on its way, and the last one did not fail. */
  view(): WorkerView | undefined {
    const tenancy = this.#tenancy;
    if (this.#state === "dead" && this.breaker().lastError === "") return undefined;
    const lease = tenancy === undefined ? undefined : this.#site.admission.lease(tenancy.lease.id);
    return residentView(this.#state, tenancy, lease, this.#idle, this.#loadTimeMs);
  }

  breaker(): BreakerView {
    return this.#breaker.view(this.#site.now());
  }

  /** Looks what can be done for those who wait. The only place that gives a worker to somebody. */
  #pump(): void {
    if (this.#closed) return;
    if (this.#state === "dead" && this.#starting === undefined) this.#considerStart();
    else if (this.#state === "idle" || this.#state === "in-use") this.#serve();
  }

  #serve(): void {
    const tenancy = this.#tenancy;
    const { first } = this.#waiters;
    if (tenancy?.worker === undefined) return;
    if (first !== undefined && profileKey(first.plugin.manifest) !== profileKey(tenancy.plugin.manifest)) this.#retiring = true;
    if (!this.#retiring && first !== undefined && tenancy.hasGivenBack) this.#refill(tenancy, first);
    while (!this.#retiring && this.#waiters.first !== undefined) this.#give(tenancy, tenancy.worker, this.#waiters.first);
    if (this.#retiring && tenancy.executions === 0) void this.#end();
  }

  #give(tenancy: Tenancy, worker: WorkerProcess, waiter: Waiter): void {
    const { admission, onError } = this.#site;
    let id: string;
    try {
      id = admission.startExecution(tenancy.lease.id, tenancy.lease.token);
    } catch (error) {
      // The lease is gone, so the worker has to go; whoever waits gets the next one.
      if (!(error instanceof Failure)) onError(error);
      this.#retiring = true;
      return;
    }
    this.#waiters.take(waiter);
    tenancy.executions += 1;
    this.#become("in-use");
    waiter.give(this.#use(tenancy, worker, id));
  }

  /** Its memory again, in place; where there is no room for that, the worker is ended and started anew where there is. */
  #refill(tenancy: Tenancy, first: Waiter): void {
    try {
      const refusal = this.#site.admission.refill(tenancy.lease.id, tenancy.lease.token, first.policy);
      tenancy.hasGivenBack = refusal !== undefined;
    } catch (error) {
      if (!(error instanceof Failure)) this.#site.onError(error);
    }
    this.#retiring = tenancy.hasGivenBack;
  }

  #use(tenancy: Tenancy, worker: WorkerProcess, executionId: string): WorkerUse {
    const { loadPeak } = tenancy;
    tenancy.loadPeak = {};
    let over = false;
    return {
      worker,
      lease: tenancy.lease,
      env: tenancy.env,
      loadPeak,
      retire: () => {
        if (this.#tenancy === tenancy) this.#retiring = true;
      },
      done: () => {
        if (over) return;
        over = true;
        tenancy.executions -= 1;
        // Before the books are told: they may choose it for an eviction in the same step.
        if (this.#tenancy === tenancy && tenancy.executions === 0 && this.#state === "in-use") this.#become("idle");
        this.#safely(() => this.#site.admission.finishExecution(tenancy.lease.id, executionId));
        this.#pump();
      },
    };
  }

  #considerStart(): void {
    for (const waiter of this.#waiters.takeLate()) waiter.fail(tooLate(this.name));
    const { first } = this.#waiters;
    if (first === undefined) return;
    const now = this.#site.now();
    this.#breaker.isAbout(profileKey(first.plugin.manifest));
    const verdict = this.#breaker.mayStart(now);
    if (verdict.ok) {
      this.#startOver = this.#start(first);
      return;
    }
    const { lastError } = this.breaker();
    const waitMs = Math.max(0, verdict.retryAt - now);
    if (verdict.open) {
      for (const waiter of this.#waiters.takeAll()) waiter.reject(workerBroken(this.name, lastError, waitMs));
      return;
    }
    const message = `its worker failed (${lastError}); it is started again in ${Math.ceil(waitMs / 1000)} s`;
    this.#waiters.tellPlace({ position: 1, reasons: [{ code: "POLICY", message }] });
    clearTimeout(this.#retryTimer);
    this.#retryTimer = setTimeout(() => this.#pump(), waitMs + 1);
    this.#retryTimer.unref();
  }

  async #start(first: Waiter): Promise<void> {
    const { plugin, tenant, priority, policy } = first;
    const starting = new AbortController();
    this.#starting = starting;
    try {
      const request = { plugin, tenant, priority, policy, requirements: this.need.of(plugin.manifest) };
      const end = await startWorker(this.#site, request, this.#audience(starting.signal));
      this.#started(first, end);
    } catch (error) {
      this.#left();
      this.#breaker.abandoned(this.#site.now());
      // That nobody waits, or that the lease went away under it, is told to nobody: whoever waits then gets the next start.
      if (error !== starting.signal.reason) (this.#waiters.take(first)?.reject ?? this.#site.onError)(error);
    } finally {
      this.#starting = undefined;
    }
    this.#pump();
  }

  #audience(signal: AbortSignal): StartAudience {
    return {
      signal,
      queued: (place) => this.#waiters.tellPlace(place),
      granted: (tenancy) => {
        this.#tenancy = tenancy;
        this.#retiring = false;
        this.#breaker.started();
        this.#become("starting");
        this.#waiters.tellAdmitted(tenancy.lease, tenancy.env);
      },
      started: () => {
        this.#become("loading");
        this.#waiters.tellLoading("its process has started");
      },
      loading: (message) => this.#waiters.tellLoading(message),
      log: (line, stderr) => this.#waiters.tellLog(line, stderr),
      ready: () => this.#waiters.ready(),
      evict: () => {
        if (this.#state === "idle") void this.#end();
        else this.#site.onError(new Error(`the worker of ${this.name} was to be evicted while it was ${this.#state}`));
      },
      leaseEnded: () => this.#leaseEnded(),
      stuck: (tenancy) => {
        if (this.#tenancy === tenancy) this.#retiring = true;
      },
    };
  }

  #started(first: Waiter, end: StartEnd): void {
    const tenancy = this.#tenancy;
    if (end.kind === "ready" && tenancy !== undefined) this.#loaded(tenancy, end);
    else if (end.kind === "refused") {
      this.need.clear();
      this.#waiters.take(first)?.fail(notAdmitted(this.name, end.refusal));
    } else if (end.kind !== "ready") this.#notLoaded(first, end, tenancy?.loadPeak ?? {});
  }

  #loaded(tenancy: Tenancy, end: Extract<StartEnd, { kind: "ready" }>): void {
    tenancy.loadedAt = this.#site.now();
    this.#loadTimeMs = end.tookMs;
    void end.worker.ended.then(() => this.#workerEnded(tenancy));
    this.#become("idle");
    this.#keep(tenancy, true);
    // Those who waited have it before the load stops counting as work: nobody can take it in between.
    this.#pump();
    this.#safely(() => this.#site.admission.finishExecution(tenancy.lease.id, end.counted));
  }

  #notLoaded(first: Waiter, end: Exclude<StartEnd, { kind: "ready" | "refused" }>, peak: Tenancy["loadPeak"]): void {
    const { manifest } = first.plugin;
    this.#site.profiles.observe(profileKey(manifest), { ...peak, failed: true });
    this.#left();
    const isSecondTry = this.need.isRaised;
    this.need.clear();
    if (end.kind === "out-of-memory" && !isSecondTry) this.need.ranOut(manifest, peak, end.ran);
    if (end.kind === "cancelled" || this.need.isRaised) {
      this.#breaker.abandoned(this.#site.now());
      if (this.need.isRaised) this.#waiters.tellTriesAgain();
      return;
    }
    const failure = loadFailure(this.name, end, isSecondTry ? 2 : 1);
    this.#breaker.failed(this.#site.now(), { kind: failure.code, message: end.message });
    this.#waiters.take(first)?.fail({ ok: false, failure });
  }

  /** The lease is over, and this did not do it: what the worker holds is not its own any more. */
  #leaseEnded(): void {
    if (this.#state === "evicting" || this.#tenancy === undefined) return;
    this.#retiring = true;
    this.#starting?.abort(new LeaseLost(`the lease ${this.#tenancy.lease.id} of its worker is gone`));
    void this.#tenancy.worker?.kill();
  }

  /** Its process has ended. */
  #workerEnded(tenancy: Tenancy): void {
    if (this.#tenancy !== tenancy || this.#state === "evicting") return;
    if (!this.#retiring) {
      this.#breaker.failed(this.#site.now(), { kind: "ended", message: "it ended although nobody had asked it to" });
    }
    this.#giveUpLease(tenancy);
    this.#pump();
  }

  /** Ends the worker: it is asked, then SIGTERM to its process group, the grace, SIGKILL. Resolves when nothing of it is left. */
  #end(): Promise<void> {
    const tenancy = this.#tenancy;
    if (tenancy === undefined || this.#state === "evicting") return this.#settled;
    this.#become("evicting");
    this.#settled = this.#endNow(tenancy);
    return this.#settled;
  }

  async #endNow(tenancy: Tenancy): Promise<void> {
    await endWorker(this.#site, tenancy);
    // It was ended in good order: that it started was no accident.
    if (!this.#retiring) this.#breaker.succeeded();
    this.#giveUpLease(tenancy);
    this.#pump();
  }

  async #giveBack(tenancy: Tenancy, worker: WorkerProcess): Promise<void> {
    this.#keep(tenancy, false);
    const released = await worker.release(releaseMs);
    if (this.#tenancy !== tenancy || this.#state !== "releasing") return;
    this.#become("idle");
    // It holds what it held and may be in any state: then the memory comes back with its end.
    if (!released) return await this.#end();
    tenancy.hasGivenBack = true;
    this.#safely(() => this.#site.admission.giveBack(tenancy.lease.id, tenancy.lease.token));
    this.#keep(tenancy, true);
    this.#pump();
  }

  #giveUpLease(tenancy: Tenancy): void {
    this.#left();
    this.#safely(() => this.#site.admission.release(tenancy.lease.id, tenancy.lease.token));
  }

  /** Nothing of the worker is left. */
  #left(): void {
    this.#tenancy = undefined;
    this.#retiring = false;
    this.#become("dead");
  }

  #keep({ plugin, lease }: Tenancy, ready: boolean): void {
    const { pin, minResidenceMs } = plugin.manifest;
    const keeping = { pinned: pin, ready, minResidenceMs, reloadMs: this.#loadTimeMs ?? 0 };
    this.#safely(() => this.#site.admission.keep(lease.id, lease.token, keeping));
  }

  #become(state: WorkerState): void {
    this.#state = state;
    this.#idle.stop();
    const manifest = this.#tenancy?.plugin.manifest;
    if (state === "idle") this.#idle.start(manifest?.pin === true ? 0 : (manifest?.idleTtlMs ?? this.#site.idleTtlMs));
  }

  /** The worker, if it is idle; undefined when there is none. Throws PLUGIN_BUSY. */
  async #idleTenancy(what: string): Promise<Tenancy | undefined> {
    if (this.#state === "releasing" || this.#state === "evicting") await this.#settled;
    if (this.#state === "idle") return this.#tenancy;
    if (this.#state === "dead" && this.#waiters.size === 0 && this.#starting === undefined) return undefined;
    throw pluginBusy(this.name, what, this.#tenancy?.executions ?? 0, this.isLoading);
  }

  #safely(step: () => void): void {
    try {
      step();
    } catch (error) {
      // That a lease is gone is told by `leaseEnded`.
      if (!(error instanceof Failure)) this.#site.onError(error);
    }
  }
}
