import type { Effect, EngineEvent, Outcome, Reply, Submit } from "../../src/engine/events.ts";
import type { GpuSample, MachineSample, ProcessSample } from "../../src/engine/sample.ts";
import { defaultSettings, type EngineSettings } from "../../src/engine/settings.ts";
import { createState, type EngineState } from "../../src/engine/state.ts";
import { step } from "../../src/engine/step.ts";
import type { LeaseView, Refusal, Requirements, Workload } from "../../src/engine/types.ts";
import { leaseView, ticketView } from "../../src/engine/views.ts";
import { builtInPolicies } from "../../src/policy/load.ts";
import type { ResourceScheduler } from "../../src/policy/resource-scheduler.ts";

/** A GPU that is well: what is not used and not the driver's is free. */
export function gpu(index: number, totalMb: number, usedMb: number, more: Partial<GpuSample> = {}): GpuSample {
  const reservedMb = more.reservedMb ?? 0;
  return {
    uuid: `GPU-${index}`,
    index,
    name: "Test GPU",
    kind: "full",
    totalMb,
    reservedMb,
    usedMb,
    freeMb: totalMb - reservedMb - usedMb,
    computeMode: "Default",
    health: "ok",
    healthMessage: "",
    observedAt: 0,
    attribution: true,
    ...more,
  };
}

export function requirements(more: Partial<Requirements> = {}): Requirements {
  return { gpuCount: 1, vramMb: 8000, ramMb: 0, gpuUuids: [], exclusive: false, ...more };
}

/** What a test says about a request beyond its needs. */
export type Ask = Partial<Omit<Submit, "workload">> & { readonly workload?: Partial<Workload> };

/** An engine on a clock that only the test moves. */
export class Bench {
  readonly state: EngineState;
  now = 1_000;
  readonly effects: Effect[] = [];
  #ids = 0;

  constructor(settings: Partial<EngineSettings> = {}, policy = "", own: ResourceScheduler[] = []) {
    const policies = builtInPolicies();
    for (const p of own) policies.set(p.name, p);
    this.state = createState({ ...defaultSettings, ...settings }, policies, policy);
  }

  step(event: EngineEvent): Outcome {
    const outcome = step(this.state, event, this.now);
    this.effects.push(...outcome.effects);
    return outcome;
  }

  pass(ms: number): this {
    this.now += ms;
    this.step({ type: "tick" });
    return this;
  }

  /** A measurement taken and delivered now; host memory is plentiful unless it is given. */
  sample(gpus: readonly GpuSample[], more: Partial<MachineSample> = {}): this {
    this.now += 1;
    const at = this.now;
    const sample: MachineSample = {
      source: "test",
      simulated: false,
      gpus: gpus.map((g) => ({ ...g, observedAt: g.observedAt === 0 ? at : g.observedAt })),
      host: { totalMb: 65_536, availableMb: 60_000, observedAt: at },
      treeRam: new Map(),
      message: "",
      processes: { observedAt: at, list: [] },
      ...more,
    };
    this.now += 1;
    this.step({ type: "sample", sample });
    return this;
  }

  submit(mode: "now" | "wait", needs: Partial<Requirements>, more: Ask = {}): Reply {
    const { workload, ...rest } = more;
    return this.step({
      type: "submit",
      id: `n${++this.#ids}`,
      mode,
      workload: { name: "job", tenant: "default", priority: 0, labels: {}, requirements: requirements(needs), ...workload },
      requestId: "",
      policy: "",
      hold: "ttl",
      ...rest,
    } as Submit).reply;
  }

  /** Allocate under policy safety unless it says otherwise. */
  allocate(needs: Partial<Requirements>, more: Ask = {}): Reply {
    return this.submit("now", needs, { policy: "safety", ...more });
  }

  lease(needs: Partial<Requirements>, more: Ask = {}): LeaseView {
    return leaseIn(this.allocate(needs, more));
  }

  wait(needs: Partial<Requirements>, more: Ask = {}): string {
    const reply = this.submit("wait", needs, more);
    if (reply.type !== "ticket") throw new Error(`expected a ticket, got ${JSON.stringify(reply)}`);
    return reply.ticketId;
  }

  ticket(id: string) {
    const ticket = this.state.tickets.get(id);
    return ticket === undefined ? undefined : ticketView(this.state, ticket, this.now);
  }

  view(id: string): LeaseView | undefined {
    const lease = this.state.leases.get(id) ?? this.state.ended.get(id);
    return lease === undefined ? undefined : leaseView(lease);
  }

  /** Leases granted to a ticket so far. */
  grantOf(ticketId: string): LeaseView | undefined {
    for (const e of this.effects) if (e.type === "granted" && e.ticketId === ticketId) return e.lease;
    return undefined;
  }

  attach(lease: LeaseView, process: string): Reply {
    return this.step({ type: "attach", leaseId: lease.id, token: lease.token, process }).reply;
  }

  release(lease: LeaseView): Reply {
    return this.step({ type: "release", leaseId: lease.id, token: lease.token }).reply;
  }
}

export function leaseIn(reply: Reply): LeaseView {
  if (reply.type !== "lease") throw new Error(`expected a lease, got ${JSON.stringify(reply)}`);
  return reply.lease;
}

export function refusalIn(reply: Reply): Refusal {
  if (reply.type !== "refused") throw new Error(`expected a refusal, got ${reply.type}`);
  return reply.refusal;
}

/** A process list in which each entry is a process of its own, or a descendant where `root` is given. */
export function processes(
  observedAt: number,
  ...list: { pid: number; gpu: string; usedMb?: number; root?: string }[]
): ProcessSample {
  return {
    observedAt,
    list: list.map((p) => ({
      pid: p.pid,
      gpuUuid: p.gpu,
      name: "python3",
      lineage: [`${p.pid}:1`, ...(p.root === undefined ? [] : [p.root])],
      ...(p.usedMb === undefined ? {} : { usedMb: p.usedMb }),
    })),
  };
}
