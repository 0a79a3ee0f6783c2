import { create, fromJson, type MessageInitShape } from "@bufbuild/protobuf";
import { type Value, ValueSchema } from "@bufbuild/protobuf/wkt";
import type { ConnectError } from "@connectrpc/connect";
import {
  type ExecutePluginRequest,
  type Execution,
  type ExecutionFailed,
  ExecutionFailedSchema,
  ExecutionFailure as ExecutionFailureProto,
  ExecutionSchema,
  ExecutionState as ExecutionStateProto,
  type Plugin,
  type PluginManifest as PluginManifestProto,
  PluginMode as PluginModeProto,
  PluginSchema,
  type StreamExecutionRequest,
  type StreamExecutionResponseSchema,
} from "#gen/sluice/v1/executor_pb.js";
import { RefusalSchema } from "#gen/sluice/v1/types_pb.js";
import { Failure, type FieldViolation, invalidArgument } from "../engine/failure.ts";
import { maxDurationMs } from "../engine/request-limits.ts";
import type { BreakerView } from "../executor/breaker.ts";
import type { ExecutionEvent } from "../executor/event-feed.ts";
import type { ExecutionState, ExecutionView } from "../executor/execution.ts";
import type { ExecutionRequest } from "../executor/executor.ts";
import type { JsonObject, JsonValue } from "../executor/json.ts";
import { type PluginMode, validateManifest } from "../executor/manifest.ts";
import type { MemoryView } from "../executor/memory-profile.ts";
import type { ExecutionFailure, ExecutionFailureCode } from "../executor/outcome.ts";
import type { PluginEntry } from "../executor/registry.ts";
import { maxIdleTtlMs, maxLoadStallMs, maxMinResidenceMs, workersOnly } from "../executor/worker-fields.ts";
import type { WorkerView } from "../executor/worker-view.ts";
import { leaseToProto } from "./convert-lease.ts";
import { reasonToProto, refusalToProto } from "./convert-reasons.ts";
import { durationToProto, timestampToProto } from "./convert-time.ts";
import { priorityFromProto, requirementsToProto, tenantFromProto } from "./convert-workload.ts";
import { type ErrorDetail, toConnectError } from "./errors.ts";
import { duration, text } from "./fields.ts";
import { breakerToProto, memoryToProto, residentStates, workerToProto } from "./worker-convert.ts";

/** Proto ⇄ domain of the executor, nothing else. */

/** Details travel in trailers, which many clients limit to 8 KiB; the whole tail is in GetExecution. */
const errorTailBytes = 2_048;
const errorReasons = 8;

/**
 * Throws INVALID_ARGUMENT that names every field that is wrong.
 * @param policies names that the request may give; undefined: any.
 */
export function executionRequestFromProto(
  m: ExecutePluginRequest | StreamExecutionRequest,
  policies: readonly string[] | undefined,
): ExecutionRequest {
  const violations: FieldViolation[] = [];
  if (m.plugin === "") violations.push({ field: "plugin", description: "is required" });
  const request: ExecutionRequest = {
    plugin: text(m.plugin, "plugin", 128, violations),
    arguments: m.arguments ?? {},
    policy: text(m.policy, "policy", 128, violations),
    timeoutMs: duration(m.timeout, "timeout", 0, maxDurationMs, violations),
    tenant: tenantFromProto(m.tenant, "tenant", violations),
    priority: priorityFromProto(m.priority, "priority", violations),
    requestId: text(m.requestId, "request_id", 128, violations),
  };
  if (request.policy !== "" && policies?.includes(request.policy) === false)
    violations.push({ field: "policy", description: `must be one of ${policies.join(", ")} or empty` });
  if (violations.length > 0) throw invalidArgument(...violations);
  return request;
}

const modeNames: Partial<Record<PluginModeProto, PluginMode>> = {
  [PluginModeProto.COMMAND]: "command",
  [PluginModeProto.WORKER]: "worker",
};

const modes: Record<PluginMode, PluginModeProto> = { command: PluginModeProto.COMMAND, worker: PluginModeProto.WORKER };

/**
 * The manifest as a file would hold it, so that files and requests are judged by the same rules.
 *
 * Throws INVALID_ARGUMENT when a duration is out of range: a file holds seconds, so that only here it has the name that the
 * caller knows. Whatever else is wrong is told with it; without a wrong duration all of that is left to the registry.
 */
export function manifestFromProto(m: PluginManifestProto): JsonObject {
  const violations: FieldViolation[] = [];
  const manifest = { ...plainFromProto(m), ...durationsFromProto(m, violations) };
  if (violations.length === 0) return manifest;
  const rest = validateManifest(plainFromProto(m));
  const others = rest.ok ? [] : rest.problems;
  throw invalidArgument(
    ...others.map((p) => ({ field: p.field === "" ? "manifest" : `manifest.${p.field}`, description: p.message })),
    ...violations,
  );
}

