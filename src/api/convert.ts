import { create } from "@bufbuild/protobuf";
import type { Duration, Timestamp } from "@bufbuild/protobuf/wkt";
import {
  EstimateBasis as EstimateBasisProto,
  Hold as HoldProto,
  type Lease,
  type LeasedGpu as LeasedGpuProto,
  LeaseEnd as LeaseEndProto,
  LeaseState,
  ReasonCode as ReasonCodeProto,
  type Reason as ReasonProto,
  type Refusal as RefusalProto,
  RefusalSchema,
  type ResourceRequirements,
  ResourceRequirementsSchema,
  type Workload as WorkloadProto,
} from "#gen/sluice/v1/types_pb.js";
import type { FieldViolation } from "../engine/failure.ts";
import {
  defaultTenant,
  lastMoment,
  maxDurationMs,
  maxGpus,
  maxImportance,
  maxMib,
  maxNameBytes,
  maxPriority,
  maxTenantBytes,
  unnamed,
} from "../engine/request-limits.ts";
import type { Mib, Millis } from "../engine/sample.ts";
import type {
  EstimateBasis,
  LargestFit,
  LeaseEnd,
  LeaseView,
  Reason,
  ReasonCode,
  Refusal,
  Requirements,
  TicketView,
  Workload,
} from "../engine/types.ts";
import { duration, text, wholeNumber } from "./fields.ts";

/**
 * Proto ⇄ domain, nothing else. What comes in is checked field by field; what goes out is already true. What is made for every call
 * or everybody who waits is written as the message that it is: `create` looks at each field of it at run time.
 */

const maxLabels = 64;
/** As far as a Duration goes. */
const longest: Millis = 315_576_000_000_000;

const uuidForm = /^[A-Za-z0-9][A-Za-z0-9/:._-]{0,127}$/;

/** Checks and converts what a request needs. `path` is where it stands in the request, such as `workload.resources`. */
export function requirementsFromProto(
  m: ResourceRequirements | undefined,
  path: string,
  violations: FieldViolation[],
): Requirements {
  if (m === undefined) {
    violations.push({ field: path, description: "is required" });
    return { gpuCount: 0, vramMb: 0, ramMb: 0, gpuUuids: [], exclusive: false };
  }
  const vramMb = wholeNumber(m.minGpuVramMb, `${path}.min_gpu_vram_mb`, 0, maxMib, violations);
  const ramMb = wholeNumber(m.minSystemRamMb, `${path}.min_system_ram_mb`, 0, maxMib, violations);
  const count = wholeNumber(m.gpuCount, `${path}.gpu_count`, 0, maxGpus, violations);
  if (!m.requiresGpu) {
    const needsGpu = (field: string) =>
      violations.push({ field: `${path}.${field}`, description: "needs requires_gpu to be true" });
    if (m.minGpuVramMb > 0) needsGpu("min_gpu_vram_mb");
    if (m.gpuCount > 0) needsGpu("gpu_count");
    if (m.gpuUuids.length > 0) needsGpu("gpu_uuids");
    if (m.exclusiveGpu) needsGpu("exclusive_gpu");
  }
  return {
    gpuCount: m.requiresGpu ? Math.max(1, count) : 0,
    vramMb,
    ramMb,
    gpuUuids: uuidsFromProto(m.gpuUuids, `${path}.gpu_uuids`, Math.max(1, count), violations),
    exclusive: m.exclusiveGpu,
  };
}

function uuidsFromProto(uuids: readonly string[], field: string, count: number, violations: FieldViolation[]): string[] {
  if (uuids.length > maxGpus) {
    violations.push({ field, description: `must have at most ${maxGpus} entries, got ${uuids.length}` });
    return [];
  }
  for (const [i, uuid] of uuids.entries()) {
    if (!uuidForm.test(uuid)) {
      violations.push({
        field: `${field}[${i}]`,
        description: "must be a GPU UUID as nvidia-smi -L prints it (GPU-… or MIG-…), at most 128 characters",
      });
    }
  }
  const distinct = [...new Set(uuids)];
  if (uuids.length > 0 && distinct.length < count) {
    violations.push({ field, description: `must name at least gpu_count (${count}) different GPUs, got ${distinct.length}` });
  }
  return distinct;
}

