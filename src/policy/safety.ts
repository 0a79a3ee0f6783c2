import type { AllocationDecision, AllocationRequest, AllocationView, ResourceScheduler } from "./resource-scheduler.ts";

/** Admits what fits now and refuses the rest at once, so that nothing runs out of memory and nothing waits. */
export class SafetyScheduler implements ResourceScheduler {
  readonly name = "safety";
  allocate(_request: AllocationRequest, view: AllocationView): AllocationDecision {
    return { verdict: view.fits ? "admit" : "refuse" };
  }
  onExecutionStart(): void {}
  onExecutionFinish(): void {}
}
