import { Failure } from "../engine/failure.ts";
import type { Mib, Millis } from "../engine/sample.ts";

/**
 * What one replayed piece of work may say: the limits of the request fields of the same meaning, so that a list holds nothing that a
 * server would not take.
 */

/** 16 TiB. */
export const maxMib: Mib = 16_777_216;
export const maxGpus = 64;
export const maxPriority = 1_000;
/** 366 days. */
export const maxDurationMs: Millis = 366 * 86_400_000;
/** Bytes of UTF-8. */
export const maxIdBytes = 128;
export const maxTenantBytes = 128;
export const maxNameBytes = 256;
/** More work than this is not read: it is kept in memory as a whole. */
export const maxJobs = 1_000_000;

/** What a request becomes that does not name itself or who asks. */
export const unnamed = "unnamed";
export const defaultTenant = "default";

/** A value as it is shown in an error: quoted, and cut where it is long. */
export function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}

/** Ends the reading of a file with sentences that are written for people, one a line. */
export function badInput(source: string, ...problems: readonly string[]): Failure {
  return new Failure("INVALID_ARGUMENT", problems.map((problem) => `${source}: ${problem}`).join("\n"));
}
