import type { Code } from "@connectrpc/connect";
import type { ExecutionFailed } from "#gen/sluice/v1/executor_pb.js";
import type { Reason, Refusal, ResourceRequirements } from "#gen/sluice/v1/types_pb.js";

/** What is wrong with one field of a request. */
export interface Violation {
  /** The field, as the contract names it: `workload.priority`. */
  readonly field: string;
  /** What is wrong with it, and what is allowed. */
  readonly description: string;
}

/** What an error may say besides its message. */
export interface ErrorFacts {
  readonly code?: Code | undefined;
  readonly reason?: string | undefined;
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  readonly retryAfterMs?: number | undefined;
  readonly violations?: readonly Violation[] | undefined;
  readonly cause?: unknown;
}

/** Base of all errors of this client. */
export class SluiceError extends Error {
  override name = "SluiceError";
  /** Status of the call that failed; undefined when none did. */
  readonly code: Code | undefined;
  /** The stable word for what happened (ErrorInfo.reason of the contract), such as `QUEUE_FULL`; empty when there is none. */
  readonly reason: string;
  /** More about the reason, by name. */
  readonly metadata: Readonly<Record<string, string>>;
  /** After how many ms the server wants to be asked again; undefined when it named no time. */
  readonly retryAfterMs: number | undefined;
  /** Fields that are wrong. */
  readonly violations: readonly Violation[];

  constructor(message: string, facts: ErrorFacts = {}) {
    super(message, facts.cause === undefined ? undefined : { cause: facts.cause });
    this.code = facts.code;
    this.reason = facts.reason ?? "";
    this.metadata = facts.metadata ?? {};
    this.retryAfterMs = facts.retryAfterMs;
    this.violations = facts.violations ?? [];
  }
}

/** The request is wrong and stays wrong; `violations` name the fields. */
export class InvalidRequest extends SluiceError {
  override name = "InvalidRequest";
}

/** A no, with its reasons. */
export class Refused extends SluiceError {
  override name = "Refused";
  /** The server's reasons, with their numbers (MiB). */
  readonly reasons: readonly Reason[];
  /** The largest request of the same shape that the machine could ever hold; undefined when there is none. */
  readonly largestThatFits: ResourceRequirements | undefined;

  constructor(message: string, refusal?: Refusal, facts: ErrorFacts = {}) {
    super(message, facts);
    this.reasons = refusal?.reasons ?? [];
    this.largestThatFits = refusal?.largestThatFits;
  }
}

/** It would not fit on an empty machine either. */
export class NeverFits extends Refused {
  override name = "NeverFits";
}

/** It waited as long as it was allowed to. */
export class TimedOut extends SluiceError {
  override name = "TimedOut";
  /** How long it waited, in ms. */
  readonly waitedMs: number;
  /** Why it waited until the end. */
  readonly reasons: readonly Reason[];

  constructor(message: string, waitedMs: number, reasons: readonly Reason[]) {
    super(message);
    this.waitedMs = waitedMs;
    this.reasons = reasons;
  }
}

/** The queue, or the tenant's share of it, is at its limit. */
export class QueueFull extends SluiceError {
  override name = "QueueFull";
}

/** Somebody took the request out of the queue. */
export class TicketCancelled extends SluiceError {
  override name = "TicketCancelled";
}

/** The lease has ended, or the token is not its own. */
export class LeaseGone extends SluiceError {
  override name = "LeaseGone";
}

/** The lease ended while it was held: its memory is no longer reserved, and others may be admitted to it. */
export class LeaseLost extends SluiceError {
  override name = "LeaseLost";
}

/** No server answers. */
export class Unreachable extends SluiceError {
  override name = "Unreachable";
}

/** The server is shutting down, or cannot promise anything now. `retryAfterMs` says when to ask again. */
export class Draining extends Unreachable {
  override name = "Draining";
}

/** An execution failed. */
export class Failed extends SluiceError {
  override name = "Failed";
  /** How it failed; undefined when nothing is known. */
  readonly failure: ExecutionFailed | undefined;

  constructor(message: string, failure?: ExecutionFailed, facts: ErrorFacts = {}) {
    super(message, facts);
    this.failure = failure;
  }
}
