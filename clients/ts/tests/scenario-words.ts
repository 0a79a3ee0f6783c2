import {
  createRegistry,
  type DescMethod,
  type DescService,
  fromJson,
  type JsonValue,
  type Message,
  toJson,
} from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  Draining,
  errorFrom,
  Failed,
  InvalidRequest,
  LeaseGone,
  NeverFits,
  QueueFull,
  Refused,
  type ResourcesOptions,
  type SluiceError,
  TicketCancelled,
  TimedOut,
  Unreachable,
  type Waiting,
} from "sluice/client";
import { ExecutorService, file_sluice_v1_executor } from "sluice/v1/executor";
import { file_sluice_v1_monitor, MonitorService } from "sluice/v1/monitor";
import { file_sluice_v1_scheduler, SchedulerService } from "sluice/v1/scheduler";
import { file_sluice_v1_types } from "sluice/v1/types";
import { ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.js";

// The words of test/clients/scenarios.yaml that need no call: references, expectations, errors as data.

/** Values of scenarios, and messages as scenarios see them. */
export type Json = null | boolean | number | string | undefined | readonly Json[] | { readonly [name: string]: Json };
export type JsonMap = { readonly [name: string]: Json };

/** How long a wait may take where a step does not say, in ms. */
export const patienceMs = 10_000;

/** Something is not as the scenario says. */
export class Mismatch extends Error {}

const registry = createRegistry(
  file_sluice_v1_types,
  file_sluice_v1_scheduler,
  file_sluice_v1_executor,
  file_sluice_v1_monitor,
);

/** The same with "$name.field.0" replaced by what was saved. */
export function resolve(value: Json, saved: ReadonlyMap<string, Json>): Json {
  if (isList(value)) return value.map((inner) => resolve(inner, saved));
  if (isMap(value)) return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, resolve(inner, saved)]));
  if (typeof value !== "string" || !value.startsWith("$")) return value;
  let found: Json = Object.fromEntries(saved);
  for (const part of value.slice(1).split(".")) {
    found = isList(found) ? found[Number(part)] : isMap(found) ? found[part] : undefined;
    if (found === undefined) throw new Mismatch(`${value}: there is no ${part}`);
  }
  return found;
}

const operators: Readonly<Record<string, (wanted: Json, value: Json) => boolean>> = {
  $absent: (wanted, value) => (value == null) === wanted,
  $present: (wanted, value) => (value != null) === wanted,
  $at_least: (wanted, value) => number(value) >= number(wanted),
  $at_most: (wanted, value) => number(value) <= number(wanted),
  $greater_than: (wanted, value) => number(value) > number(wanted),
  $less_than: (wanted, value) => number(value) < number(wanted),
  $not: (wanted, value) => !matches(wanted, value),
  $length: (wanted, value) => (isList(value) ? value.length : 0) === wanted,
  $contains: (wanted, value) =>
    typeof wanted === "string" && typeof value === "string"
      ? value.includes(wanted)
      : isList(value) && value.some((item) => matches(wanted, item)),
};

/**
 * Compares. Fields that are not named do not matter.
 * @throws Mismatch unless value is what is wanted.
 */
export function match(wanted: Json, value: Json, path = "answer"): void {
  if (isMap(wanted) && Object.keys(wanted).some((key) => key.startsWith("$"))) {
    for (const [name, operand] of Object.entries(wanted)) {
      if (operators[name]?.(operand, value)) continue;
      throw new Mismatch(`${path}: wanted ${name} ${short(operand)}, got ${short(value)}`);
    }
  } else if (isMap(wanted)) {
    if (!isMap(value)) throw new Mismatch(`${path}: wanted ${short(wanted)}, got ${short(value)}`);
    for (const [key, inner] of Object.entries(wanted)) match(inner, value[key], `${path}.${key}`);
  } else if (isList(wanted)) {
    const items = value ?? [];
    if (!isList(items) || items.length !== wanted.length)
      throw new Mismatch(`${path}: wanted ${wanted.length} items, got ${short(value)}`);
    for (const [index, inner] of wanted.entries()) match(inner, items[index], `${path}.${index}`);
  } else if (!equal(wanted, value)) {
    throw new Mismatch(`${path}: wanted ${short(wanted)}, got ${short(value)}`);
  }
}

export function matches(wanted: Json, value: Json): boolean {
  try {
    match(wanted, value);
    return true;
  } catch (error) {
    if (error instanceof Mismatch) return false;
    throw error;
  }
}

function equal(wanted: Json, value: Json): boolean {
  if (value == null) return wanted == null || wanted === 0 || wanted === "" || wanted === false;
  if (typeof wanted === "number" && typeof value === "string") return String(wanted) === value;
  return wanted === value;
}

