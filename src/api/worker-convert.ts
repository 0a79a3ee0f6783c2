import { create } from "@bufbuild/protobuf";
import {
  type Breaker,
  BreakerSchema,
  BreakerState,
  type MemoryProfile,
  MemoryProfileSchema,
  ResidentState,
  type ResidentWorker,
  ResidentWorkerSchema,
} from "#gen/sluice/v1/executor_pb.js";
import type { BreakerStateName, BreakerView } from "../executor/breaker.ts";
import type { MemoryView } from "../executor/memory-profile.ts";
import type { WorkerState, WorkerView } from "../executor/worker-view.ts";
import { mbToProto } from "./convert-reasons.ts";
import { durationToProto, timestampToProto } from "./convert-time.ts";
import { requirementsToProto } from "./convert-workload.ts";

/** What is known of a plugin's worker, domain → proto. */

export const residentStates: Record<WorkerState, ResidentState> = {
  starting: ResidentState.STARTING,
  loading: ResidentState.LOADING,
  "in-use": ResidentState.IN_USE,
  idle: ResidentState.IDLE,
  releasing: ResidentState.RELEASING,
  evicting: ResidentState.EVICTING,
  dead: ResidentState.DEAD,
};

const breakerStates: Record<BreakerStateName, BreakerState> = {
  closed: BreakerState.CLOSED,
  "backing-off": BreakerState.BACKING_OFF,
  open: BreakerState.OPEN,
  "half-open": BreakerState.HALF_OPEN,
};

export function workerToProto(w: WorkerView): ResidentWorker {
  return create(ResidentWorkerSchema, {
    state: residentStates[w.state],
    pid: w.pid,
    leaseId: w.leaseId,
    executions: w.executions,
    ...(w.loadedAt === undefined ? {} : { loadedAt: timestampToProto(w.loadedAt) }),
    ...(w.idleSince === undefined ? {} : { idleSince: timestampToProto(w.idleSince) }),
    ...(w.unloadAt === undefined ? {} : { unloadAt: timestampToProto(w.unloadAt) }),
    ...(w.loadTimeMs === undefined ? {} : { loadTime: durationToProto(w.loadTimeMs) }),
    ...(w.residentVramMb === undefined ? {} : { residentVramMb: mbToProto(w.residentVramMb) }),
    ...(w.residentRamMb === undefined ? {} : { residentRamMb: mbToProto(w.residentRamMb) }),
  });
}

export function breakerToProto(b: BreakerView): Breaker {
  return create(BreakerSchema, {
    state: breakerStates[b.state],
    failures: b.failures,
    lastError: b.lastError,
    ...(b.nextAttemptAt === undefined ? {} : { nextAttemptAt: timestampToProto(b.nextAttemptAt) }),
  });
}

export function memoryToProto(m: MemoryView): MemoryProfile {
  return create(MemoryProfileSchema, {
    ...(m.learnedVramMb === undefined ? {} : { learnedVramMb: m.learnedVramMb }),
    ...(m.learnedRamMb === undefined ? {} : { learnedRamMb: m.learnedRamMb }),
    runs: m.runs,
    ...(m.atLeastVramMb === undefined ? {} : { atLeastVramMb: m.atLeastVramMb }),
    ...(m.atLeastRamMb === undefined ? {} : { atLeastRamMb: m.atLeastRamMb }),
    asksFor: requirementsToProto(m.asksFor),
  });
}
