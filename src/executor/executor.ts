import { createHash, randomUUID } from "node:crypto";
import { Failure, invalidArgument } from "../engine/failure.ts";
import type { Millis } from "../engine/sample.ts";
import type { Admission } from "./admission.ts";
import { copyArguments } from "./arguments.ts";
import type { BreakerView } from "./breaker.ts";
import { runAsCommand } from "./command-attempt.ts";
import type { Deadline } from "./deadline.ts";
import { Cancelled, clientGone, draining, endingOf } from "./endings.ts";
import type { ExecutionEvent } from "./event-feed.ts";
import { type Ending, Execution, type ExecutionView } from "./execution.ts";
import { History } from "./history.ts";
import { canonicalJson, type JsonObject } from "./json.ts";
import { type LearnedMemory, MemoryProfiles, type MemoryView, profileKey } from "./memory-profile.ts";
import type { Outcome } from "./outcome.ts";
import type { LoadedPlugin, PluginEntry, Registry } from "./registry.ts";
import type { Residents } from "./residents.ts";
import type { Job, Runner } from "./runner.ts";
import { Slots } from "./slots.ts";
import { Turns } from "./turns.ts";
import type { WorkerView } from "./worker-view.ts";

/** What to run. Validated at the boundary, but for the arguments. */
export interface ExecutionRequest {
  readonly plugin: string;
  readonly arguments: JsonObject;
  /** Empty: the server's. */
  readonly policy: string;
  /** Longest wait for a turn and for resources; undefined: the server's default; 0: for ever. */
  readonly timeoutMs: number | undefined;
  readonly tenant: string;
  readonly priority: number;
  /** Empty: none. */
  readonly requestId: string;
}

export interface ExecutorOptions {
  readonly registry: Registry;
  readonly admission: Admission;
  /** Runs plugins in command mode. */
  readonly commands: Runner;
  /** Keeps the workers of plugins in worker mode. */
  readonly residents: Residents;
  readonly profiles?: MemoryProfiles;
  readonly learnedMemory?: LearnedMemory;
  /** Milliseconds since 1970, for people. */
  readonly now?: () => Millis;
  readonly newId?: () => string;
  /** Executions that run or wait at the same time. */
  readonly maxExecutions?: number;
  /** For requests without a timeout: the longest wait for a turn, in ms; undefined or 0: for ever. */
  readonly defaultTimeoutMs?: number;
  /** Told of what must not happen, such as a lease that cannot be given back; for the log. */
  readonly onError?: (error: unknown) => void;
}

/** What there is to tell of a plugin besides its manifest; what is not there, or not known, is absent. */
export interface PluginDetails {
  readonly worker?: WorkerView;
  readonly breaker?: BreakerView;
  readonly memory?: MemoryView;
}

function disabled(plugin: string): Failure {
  return new Failure("PLUGIN_DISABLED", `Plugin "${plugin}" is disabled: enable it first (EnablePlugin).`, { plugin });
}

function fingerprintOf({ plugin, tenant }: ExecutionRequest, args: JsonObject): string {
  return createHash("sha256")
    .update(canonicalJson([plugin, tenant, args]))
    .digest("base64");
}

/** Runs plugins on leases: takes turns, asks for admission, runs, and gives back what it got, whatever happens. */
export class Executor {
  readonly #options: ExecutorOptions;
  readonly #history = new History();
  readonly #slots: Slots;
  readonly #turns: Turns;
  readonly #profiles: MemoryProfiles;
  readonly #learnedMemory: LearnedMemory;
  readonly #maxExecutions: number;
  #closing: Promise<void> | undefined;

  constructor(options: ExecutorOptions) {
    this.#options = options;
    this.#maxExecutions = options.maxExecutions ?? 10_000;
    this.#slots = new Slots((name) => options.registry.find(name)?.maxConcurrency ?? 1);
    this.#turns = new Turns(this.#slots, options.defaultTimeoutMs);
    this.#profiles = options.profiles ?? new MemoryProfiles();
    this.#learnedMemory = options.learnedMemory ?? "max";
  }

