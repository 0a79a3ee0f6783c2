import { Failure } from "../engine/failure.ts";
import type { BreakerView } from "./breaker.ts";
import { deadline } from "./deadline.ts";
import { clientGone } from "./endings.ts";
import type { Outcome } from "./outcome.ts";
import type { LoadedPlugin } from "./registry.ts";
import { Resident, type ResidentSite } from "./resident.ts";
import { runOnWorker, type WorkerTask } from "./worker-attempt.ts";
import type { WorkerView } from "./worker-view.ts";

/** The workers of all plugins in worker mode: one for each. */
export class Residents {
  readonly #site: ResidentSite;
  readonly #residents = new Map<string, Resident>();

  constructor(site: ResidentSite) {
    this.#site = site;
  }

  /** Runs one execution on the plugin's worker, which is loaded when it has to be. Rejects when there is no outcome to tell. */
  run(task: WorkerTask): Promise<Outcome> {
    return runOnWorker(this.#site, this.#of(task.plugin.manifest.name), task);
  }

  /**
   * Loads a worker, and forgives what failed before. Resolves when it is ready; answers an outcome when it could not be loaded.
   * Rejects with what it could not even wait for, and when the signal is aborted.
   */
  load(plugin: LoadedPlugin, timeoutMs: number, signal: AbortSignal): Promise<Outcome | undefined> {
    const resident = this.#of(plugin.manifest.name);
    // Before it waits: whoever waits for a broken worker is turned away.
    resident.forgive();
    const wait = deadline(signal, timeoutMs);
    const ready = new Promise<Outcome | undefined>((resolve, reject) => {
      const over = () => {
        if (!signal.aborted && resident.isLoading) return;
        leave();
        reject(signal.aborted ? clientGone() : tooLong(plugin.manifest.name));
      };
      wait.signal.addEventListener("abort", over, { once: true });
      const leave = resident.wait({
        plugin,
        tenant: "default",
        priority: 0,
        policy: "",
        isLate: () => wait.signal.aborted,
        queued() {},
        admitted() {},
        loading() {},
        log() {},
        triesAgain() {},
        ready: () => undefined,
        give(use) {
          use.done();
          resolve(undefined);
        },
        fail: resolve,
        reject,
      });
    });
    return ready.finally(() => wait.stop());
  }

  /** Ends the worker of a plugin; resolves when nothing of it is left. Throws PLUGIN_BUSY. */
  async unload(name: string): Promise<void> {
    await this.#residents.get(name)?.unload();
  }

  /** Has the worker of a plugin give its memory back. Throws PLUGIN_BUSY, RELEASE_UNSUPPORTED. */
  async release(name: string): Promise<void> {
    await this.#residents.get(name)?.release();
  }

  /** Undefined where there is none. */
  view(name: string): WorkerView | undefined {
    return this.#residents.get(name)?.view();
  }

  breaker(name: string): BreakerView | undefined {
    return this.#residents.get(name)?.breaker();
  }

  /** Ends every worker. Executions must be over. */
  async shutdown(): Promise<void> {
    await Promise.all([...this.#residents.values()].map((r) => r.shutdown()));
    await this.#site.register?.close();
  }

  #of(name: string): Resident {
    let resident = this.#residents.get(name);
    if (resident === undefined) {
      resident = new Resident(name, this.#site);
      this.#residents.set(name, resident);
    }
    return resident;
  }
}

function tooLong(plugin: string): Failure {
  return new Failure(
    "NOT_ADMITTED",
    `There was no room for the worker of plugin "${plugin}" in time: ask again, or see sluice queue.`,
    { plugin },
  );
}