export function requirementsToProto(r: Requirements): ResourceRequirements {
  return {
    $typeName: "sluice.v1.ResourceRequirements",
    requiresGpu: r.gpuCount > 0,
    minGpuVramMb: r.vramMb,
    minSystemRamMb: r.ramMb,
    gpuCount: r.gpuCount,
    gpuUuids: [...r.gpuUuids],
    exclusiveGpu: r.exclusive,
  };
}

/** Checks and converts a workload. `path` is where it stands in the request. */
export function workloadFromProto(m: WorkloadProto | undefined, path: string, violations: FieldViolation[]): Workload {
  if (m === undefined) {
    violations.push({ field: path, description: "is required" });
    return {
      name: "",
      requirements: requirementsFromProto(create(ResourceRequirementsSchema), path, []),
      tenant: "",
      priority: 0,
      labels: {},
    };
  }
  const expected = duration(m.expectedDuration, `${path}.expected_duration`, 1, maxDurationMs, violations);
  return {
    name: text(m.name, `${path}.name`, maxNameBytes, violations) || unnamed,
    requirements: requirementsFromProto(m.resources, `${path}.resources`, violations),
    tenant: tenantFromProto(m.tenant, `${path}.tenant`, violations),
    priority: priorityFromProto(m.priority, `${path}.priority`, violations),
    ...importanceFromProto(m.importance, `${path}.importance`, violations),
    ...(expected === undefined ? {} : { expectedDurationMs: expected }),
    labels: labelsFromProto(m.labels, `${path}.labels`, violations),
  };
}

export function tenantFromProto(value: string, field: string, violations: FieldViolation[]): string {
  return text(value, field, maxTenantBytes, violations) || defaultTenant;
}

export function priorityFromProto(value: number, field: string, violations: FieldViolation[]): number {
  return wholeNumber(value, field, -maxPriority, maxPriority, violations);
}

function importanceFromProto(value: number, field: string, violations: FieldViolation[]): { importance?: number } {
  const importance = wholeNumber(value, field, -maxImportance, maxImportance, violations);
  return importance === 0 ? {} : { importance };
}

const noLabels: Readonly<Record<string, string>> = Object.freeze(Object.create(null));

function labelsFromProto(
  labels: Readonly<Record<string, string>>,
  field: string,
  violations: FieldViolation[],
): Readonly<Record<string, string>> {
  const keys = Object.keys(labels);
  if (keys.length === 0) return noLabels;
  if (keys.length > maxLabels) {
    violations.push({ field, description: `must have at most ${maxLabels} entries, got ${keys.length}` });
    return {};
  }
  const out: Record<string, string> = Object.create(null);
  for (const key of keys) {
    const checked = text(key, `${field} key`, 128, violations);
    out[checked] = text(labels[key] ?? "", `${field}["${checked.slice(0, 32)}"]`, 1024, violations);
  }
  return out;
}

export function workloadToProto(w: Workload): WorkloadProto {
  const workload: WorkloadProto = {
    $typeName: "sluice.v1.Workload",
    name: w.name,
    resources: requirementsToProto(w.requirements),
    tenant: w.tenant,
    priority: w.priority,
    importance: w.importance ?? 0,
    labels: { ...w.labels },
  };
  if (w.expectedDurationMs !== undefined) workload.expectedDuration = durationToProto(w.expectedDurationMs);
  return workload;
}

const leaseStates: Record<LeaseView["state"], LeaseState> = {
  idle: LeaseState.IDLE,
  active: LeaseState.ACTIVE,
  evicting: LeaseState.EVICTING,
  draining: LeaseState.DRAINING,
  ended: LeaseState.ENDED,
};

