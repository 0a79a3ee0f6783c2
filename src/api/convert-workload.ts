import { create } from "@bufbuild/protobuf";
import {
  type ResourceRequirements,
  ResourceRequirementsSchema,
  type Workload as WorkloadProto,
} from "#gen/sluice/v1/types_pb.js";
import type { FieldViolation } from "../engine/failure.ts";
import {
  defaultTenant,
  maxDurationMs,
  maxGpus,
  maxImportance,
  maxMib,
  maxNameBytes,
  maxPriority,
  maxTenantBytes,
  unnamed,
} from "../engine/request-limits.ts";
import type { Requirements, Workload } from "../engine/types.ts";
import { durationToProto } from "./convert-time.ts";
import { duration, text, wholeNumber } from "./fields.ts";

/**
 * Proto ⇄ domain, as in all files of this name, and nothing else. What comes in is checked field by field; what goes out is already true.
 * What is made for every call or everybody who waits is written as the message that it is: `create` looks at each field at run time.
 */

const maxLabels = 64;

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
