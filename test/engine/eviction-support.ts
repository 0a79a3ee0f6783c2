import type { Effect } from "../../src/engine/events.ts";
import { explain } from "../../src/engine/explain.ts";
import type { KeepingNews } from "../../src/engine/keeping.ts";
import type { GpuSample, Mib } from "../../src/engine/sample.ts";
import type { EngineSettings } from "../../src/engine/settings.ts";
import type { LeaseView, Requirements, Workload } from "../../src/engine/types.ts";
import type { ResourceScheduler } from "../../src/policy/resource-scheduler.ts";
import { type Ask, Bench, gpu, leaseIn, requirements } from "./support.ts";

const none = { percent: 0, atLeastMb: 0 };

/** A lease whose holder gives it back when asked, with the process that works for it. */
export interface Resident {
  readonly lease: LeaseView;
  readonly pid: number;
  readonly process: string;
  /** On each of its GPUs; undefined: it cannot be told. */
  usedMb: Mib | undefined;
  ramMb: Mib;
  alive: boolean;
}

export interface ResidentOptions {
  readonly name?: string;
  readonly tenant?: string;
  readonly importance?: number;
  /** The GPU, or GPUs, that it is on. */
  readonly on?: string | readonly string[];
  /** What it is seen to use; absent: all that it was promised. `unknown`: that cannot be told. */
  readonly usedMb?: Mib | "unknown";
  readonly ramMb?: Mib;
  readonly exclusive?: boolean;
  readonly keeping?: Partial<KeepingNews>;
  readonly ask?: Ask;
}

/** An engine, a machine whose measurements add up, and leases that may be taken back. No margins, no minimum residence. */
export class ResidentBench extends Bench {
  readonly residents: Resident[] = [];
  cards: GpuSample[];
  #pids = 100;

  /** @param cards total memory of each GPU; or GPUs whose `usedMb` is of others. */
  constructor(
    cards: readonly (Mib | GpuSample)[],
    settings: Partial<EngineSettings> = {},
    policy = "",
    own: ResourceScheduler[] = [],
  ) {
    super({ margin: none, ramMargin: none, minResidenceMs: 0, discipline: "best-effort", ...settings }, policy, own);
    this.cards = cards.map((c, i) => (typeof c === "number" ? gpu(i, c, 0) : c));
    this.measure();
  }

  /** What somebody else uses of a GPU. */
  foreign(index: number, usedMb: Mib): this {
    this.change(index, { usedMb });
    return this;
  }

  change(index: number, more: Partial<GpuSample>): void {
    this.cards = this.cards.map((c, i) => (i === index ? { ...c, ...more } : c));
  }

  /** Everything is measured and delivered now. Those in the list are shown with what they have not given back yet. */
  measure(lagging: readonly Resident[] = []): this {
    const at = this.now + 1;
    const here = this.residents.filter((r) => r.alive || lagging.includes(r));
    const usedOn = (uuid: string) =>
      here.reduce((sum, r) => sum + (r.lease.gpus.some((g) => g.uuid === uuid) ? (r.usedMb ?? 0) : 0), 0);
    const gpus = this.cards.map((c) => {
      if (c.totalMb === undefined || c.usedMb === undefined || c.health !== "ok") return c;
      const shared = this.cards.filter((o) => o.uuid === c.uuid || (o.poolId !== undefined && o.poolId === c.poolId));
      const usedMb = c.usedMb + shared.reduce((sum, o) => sum + usedOn(o.uuid), 0);
      return { ...c, usedMb, freeMb: c.totalMb - (c.reservedMb ?? 0) - usedMb };
    });
    const list = this.residents
      .filter((r) => r.alive)
      .flatMap((r) =>
        r.lease.gpus.map((g) => ({
          pid: r.pid,
          gpuUuid: g.uuid,
          name: "python3",
          lineage: [r.process],
          ...(r.usedMb === undefined ? {} : { usedMb: r.usedMb }),
        })),
      );
    const onHost = this.cards.filter((c) => c.kind === "unified").reduce((sum, c) => sum + usedOn(c.uuid), 0);
    const ram = here.reduce((sum, r) => sum + r.ramMb, onHost);
    return this.sample(gpus, {
      processes: { observedAt: at, list },
      host: { totalMb: 64_000, availableMb: 64_000 - ram, observedAt: at },
      treeRam: new Map(here.map((r) => [r.process, r.ramMb + (onHost > 0 ? (r.usedMb ?? 0) : 0)])),
    });
  }

