import type { HandlerContext } from "@connectrpc/connect";
import type { WaitForResourcesRequest } from "#gen/sluice/v1/scheduler_pb.js";
import { Hold as HoldProto } from "#gen/sluice/v1/types_pb.js";
import { type FieldViolation, invalidArgument } from "../engine/failure.ts";
import { maxDurationMs } from "../engine/request-limits.ts";
import { workloadFromProto } from "./convert-workload.ts";
import { duration, text } from "./fields.ts";

/** Longest and shortest time to live that a caller may ask for. */
export const ttlLimits = { minMs: 1_000, maxMs: 86_400_000 };

/** What a request to wait asks of the gate. @throws Failure INVALID_ARGUMENT that names each field that is wrong. */
export function waitFromProto(request: WaitForResourcesRequest, ctx: HandlerContext) {
  const violations: FieldViolation[] = [];
  const workload = workloadFromProto(request.workload, "workload", violations);
  const requestId = text(request.requestId, "request_id", 128, violations);
  const timeoutMs = duration(request.timeout, "timeout", 0, maxDurationMs, violations);
  const pollIntervalMs = duration(request.pollInterval, "poll_interval", 100, 3_600_000, violations);
  const ttlMs = duration(request.leaseTtl, "lease_ttl", ttlLimits.minMs, ttlLimits.maxMs, violations);
  const graceMs = duration(request.graceTime, "grace_time", 0, 86_400_000, violations);
  const policy = text(request.policy, "policy", 128, violations);
  const hold = holdFromProto(request.hold, violations);
  if (hold === "stream" && ctx.protocolName !== "grpc") {
    violations.push({
      field: "hold",
      description: "HOLD_STREAM is only possible on the gRPC door, where a dead client is noticed; use HOLD_TTL",
    });
  }
  if (violations.length > 0) throw invalidArgument(...violations);
  return {
    mode: "wait" as const,
    workload,
    requestId,
    policy,
    hold,
    ...(ttlMs === undefined ? {} : { ttlMs }),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    ...(pollIntervalMs === undefined ? {} : { pollIntervalMs }),
    ...(graceMs === undefined ? {} : { graceMs }),
  };
}

/** Checks how a lease is to be kept alive. */
export function holdFromProto(hold: HoldProto, violations: FieldViolation[]): "ttl" | "stream" {
  if (hold === HoldProto.STREAM) return "stream";
  if (hold !== HoldProto.UNSPECIFIED && hold !== HoldProto.TTL) {
    violations.push({ field: "hold", description: `must be HOLD_TTL or HOLD_STREAM, got ${hold}` });
  }
  return "ttl";
}
