import { refusalNow } from "./admit.ts";
import { largestEver, largestNow, neverFits } from "./capacity.ts";
import { type Asking, contextOf, keepStart } from "./context.ts";
import type { FitContext } from "./fit.ts";
import { judge, policyFor } from "./judge.ts";
import type { Millis } from "./sample.ts";
import type { EngineState } from "./state.ts";
import type { LargestFit, LeasedGpu, Reason, Workload } from "./types.ts";

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
}

/** A dry run of WaitForResources: what would be decided now, and why. Changes nothing. */
export function explain(state: EngineState, workload: Workload, policy: string, now: Millis): Explanation {
  const place = { seq: state.nextSeq, workload, pollIntervalMs: state.settings.defaultPollIntervalMs };
  const ctx = dryContext(state, place, now);
  const name = policyFor(state, policy, "wait");
  const judgement = judge(state, name, { workload, mayWait: true, waitedMs: 0 }, ctx);
  const never = neverFits(state, workload.requirements);
  const ever = largestEver(state, workload.requirements);
  const today = largestNow(state, workload.requirements, ctx);
  const fitsNow = judgement.verdict === "admit";
  return {
    policy: name,
    fitsNow,
    gpus: judgement.gpus,
    reasons: fitsNow ? [] : (never ?? refusalNow(state, workload, ctx, judgement.message, name)).reasons,
    neverFits: never !== undefined,
    position: judgement.verdict === "wait" && never === undefined ? state.line.positionFor(place, state.orderAt) : 0,
    ...(ever === undefined ? {} : { largestThatFits: ever }),
    ...(today === undefined ? {} : { largestNow: today }),
  };
}

/** The start of the first is kept as it would be for a real request, and forgotten again. */
function dryContext(state: EngineState, place: Asking, now: Millis): FitContext {
  const { kept } = state;
  keepStart(state, now);
  const ctx = contextOf(state, place, now);
  state.kept = kept;
  return ctx;
}
