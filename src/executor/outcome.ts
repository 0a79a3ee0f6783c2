import type { Refusal } from "../engine/types.ts";
import type { JsonValue } from "./json.ts";

export type ExecutionFailureCode =
  | "NOT_ADMITTED"
  | "TIMED_OUT"
  | "SPAWN"
  | "EXIT"
  | "BAD_RESULT"
  | "CANCELLED"
  | "LEASE_LOST"
  | "OUT_OF_MEMORY"
  | "PLUGIN_ERROR"
  | "WORKER_LOST"
  | "LOAD_FAILED"
  | "WORKER_BROKEN";

/** Why an execution failed. `message` is one plain sentence for people: what happened and what to do next. */
export interface ExecutionFailure {
  readonly code: ExecutionFailureCode;
  readonly message: string;
  readonly exitCode?: number;
  readonly signal?: string;
  /** For NOT_ADMITTED and TIMED_OUT. */
  readonly refusal?: Refusal;
  /** At most 4 KiB. */
  readonly stderrTail?: string;
  /** How often it was tried, a load that ran out of memory counted; absent when it never ran and was not tried again. */
  readonly attempts?: number;
}

/** What an execution ends with. */
export type Outcome =
  | { readonly ok: true; readonly result: JsonValue }
  | { readonly ok: false; readonly failure: ExecutionFailure };

export function failed(code: ExecutionFailureCode, message: string, more: Partial<ExecutionFailure> = {}): Outcome {
  return { ok: false, failure: { code, message, ...more } };
}
