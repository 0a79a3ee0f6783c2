import type { Duration } from "@bufbuild/protobuf/wkt";
import {
  GpuHealth as GpuHealthProto,
  GpuKind as GpuKindProto,
  type GpuStats,
  type HostStats,
  type SystemStats,
} from "#gen/sluice/v1/monitor_pb.js";
import type { GpuHealth, GpuKind } from "../engine/sample.ts";
import type { RemoteGpu, RemoteHost, RemoteStats } from "../monitor/remote-stats.ts";

/** What another server's MonitorService answered, for the remote monitor. What is not set there is not known here. */
export function remoteStatsFromProto(stats: SystemStats): RemoteStats {
  return {
    source: stats.source,
    simulated: stats.simulated,
    message: stats.message,
    gpus: stats.gpus.map(gpuFromProto),
    ...(stats.driverVersion === "" ? {} : { driverVersion: stats.driverVersion }),
    ...(stats.host === undefined ? {} : { host: hostFromProto(stats.host) }),
  };
}

const healths: Partial<Record<GpuHealthProto, GpuHealth>> = {
  [GpuHealthProto.OK]: "ok",
  [GpuHealthProto.DEGRADED]: "degraded",
  [GpuHealthProto.LOST]: "lost",
};

const kinds: Partial<Record<GpuKindProto, GpuKind>> = { [GpuKindProto.MIG]: "mig", [GpuKindProto.UNIFIED]: "unified" };

function gpuFromProto(g: GpuStats): RemoteGpu {
  const ageMs = millisOf(g.age);
  return {
    uuid: g.uuid,
    index: g.index,
    name: g.name,
    kind: kinds[g.kind] ?? "full",
    health: healths[g.health] ?? "unknown",
    healthMessage: g.healthMessage,
    ...(g.poolId === "" ? {} : { poolId: g.poolId }),
    ...(g.parentUuid === "" ? {} : { parentUuid: g.parentUuid }),
    ...(g.pciBusId === "" ? {} : { pciBusId: g.pciBusId }),
    ...(g.computeMode === "" ? {} : { computeMode: g.computeMode }),
    ...(g.totalMb === undefined ? {} : { totalMb: g.totalMb }),
    ...(g.reservedMb === undefined ? {} : { reservedMb: g.reservedMb }),
    ...(g.usedMb === undefined ? {} : { usedMb: g.usedMb }),
    ...(g.freeMb === undefined ? {} : { freeMb: g.freeMb }),
    ...(g.loadPercent === undefined ? {} : { loadPercent: g.loadPercent }),
    ...(g.temperatureC === undefined ? {} : { temperatureC: g.temperatureC }),
    ...(g.powerW === undefined ? {} : { powerW: g.powerW }),
    ...(ageMs === undefined ? {} : { ageMs }),
  };
}

function hostFromProto(h: HostStats): RemoteHost {
  const ageMs = millisOf(h.age);
  return {
    ...(h.memoryTotalMb === undefined ? {} : { totalMb: h.memoryTotalMb }),
    ...(h.memoryAvailableMb === undefined ? {} : { availableMb: h.memoryAvailableMb }),
    ...(h.cgroupLimitMb === undefined ? {} : { cgroupLimitMb: h.cgroupLimitMb }),
    ...(h.cpuPercent === undefined ? {} : { cpuPercent: h.cpuPercent }),
    ...(ageMs === undefined ? {} : { ageMs }),
  };
}

function millisOf(d: Duration | undefined): number | undefined {
  return d === undefined ? undefined : Number(d.seconds) * 1000 + d.nanos / 1_000_000;
}
