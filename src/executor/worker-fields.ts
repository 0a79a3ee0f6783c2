import { maxDurationMs, maxImportance } from "../engine/request-limits.ts";
import type { ManifestReader } from "./manifest-reader.ts";

/** What a manifest of mode `worker` says about its worker; in mode `command` all of it is as if nothing had been said. */
export interface WorkerFields {
  /** Never evicted for somebody who waits, and never unloaded for being idle. */
  readonly pin: boolean;
  /** -1000 to 1000: a request of lower importance cannot evict its idle worker. */
  readonly importance: number;
  /** How long its worker may be idle before it is unloaded, in ms; 0: for ever. Absent: the server's. */
  readonly idleTtlMs?: number;
  /** How long its worker stays at least once it is loaded, in ms. Absent: the server's. */
  readonly minResidenceMs?: number;
  /** Nothing else is loaded or evicted on its GPUs while its worker loads. */
  readonly serialLoad: boolean;
  /** A start that shows no progress for so many ms has failed; more than 0. Absent: the server's. */
  readonly loadStallMs?: number;
}

export const maxMinResidenceMs = 86_400_000;
export const maxLoadStallMs = 86_400_000;
export const maxIdleTtlMs = maxDurationMs;

/** Keys of a manifest that only mode `worker` knows. */
export const workerFieldNames = ["pin", "importance", "idle_ttl_s", "min_residence_s", "serial_load", "load_stall_s"] as const;

/** What is said of each of them in another mode. */
export const workersOnly = 'is for mode worker only: take it out, or set "mode": "worker"';

/** @param mode as the manifest says it, right or wrong: only a plugin that is surely none is told that it is no worker. */
export function workerFieldsOf(root: ManifestReader, mode: "worker" | "command" | "unclear"): WorkerFields {
  if (mode === "command") {
    for (const field of workerFieldNames) if (root.optional(field) !== undefined) root.problem(field, workersOnly);
    return { pin: false, importance: 0, serialLoad: false };
  }
  const idleTtlMs = root.seconds("idle_ttl_s", { maxMs: maxIdleTtlMs, zero: true });
  const minResidenceMs = root.seconds("min_residence_s", { maxMs: maxMinResidenceMs, zero: true });
  const loadStallMs = root.seconds("load_stall_s", { maxMs: maxLoadStallMs, zero: false });
  return {
    pin: root.flag("pin"),
    importance: root.wholeNumber("importance", -maxImportance, maxImportance, 0),
    ...(idleTtlMs === undefined ? {} : { idleTtlMs }),
    ...(minResidenceMs === undefined ? {} : { minResidenceMs }),
    serialLoad: root.flag("serial_load"),
    ...(loadStallMs === undefined ? {} : { loadStallMs }),
  };
}
