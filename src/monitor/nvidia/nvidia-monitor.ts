import type { HostSample, MachineSample, Mib, Millis, ProcessKey, ProcessSample } from "../../engine/sample.ts";
import type { MonitorStatus, SystemMonitor } from "../system-monitor.ts";
import { Children } from "./child.ts";
import { GpuFleet } from "./gpu-fleet.ts";
import { streamQuery } from "./gpu-row.ts";
import { GpuStream } from "./gpu-stream.ts";
import { type Inventory, only, takeInventory } from "./inventory.ts";
import { type NvidiaMonitorOptions, type NvidiaMonitorSettings, settingsOf } from "./nvidia-monitor-options.ts";
import { OneShots } from "./one-shot.ts";
import { ProcessLedger } from "./process-ledger.ts";
import { ProcessLister } from "./process-lister.ts";
import { barredMessage } from "./trouble.ts";
import { pollXml } from "./xml-poll.ts";

const stopLimitMs = 3000;

/**
 * Feeds admission from nvidia-smi: a loop child for memory, one-shots for processes and for which GPUs there are.
 *
 * - taking stock: an inventory is being asked for. Before the first one nothing is known.
 * - streaming: a loop child delivers rounds. Left when it ends, hangs or floods (then everything is unknown at once), or when an
 *   inventory finds GPUs that the loop does not know (then it is replaced).
 * - polling: the same with `-q -x`, where MIG devices are.
 * - backing off: nothing runs, everything is unknown; 1 s, doubling to 30 s, then stock is taken again.
 */
export class NvidiaMonitor implements SystemMonitor {
  readonly name = "sys-mon-nvidia";
  readonly #options: NvidiaMonitorOptions;
  readonly #settings: NvidiaMonitorSettings;
  readonly #children: Children;
  readonly #shots: OneShots;
  readonly #fleet = new GpuFleet();
  readonly #ledger: ProcessLedger;
  readonly #lister: ProcessLister;
  readonly #stopping = new AbortController();
  #onSample: ((sample: MachineSample) => void) | undefined;
  #inventory: Inventory | undefined;
  #stream: GpuStream | undefined;
  #trouble = "Nothing has been measured yet.";
  #driverVersion: string | undefined;
  #host: HostSample | undefined;
  #treeRam: ReadonlyMap<ProcessKey, Mib> = new Map();
  #hostBusy = false;
  #hostTimer: NodeJS.Timeout | undefined;
  #polling = false;
  #wake: () => void = () => {};
  #wantInventory = false;
  #uncounted = 0;
  #inventoryAt = 0;

  constructor(options: NvidiaMonitorOptions) {
    this.#options = options;
    this.#settings = settingsOf(options);
    this.#children = new Children(options.path, this.#settings.graceMs);
    this.#shots = new OneShots(this.#children);
    this.#ledger = new ProcessLedger(
      (pid) => options.processes.lineage(pid),
      this.#settings.hostPids,
      3 * Math.max(this.#settings.processListMs, this.#settings.migPeriodMs),
    );
    this.#lister = new ProcessLister({
      shots: this.#shots,
      path: options.path,
      periodMs: this.#settings.processListMs,
      timeoutMs: this.#settings.processBudgetMs,
      now: () => options.context.now(),
      only: () => only(this.#inventory?.indexes),
      onList: (list) => this.#ledger.offer(list),
      onUnreadable: () => {
        if (this.#stream) this.#askForInventory();
      },
    });
  }

  async start(onSample: (sample: MachineSample) => void): Promise<MachineSample> {
    const host = this.#readHost();
    const first = this.#takeStock();
    await Promise.all([host, first]);
    const sample = this.#sample();
    if (!this.#stopping.signal.aborted) {
      this.#onSample = onSample;
      this.#hostTimer = setInterval(() => void this.#readHost(), this.#settings.hostPeriodMs);
      void this.#run();
    }
    return sample;
  }

