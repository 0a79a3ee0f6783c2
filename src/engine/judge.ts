import type { AllocationDecision, AllocationRequest, AllocationView, GpuState } from "./admission-rule.ts";
import { outstandingOf, poolKeyOf } from "./books.ts";
import { availableWithout, type FitContext, type Gone, type Placement, placeAnyway, placementFor } from "./fit.ts";
import { quotaReason, reasonsNow } from "./quota.ts";
import type { Mib } from "./sample.ts";
import { type EngineState, hostPool, type Pool } from "./state.ts";
import type { GpuUuid, LeasedGpu, Reason, Requirements, Workload } from "./types.ts";

/** What came of asking the policy. `gpus` and `overcommitted` are for `admit`. */
export interface Judgement {
  readonly verdict: "admit" | "wait" | "refuse";
  readonly gpus: readonly LeasedGpu[];
  readonly overcommitted: boolean;
  /** The policy's own words; empty: none. */
  readonly message: string;
}

/** The policy that decides about a request: its own, else the server's, else what the call is for. */
export function policyFor(state: EngineState, asked: string, mode: "now" | "wait"): string {
  return asked || state.policy || (mode === "wait" ? "queue" : "permissive");
}

/**
 * Asks the policy.
 * @param on the GPUs that were chosen for the request; absent: where it fits best.
 */
export function judge(
  state: EngineState,
  policy: string,
  request: AllocationRequest,
  ctx: FitContext,
  on?: readonly GpuUuid[],
  onlyThere = false,
): Judgement {
  state.verdicts++;
  const rule = state.rules.get(policy);
  if (rule === undefined)
    return { verdict: "refuse", gpus: [], overcommitted: false, message: `policy ${policy} is not loaded` };
  const req = request.workload.requirements;
  let placed: Placement | undefined;
  let known = false;
  const fits = (): boolean => {
    if (!known) {
      known = true;
      if (quotaReason(state, request.workload, ctx.gone?.leases) === undefined)
        placed = placementOn(state, req, ctx, on, onlyThere);
    }
    return placed !== undefined;
  };
  const decision = normalise(rule.allocate(request, viewOf(state, request.workload, ctx, fits)));
  const message = decision.message ?? "";
  if (decision.verdict !== "admit") return { verdict: decision.verdict, gpus: [], overcommitted: false, message };
  if (fits() && placed !== undefined) return { verdict: "admit", gpus: placed.gpus, overcommitted: placed.blind, message };
  const anyway = placeAnyway(state, req, ctx.now);
  return { verdict: "admit", gpus: anyway.gpus, overcommitted: !anyway.fits, message };
}

/** The books decide, whatever the plan thought: where they say no on the chosen GPUs, wherever it fits. */
function placementOn(
  state: EngineState,
  req: Requirements,
  ctx: FitContext,
  on: readonly GpuUuid[] | undefined,
  onlyThere: boolean,
): Placement | undefined {
  const planned = on === undefined || on.length === 0 ? undefined : placementFor(state, { ...req, gpuUuids: on }, ctx);
  return planned ?? (onlyThere && on !== undefined && on.length > 0 ? undefined : placementFor(state, req, ctx));
}

function normalise(answer: AllocationDecision | boolean): AllocationDecision {
  if (typeof answer === "boolean") return { verdict: answer ? "admit" : "wait" };
  return answer;
}

/** Everything in it is worked out when it is first read: built-in policies read one thing. */
function viewOf(state: EngineState, workload: Workload, ctx: FitContext, fits: () => boolean): AllocationView {
  return {
    now: ctx.now,
    get fits(): boolean {
      return fits();
    },
    get reasons(): readonly Reason[] {
      return fits() ? [] : reasonsNow(state, workload, ctx);
    },
    get gpus(): readonly GpuState[] {
      return gpuStates(state, ctx.gone);
    },
    get host() {
      const pool = state.pools.get(hostPool);
      const availableMb = pool === undefined ? undefined : availableWithout(state, pool, ctx.gone);
      return {
        ...(pool?.figures?.totalMb === undefined ? {} : { totalMb: pool.figures.totalMb }),
        ...(pool?.figures?.freeMb === undefined ? {} : { freeMb: pool.figures.freeMb }),
        ...(availableMb === undefined ? {} : { availableMb }),
      };
    },
    waiting: state.line.size,
    executions: state.executionsByName,
  };
}

/** Of a machine without those who are gone, as far as the books tell. */
function gpuStates(state: EngineState, gone: Gone | undefined): readonly GpuState[] {
  return (state.sample?.gpus ?? []).map((d) => {
    const pool = state.pools.get(poolKeyOf(d));
    const availableMb = pool === undefined ? undefined : availableWithout(state, pool, gone);
    const f = pool?.figures;
    const less = pool === undefined || gone === undefined ? undefined : chargedOf(pool, gone);
    return {
      uuid: d.uuid,
      index: d.index,
      name: d.name,
      healthy: d.health === "ok",
      outstandingMb: (pool?.outstandingMb ?? 0) - (less?.outstandingMb ?? 0),
      claimedMb: (pool?.claimedMb ?? 0) - (less?.claimedMb ?? 0),
      ...(f?.totalMb === undefined ? {} : { totalMb: f.totalMb }),
      ...(f?.usedMb === undefined ? {} : { usedMb: f.usedMb - (less?.residentMb ?? 0) }),
      ...(f?.freeMb === undefined ? {} : { freeMb: f.freeMb + (less?.residentMb ?? 0) }),
      ...(availableMb === undefined ? {} : { availableMb }),
      ...(pool?.foreignMb === undefined ? {} : { foreignMb: pool.foreignMb }),
    };
  });
}

/** What the books of a pool have of these leases. */
function chargedOf(pool: Pool, { leases }: Gone): { outstandingMb: Mib; claimedMb: Mib; residentMb: Mib } {
  const charged = { outstandingMb: 0, claimedMb: 0, residentMb: 0 };
  for (const h of pool.holdings) {
    const { phase } = h.lease;
    if (!leases.has(h.lease) || (phase !== "held" && phase !== "settling")) continue;
    charged.outstandingMb += outstandingOf(h);
    charged.claimedMb += Math.max(h.reservedMb, h.residentMb ?? 0);
    charged.residentMb += h.residentMb ?? 0;
  }
  return charged;
}
