import type { Grant } from "./decisions.ts";
import type { Driven } from "./drive.ts";

/** How long the job's own command ran; seconds. 0 when it never ran to an end. */
export function ownSeconds({ commandAt: { begin, end } }: Driven): number {
  return begin === undefined || end === undefined ? 0 : (end - begin) / 1000;
}

/** From the first offer to the last end; seconds. */
export function makespanOf(driven: readonly Driven[]): number {
  return (Math.max(...driven.map((d) => d.endedAt)) - firstOfferOf(driven)) / 1000;
}

export function firstOfferOf(driven: readonly Driven[]): number {
  return Math.min(...driven.map((d) => d.offeredAt));
}

/**
 * GPU memory × time of jobs as a share of what the machine could have held meanwhile, in percent: what a replay calls `util_pct`. A
 * job's time is that of its own command; what goes by between a grant and that, and between that and the next grant, is lost.
 * @param capacityMb what can be promised, of all GPUs together.
 */
export function utilisationPct(driven: readonly Driven[], capacityMb: number): number {
  const work = driven.reduce((sum, d) => sum + d.job.gpus * d.job.vramMb * ownSeconds(d), 0);
  return (100 * work) / (capacityMb * makespanOf(driven));
}

/** What a job costs besides what its list says; means, ms. */
export interface Overheads {
  /** From the start of `sluice run` until the server has its request. */
  readonly toRequest: number;
  /** From the grant until the command begins. */
  readonly toStart: number;
  /** The job's program starts, and time that a busy machine does not give it: what the command took beyond its list. */
  readonly within: number;
  /** From the end of the command until the lease has ended. */
  readonly toRelease: number;
}

export function overheadsOf(driven: readonly Driven[], grants: readonly Grant[]): Overheads {
  const byName = new Map(grants.map((g) => [g.name, g]));
  const mean = (of: (d: Driven, grant: Grant) => number) => {
    const values = driven.flatMap((d) => {
      const grant = byName.get(d.job.id);
      return grant === undefined || ownSeconds(d) === 0 ? [] : [of(d, grant)];
    });
    return Math.round(values.reduce((a, b) => a + b, 0) / Math.max(1, values.length));
  };
  return {
    toRequest: mean((d, grant) => grant.askedAt - d.offeredAt),
    toStart: mean((d, grant) => (d.commandAt.begin ?? 0) - grant.at),
    within: mean((d) => 1000 * (ownSeconds(d) - d.job.seconds)),
    toRelease: mean((d, grant) => grant.endedAt - (d.commandAt.end ?? 0)),
  };
}
