import type { Millis } from "./sample.ts";
import type { Task } from "./timeline.ts";

/** A ticket, as a plan sees it. */
export interface PlanTask extends Task {
  /** Equal for tickets of one tenant and one priority. A plan chooses among these; whose turn it is, it does not decide. */
  readonly group: string;
  /** Its tenant, where that has limits: what its tickets may have at the same time is less than what the machine has. */
  readonly limited: string | undefined;
  readonly waitedMs: Millis;
  /** Share of one GPU (or of the host memory that goes with one) that it takes, summed over its GPUs. */
  readonly size: number;
  /** It surely ends by then, as its owner says; Infinity: nobody said. */
  readonly boundMs: Millis;
  /** Most likely it ends by then. */
  readonly cautiousMs: Millis;
  /** It has been overtaken as often as a ticket may be. */
  readonly isStrict: boolean;
  /** Pools that were chosen for it before; it does not wander. */
  readonly keptPools: ReadonlySet<number> | undefined;
}

/** What is known of the times to come, besides the timeline. */
export interface Outlook {
  /** The first task and those it waits for say how long they run, so that its start can be promised. */
  readonly isExact: boolean;
  /** How long tickets have been waiting lately. Limits scale with it: fixed ones turn into arrival order under load. */
  readonly usualWaitMs: Millis;
}

/** The numbers of the plan; docs/performance.md says which job lists they were chosen on. */
export const planConstants = {
  /** The share of ends that an estimate is to cover: for what is likely, for what is most likely, and for what is left. */
  likelyShare: 0.5,
  cautiousShare: 0.7,
  remainingShare: 0.5,
  /** Ends that a plan is followed through. */
  horizon: 40,
  /** The first ticket is served before all others once it has waited this long, in ms and in usual waits. */
  oldAfterMs: 120_000,
  oldAfterWaits: 2.25,
  /** GPUs are kept for a first ticket that needs several once it has waited this long. */
  agedAfterMs: 60_000,
  agedAfterWaits: 1.25,
} as const;
