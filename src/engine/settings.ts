import type { Mib, Millis } from "./sample.ts";

/** Memory that is never promised: a share of the card or a fixed size, whichever is more. */
export interface Margin {
  readonly percent: number;
  readonly atLeastMb: Mib;
}

/**
 * Who may be served while an earlier ticket waits. `strict-fifo`: nobody. `best-effort`: whoever fits. `backfill`: whoever fits and
 * does not delay the start that is kept for the first, chosen so that tickets wait least.
 */
export type Discipline = "strict-fifo" | "best-effort" | "backfill";

export const disciplines: readonly Discipline[] = ["strict-fifo", "best-effort", "backfill"];

/** What the leases of one tenant may have at the same time. Absent: no limit. */
export interface TenantLimits {
  /** GPUs, counted once for each lease on them. */
  readonly gpus?: number;
  /** GPU memory, summed over GPUs and leases. */
  readonly vramMb?: Mib;
  readonly queued?: number;
}

/** Everything about the engine that an operator can set. Each has a test that it changes a decision. */
export interface EngineSettings {
  /** Per GPU. Covers rounding, contexts of processes that grow, and foreign processes that come between two samples. */
  readonly margin: Margin;
  /** For host memory. */
  readonly ramMargin: Margin;
  /** Nothing is decided on GPU or host measurements older than this. */
  readonly maxSampleAgeMs: Millis;
  /** What safety and queue do with a GPU whose memory is not known: refuse (wait) or allow. */
  readonly whenBlind: "refuse" | "allow";
  readonly maxQueue: number;
  readonly maxQueuePerTenant: number;
  readonly discipline: Discipline;
  /** How fast what a tenant has used stops counting against it; 0: never counted, tenants are served by arrival. */
  readonly fairShareHalfLifeMs: Millis;
  /** By tenant; `*`: every tenant that has no entry of its own. */
  readonly tenantLimits: ReadonlyMap<string, TenantLimits>;
  /** How many later tickets may take memory that a waiting ticket could have used, before memory is held for it. */
  readonly maxOvertakes: number;
  readonly defaultTimeoutMs: Millis;
  readonly defaultPollIntervalMs: Millis;
  readonly defaultTtlMs: Millis;
  /** How long a ticket with a request id keeps its place while its client is away. */
  readonly graceMs: Millis;
  /** How long a grant that its client never heard of waits for the client to come back. */
  readonly claimTimeoutMs: Millis;
  /** How long memory may take to come back after its process ended, before it is simply foreign use. Ollama waits as long. */
  readonly releaseLagMs: Millis;
  /** How long a resident stays at least once it is loaded, where it does not say otherwise: loading it must pay. */
  readonly minResidenceMs: Millis;
  /** How long the holder of an idle lease has to give it back when it is asked. */
  readonly evictionGraceMs: Millis;
  /** The first fencing token. Must be above every token that an earlier life of this server gave out. */
  readonly firstToken: number;
}

export const defaultSettings: EngineSettings = {
  margin: { percent: 2, atLeastMb: 256 },
  ramMargin: { percent: 2, atLeastMb: 256 },
  maxSampleAgeMs: 5_000,
  whenBlind: "refuse",
  maxQueue: 10_000,
  maxQueuePerTenant: 10_000,
  discipline: "backfill",
  fairShareHalfLifeMs: 7 * 24 * 3_600_000,
  tenantLimits: new Map(),
  maxOvertakes: 64,
  defaultTimeoutMs: 300_000,
  defaultPollIntervalMs: 2_000,
  defaultTtlMs: 60_000,
  graceMs: 30_000,
  claimTimeoutMs: 30_000,
  releaseLagMs: 5_000,
  minResidenceMs: 5_000,
  evictionGraceMs: 30_000,
  firstToken: 1,
};

/** The margin of a pool of `totalMb`, rounded up. */
export function marginOf(margin: Margin, totalMb: Mib): Mib {
  return Math.max(Math.ceil((totalMb * margin.percent) / 100), margin.atLeastMb);
}
