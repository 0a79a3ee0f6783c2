import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  Attribution,
  GpuHealth as GpuHealthProto,
  GpuKind as GpuKindProto,
  type GpuStats,
  GpuStatsSchema,
  type HostStats,
  HostStatsSchema,
  type SystemStats,
  SystemStatsSchema,
} from "#gen/sluice/v1/monitor_pb.js";
import type { GpuHealth, GpuKind, GpuSample, HostSample, MachineSample, Millis } from "../engine/sample.ts";
import { mbToProto } from "./convert-reasons.ts";
import { durationToProto, timestampToProto } from "./convert-time.ts";

const healths: Record<GpuHealth, GpuHealthProto> = {
  ok: GpuHealthProto.OK,
  degraded: GpuHealthProto.DEGRADED,
  lost: GpuHealthProto.LOST,
  unknown: GpuHealthProto.UNKNOWN,
};

const kinds: Record<GpuKind, GpuKindProto> = { full: GpuKindProto.FULL, mig: GpuKindProto.MIG, unified: GpuKindProto.UNIFIED };

export function attributionToProto(available: boolean): Attribution {
  return available ? Attribution.AVAILABLE : Attribution.UNAVAILABLE;
}

/** @param maxAgeMs figures older than this make the whole degraded: nothing would be decided on them. */
export function statsToProto(sample: MachineSample, now: Millis, maxAgeMs: Millis): SystemStats {
  const { gpus, host } = sample;
  const answering = gpus.filter((g) => g.health === "ok");
  const newest = Math.max(
    ...gpus.map((g) => g.observedAt),
    ...(gpus.length === 0 && host !== undefined ? [host.observedAt] : []),
  );
  const init: MessageInitShape<typeof SystemStatsSchema> = {
    source: sample.source,
    simulated: sample.simulated,
    message: sample.message,
    driverVersion: sample.driverVersion ?? "",
    gpus: gpus.map((g) => gpuToProto(g, now)),
    attribution: attributionToProto(gpus.some((g) => g.attribution)),
    degraded: sample.gpusUnknown === true || gpus.some((g) => g.health !== "ok" || now - g.observedAt > maxAgeMs),
  };
  if (Number.isFinite(newest)) init.observedAt = timestampToProto(newest);
  sumInto(init, "gpuFreeMemoryMb", answering, (g) => g.freeMb);
  sumInto(init, "gpuTotalMemoryMb", answering, (g) => g.totalMb);
  sumInto(init, "gpuUsedMemoryMb", answering, (g) => g.usedMb);
  const loads = answering.map((g) => g.loadPercent).filter((l) => l !== undefined);
  if (loads.length > 0) init.gpuLoadPercent = loads.reduce((a, b) => a + b, 0) / loads.length;
  if (host !== undefined) {
    init.host = hostToProto(host, now);
    if (host.availableMb !== undefined) init.memoryAvailableMb = mbToProto(host.availableMb);
    if (host.totalMb !== undefined) init.memoryTotalMb = mbToProto(host.totalMb);
    if (host.totalMb !== undefined && host.availableMb !== undefined)
      init.memoryUsedMb = mbToProto(host.totalMb - host.availableMb);
    if (host.cpuPercent !== undefined) init.cpuPercent = host.cpuPercent;
  }
  return create(SystemStatsSchema, init);
}

/** Sums what is known; nothing known is no sum, not 0. */
function sumInto(
  init: MessageInitShape<typeof SystemStatsSchema>,
  field: "gpuFreeMemoryMb" | "gpuTotalMemoryMb" | "gpuUsedMemoryMb",
  gpus: readonly GpuSample[],
  read: (g: GpuSample) => number | undefined,
): void {
  const known = gpus.map(read).filter((n) => n !== undefined);
  if (known.length > 0) init[field] = mbToProto(known.reduce((a, b) => a + b, 0));
}

export function gpuToProto(g: GpuSample, now: Millis): GpuStats {
  const init: MessageInitShape<typeof GpuStatsSchema> = {
    uuid: g.uuid,
    index: g.index,
    name: g.name,
    health: healths[g.health],
    healthMessage: g.healthMessage,
    computeMode: g.computeMode ?? "",
    kind: kinds[g.kind],
    poolId: g.poolId ?? "",
    parentUuid: g.parentUuid ?? "",
    pciBusId: g.pciBusId ?? "",
    observedAt: timestampToProto(g.observedAt),
    age: durationToProto(now - g.observedAt),
    attribution: attributionToProto(g.attribution),
  };
  if (g.totalMb !== undefined) init.totalMb = mbToProto(g.totalMb);
  if (g.reservedMb !== undefined) init.reservedMb = mbToProto(g.reservedMb);
  if (g.usedMb !== undefined) init.usedMb = mbToProto(g.usedMb);
  if (g.freeMb !== undefined) init.freeMb = mbToProto(g.freeMb);
  if (g.loadPercent !== undefined) init.loadPercent = g.loadPercent;
  if (g.temperatureC !== undefined) init.temperatureC = g.temperatureC;
  if (g.powerW !== undefined) init.powerW = g.powerW;
  return create(GpuStatsSchema, init);
}

function hostToProto(h: HostSample, now: Millis): HostStats {
  const init: MessageInitShape<typeof HostStatsSchema> = {
    observedAt: timestampToProto(h.observedAt),
    age: durationToProto(now - h.observedAt),
  };
  if (h.totalMb !== undefined) init.memoryTotalMb = mbToProto(h.totalMb);
  if (h.availableMb !== undefined) init.memoryAvailableMb = mbToProto(h.availableMb);
  if (h.totalMb !== undefined && h.availableMb !== undefined) init.memoryUsedMb = mbToProto(h.totalMb - h.availableMb);
  if (h.cgroupLimitMb !== undefined) init.cgroupLimitMb = mbToProto(h.cgroupLimitMb);
  if (h.cpuPercent !== undefined) init.cpuPercent = h.cpuPercent;
  return create(HostStatsSchema, init);
}
