import { countOvertaking, refreshHolds, refusalNow } from "./admit.ts";
import { poolOf, sum } from "./books.ts";
import { neverFits } from "./capacity.ts";
import { contextOf, keepStart } from "./context.ts";
import { judge, policyFor } from "./judge.ts";
import { loadedAgain } from "./keeping.ts";
import type { Mib, Millis } from "./sample.ts";
import type { EngineState, LeaseRecord, PoolKey } from "./state.ts";
import type { Refusal } from "./types.ts";

/**
 * Gives a lease again what its holder gave back, where that fits now beside everybody who comes first: `needed − resident(self) ≤
 * available`, so that what it kept is not charged twice (A5). Answers the refusal, or undefined when it has it.
 */
export function refillLease(state: EngineState, lease: LeaseRecord, asked: string, now: Millis): Refusal | undefined {
  if (lease.givenBackAt === undefined) return undefined;
  const policy = policyFor(state, asked, "now");
  const { requirements } = lease.workload;
  const gpuUuids = lease.gpus.map((g) => g.uuid);
  const workload = { ...lease.workload, requirements: { ...requirements, gpuUuids } };
  const { kept } = state;
  if (policy !== "permissive" && state.line.size > 0) keepStart(state, now);
  const place = { seq: state.nextSeq, workload, pollIntervalMs: state.settings.maxSampleAgeMs };
  const gone = { leases: new Set([lease]), mb: claimsOf(lease) };
  const ctx = { ...contextOf(state, place, now), gone };
  const judgement = judge(state, policy, { workload, mayWait: false, waitedMs: 0 }, ctx);
  state.kept = kept;
  if (judgement.verdict !== "admit" || (judgement.overcommitted && policy !== "permissive")) {
    return neverFits(state, requirements) ?? refusalNow(state, workload, ctx, judgement.message, policy);
  }
  const { vramMb, ramMb } = requirements;
  const takes = lease.holdings.some((h) => h.reservedMb < (h.gpuUuid === undefined ? ramMb : vramMb));
  // What others wait for, as a new lease would.
  if (takes && policy !== "permissive") countOvertaking(state, place, lease.gpus);
  lease.givenBackAt = undefined;
  for (const h of lease.holdings) {
    h.reservedMb = h.gpuUuid === undefined ? ramMb : vramMb;
    sum(poolOf(state, h.pool));
  }
  if (takes && policy !== "permissive") refreshHolds(state, now);
  loadedAgain(state, lease, now);
  state.version++;
  return undefined;
}

/** What it is charged now in each pool. */
function claimsOf(lease: LeaseRecord): Map<PoolKey, Mib> {
  const mb = new Map<PoolKey, Mib>();
  for (const h of lease.holdings) mb.set(h.pool, (mb.get(h.pool) ?? 0) + Math.max(h.reservedMb, h.residentMb ?? 0));
  return mb;
}
