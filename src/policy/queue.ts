import type { AllocationDecision, AllocationRequest, AllocationView, ResourceScheduler } from "./resource-scheduler.ts";

/** Admits what fits now and lets the rest wait for its turn. */
export class QueueScheduler implements ResourceScheduler {
  readonly name = "queue";
  readonly waitsForFit = true;
  allocate(_request: AllocationRequest, view: AllocationView): AllocationDecision {
    return { verdict: view.fits ? "admit" : "wait" };
  }
  onExecutionStart(): void {}
  onExecutionFinish(): void {}
}
