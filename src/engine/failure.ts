/**
 * Why a call failed, as a stable word: google.rpc.ErrorInfo.reason on the wire. api/errors.ts has the one table that says
 * which status each becomes.
 */
export type FailureReason =
  | "INVALID_ARGUMENT"
  | "QUEUE_FULL"
  | "TENANT_QUEUE_FULL"
  | "DRAINING"
  | "LEASE_EXPIRED"
  | "STALE_TOKEN"
  | "TICKET_NOT_FOUND"
  | "TICKET_CANCELLED"
  | "PROCESS_NOT_FOUND"
  | "PROCESS_ATTACHED"
  | "NO_MEASUREMENT"
  | "MONITOR_UNAVAILABLE"
  | "PLUGIN_NOT_FOUND"
  | "PLUGIN_DISABLED"
  | "REGISTER_NOT_ALLOWED"
  | "NOT_A_WORKER"
  | "NOT_ADMITTED"
  | "EXECUTION_FAILED"
  | "EXECUTION_NOT_FOUND"
  | "EXECUTION_CANCELLED"
  | "TOO_MANY_EXECUTIONS"
  | "PLUGIN_BUSY"
  | "WORKER_BROKEN"
  | "RELEASE_UNSUPPORTED"
  | "LEASE_EVICTING"
  | "STATE_UNAVAILABLE";

/** One field that is wrong: its path in the request as the proto names it, what is wrong with it, and what is allowed. */
export interface FieldViolation {
  readonly field: string;
  readonly description: string;
}

/**
 * A failure that may be told to the caller: its message is written for people and holds nothing internal. Everything else
 * that is thrown becomes INTERNAL with an id at the boundary.
 */
export class Failure extends Error {
  readonly reason: FailureReason;
  readonly violations: readonly FieldViolation[];
  /** The variables of the message, units in the keys (AIP-193). */
  readonly metadata: Readonly<Record<string, string>>;

  /** @param message plain words: what happened, and what to do next where there is something to do. */
  constructor(
    reason: FailureReason,
    message: string,
    metadata: Record<string, string> = {},
    violations: readonly FieldViolation[] = [],
  ) {
    super(message);
    this.name = "Failure";
    this.reason = reason;
    this.metadata = metadata;
    this.violations = violations;
  }
}

/** INVALID_ARGUMENT that names each field and its limit. */
export function invalidArgument(...violations: readonly FieldViolation[]): Failure {
  return new Failure("INVALID_ARGUMENT", violations.map((v) => `${v.field}: ${v.description}`).join("; "), {}, violations);
}
