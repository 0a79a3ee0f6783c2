import type {
  AdmissionRule,
  AllocationDecision,
  AllocationRequest,
  AllocationView,
  GpuState,
} from "../engine/admission-rule.ts";

export type { AllocationDecision, AllocationRequest, AllocationView, GpuState };

/**
 * The interface of a policy, built in or your own (`sluice serve --policy ./my-policy.js`; the module's default export is a
 * class with this interface). See docs/policies.md.
 */
export interface ResourceScheduler extends AdmissionRule {}
