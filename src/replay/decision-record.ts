import type { Mib, Millis } from "../engine/sample.ts";
import type { LeaseEnd } from "../engine/types.ts";

/**
 * The record of a server's decisions, as `--record` writes it and `sluice replay` reads it: one JSON object a line.
 *
 * The first line says which version of this form it is. Each start of a server adds a `start`; lines after it are in the order in
 * which things happened. `at` is milliseconds since 1970, sizes are MiB. What was not known is not there.
 */

export const recordVersion = 1;

/** The first line of a record. */
export interface RecordHeader {
  readonly sluice_record: number;
}

/** A server has started. Leases of an earlier one that have not ended by then never end in the record. */
export interface StartLine {
  readonly type: "start";
  readonly at: Millis;
}

/** What the machine has: written at first and when it changes. */
export interface MachineLine {
  readonly type: "machine";
  readonly at: Millis;
  readonly gpus: readonly RecordedGpu[];
  readonly ram_mb?: Mib;
  /** What the server never promises of it. */
  readonly ram_margin_mb?: Mib;
}

export interface RecordedGpu {
  readonly index: number;
  readonly uuid: string;
  readonly total_mb: Mib;
  /** What the driver keeps. */
  readonly reserved_mb: Mib;
  /** What the server never promises. */
  readonly margin_mb: Mib;
}

/** Memory of processes without a lease on one GPU, from this moment on. Coarse: small and short changes are not written. */
export interface ForeignLine {
  readonly type: "foreign";
  readonly at: Millis;
  /** Index of the GPU. */
  readonly gpu: number;
  readonly used_mb: Mib;
}

export interface RequestLine {
  readonly type: "request";
  readonly at: Millis;
  readonly id: string;
  /** `wait`: may wait in the queue. `now`: is answered at once. */
  readonly mode: "wait" | "now";
  /** Only for `wait`; absent: for ever. */
  readonly timeout_ms?: Millis;
  /** As it was asked for; empty: the server's. */
  readonly policy: string;
  readonly name: string;
  readonly tenant: string;
  readonly priority: number;
  readonly expected_ms?: Millis;
  readonly gpus: number;
  readonly vram_mb: Mib;
  readonly ram_mb: Mib;
  readonly gpu_uuids?: readonly string[];
  readonly exclusive?: true;
}

export interface GrantLine {
  readonly type: "grant";
  readonly at: Millis;
  readonly request: string;
  readonly lease: string;
  readonly policy: string;
  /** Indexes of its GPUs. */
  readonly on: readonly number[];
}

/** The lease has ended. */
export interface EndLine {
  readonly type: "end";
  readonly at: Millis;
  readonly lease: string;
  readonly why: LeaseEnd;
  readonly held_ms: Millis;
}

/** The request has ended without a grant; `why` has codes of reasons, or the one of a failure. */
export interface NoLine {
  readonly type: "refuse" | "time-out" | "withdraw";
  readonly at: Millis;
  readonly request: string;
  readonly why: readonly string[];
}

export type RecordLine = StartLine | MachineLine | ForeignLine | RequestLine | GrantLine | EndLine | NoLine;

/** The version that the first line of a file names; undefined: it is no record. */
export function versionOfRecord(firstLine: string): number | undefined {
  if (!firstLine.startsWith("{")) return undefined;
  try {
    const { sluice_record: version } = JSON.parse(firstLine) as Partial<RecordHeader>;
    return typeof version === "number" ? version : undefined;
  } catch {
    return undefined;
  }
}
