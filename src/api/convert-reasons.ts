import { create } from "@bufbuild/protobuf";
import {
  ReasonCode as ReasonCodeProto,
  type Reason as ReasonProto,
  type Refusal as RefusalProto,
  RefusalSchema,
  type ResourceRequirements,
  ResourceRequirementsSchema,
} from "#gen/sluice/v1/types_pb.js";
import type { Mib } from "../engine/sample.ts";
import type { LargestFit, Reason, ReasonCode, Refusal } from "../engine/types.ts";

const reasonCodes: Record<ReasonCode, ReasonCodeProto> = {
  INSUFFICIENT_GPU_MEMORY: ReasonCodeProto.INSUFFICIENT_GPU_MEMORY,
  INSUFFICIENT_SYSTEM_RAM: ReasonCodeProto.INSUFFICIENT_SYSTEM_RAM,
  NO_GPU: ReasonCodeProto.NO_GPU,
  GPU_STATS_UNAVAILABLE: ReasonCodeProto.GPU_STATS_UNAVAILABLE,
  GPU_UNHEALTHY: ReasonCodeProto.GPU_UNHEALTHY,
  NEVER_FITS: ReasonCodeProto.NEVER_FITS,
  BEHIND_IN_QUEUE: ReasonCodeProto.BEHIND_IN_QUEUE,
  HELD_FOR_EARLIER_TICKET: ReasonCodeProto.HELD_FOR_EARLIER_TICKET,
  WAITING_FOR_EVICTION: ReasonCodeProto.WAITING_FOR_EVICTION,
  WAITING_FOR_RELEASE: ReasonCodeProto.WAITING_FOR_RELEASE,
  QUOTA: ReasonCodeProto.QUOTA,
  DRAINING: ReasonCodeProto.DRAINING,
  POLICY: ReasonCodeProto.POLICY,
};

export function reasonCodeToProto(code: ReasonCode): ReasonCodeProto {
  return reasonCodes[code];
}

export function reasonToProto(r: Reason): ReasonProto {
  const reason: ReasonProto = {
    $typeName: "sluice.v1.Reason",
    code: reasonCodes[r.code],
    message: r.message,
    heldBy: r.heldBy?.slice(0, 16) ?? [],
  };
  if (r.gpuUuid !== undefined) reason.gpuUuid = r.gpuUuid;
  if (r.neededMb !== undefined) reason.neededMb = mbToProto(r.neededMb);
  if (r.availableMb !== undefined) reason.availableMb = mbToProto(r.availableMb);
  if (r.foreignMb !== undefined) reason.foreignMb = mbToProto(r.foreignMb);
  if (r.outstandingMb !== undefined) reason.outstandingMb = mbToProto(r.outstandingMb);
  return reason;
}

export function refusalToProto(r: Refusal): RefusalProto {
  return create(RefusalSchema, {
    reasons: r.reasons.map(reasonToProto),
    ...(r.largestThatFits === undefined ? {} : { largestThatFits: largestToProto(r.largestThatFits) }),
  });
}

export function largestToProto(l: LargestFit): ResourceRequirements {
  return create(ResourceRequirementsSchema, {
    requiresGpu: l.gpuCount > 0,
    gpuCount: l.gpuCount,
    minGpuVramMb: mbToProto(l.vramMb),
    minSystemRamMb: mbToProto(l.ramMb),
  });
}

/** The books may go below zero when more was promised than there is; on the wire "available" ends at 0. */
export function mbToProto(mb: Mib): number {
  return Math.min(0xffff_ffff, Math.max(0, Math.round(mb)));
}