  /**
   * Starts an execution, or finds the one that was started with the same request_id. Throws a Failure for a plugin that is
   * unknown, disabled or of a mode that cannot be run, for wrong arguments, and when there are too many executions.
   */
  start(request: ExecutionRequest): Execution {
    const args = copyArguments(request.arguments);
    const fingerprint = request.requestId === "" ? "" : fingerprintOf(request, args);
    const known = request.requestId === "" ? undefined : this.#history.byRequestId(request.requestId);
    if (known !== undefined) {
      if (known.fingerprint === fingerprint) return known.execution;
      const description = "is in use for an execution with another plugin, other arguments or another tenant: choose a new one";
      throw invalidArgument({ field: "request_id", description });
    }
    if (this.#closing !== undefined) throw draining();
    const plugin = this.#options.registry.get(request.plugin);
    if (!plugin.enabled) throw disabled(request.plugin);
    plugin.check(args);
    const job = plugin.manifest.mode === "command" ? this.#options.commands.prepare(plugin, args) : undefined;
    if (this.#history.unfinishedCount >= this.#maxExecutions) {
      const message = `${this.#maxExecutions} executions run or wait already: try again later.`;
      throw new Failure("TOO_MANY_EXECUTIONS", message, { max_executions: String(this.#maxExecutions) });
    }
    const { tenant, requestId } = request;
    const id = this.#options.newId?.() ?? randomUUID();
    const execution = new Execution({ id, plugin: request.plugin, tenant, requestId }, this.#options.now ?? Date.now);
    this.#history.add(execution, fingerprint);
    void this.#drive(execution, request, (wait) =>
      job === undefined
        ? this.#options.residents.run({ execution, plugin, args, request, wait })
        : this.#runCommand(execution, plugin, job, request, wait),
    );
    return execution;
  }

  /**
   * Tells how an execution stands and what happens to it. When its reader goes away, one that nobody else can find (it has no
   * request_id) is cancelled.
   */
  watch(execution: Execution, signal: AbortSignal): AsyncGenerator<ExecutionEvent, void> {
    return execution.watch(signal, () => {
      if (execution.identity.requestId === "") execution.cancel(clientGone());
    });
  }

  /**
   * Waits for the outcome. Throws what the execution could not even begin with, such as QUEUE_FULL. When the caller goes away,
   * an execution without request_id is cancelled; one with it goes on, and the wait rejects.
   */
  async outcome(execution: Execution, signal: AbortSignal): Promise<Outcome> {
    let leave = () => {};
    const gone = new Promise<never>((_resolve, reject) => {
      leave = () => {
        if (execution.identity.requestId === "") execution.cancel(clientGone());
        else
          reject(
            new Failure("EXECUTION_CANCELLED", "Its client went away; the execution goes on and its request_id finds it."),
          );
      };
    });
    signal.addEventListener("abort", leave, { once: true });
    if (signal.aborted) leave();
    try {
      const { outcome, error } = await Promise.race([execution.done, gone]);
      if (error !== undefined) throw error;
      return outcome;
    } finally {
      signal.removeEventListener("abort", leave);
    }
  }

  /** Throws EXECUTION_NOT_FOUND. */
  get(id: string): ExecutionView {
    return this.#get(id).view();
  }

  /** Newest first. @param plugin only of this one; empty: of all. */
  list(plugin: string, max = 1_000): ExecutionView[] {
    const found = this.#history.list().filter((e) => plugin === "" || e.identity.plugin === plugin);
    return found.slice(0, max).map((e) => e.view());
  }

  /** Ends an execution and answers it when it has ended. Idempotent. Throws EXECUTION_NOT_FOUND. */
  async cancel(id: string): Promise<ExecutionView> {
    const execution = this.#get(id);
    execution.cancel(new Cancelled("The execution was cancelled."));
    await execution.done;
    return execution.view();
  }

  /** How many executions of a plugin run or wait. */
  unfinishedOf(plugin: string): number {
    return this.#history.unfinishedOf(plugin);
  }

  /**
   * Loads the worker of a plugin and answers the plugin when it is ready; an outcome when it could not be loaded.
   * Throws NOT_A_WORKER, PLUGIN_DISABLED, DRAINING.
   */
  async load(name: string, signal: AbortSignal): Promise<PluginEntry | Outcome> {
    const plugin = this.#worker(name);
    if (this.#closing !== undefined) throw draining();
    if (!plugin.enabled) throw disabled(name);
    const failure = await this.#options.residents.load(plugin, this.#options.defaultTimeoutMs ?? 0, signal);
    return failure ?? this.#options.registry.get(name);
  }

  /** Ends the worker of a plugin. Throws NOT_A_WORKER, PLUGIN_BUSY. */
  async unload(name: string): Promise<PluginEntry> {
    this.#worker(name);
    await this.#options.residents.unload(name);
    return this.#options.registry.get(name);
  }

  /** Has the worker of a plugin give its memory back. Throws NOT_A_WORKER, PLUGIN_BUSY, RELEASE_UNSUPPORTED. */
  async release(name: string): Promise<PluginEntry> {
    this.#worker(name);
    await this.#options.residents.release(name);
    return this.#options.registry.get(name);
  }

  /** What there is to tell of a plugin besides its manifest. */
  detailsOf({ manifest }: PluginEntry): PluginDetails {
    const { residents, admission } = this.#options;
    const key = profileKey(manifest);
    const memory = this.#profiles.viewOf(key, manifest.requirements, this.#learnedMemory, admission.ceiling());
    const worker = residents.view(manifest.name);
    const breaker = manifest.mode === "worker" ? residents.breaker(manifest.name) : undefined;
    return {
      ...(worker === undefined ? {} : { worker }),
      ...(breaker === undefined ? {} : { breaker }),
      ...(memory === undefined ? {} : { memory }),
    };
  }

  #worker(name: string): PluginEntry {
    const plugin = this.#options.registry.get(name);
    if (plugin.manifest.mode === "worker") return plugin;
    const message = `Plugin "${name}" runs in command mode: it starts for each execution and has no worker to load, unload or release.`;
    throw new Failure("NOT_A_WORKER", message, { plugin: name });
  }

  /** Call it when manifests were loaded: a raised max_concurrency lets waiting executions in. */
  pluginsChanged(): void {
    this.#slots.limitsChanged();
  }

  /**
   * Takes nothing new, ends what waits, gives what runs the grace (ms), then ends that too. Resolves when nothing is left.
   * Idempotent.
   */
  shutdown(graceMs: number): Promise<void> {
    this.#closing ??= this.#shutdown(graceMs);
    return this.#closing;
  }

  async #shutdown(graceMs: number): Promise<void> {
    const unfinished = this.#history.unfinished();
    // Last first, so that nobody moves up in the queue only to be turned away.
    for (const execution of unfinished.toReversed()) if (execution.state === "queued") execution.cancel(draining());
    const timer = setTimeout(() => {
      for (const execution of unfinished)
        execution.cancel(new Cancelled("The server shut down before it was done: run it again."));
    }, graceMs);
    await Promise.all(unfinished.map((e) => e.done));
    clearTimeout(timer);
    await this.#options.residents.shutdown();
  }

  #get(id: string): Execution {
    const execution = this.#history.get(id);
    if (execution !== undefined) return execution;
    const shown = id.slice(0, 128);
    const message = `There is no execution "${shown}": it never was, or it finished too long ago to be remembered.`;
    throw new Failure("EXECUTION_NOT_FOUND", message, { execution_id: shown });
  }

  #runCommand(execution: Execution, plugin: LoadedPlugin, job: Job, request: ExecutionRequest, wait: Deadline) {
    const { admission, onError } = this.#options;
    const site = {
      admission,
      profiles: this.#profiles,
      learnedMemory: this.#learnedMemory,
      onError: (error: unknown) => onError?.(error),
    };
    return runAsCommand(site, { execution, plugin, job, request, leftMs: () => this.#turns.leftMs(request, wait) });
  }

  async #drive(execution: Execution, request: ExecutionRequest, begin: (wait: Deadline) => Promise<Outcome>): Promise<void> {
    let ending: Ending;
    try {
      ending = { outcome: await this.#turns.take(execution, request, begin) };
    } catch (error) {
      ending = endingOf(error, execution.signal);
      if (!(error instanceof Failure) && !(error instanceof Cancelled)) this.#options.onError?.(error);
    }
    execution.finish(ending);
    this.#history.finished(execution);
  }
}
