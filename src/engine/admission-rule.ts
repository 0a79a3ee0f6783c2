import type { Mib, Millis } from "./sample.ts";
import type { GpuUuid, Reason, Workload } from "./types.ts";

/** What a policy is asked to judge. */
export interface AllocationRequest {
  readonly workload: Workload;
  /** True when a no can be a "not yet": the request came by WaitForResources. */
  readonly mayWait: boolean;
  /** How long it has waited; 0 at first. */
  readonly waitedMs: Millis;
}

/** The books of one GPU, as a policy sees them. Absent is not known. */
export interface GpuState {
  readonly uuid: GpuUuid;
  readonly index: number;
  readonly name: string;
  readonly healthy: boolean;
  readonly totalMb?: Mib;
  readonly usedMb?: Mib;
  readonly freeMb?: Mib;
  /** What a new request could get by the rules of safety and queue. */
  readonly availableMb?: Mib;
  readonly foreignMb?: Mib;
  readonly outstandingMb: Mib;
  readonly claimedMb: Mib;
}

/** The machine at the moment of the decision. */
export interface AllocationView {
  readonly now: Millis;
  /** True when the request fits by the rules that safety and queue go by. Worked out when first read. */
  readonly fits: boolean;
  /** Why it does not fit; empty when it does. */
  readonly reasons: readonly Reason[];
  readonly gpus: readonly GpuState[];
  readonly host: { readonly totalMb?: Mib; readonly freeMb?: Mib; readonly availableMb?: Mib };
  /** Tickets that wait. */
  readonly waiting: number;
  /** Running executions by name. */
  readonly executions: ReadonlyMap<string, number>;
}

/**
 * `admit`: grant now. `wait`: not yet (a refusal where the request cannot wait). `refuse`: a final no. `message` is shown to
 * whoever asked, with reason code POLICY.
 */
export interface AllocationDecision {
  readonly verdict: "admit" | "wait" | "refuse";
  readonly message?: string;
}

/**
 * A policy: it decides, and measures nothing. Called in the same step as the reservation, so it must answer at once; a
 * promise is not waited for and counts as a fault of the policy, which admits nothing.
 */
export interface AdmissionRule {
  readonly name: string;
  /**
   * True when it admits what fits and lets the rest wait, whatever else is: then it is not asked about tickets that do not fit,
   * and may be asked in the order that the discipline chooses. Left out: it is asked about every ticket on every event.
   */
  readonly waitsForFit?: boolean;
  /** True and false are short for `admit` and `wait`. */
  allocate(request: AllocationRequest, view: AllocationView): AllocationDecision | boolean;
  onExecutionStart(name: string): void;
  onExecutionFinish(name: string): void;
}
