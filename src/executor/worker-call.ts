import { firstText } from "./bytes.ts";
import { isJsonObject, type JsonObject, type JsonValue, jsonProblem } from "./json.ts";
import { maxResultBytes } from "./output.ts";
import type { ExitReport } from "./process-group.ts";
import type { Answer } from "./worker-wire.ts";

/** Who is being served by one call of `execute`. */
export interface WorkerCall {
  readonly executionId: string;
  /** @param stderr true for a line of stderr; false for a `log` notification and for a stray line on stdout. */
  onLog(line: string, stderr: boolean): void;
  /** @param fraction 0 to 1; undefined when the worker did not say. */
  onProgress(message: string, fraction: number | undefined): void;
  /** Undefined when more may be told; else a promise of when. Until then nothing more is read from the worker. */
  ready(): Promise<void> | undefined;
  /** It took nothing for so long that from now on its logs and progress are dropped. Its result still comes. */
  tooSlow?(): void;
}

/** The worker is gone, and what it was asked for never came. `problem`: why sluice ended it; absent when it ended by itself. */
export interface WorkerLost {
  readonly kind: "lost";
  readonly report: ExitReport;
  /** At most 4 KiB. */
  readonly stderrTail: string;
  readonly problem?: string;
}

/** `fatal`: the worker says that it is no good any more. */
export interface WorkerError {
  readonly kind: "error";
  readonly code: number;
  readonly message: string;
  readonly fatal: boolean;
}

/** `neededMb`: what it says it needed, in MiB; undefined when it does not say. */
export interface WorkerOutOfMemory {
  readonly kind: "out-of-memory";
  readonly resource: "gpu" | "ram";
  readonly neededMb: number | undefined;
  readonly message: string;
}

/**
 * How a call of `execute` is over.
 * - result, error, out-of-memory: what the worker answered, also when it was cancelled too late.
 * - cancelled: it was cancelled and the worker gave it up, or is gone.
 * - bad-result: the answer cannot be passed on; the worker is well.
 */
export type CallEnd =
  | { readonly kind: "result"; readonly value: JsonValue }
  | WorkerError
  | WorkerOutOfMemory
  | { readonly kind: "cancelled" }
  | WorkerLost
  | { readonly kind: "bad-result"; readonly problem: string };

/**
 * How loading is over. After everything but `ready` the worker is being ended: `ended` of the worker tells when it is gone.
 * - stalled: nothing was heard of it for too long. `lastHeard` names the last thing, in words that follow "the last thing heard
 *   of it was …"; undefined when nothing ever was.
 */
export type InitEnd =
  | { readonly kind: "ready"; readonly canRelease: boolean; readonly tookMs: number }
  | WorkerError
  | WorkerOutOfMemory
  | { readonly kind: "stalled"; readonly lastHeard: string | undefined; readonly stderrTail: string }
  | { readonly kind: "cancelled" }
  | WorkerLost;

/** The time it took is added later. */
export type LoadEnd = Exclude<InitEnd, { kind: "ready" }> | Omit<Extract<InitEnd, { kind: "ready" }>, "tookMs">;

const outOfMemory = -32001;
const cancelled = -32800;
const maxMessageBytes = 4_096;

/** @param aborted the call was cancelled before the answer came. */
export function callEndOf(answer: Answer, aborted: boolean): CallEnd {
  switch (answer.kind) {
    case "too-long":
      return { kind: "bad-result", problem: tooLarge };
    case "error":
      return aborted && answer.code === cancelled ? { kind: "cancelled" } : answeredError(answer);
    case "result": {
      // Looked at first: what is nested without end cannot be written as text.
      const problem = jsonProblem(answer.value);
      if (problem !== undefined) return { kind: "bad-result", problem: `Its result ${problem}.` };
      if (Buffer.byteLength(JSON.stringify(answer.value)) > maxResultBytes) return { kind: "bad-result", problem: tooLarge };
      return { kind: "result", value: answer.value };
    }
  }
}

const tooLarge = `Its result is larger than ${maxResultBytes} bytes.`;

/** What an error says. Memory counts as too little only when the worker says which. */
function answeredError(answer: Extract<Answer, { kind: "error" }>): WorkerError | WorkerOutOfMemory {
  const message = firstText(Buffer.from(answer.message.slice(0, maxMessageBytes)), maxMessageBytes);
  const data = (typeof answer.data === "object" ? answer.data : null) as Readonly<Record<string, unknown>> | null;
  const resource = data?.resource;
  if (answer.code === outOfMemory && (resource === "gpu" || resource === "ram")) {
    const needed = data?.needed_mb;
    const neededMb = typeof needed === "number" && Number.isFinite(needed) && needed > 0 ? needed : undefined;
    return { kind: "out-of-memory", resource, neededMb, message };
  }
  return { kind: "error", code: answer.code, message, fatal: data?.fatal === true };
}

/** How an answer to `initialize` is taken. An answer that says nothing of capabilities has none. */
export function initEndOf(answer: Answer | WorkerLost): LoadEnd {
  switch (answer.kind) {
    case "lost":
      return answer;
    case "error":
      return answeredError(answer);
    case "too-long":
      return { kind: "ready", canRelease: false };
    case "result": {
      const capabilities = isJsonObject(answer.value) ? answer.value.capabilities : undefined;
      return { kind: "ready", canRelease: isJsonObject(capabilities ?? null) && (capabilities as JsonObject).release === true };
    }
  }
}
