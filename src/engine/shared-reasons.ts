import type { FitContext } from "./fit.ts";
import { reasonsNow } from "./quota.ts";
import type { MachineSample, Millis } from "./sample.ts";
import type { EngineState } from "./state.ts";
import type { Reason, Workload } from "./types.ts";

/** Time alone changes little in a text (an age), and nothing in so short a time. */
const goodForMs: Millis = 100;

/**
 * Reasons that were worked out for one ticket and hold for every other that asks for the same in the same place: of ten thousand that
 * wait most differ by name only.
 */
export interface SharedReasons {
  /** The engine's version and the measurement that they rest on. */
  readonly version: number;
  readonly sample: MachineSample | undefined;
  readonly from: Millis;
  readonly until: Millis;
  readonly byShape: Map<string, readonly Reason[]>;
}

/** As {@link reasonsNow}, of up to 100 ms ago; the same list for the same reasons. */
export function sharedReasons(state: EngineState, workload: Workload, ctx: FitContext): readonly Reason[] {
  const { now } = ctx;
  let shared = state.sharedReasons;
  if (
    shared === undefined ||
    shared.version !== state.version ||
    shared.sample !== state.sample ||
    now > shared.until ||
    now < shared.from
  ) {
    const { version, sample } = state;
    shared = { version, sample, from: now, until: goodUntil(state, now), byShape: new Map() };
    state.sharedReasons = shared;
  }
  const shape = shapeOf(workload, ctx);
  let reasons = shared.byShape.get(shape);
  if (reasons === undefined) {
    reasons = reasonsNow(state, workload, ctx);
    shared.byShape.set(shape, reasons);
  }
  return reasons;
}

/** For a moment, and not beyond that in which a measurement becomes too old for somebody. */
function goodUntil(state: EngineState, now: Millis): Millis {
  let until = now + goodForMs;
  for (const { figures } of state.pools.values()) {
    if (figures === undefined) continue;
    for (const limit of [state.settings.maxSampleAgeMs, ...state.pollIntervals.keys()]) {
      const tooOld = figures.observedAt + limit;
      if (tooOld >= now) until = Math.min(until, tooOld);
    }
  }
  return until;
}

/** Everything that reasons depend on besides the state. */
function shapeOf({ requirements: r, tenant }: Workload, { ageLimitMs, holds, kept, behind }: FitContext): string {
  const asks = `${r.gpuCount},${r.vramMb},${r.ramMb},${r.exclusive},${r.gpuUuids.join()}`;
  const held = holds.map((h) => h.ticket.id).join();
  return `${asks};${ageLimitMs};${held};${kept?.ticket.id ?? ""};${behind?.id ?? ""};${tenant}`;
}