function number(value: Json): number {
  return value == null ? 0 : Number(value);
}

function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value);
}

function isMap(value: Json): value is JsonMap {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function short(value: Json): string {
  const text = JSON.stringify(value) ?? "nothing";
  return text.length < 600 ? text : `${text.slice(0, 600)}…`;
}

/** A message as the scenarios see it: JSON with the names of the proto. */
export function messageJson(message: Message): JsonMap {
  const desc = registry.getMessage(message.$typeName);
  if (desc === undefined) throw new Error(`nobody knows ${message.$typeName}`);
  return toJson(desc, message, { useProtoFieldName: true, registry }) as JsonMap;
}

/** The service and the method that a step names: "Allocate" or "ExecutorService.GetPlugin". */
export function methodOf(name: string): { readonly service: DescService; readonly method: DescMethod } {
  const [last = "", first] = name.split(".").reverse();
  for (const service of [SchedulerService, ExecutorService, MonitorService] as const) {
    const method = (service.methods as readonly DescMethod[]).find((candidate) => candidate.name === last);
    if (method !== undefined && (first === undefined || first === service.name)) return { service, method };
  }
  throw new Mismatch(`there is no method ${name}`);
}

/** The request message of a method. */
export function requestOf(method: DescMethod, fields: Json): Message {
  return fromJson(method.input, (fields ?? {}) as JsonValue, { registry });
}

/** The error of a call as data. */
export function rpcError(thrown: ConnectError): JsonMap {
  const error = errorFrom(thrown);
  return {
    code: statusName(thrown.code),
    message: thrown.rawMessage,
    reason: error.reason,
    domain: thrown.findDetails(ErrorInfoSchema)[0]?.domain,
    metadata: error.metadata,
    violations: error.violations.map(({ field, description }) => ({ field, description })),
    retry_after_ms: error.retryAfterMs,
    ...detailsOf(error),
    refusal: error instanceof Refused ? detailsOf(error) : undefined,
  };
}

/** Kinds of errors, the narrow ones first. */
const kinds = [
  [NeverFits, "never-fits"],
  [Refused, "refused"],
  [TimedOut, "timed-out"],
  [QueueFull, "queue-full"],
  [InvalidRequest, "invalid-request"],
  [TicketCancelled, "ticket-cancelled"],
  [LeaseGone, "lease-gone"],
  [Draining, "draining"],
  [Unreachable, "unreachable"],
  [Failed, "failed"],
] as const;

/** The error of the client as data. */
export function clientError(error: SluiceError): JsonMap {
  return {
    kind: kinds.find(([kind]) => error instanceof kind)?.[1] ?? "other",
    message: error.message,
    reason: error.reason,
    violations: error.violations.map(({ field, description }) => ({ field, description })),
    retry_after_ms: error.retryAfterMs,
    waited_ms: error instanceof TimedOut ? error.waitedMs : undefined,
    ...detailsOf(error),
  };
}

function detailsOf(error: SluiceError): JsonMap {
  const reasons = error instanceof Refused || error instanceof TimedOut ? error.reasons : [];
  const largest = error instanceof Refused ? error.largestThatFits : undefined;
  const failure = error instanceof Failed ? error.failure : undefined;
  return {
    reasons: reasons.map(messageJson),
    largest_that_fits: largest && messageJson(largest),
    failure: failure && messageJson(failure),
  };
}

/** NotFound is NOT_FOUND to gRPC, and what Connect spells with one L has two there. */
function statusName(code: Code): string {
  if (code === Code.Canceled) return "CANCELLED";
  return (Code[code] ?? "").replace(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase();
}

/** Options of resources(), from the scenarios' words for them. */
export function resourcesOptions(fields: JsonMap): ResourcesOptions {
  const options: Record<string, Json> = {};
  for (const [name, value] of Object.entries(fields)) {
    if (name === "evictable") continue;
    const inMs = name.endsWith("_s");
    const camel = (inMs ? `${name}_ms`.replace("_s_", "_") : name).replace(/_([a-z])/g, (_, letter: string) =>
      letter.toUpperCase(),
    );
    options[camel] = inMs ? Number(value) * 1000 : value;
  }
  return options as ResourcesOptions;
}

export function waitingJson(waiting: Waiting): JsonMap {
  return {
    position: waiting.position,
    queue_length: waiting.queueLength,
    reasons: waiting.reasons.map(messageJson),
  };
}

/** What came of a deed: an answer, or an error as data. What is neither is a fault of the runner. */
export function failureOf(thrown: unknown): JsonMap {
  if (thrown instanceof ConnectError) return rpcError(thrown);
  if (thrown instanceof Mismatch || !(thrown instanceof Error) || !("violations" in thrown)) throw thrown;
  return clientError(thrown as SluiceError);
}