/** Durations of a worker in seconds, as a file holds them. */
function durationsFromProto(m: PluginManifestProto, violations: FieldViolation[]): JsonObject {
  const seconds: JsonObject = {};
  for (const [key, field, value, minMs, maxMs] of [
    ["idle_ttl_s", "manifest.idle_ttl", m.idleTtl, 0, maxIdleTtlMs],
    ["min_residence_s", "manifest.min_residence", m.minResidence, 0, maxMinResidenceMs],
    ["load_stall_s", "manifest.load_stall", m.loadStall, 1, maxLoadStallMs],
  ] as const) {
    const isCommand = m.mode === PluginModeProto.UNSPECIFIED || m.mode === PluginModeProto.COMMAND;
    if (value !== undefined && isCommand) violations.push({ field, description: workersOnly });
    const ms = duration(value, field, minMs, maxMs, violations);
    if (ms !== undefined) seconds[key] = ms / 1000;
  }
  return seconds;
}

function plainFromProto(m: PluginManifestProto): JsonObject {
  const r = m.resources;
  return {
    name: m.name,
    version: m.version,
    description: m.description,
    command: m.command,
    env: m.env,
    ...(r === undefined
      ? {}
      : {
          resources: {
            requires_gpu: r.requiresGpu,
            min_gpu_vram_mb: r.minGpuVramMb,
            min_system_ram_mb: r.minSystemRamMb,
            gpu_count: r.gpuCount,
            gpu_uuids: r.gpuUuids,
            exclusive_gpu: r.exclusiveGpu,
          },
        }),
    ...(m.mode === PluginModeProto.UNSPECIFIED ? {} : { mode: modeNames[m.mode] ?? m.mode }),
    ...(m.maxConcurrency === 0 ? {} : { max_concurrency: m.maxConcurrency }),
    ...(m.argumentsSchema === undefined ? {} : { arguments_schema: m.argumentsSchema }),
    // What is not set on the wire is not in the file: in mode command it must not be there at all.
    ...(m.pin ? { pin: true } : {}),
    ...(m.importance === 0 ? {} : { importance: m.importance }),
    ...(m.serialLoad ? { serial_load: true } : {}),
  };
}

/** What is known of a plugin besides its manifest. Each part is absent where there is none. */
export interface PluginDetails {
  readonly worker?: WorkerView;
  readonly breaker?: BreakerView;
  readonly memory?: MemoryView;
}

/** @param executions how many of it run or wait. */
export function pluginToProto(p: PluginEntry, executions: number, more: PluginDetails = {}): Plugin {
  const { manifest } = p;
  return create(PluginSchema, {
    manifest: {
      name: manifest.name,
      version: manifest.version,
      description: manifest.description,
      resources: requirementsToProto(manifest.requirements),
      command: [...manifest.command],
      mode: modes[manifest.mode],
      maxConcurrency: manifest.maxConcurrency,
      env: { ...manifest.env },
      ...(manifest.argumentsSchema === undefined ? {} : { argumentsSchema: manifest.argumentsSchema }),
      pin: manifest.pin,
      importance: manifest.importance,
      ...(manifest.idleTtlMs === undefined ? {} : { idleTtl: durationToProto(manifest.idleTtlMs) }),
      ...(manifest.minResidenceMs === undefined ? {} : { minResidence: durationToProto(manifest.minResidenceMs) }),
      serialLoad: manifest.serialLoad,
      ...(manifest.loadStallMs === undefined ? {} : { loadStall: durationToProto(manifest.loadStallMs) }),
    },
    enabled: p.enabled,
    source: p.source,
    executions,
    ...(more.worker === undefined ? {} : { resident: residentStates[more.worker.state], worker: workerToProto(more.worker) }),
    ...(more.breaker === undefined ? {} : { breaker: breakerToProto(more.breaker) }),
    ...(more.memory === undefined ? {} : { memory: memoryToProto(more.memory) }),
  });
}

export function valueToProto(value: JsonValue): Value {
  return fromJson(ValueSchema, value);
}

const failureCodes: Record<ExecutionFailureCode, ExecutionFailureProto> = {
  NOT_ADMITTED: ExecutionFailureProto.NOT_ADMITTED,
  TIMED_OUT: ExecutionFailureProto.TIMED_OUT,
  SPAWN: ExecutionFailureProto.SPAWN,
  EXIT: ExecutionFailureProto.EXIT,
  BAD_RESULT: ExecutionFailureProto.BAD_RESULT,
  CANCELLED: ExecutionFailureProto.CANCELLED,
  LEASE_LOST: ExecutionFailureProto.LEASE_LOST,
  OUT_OF_MEMORY: ExecutionFailureProto.OUT_OF_MEMORY,
  PLUGIN_ERROR: ExecutionFailureProto.PLUGIN_ERROR,
  WORKER_LOST: ExecutionFailureProto.WORKER_LOST,
  LOAD_FAILED: ExecutionFailureProto.LOAD_FAILED,
  WORKER_BROKEN: ExecutionFailureProto.WORKER_BROKEN,
};