  refresh(): void {
    if (this.#stopping.signal.aborted) return;
    this.#lister.soon();
    if (this.#polling) this.#wake();
    void this.#readHost();
  }

  status(): MonitorStatus {
    const message = this.#message();
    if (message !== "") return { healthy: false, message };
    const gpus = this.#fleet.samples(() => false).length;
    const driver = this.#driverVersion === undefined ? "" : ` with driver ${this.#driverVersion}`;
    const period = this.#inventory?.needsXml ? this.#settings.migPeriodMs : this.#settings.periodMs;
    return { healthy: true, message: `${gpus} GPU${gpus === 1 ? "" : "s"}${driver}, measured every ${period} ms.` };
  }

  async stop(): Promise<void> {
    if (!this.#stopping.signal.aborted) {
      this.#onSample = undefined;
      this.#stopping.abort();
      clearInterval(this.#hostTimer);
      this.#lister.stop();
      this.#stream?.stop("stopped");
      this.#wake();
    }
    await this.#children.endAll(stopLimitMs);
  }

  /** Children that have not been reaped: at most the stream and one question. */
  get children(): number {
    return this.#children.count;
  }

  async #run(): Promise<void> {
    let pause = this.#settings.backoffMinMs;
    while (!this.#stopping.signal.aborted) {
      let trouble = this.#trouble;
      const inventory = this.#inventory;
      if (inventory && trouble === "") {
        const began = performance.now();
        trouble = inventory.needsXml ? await this.#poll(inventory) : await this.#measure(inventory);
        if (trouble === "") continue;
        // Having worked for longer than the pause before it, it is not a source that fails at once each time.
        if (performance.now() - began > 3 * pause) pause = this.#settings.backoffMinMs;
      }
      this.#goBlind(trouble);
      await this.#sleep(pause);
      pause = Math.min(2 * pause, this.#settings.backoffMaxMs);
      await this.#reapCondemned();
      if (this.#stopping.signal.aborted) return;
      await this.#takeStock();
      this.#emit();
    }
  }

  /** Streams until something is wrong, or (answer "") until the stream must be replaced. */
  async #measure(inventory: Inventory): Promise<string> {
    if (inventory.rows.length === 0) {
      await this.#sleep(this.#settings.inventorySickMs);
      return this.#stopping.signal.aborted ? "" : await this.#renew(inventory).then(() => this.#trouble);
    }
    const stream = new GpuStream({
      children: this.#children,
      path: this.#options.path,
      columns: streamQuery(inventory.refused),
      order: inventory.order,
      only: only(inventory.indexes),
      periodMs: this.#settings.periodMs,
      silenceMs: this.#settings.silenceMs,
      firstMs: this.#settings.firstMs,
      now: () => this.#options.context.now(),
      onRows: (rows) => {
        if (this.#fleet.applyRows(rows).strange) this.#askForInventory();
        this.#afterFigures();
      },
      onSilent: (uuids) => {
        this.#fleet.silent(uuids);
        this.#askForInventory();
        this.#emit();
      },
    });
    this.#stream = stream;
    this.#lister.run();
    let over = false;
    const renewing = this.#renewWhile(() => !over, inventory, stream);
    const reason = await stream.ended;
    over = true;
    this.#lister.pause();
    this.#stream = undefined;
    if (reason !== replaced) this.#goBlind(reason);
    this.#wake();
    await renewing;
    if (reason !== replaced) return reason;
    await this.#reapCondemned();
    return this.#trouble;
  }

  /** Takes stock from time to time while a stream runs, and ends the stream when it no longer fits. */
  async #renewWhile(running: () => boolean, inventory: Inventory, stream: GpuStream): Promise<void> {
    while (running() && !this.#stopping.signal.aborted) {
      await this.#sleep(this.#untilInventory());
      if (!running() || this.#stopping.signal.aborted) return;
      if (this.#untilInventory() > 0) continue;
      const next = await this.#renew(inventory);
      if (running() && next && !fits(inventory, next)) stream.stop(replaced);
    }
  }

  async #renew(old: Inventory): Promise<Inventory | undefined> {
    await this.#takeStock();
    if (this.#inventory === old) return undefined;
    this.#emit();
    return this.#inventory;
  }

  async #poll(inventory: Inventory): Promise<string> {
    this.#polling = true;
    const trouble = await pollXml({
      shots: this.#shots,
      path: this.#options.path,
      fleet: this.#fleet,
      ledger: this.#ledger,
      inventory,
      timeoutMs: Math.max(this.#settings.silenceMs, 3 * this.#settings.migPeriodMs),
      now: () => this.#options.context.now(),
      onFigures: () => this.#afterFigures(),
      sleep: () => this.#sleep(this.#settings.migPeriodMs),
      // An inventory is due: leave, so that the loop takes it.
      renew: async (strange) => {
        if (strange) this.#wantInventory = true;
        if (this.#stopping.signal.aborted) return true;
        if (this.#untilInventory() > 0) return false;
        return (await this.#renew(inventory)) !== undefined || this.#trouble !== "";
      },
    });
    this.#polling = false;
    return trouble || this.#trouble;
  }

  /** Time until the next inventory is due. One that was asked for waits at least a little after the last. */
  #untilInventory(): Millis {
    const { inventoryMs, inventorySickMs } = this.#settings;
    const pause = this.#wantInventory ? Math.min(2000, inventorySickMs) : this.#fleet.missing ? inventorySickMs : inventoryMs;
    return Math.max(0, this.#inventoryAt + pause - performance.now());
  }

  #askForInventory(): void {
    if (this.#wantInventory) return;
    this.#wantInventory = true;
    this.#wake();
  }

  /** Asks which GPUs there are. When that fails, new processes cannot reach any: nothing is known, whatever a loop still says. */
  async #takeStock(): Promise<void> {
    this.#wantInventory = false;
    const found = await takeInventory({
      shots: this.#shots,
      path: this.#options.path,
      timeoutMs: this.#settings.firstMs,
      now: () => this.#options.context.now(),
    });
    this.#inventoryAt = performance.now();
    if (this.#stopping.signal.aborted) return;
    if (typeof found === "string") {
      this.#goBlind(found);
      this.#stream?.stop(found);
      return;
    }
    this.#inventory = found;
    if (found.driverVersion !== undefined) this.#driverVersion = found.driverVersion;
    this.#fleet.applyInventory(found);
    if (this.#trouble !== "")
      this.#options.context.log.info({ gpus: found.rows.length, driver: this.#driverVersion }, "GPUs are measured");
    this.#trouble = "";
    this.#tellUncounted(found);
  }

  /** GPUs that this user may not open are skipped without a word; whoever installs this wants to know. */
  #tellUncounted(inventory: Inventory): void {
    const counted = inventory.rows[0]?.count ?? 0;
    const known = inventory.rows.length + inventory.unreadable.length;
    const missing = Math.max(0, counted - known);
    if (missing > 0 && missing !== this.#uncounted) {
      this.#options.context.log.warn(
        { counted, known },
        "the driver counts more GPUs than it tells about: this user may not open the others",
      );
    }
    this.#uncounted = missing;
  }

  #goBlind(trouble: string): void {
    if (this.#stopping.signal.aborted) return;
    if (trouble !== this.#trouble) this.#options.context.log.warn({ source: this.name }, trouble);
    this.#trouble = trouble;
    this.#fleet.blind(trouble);
    this.#emit();
  }

  /** Waits until a child that was told to end has ended, however long that takes: nothing may be started before. */
  async #reapCondemned(): Promise<void> {
    const condemned = this.#children.condemned;
    if (!condemned) return;
    const late = setTimeout(() => this.#goBlind(barredMessage(condemned.pid)), this.#settings.graceMs + 1000);
    await Promise.race([condemned.ended, aborted(this.#stopping.signal)]);
    clearTimeout(late);
  }

  #afterFigures(): void {
    this.#ledger.adopt(this.#fleet.figuresFrom);
    const gpus = this.#emit();
    if (gpus) this.#lister.watch(gpus);
  }

  async #readHost(): Promise<void> {
    if (this.#hostBusy || this.#stopping.signal.aborted) return;
    this.#hostBusy = true;
    try {
      const { host, treeRam } = await this.#options.host.read(this.#options.context.watchedTrees());
      this.#host = host;
      this.#treeRam = treeRam;
      this.#emit();
    } catch (error) {
      this.#options.context.log.warn({ err: error }, "the host's memory could not be read");
    } finally {
      this.#hostBusy = false;
    }
  }

  #emit(): MachineSample["gpus"] | undefined {
    if (!this.#onSample || this.#stopping.signal.aborted) return undefined;
    const sample = this.#sample();
    try {
      this.#onSample(sample);
    } catch (error) {
      this.#options.context.log.warn({ err: error }, "a sample could not be taken in");
    }
    return sample.gpus;
  }

  #sample(): MachineSample {
    const now = this.#options.context.now();
    const processes = this.#stillRunning(this.#ledger.processes);
    const gpus = this.#fleet.samples((gpu, usedMb) => this.#ledger.attributes(gpu.uuid, gpu.parentUuid, usedMb, now));
    return {
      source: this.name,
      simulated: false,
      gpus,
      // There is an nvidia-smi, so there should be a GPU; that it names none is no proof that there is none.
      ...(gpus.length === 0 ? { gpusUnknown: true } : {}),
      treeRam: this.#treeRam,
      message: this.#message(),
      ...(this.#host ? { host: this.#host } : {}),
      ...(processes ? { processes } : {}),
      ...(this.#driverVersion === undefined ? {} : { driverVersion: this.#driverVersion }),
    };
  }

  /**
   * A process that has ended since it was listed is left out: what it had is not its lease's any more, and another process may
   * have taken its place since, so that the figures alone would not show it.
   */
  #stillRunning(listed: ProcessSample | undefined): ProcessSample | undefined {
    if (listed === undefined) return undefined;
    const runs = ([self]: readonly ProcessKey[]) => self === undefined || this.#options.processes.alive(self);
    const list = listed.list.filter((process) => runs(process.lineage));
    return list.length === listed.list.length ? listed : { ...listed, list };
  }

  /** What is wrong, in one sentence for each; empty when all is well. */
  #message(): string {
    if (this.#trouble !== "") return this.#trouble;
    const parts = this.#fleet.complaints;
    const listing = this.#lister.trouble;
    if (listing !== "") parts.push(`Memory cannot be told per process: ${listing}`);
    return parts.join(" ");
  }

  /** Sleeps; `#wake` and stopping end it early. */
  #sleep(ms: Millis): Promise<void> {
    if (this.#stopping.signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

/** Why a stream was ended that is to be followed by another. */
const replaced = "replaced";

/** True when a stream that was started for `old` still tells everything about `next`. */
function fits(old: Inventory, next: Inventory): boolean {
  if (next.needsXml || old.driverVersion !== next.driverVersion) return false;
  if ([...next.refused].join() !== [...old.refused].join()) return false;
  return next.rows.every((row) => old.rows.some((known) => known.uuid === row.uuid && known.index === row.index));
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}
