import type { Mib, Millis } from "../engine/sample.ts";
import type { Discipline } from "../engine/settings.ts";
import type { Requirements } from "../engine/types.ts";

/** One piece of work of a list that is replayed. */
export interface ReplayJob {
  readonly id: string;
  readonly name: string;
  readonly arriveMs: Millis;
  /** How long it really runs once it is admitted. */
  readonly durationMs: Millis;
  readonly requirements: Requirements;
  readonly tenant: string;
  readonly priority: number;
  /** What its owner says beforehand; absent: nothing. */
  readonly expectedDurationMs?: Millis;
  /** How long it waits at most; absent: for ever. */
  readonly timeoutMs?: Millis;
}

/** Memory that processes without a lease use on one GPU from a moment on. */
export interface ForeignUse {
  readonly atMs: Millis;
  readonly gpuIndex: number;
  readonly usedMb: Mib;
}

/** The machine that a list is replayed on. */
export interface ReplayMachine {
  /** Physical memory of each GPU, and what its driver keeps of it. */
  readonly gpus: readonly { readonly totalMb: Mib; readonly reservedMb: Mib }[];
  readonly ramMb: Mib;
  /** In order of time. */
  readonly foreign: readonly ForeignUse[];
}

/** More work than this is not read: it is kept in memory as a whole. */
export const maxJobs = 1_000_000;

/** What is replayed: a machine and the work that came to it, in order of arrival. */
export interface Workbook {
  readonly machine: ReplayMachine;
  readonly jobs: readonly ReplayJob[];
  /** What the source could not tell, one sentence each. */
  readonly remarks: readonly string[];
}

/** The answer of `sluice replay`; the names and units are those of its JSON. */
export interface ReplayResult {
  readonly jobs: number;
  readonly done: number;
  readonly refused: number;
  readonly timed_out: number;
  /** Allocations that did not fit the physical memory. */
  readonly oom: number;
  readonly wait_mean_s: number;
  readonly wait_p50_s: number;
  readonly wait_p99_s: number;
  readonly wait_max_s: number;
  /** Mean of max(1, (wait + duration) / max(duration, 10 s)). */
  readonly slowdown_mean: number;
  readonly makespan_s: number;
  /** GPU memory × time of finished work, as a share of what the machine has until the last end. */
  readonly util_pct: number;
  /** Verdicts of the engine on one request or waiting ticket, for each second of the replay's own time. */
  readonly decisions_per_s: number;
}

/** How a list is replayed. */
export interface ReplayOptions {
  /** Name of a policy that is always there. */
  readonly policy: string;
  readonly discipline: Discipline;
  /** False: owners say nothing of durations. */
  readonly durations: boolean;
  /** Memory that is never promised, on each GPU and of the host. */
  readonly marginMb: Mib;
  readonly maxOvertakes?: number;
  readonly fairShareHalfLifeMs?: Millis;
}