  /** A worker that is loaded, idle and measured; by default it is a `worker` that takes 1 s to load. */
  resident(vramMb: Mib, options: ResidentOptions = {}): Resident {
    const { name = "model", tenant, importance, on, usedMb, ramMb = 0, exclusive = false, ask } = options;
    const gpuUuids = on === undefined ? [] : typeof on === "string" ? [on] : on;
    const gpuCount = vramMb === 0 && on === undefined ? 0 : Math.max(1, gpuUuids.length);
    const workload: Partial<Workload> = {
      name,
      ...(tenant === undefined ? {} : { tenant }),
      ...(importance === undefined ? {} : { importance }),
      ...ask?.workload,
    };
    const needs: Partial<Requirements> = { gpuCount, vramMb, ramMb, gpuUuids, exclusive };
    const reply = this.submit("now", needs, { policy: "safety", hold: "stream", ...ask, workload });
    const pid = this.#pids++;
    const resident: Resident = {
      lease: leaseIn(reply),
      pid,
      process: `${pid}:1`,
      usedMb: usedMb === "unknown" ? undefined : (usedMb ?? vramMb),
      ramMb,
      alive: true,
    };
    this.residents.push(resident);
    this.attach(resident.lease, resident.process);
    this.keep(resident, options.keeping);
    this.measure();
    return resident;
  }

  keep({ lease }: Resident, more: Partial<KeepingNews> = {}): void {
    const keeping = { holder: "worker" as const, pinned: false, ready: true, reloadMs: 1_000, ...more };
    this.step({ type: "keep", leaseId: lease.id, token: lease.token, keeping });
  }

  leaves({ lease }: Resident): void {
    this.step({ type: "keep", leaseId: lease.id, token: lease.token, keeping: undefined });
  }

  start({ lease }: Resident, executionId = "e1") {
    return this.step({ type: "start-execution", leaseId: lease.id, token: lease.token, executionId }).reply;
  }

  finish({ lease }: Resident, executionId = "e1"): void {
    this.step({ type: "finish-execution", leaseId: lease.id, executionId });
  }

  giveBack({ lease }: Resident): void {
    this.step({ type: "give-back", leaseId: lease.id, token: lease.token });
  }

  refill({ lease }: Resident, policy = "safety") {
    return this.step({ type: "refill", leaseId: lease.id, token: lease.token, policy }).reply;
  }

  /** Its process ends; what it had is free in the next measurement. */
  exits(resident: Resident): void {
    resident.alive = false;
    this.step({ type: "process-exited", process: resident.process });
  }

  /** The holders of these were asked to go, in this order, one set for each plan. */
  get evictions(): readonly { readonly ticketId: string; readonly ids: readonly string[] }[] {
    return this.effects
      .filter((e): e is Extract<Effect, { type: "evict" }> => e.type === "evict")
      .map((e) => ({ ticketId: e.ticketId, ids: e.leases.map((l) => l.id) }));
  }

  get evicted(): readonly Extract<Effect, { type: "evicted" }>[] {
    return this.effects.filter((e) => e.type === "evicted");
  }

  isEvicting({ lease }: Resident): boolean {
    return this.view(lease.id)?.state === "evicting";
  }

  /** Those who are asked to go now. */
  evicting(...residents: readonly Resident[]): readonly Resident[] {
    return residents.filter((r) => this.isEvicting(r));
  }

  explain(needs: Partial<Requirements>, more: Partial<Workload> = {}, policy = "") {
    const workload = { name: "job", tenant: "default", priority: 0, labels: {}, requirements: requirements(needs), ...more };
    return explain(this.state, workload, policy, this.now);
  }

  reasons(ticketId: string): readonly string[] {
    return this.ticket(ticketId)?.reasons.map((r) => r.code) ?? [];
  }
}
