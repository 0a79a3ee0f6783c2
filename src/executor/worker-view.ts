import type { Mib, Millis } from "../engine/sample.ts";

/**
 * Where a worker is in its life.
 *
 * ```
 * starting ─▶ loading ─▶ idle ◀─▶ in-use
 *                         ├─▶ releasing ─▶ idle
 *                         └─▶ evicting ─▶ dead
 * ```
 *
 * Only `idle` may be chosen for an eviction. Every state leads to `dead` when the process ends.
 */
export type WorkerState = "starting" | "loading" | "in-use" | "idle" | "releasing" | "evicting" | "dead";

/** A resident worker as the outside sees it: a copy, true at the moment it was made. Times are ms since 1970. */
export interface WorkerView {
  readonly state: WorkerState;
  /** 0 when no process runs. */
  readonly pid: number;
  /** Empty when it has no lease. */
  readonly leaseId: string;
  /** Executions that it works on. */
  readonly executions: number;
  /** When it was ready; absent before. */
  readonly loadedAt?: Millis;
  /** Absent while it works or loads. */
  readonly idleSince?: Millis;
  /** When it will be unloaded unless it is used before; absent when it will not. */
  readonly unloadAt?: Millis;
  /** How long its last start took, from the process to ready, in ms. */
  readonly loadTimeMs?: Millis;
  /** Measured, summed over its GPUs; absent when it was not measured. */
  readonly residentVramMb?: Mib;
  readonly residentRamMb?: Mib;
}