const leaseEnds: Record<LeaseEnd, LeaseEndProto> = {
  released: LeaseEndProto.RELEASED,
  expired: LeaseEndProto.EXPIRED,
  "process-exited": LeaseEndProto.PROCESS_EXITED,
  "stream-closed": LeaseEndProto.STREAM_CLOSED,
  evicted: LeaseEndProto.EVICTED,
  unclaimed: LeaseEndProto.UNCLAIMED,
};

export function leaseEndToProto(end: LeaseEnd): LeaseEndProto {
  return leaseEnds[end];
}

/** @param env what the holder exports to its child; empty in listings, where nobody exports it. */
export function leaseToProto(v: LeaseView, env: Readonly<Record<string, string>>): Lease {
  const lease: Lease = {
    $typeName: "sluice.v1.Lease",
    id: v.id,
    token: BigInt(v.token),
    workload: workloadToProto(v.workload),
    gpus: v.gpus.map(leasedGpuToProto),
    systemRamMb: v.ramMb,
    grantedAt: timestampToProto(v.grantedAt),
    state: leaseStates[v.state],
    env: { ...env },
    requestId: v.requestId,
    executions: v.executions,
    hold: v.hold === "stream" ? HoldProto.STREAM : HoldProto.TTL,
    ttl: durationToProto(v.ttlMs),
    policy: v.policy,
    pids: v.processes.map((key) => Number.parseInt(key, 10)),
    overcommitted: v.overcommitted,
    end: v.end === undefined ? LeaseEndProto.UNSPECIFIED : leaseEnds[v.end],
  };
  if (v.expiresAt !== undefined) lease.expiresAt = timestampToProto(v.expiresAt);
  if (v.residentRamMb !== undefined) lease.residentRamMb = mbToProto(v.residentRamMb);
  return lease;
}

function leasedGpuToProto(g: LeaseView["gpus"][number]): LeasedGpuProto {
  const gpu: LeasedGpuProto = { $typeName: "sluice.v1.LeasedGpu", uuid: g.uuid, index: g.index, vramMb: g.vramMb };
  if (g.residentMb !== undefined) gpu.residentMb = mbToProto(g.residentMb);
  return gpu;
}

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

const estimateBases: Record<EstimateBasis, EstimateBasisProto> = {
  declared: EstimateBasisProto.DECLARED,
  learned: EstimateBasisProto.LEARNED,
};

/** When a ticket starts, at the latest and probably. What is not known is left out, and so is what no calendar has. */
export function estimateToProto(t: Pick<TicketView, "eta" | "expectedStart" | "estimateBasis">): {
  eta?: Timestamp;
  expectedStart?: Timestamp;
  estimateBasis: EstimateBasisProto;
} {
  const { eta, expectedStart, estimateBasis } = t;
  const isKnown = expectedStart !== undefined && expectedStart <= lastMoment;
  return {
    estimateBasis: isKnown && estimateBasis !== undefined ? estimateBases[estimateBasis] : EstimateBasisProto.UNSPECIFIED,
    ...(eta !== undefined && eta <= lastMoment ? { eta: timestampToProto(eta) } : {}),
    ...(isKnown ? { expectedStart: timestampToProto(expectedStart) } : {}),
  };
}

/** The longest duration that can be written as JSON ends it: about 10,000 years. */
export function durationToProto(ms: Millis): Duration {
  const whole = Math.min(longest, Math.max(0, Math.round(ms)));
  return {
    $typeName: "google.protobuf.Duration",
    seconds: BigInt(Math.floor(whole / 1000)),
    nanos: (whole % 1000) * 1_000_000,
  };
}

/** The engine's clock is wall time at start plus monotonic time since: good enough to show, and it never jumps. */
export function timestampToProto(at: Millis): Timestamp {
  const whole = Math.max(0, Math.round(at));
  return {
    $typeName: "google.protobuf.Timestamp",
    seconds: BigInt(Math.floor(whole / 1000)),
    nanos: (whole % 1000) * 1_000_000,
  };
}
