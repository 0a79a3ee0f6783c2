import { setTimeout as delay } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { type MonitorService, WatchSystemStatsResponseSchema } from "#gen/sluice/v1/monitor_pb.js";
import { Failure, type FieldViolation, invalidArgument } from "../engine/failure.ts";
import type { MachineSample, Millis, ProcessKey } from "../engine/sample.ts";
import { mbToProto } from "./convert-reasons.ts";
import { attributionToProto, gpuToProto, statsToProto } from "./convert-stats.ts";
import { timestampToProto } from "./convert-time.ts";
import { duration, text } from "./fields.ts";

/** What the monitor service needs of the rest of the house. */
export interface MonitorDependencies {
  now(): Millis;
  /** The newest sample; undefined before there is one. */
  latest(): MachineSample | undefined;
  /** Figures older than this are told as degraded. */
  readonly maxSampleAgeMs: Millis;
  /** The lease that a process works for. */
  leaseOf(lineage: readonly ProcessKey[]): string | undefined;
}

/** MonitorService: tells what was measured, and how old it is. */
export function monitorService(d: MonitorDependencies): ServiceImpl<typeof MonitorService> {
  const sample = (): MachineSample => {
    const latest = d.latest();
    if (latest === undefined) throw new Failure("NO_MEASUREMENT", "no measurement has come in yet; try again in a moment");
    return latest;
  };
  const stats = () => statsToProto(sample(), d.now(), d.maxSampleAgeMs);
  return {
    getSystemStats: () => ({ stats: stats() }),
    async *watchSystemStats(request, ctx) {
      const violations: FieldViolation[] = [];
      const intervalMs = duration(request.interval, "interval", 100, 3_600_000, violations) ?? 1_000;
      if (violations.length > 0) throw invalidArgument(...violations);
      for (;;) {
        yield create(WatchSystemStatsResponseSchema, { stats: stats() });
        await delay(intervalMs, undefined, { signal: ctx.signal, ref: false });
      }
    },
    listGpus() {
      const now = d.now();
      return { gpus: sample().gpus.map((g) => gpuToProto(g, now)) };
    },
    listGpuProcesses(request) {
      const violations: FieldViolation[] = [];
      const uuid = text(request.gpuUuid, "gpu_uuid", 128, violations);
      if (violations.length > 0) throw invalidArgument(...violations);
      const { processes, gpus } = sample();
      const list = (processes?.list ?? []).filter((p) => uuid === "" || p.gpuUuid === uuid);
      const order = new Map(gpus.map((g) => [g.uuid, g.index]));
      return {
        processes: [...list]
          .sort((a, b) => (order.get(a.gpuUuid) ?? 0) - (order.get(b.gpuUuid) ?? 0) || a.pid - b.pid)
          .map((p) => ({
            pid: p.pid,
            gpuUuid: p.gpuUuid,
            name: p.name,
            leaseId: d.leaseOf(p.lineage) ?? "",
            ...(p.usedMb === undefined ? {} : { usedMb: mbToProto(p.usedMb) }),
          })),
        attribution: attributionToProto(gpus.some((g) => g.attribution)),
        ...(processes === undefined ? {} : { observedAt: timestampToProto(processes.observedAt) }),
      };
    },
  };
}
