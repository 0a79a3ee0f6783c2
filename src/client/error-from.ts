import { durationMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { type ExecutionFailed, ExecutionFailedSchema, ExecutionFailure } from "#gen/sluice/v1/executor_pb.js";
import { ReasonCode, type Refusal, RefusalSchema } from "#gen/sluice/v1/types_pb.js";
import {
  Draining,
  type ErrorFacts,
  Failed,
  InvalidRequest,
  LeaseGone,
  NeverFits,
  QueueFull,
  Refused,
  SluiceError,
  TicketCancelled,
  Unreachable,
} from "./errors.ts";
import { shortCause } from "./short-cause.ts";

const byReason: ReadonlyMap<string, typeof SluiceError> = new Map([
  ["INVALID_ARGUMENT", InvalidRequest],
  ["QUEUE_FULL", QueueFull],
  ["TENANT_QUEUE_FULL", QueueFull],
  ["DRAINING", Draining],
  ["STATE_UNAVAILABLE", Draining],
  ["TICKET_CANCELLED", TicketCancelled],
  ["LEASE_EXPIRED", LeaseGone],
  ["STALE_TOKEN", LeaseGone],
]);

/**
 * What a failed call means, with the details that the server sent. For errors of the generated clients (`client.scheduler` and its
 * companions); an error that is one of this client's already is answered as it is.
 * @param address named in the message when nobody answers there.
 */
export function errorFrom(thrown: unknown, address = ""): SluiceError {
  if (thrown instanceof SluiceError) return thrown;
  const error = ConnectError.from(thrown);
  const info = error.findDetails(ErrorInfoSchema)[0];
  const delay = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
  const facts: ErrorFacts = {
    code: error.code,
    reason: info?.reason,
    metadata: info?.metadata,
    retryAfterMs: delay === undefined ? undefined : durationMs(delay),
    violations: error
      .findDetails(BadRequestSchema)
      .flatMap(({ fieldViolations }) => fieldViolations.map(({ field, description }) => ({ field, description }))),
    cause: thrown,
  };
  const message = error.rawMessage || Code[error.code];
  const refusal = error.findDetails(RefusalSchema)[0];
  if (info?.reason === "NOT_ADMITTED" && refusal !== undefined) return refused(refusal, message, facts);
  if (info?.reason.startsWith("EXECUTION_")) return new Failed(message, error.findDetails(ExecutionFailedSchema)[0], facts);
  const kind = byReason.get(info?.reason ?? "");
  if (kind !== undefined) return new kind(message, facts);
  if (isNobody(error))
    return new Unreachable(`no server answers${address && ` at ${address}`} (${shortCause(message)})`, facts);
  if (error.code === Code.InvalidArgument) return new InvalidRequest(message, facts);
  return new SluiceError(message, facts);
}

/** The error for a refusal. */
export function refused(refusal: Refusal | undefined, message = "", facts: ErrorFacts = {}): Refused {
  const reasons = refusal?.reasons ?? [];
  const text = message || reasons.map((reason) => reason.message).join("; ") || "it was refused";
  const kind = reasons.some(({ code }) => code === ReasonCode.NEVER_FITS) ? NeverFits : Refused;
  return new kind(text, refusal, facts);
}

/** The error for an execution that failed. */
export function failureFrom(failed: ExecutionFailed): SluiceError {
  if (failed.code === ExecutionFailure.NOT_ADMITTED) return refused(failed.refusal, failed.message);
  return new Failed(failed.message, failed);
}

function isNobody(error: ConnectError): boolean {
  if (error.code === Code.Unavailable) return true;
  // fetch tells of a line that broke by a TypeError; a stream that only stops is a fault of the protocol to Connect. A server that
  // says such a thing itself says it on the wire, with a reason.
  return error.cause instanceof TypeError || (!error.isWireError && error.code === Code.InvalidArgument);
}
