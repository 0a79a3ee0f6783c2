import {
  Hold as HoldProto,
  type Lease,
  type LeasedGpu as LeasedGpuProto,
  LeaseEnd as LeaseEndProto,
  LeaseState,
} from "#gen/sluice/v1/types_pb.js";
import type { LeaseEnd, LeaseView } from "../engine/types.ts";
import { mbToProto } from "./convert-reasons.ts";
import { durationToProto, timestampToProto } from "./convert-time.ts";
import { workloadToProto } from "./convert-workload.ts";

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
