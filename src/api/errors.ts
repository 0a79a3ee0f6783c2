import { create, type DescMessage, type MessageInitShape } from "@bufbuild/protobuf";
import { DurationSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import type { Failure, FailureReason } from "../engine/failure.ts";

/**
 * The one table of everything that can go wrong at the boundary: which status each reason becomes, and when a retry makes
 * sense (google.rpc.RetryInfo). A failure that knows better says so as `retry_after_ms` in its metadata.
 */
const table: Record<FailureReason, { code: Code; retryMs?: number }> = {
  INVALID_ARGUMENT: { code: Code.InvalidArgument },
  QUEUE_FULL: { code: Code.ResourceExhausted, retryMs: 5_000 },
  TENANT_QUEUE_FULL: { code: Code.ResourceExhausted, retryMs: 5_000 },
  DRAINING: { code: Code.Unavailable, retryMs: 1_000 },
  LEASE_EXPIRED: { code: Code.NotFound },
  STALE_TOKEN: { code: Code.FailedPrecondition },
  TICKET_NOT_FOUND: { code: Code.NotFound },
  TICKET_CANCELLED: { code: Code.Canceled },
  PROCESS_NOT_FOUND: { code: Code.NotFound },
  PROCESS_ATTACHED: { code: Code.AlreadyExists },
  NO_MEASUREMENT: { code: Code.Unavailable, retryMs: 1_000 },
  MONITOR_UNAVAILABLE: { code: Code.FailedPrecondition },
  PLUGIN_NOT_FOUND: { code: Code.NotFound },
  PLUGIN_DISABLED: { code: Code.FailedPrecondition },
  REGISTER_NOT_ALLOWED: { code: Code.PermissionDenied },
  NOT_A_WORKER: { code: Code.FailedPrecondition },
  NOT_ADMITTED: { code: Code.FailedPrecondition },
  EXECUTION_FAILED: { code: Code.Aborted },
  EXECUTION_NOT_FOUND: { code: Code.NotFound },
  EXECUTION_CANCELLED: { code: Code.Canceled },
  TOO_MANY_EXECUTIONS: { code: Code.ResourceExhausted, retryMs: 1_000 },
  PLUGIN_BUSY: { code: Code.FailedPrecondition },
  WORKER_BROKEN: { code: Code.Unavailable, retryMs: 60_000 },
  RELEASE_UNSUPPORTED: { code: Code.FailedPrecondition },
  LEASE_EVICTING: { code: Code.FailedPrecondition },
  STATE_UNAVAILABLE: { code: Code.Unavailable, retryMs: 5_000 },
};

/** google.rpc.ErrorInfo.domain of every error. */
export const errorDomain = "sluice";

/** A detail of an error besides ErrorInfo, BadRequest and RetryInfo. */
export interface ErrorDetail {
  readonly desc: DescMessage;
  readonly value: MessageInitShape<DescMessage>;
}

/** Turns a failure into the error that both doors send. */
export function toConnectError(failure: Failure, extra: readonly ErrorDetail[] = []): ConnectError {
  const { code, retryMs: usually } = table[failure.reason];
  const retryMs = usually === undefined ? undefined : (retryAfter(failure) ?? usually);
  const details: ErrorDetail[] = [
    {
      desc: ErrorInfoSchema,
      value: create(ErrorInfoSchema, { reason: failure.reason, domain: errorDomain, metadata: { ...failure.metadata } }),
    },
  ];
  if (failure.violations.length > 0) {
    details.push({
      desc: BadRequestSchema,
      value: create(BadRequestSchema, { fieldViolations: failure.violations.map((v) => ({ ...v })) }),
    });
  }
  if (retryMs !== undefined) {
    const retryDelay = create(DurationSchema, {
      seconds: BigInt(Math.trunc(retryMs / 1000)),
      nanos: (retryMs % 1000) * 1_000_000,
    });
    details.push({ desc: RetryInfoSchema, value: create(RetryInfoSchema, { retryDelay }) });
  }
  const error = new ConnectError(failure.message, code);
  error.details = [...details, ...extra];
  return error;
}

/** Whole ms that the failure itself knows; undefined when it does not say, or nothing that can be meant. */
function retryAfter({ metadata }: Failure): number | undefined {
  const said = metadata.retry_after_ms ?? "";
  return /^\d{1,9}$/.test(said) ? Number(said) : undefined;
}
