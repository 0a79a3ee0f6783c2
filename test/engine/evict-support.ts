import type { Effect } from "../../src/engine/events.ts";
import type { KeepingNews } from "../../src/engine/keeping.ts";
import type { GpuSample, MachineSample } from "../../src/engine/sample.ts";
import type { LeaseView, Requirements } from "../../src/engine/types.ts";
import { type Ask, Bench, gpu, processes } from "./support.ts";

const gpuMb = 10_000;

interface Resident {
  readonly lease: LeaseView;
  readonly pid: number;
  /** Memory that it has on each of its GPUs; undefined: the driver does not tell. */
  usedMb: number | undefined;
}

/** What a test says of a resident beyond its size. */
export type Resides = Partial<KeepingNews> & {
  readonly ask?: Ask;
  readonly usedMb?: number | undefined;
  readonly gpus?: string[];
};

/** GPUs of 10,000 MiB without a margin, with residents on them whose memory is measured as the test says. */
export class Stage extends Bench {
  readonly residents = new Map<string, Resident>();
  readonly #gpus: number;
  /** Memory of processes that nobody leased to, by GPU. */
  readonly foreignMb = new Map<string, number>();
  gpuSamples: Partial<GpuSample> = {};
  more: Partial<MachineSample> = {};
  #pids = 100;

  constructor(gpus = 1, settings: ConstructorParameters<typeof Bench>[0] = {}, ...rest: [string?, []?]) {
    super(
      { margin: { percent: 0, atLeastMb: 0 }, ramMargin: { percent: 0, atLeastMb: 0 }, minResidenceMs: 0, ...settings },
      ...rest,
    );
    this.#gpus = gpus;
    this.show();
  }

  /** A measurement of everybody as they are now. */
  show(): this {
    const at = this.now + 1;
    const list = [...this.residents.values()].flatMap(({ lease, pid, usedMb }) =>
      lease.gpus.map((g) => ({ pid, gpu: g.uuid, ...(usedMb === undefined ? {} : { usedMb }) })),
    );
    const gpus = Array.from({ length: this.#gpus }, (_, i) => {
      const uuid = `GPU-${i}`;
      const used = list.filter((p) => p.gpu === uuid).reduce((sum, p) => sum + (p.usedMb ?? 0), 0);
      return gpu(i, gpuMb, used + (this.foreignMb.get(uuid) ?? 0), this.gpuSamples);
    });
    return this.sample(gpus, { processes: processes(at, ...list), ...this.more });
  }

  /** A loaded, idle worker, shown by a measurement. */
  resident(name: string, vramMb: number, { ask, usedMb, gpus, ...news }: Resides = {}): LeaseView {
    const needs: Partial<Requirements> = { vramMb, ...(gpus === undefined ? {} : { gpuUuids: gpus, gpuCount: gpus.length }) };
    const lease = this.lease(
      { ...needs, ...ask?.workload?.requirements },
      { hold: "stream", ...ask, workload: { ...ask?.workload, name } },
    );
    const pid = ++this.#pids;
    this.attach(lease, `${pid}:1`);
    this.residents.set(name, { lease, pid, usedMb: usedMb ?? vramMb });
    this.keep(lease, news);
    this.show();
    return lease;
  }

  keep(lease: LeaseView, news: Partial<KeepingNews> | undefined) {
    const keeping =
      news === undefined ? undefined : { holder: "worker" as const, pinned: false, ready: true, reloadMs: 1_000, ...news };
    return this.step({ type: "keep", leaseId: lease.id, token: lease.token, keeping }).reply;
  }

  start(lease: LeaseView, executionId = "e") {
    return this.step({ type: "start-execution", leaseId: lease.id, token: lease.token, executionId }).reply;
  }

  finish(lease: LeaseView, executionId = "e") {
    return this.step({ type: "finish-execution", leaseId: lease.id, executionId }).reply;
  }

  /** Its process has ended: its memory is gone with the next measurement. */
  end(name: string): void {
    const resident = this.residents.get(name);
    if (resident === undefined) throw new Error(`there is no resident ${name}`);
    this.residents.delete(name);
    this.release(resident.lease);
  }

  uses(name: string, usedMb: number | undefined): void {
    const resident = this.residents.get(name);
    if (resident !== undefined) resident.usedMb = usedMb;
  }

  /** Names of those who were asked to go, by eviction. */
  get evictions(): string[][] {
    return this.effects
      .filter((e): e is Extract<Effect, { type: "evict" }> => e.type === "evict")
      .map((e) => e.leases.map((l) => l.workload.name));
  }

  get evicted() {
    return this.effects.filter((e): e is Extract<Effect, { type: "evicted" }> => e.type === "evicted");
  }
}
