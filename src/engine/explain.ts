import { refusalNow } from "./admit.ts";
import { largestEver, largestNow, neverFits } from "./capacity.ts";
import { type Asking, contextOf, keepStart } from "./context.ts";
import { costOf, type EvictionPlan, planEviction } from "./eviction-plan.ts";
import type { FitContext } from "./fit.ts";
import { judge, policyFor } from "./judge.ts";
import type { Mib, Millis } from "./sample.ts";
import type { EngineState, LeaseRecord } from "./state.ts";
import type { GpuUuid, LargestFit, LeasedGpu, LeaseId, Reason, Workload } from "./types.ts";
import { leaseView } from "./views.ts";

export interface Explanation {
  readonly policy: string;
  readonly fitsNow: boolean;
  readonly gpus: readonly LeasedGpu[];
  /** Empty when it fits. */
  readonly reasons: readonly Reason[];
  readonly neverFits: boolean;
  /** Place that a ticket would have; 0 when it would be granted or refused at once. */
  readonly position: number;
  readonly largestThatFits?: LargestFit;
  readonly largestNow?: LargestFit;
  /** Idle leases that would be taken back so that it fits. */
  readonly victims: readonly PlannedVictim[];
}

/** An idle lease that would be taken back. Unknown numbers are absent. */
export interface PlannedVictim {
  readonly leaseId: LeaseId;
  readonly name: string;
  readonly gpus: readonly { readonly uuid: GpuUuid; readonly vramMb: Mib }[];
  readonly ramMb?: Mib;
  /** What it costs to have it again; see keep-value.ts. */
  readonly costMs: Millis;
}

/** A dry run of WaitForResources: what would be decided now, and why. Changes nothing. */
export function explain(state: EngineState, workload: Workload, policy: string, now: Millis): Explanation {
  const place = { seq: state.nextSeq, workload, pollIntervalMs: state.settings.defaultPollIntervalMs };
  const name = policyFor(state, policy, "wait");
  const { ctx, plan } = dryRun(state, place, name, now);
  const judgement = judge(state, name, { workload, mayWait: true, waitedMs: 0 }, ctx);
  const never = neverFits(state, workload.requirements);
  const ever = largestEver(state, workload.requirements);
  const today = largestNow(state, workload.requirements, ctx);
  const fitsNow = judgement.verdict === "admit" && state.suspended === undefined;
  const waits = judgement.verdict === "wait" && state.suspended === undefined && never === undefined;
  return {
    policy: name,
    fitsNow,
    gpus: judgement.gpus,
    reasons: fitsNow
      ? []
      : state.suspended !== undefined
        ? [{ code: "POLICY", message: state.suspended }]
        : (never ?? refusalNow(state, workload, ctx, judgement.message, name)).reasons,
    neverFits: never !== undefined,
    victims: (waits ? (plan?.victims ?? []) : []).map((lease) => plannedVictim(state, lease, now)),
    position: waits ? state.line.positionFor(place, state.orderAt) : 0,
    ...(ever === undefined ? {} : { largestThatFits: ever }),
    ...(today === undefined ? {} : { largestNow: today }),
  };
}

/** The start of the first is kept as it would be for a real request, and forgotten again. */
function dryRun(
  state: EngineState,
  place: Asking,
  policy: string,
  now: Millis,
): { ctx: FitContext; plan: EvictionPlan | undefined } {
  const { kept } = state;
  keepStart(state, now);
  const ctx = contextOf(state, place, now);
  const plan = planEviction(state, place, { policy, waitedMs: 0 }, now);
  state.kept = kept;
  return { ctx, plan };
}

function plannedVictim(state: EngineState, lease: LeaseRecord, now: Millis): PlannedVictim {
  const view = leaseView(lease);
  return {
    leaseId: lease.id,
    name: lease.workload.name,
    gpus: view.gpus.flatMap((g) => (g.residentMb === undefined ? [] : [{ uuid: g.uuid, vramMb: g.residentMb }])),
    costMs: costOf(state, lease, now),
    ...(view.residentRamMb === undefined ? {} : { ramMb: view.residentRamMb }),
  };
}