function failedToProto(f: ExecutionFailure): ExecutionFailed {
  return create(ExecutionFailedSchema, {
    code: failureCodes[f.code],
    message: f.message,
    signal: f.signal ?? "",
    stderrTail: f.stderrTail ?? "",
    attempts: f.attempts ?? 0,
    ...(f.exitCode === undefined ? {} : { exitCode: f.exitCode }),
    ...(f.refusal === undefined ? {} : { refusal: refusalToProto(f.refusal) }),
  });
}

/** The error that ExecutePlugin answers for an execution that failed. */
export function executionError(executionId: string, f: ExecutionFailure): ConnectError {
  const metadata = { execution_id: executionId, failure: f.code };
  if (f.refusal !== undefined) {
    const refusal = refusalToProto({ ...f.refusal, reasons: f.refusal.reasons.slice(0, errorReasons) });
    return withDetail(new Failure("NOT_ADMITTED", f.message, metadata), { desc: RefusalSchema, value: refusal });
  }
  const value = failedToProto({ ...f, stderrTail: lastBytes(f.stderrTail ?? "", errorTailBytes) });
  const reason = f.code === "CANCELLED" ? "EXECUTION_CANCELLED" : "EXECUTION_FAILED";
  return withDetail(new Failure(reason, f.message, metadata), { desc: ExecutionFailedSchema, value });
}

function withDetail(failure: Failure, detail: ErrorDetail): ConnectError {
  return toConnectError(failure, [detail]);
}

function lastBytes(tail: string, max: number): string {
  const bytes = Buffer.from(tail).subarray(-max);
  const from = bytes.findIndex((b) => (b & 0xc0) !== 0x80);
  return from < 0 ? "" : bytes.subarray(from).toString("utf8");
}

const states: Record<ExecutionState, ExecutionStateProto> = {
  queued: ExecutionStateProto.QUEUED,
  running: ExecutionStateProto.RUNNING,
  succeeded: ExecutionStateProto.SUCCEEDED,
  failed: ExecutionStateProto.FAILED,
  cancelled: ExecutionStateProto.CANCELLED,
};

export function executionToProto(v: ExecutionView): Execution {
  return create(ExecutionSchema, {
    id: v.id,
    plugin: v.plugin,
    state: states[v.state],
    leaseId: v.leaseId,
    createdAt: timestampToProto(v.createdAt),
    tenant: v.tenant,
    requestId: v.requestId,
    pid: v.pid,
    ...(v.startedAt === undefined ? {} : { startedAt: timestampToProto(v.startedAt) }),
    ...(v.finishedAt === undefined ? {} : { finishedAt: timestampToProto(v.finishedAt) }),
    ...(v.result === undefined ? {} : { result: valueToProto(v.result) }),
    ...(v.failure === undefined ? {} : { failure: failedToProto(v.failure) }),
  });
}

/** Without result, stderr and refusal: a thousand of them would not fit into one message. GetExecution has them. */
export function listedExecutionToProto(v: ExecutionView): Execution {
  const { result: _result, failure, ...rest } = v;
  if (failure === undefined) return executionToProto(rest);
  const { stderrTail: _tail, refusal: _refusal, ...short } = failure;
  return executionToProto({ ...rest, failure: short });
}

export function eventToProto(executionId: string, e: ExecutionEvent): MessageInitShape<typeof StreamExecutionResponseSchema> {
  return { executionId, event: eventCase(e) };
}

function eventCase(e: ExecutionEvent): NonNullable<MessageInitShape<typeof StreamExecutionResponseSchema>["event"]> {
  switch (e.kind) {
    case "queued":
      return { case: "queued", value: { position: e.place.position, reasons: e.place.reasons.map(reasonToProto) } };
    case "admitted":
      return { case: "admitted", value: { lease: leaseToProto(e.lease, e.env) } };
    case "loading":
      return { case: "loading", value: { message: e.message } };
    case "started":
      return { case: "started", value: { pid: e.pid } };
    case "progress":
      return {
        case: "progress",
        value: { message: e.message, ...(e.fraction === undefined ? {} : { fraction: e.fraction }) },
      };
    case "log":
      return { case: "log", value: { line: e.line, stderr: e.stderr } };
    case "result":
      return { case: "result", value: { result: valueToProto(e.result) } };
    case "failed":
      return { case: "failed", value: failedToProto(e.failure) };
  }
}
