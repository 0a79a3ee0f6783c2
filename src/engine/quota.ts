import { capacityOf, poolKeyOf } from "./books.ts";
import type { FitContext } from "./fit.ts";
import type { Room } from "./least-needs.ts";
import { mib } from "./mib.ts";
import { whyNot } from "./reasons.ts";
import type { Mib } from "./sample.ts";
import type { TenantLimits } from "./settings.ts";
import { type EngineState, hostPool, type LeaseRecord } from "./state.ts";
import type { Reason, Requirements, Workload } from "./types.ts";

/** What an operator allows one tenant. */
export function limitsOf(state: EngineState, tenant: string): TenantLimits {
  const { tenantLimits } = state.settings;
  return tenantLimits.get(tenant) ?? tenantLimits.get("*") ?? {};
}

/** True when what the tenant's leases may have at the same time is limited. */
export function hasLimits(state: EngineState, tenant: string): boolean {
  const { gpus, vramMb } = limitsOf(state, tenant);
  return gpus !== undefined || vramMb !== undefined;
}

/** Tickets of one tenant that may wait at the same time. */
export function queueLimitOf(state: EngineState, tenant: string): number {
  return limitsOf(state, tenant).queued ?? state.settings.maxQueuePerTenant;
}

/** Why the tenant may not have this now; undefined: it may. Grants of the permissive policy are not asked. */
export function quotaReason(state: EngineState, workload: Workload, gone?: ReadonlySet<LeaseRecord>): Reason | undefined {
  const limits = limitsOf(state, workload.tenant);
  const has = hasWithout(state, workload.tenant, gone);
  const needs = needsOf(workload);
  const who = `tenant ${workload.tenant}`;
  if (limits.gpus !== undefined && needs.gpus > 0 && has.gpus + needs.gpus > limits.gpus) {
    const message = `${who} has ${has.gpus} of the ${limits.gpus} GPUs that it is limited to, and this needs ${needs.gpus}`;
    return { code: "QUOTA", message };
  }
  if (limits.vramMb !== undefined && needs.vramMb > 0 && has.vramMb + needs.vramMb > limits.vramMb) {
    const message = `${who} has ${mib(has.vramMb)} of the ${mib(limits.vramMb)} of GPU memory that it is limited to, and this needs ${mib(needs.vramMb)}`;
    return {
      code: "QUOTA",
      message,
      neededMb: needs.vramMb,
      availableMb: Math.max(0, limits.vramMb - has.vramMb),
    };
  }
  return undefined;
}

/** By how much the tenant would be over its limits with this; not above 0: it would not. */
export function overLimit(
  state: EngineState,
  workload: Workload,
  gone?: ReadonlySet<LeaseRecord>,
): { readonly gpus: number; readonly vramMb: Mib } {
  const limits = limitsOf(state, workload.tenant);
  const has = hasWithout(state, workload.tenant, gone);
  const needs = needsOf(workload);
  return {
    gpus: needs.gpus > 0 ? has.gpus + needs.gpus - (limits.gpus ?? Infinity) : 0,
    vramMb: needs.vramMb > 0 ? has.vramMb + needs.vramMb - (limits.vramMb ?? Infinity) : 0,
  };
}

function hasWithout(state: EngineState, tenant: string, gone: ReadonlySet<LeaseRecord> = new Set()) {
  let { gpus, vramMb } = state.running.get(tenant) ?? { gpus: 0, vramMb: 0 };
  for (const lease of gone) {
    // Of those that have ended nothing is counted any more.
    if (lease.workload.tenant !== tenant || lease.phase !== "held") continue;
    gpus -= lease.gpus.length;
    vramMb -= lease.gpus.reduce((sum, g) => sum + g.vramMb, 0);
  }
  return { gpus, vramMb };
}

/** Every reason why a request is not granted now: limits of its tenant, and what does not fit. */
export function reasonsNow(state: EngineState, workload: Workload, ctx: FitContext): readonly Reason[] {
  const quota = quotaReason(state, workload, ctx.gone?.leases);
  const reasons = whyNot(state, workload.requirements, ctx);
  return quota === undefined ? reasons : [quota, ...reasons];
}

/** Why the tenant may never have this, whatever else it has. */
export function quotaNever(state: EngineState, workload: Workload): Reason | undefined {
  const limits = limitsOf(state, workload.tenant);
  const needs = needsOf(workload);
  const who = `tenant ${workload.tenant} is limited to`;
  if (limits.gpus !== undefined && needs.gpus > limits.gpus) {
    return { code: "QUOTA", message: `${who} ${limits.gpus} GPUs, and this alone needs ${needs.gpus}` };
  }
  if (limits.vramMb !== undefined && needs.vramMb > limits.vramMb) {
    const message = `${who} ${mib(limits.vramMb)} of GPU memory, and this alone needs ${mib(needs.vramMb)}`;
    return { code: "QUOTA", message, neededMb: needs.vramMb, availableMb: limits.vramMb };
  }
  return undefined;
}

function needsOf(workload: Workload): { readonly gpus: number; readonly vramMb: Mib } {
  const req = workload.requirements;
  return { gpus: req.gpuCount, vramMb: req.gpuCount * req.vramMb };
}

/** What a tenant's limits leave of the room that there is; undefined: all of it. */
export function roomWithin(state: EngineState, tenant: string, room: Room): Room | undefined {
  const limits = limitsOf(state, tenant);
  if (limits.gpus === undefined && limits.vramMb === undefined) return undefined;
  const has = state.running.get(tenant) ?? { gpus: 0, vramMb: 0 };
  const gpus = (limits.gpus ?? Infinity) - has.gpus;
  // Who needs no memory is not over a limit of it, whatever permissive grants have taken.
  const vramMb = Math.max(0, (limits.vramMb ?? Infinity) - has.vramMb);
  return {
    vramMb: (gpuCount) => (gpuCount > gpus ? -1 : Math.min(room.vramMb(gpuCount), vramMb / gpuCount)),
    ramMb: room.ramMb,
  };
}

/** Counts a lease for (1) or no longer against (-1) its tenant's limits. */
export function countRunning(state: EngineState, lease: LeaseRecord, sign: 1 | -1): void {
  const { tenant } = lease.workload;
  const before = state.running.get(tenant) ?? { gpus: 0, vramMb: 0 };
  const gpus = before.gpus + sign * lease.gpus.length;
  const vramMb = before.vramMb + sign * lease.gpus.reduce((sum, g) => sum + g.vramMb, 0);
  if (gpus === 0 && vramMb === 0) state.running.delete(tenant);
  else state.running.set(tenant, { gpus, vramMb });
}

/** The part of the machine that a request takes, 0 to 1: its largest share of GPU memory, host memory or GPUs. */
export function shareOf(state: EngineState, req: Requirements): number {
  const gpus = state.sample?.gpus ?? [];
  let total = 0;
  for (const gpu of gpus) {
    const pool = state.pools.get(poolKeyOf(gpu));
    total += pool === undefined ? 0 : (capacityOf(state, pool) ?? 0);
  }
  const host = state.pools.get(hostPool);
  const ram = host === undefined ? undefined : capacityOf(state, host);
  const ofGpus = total > 0 ? (req.gpuCount * req.vramMb) / total : 0;
  const ofRam = ram !== undefined && ram > 0 ? req.ramMb / ram : 0;
  const ofDevices = req.exclusive && gpus.length > 0 ? req.gpuCount / gpus.length : 0;
  return Math.min(1, Math.max(ofGpus, ofRam, ofDevices));
}
