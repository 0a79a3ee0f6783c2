import { expect, it } from "vitest";
import type { Machine } from "../support/machine.ts";
import { onTheBestMachine, openSite } from "../support/site.ts";
import { atOnce, cards, failuresOf, limitMs, report, shortLength } from "./box.ts";
import { type Grant, grantsOf } from "./decisions.ts";
import { type Driven, drive, rampOf } from "./drive.ts";
import { jobList, type ListedJob } from "./job-list.ts";
import { makespanOf } from "./utilisation.ts";

const jobs = jobList(3, shortLength);
/** Memory of a card without what the driver keeps. */
const roomMb = 24_230;
const outOfMemory = 77;
/** Every decision for those who wait rests on a measurement that is at most 2 s old, and on a list of processes of about then. */
const knownAfterMs = 2_500;

const tenthMore = (job: ListedJob) => Math.floor(1.1 * job.vramMb);
const liar = (job: ListedJob) => Number(job.id.slice("job-".length)) % 2 === 0;

/** When a job had taken everything: told from its end, because how long a program takes to start depends on what else is going on. */
function fullAt({ job, commandAt }: Driven): number {
  return (commandAt.end ?? Number.POSITIVE_INFINITY) - 1000 * (job.seconds - rampOf(job));
}

/** What leases on a GPU are to be charged at a moment: what they take where that is long known, else what they declared. */
function chargedOn(
  grants: readonly Grant[],
  driven: readonly Driven[],
  uuid: string,
  at: number,
  takes: (job: ListedJob) => number,
) {
  return grants
    .filter((g) => g.on.includes(uuid) && g.at <= at && at < g.endedAt)
    .reduce((sum, g) => {
      const one = driven.find((d) => d.job.id === g.name);
      const known = one !== undefined && fullAt(one) + knownAfterMs < at;
      // Its memory comes back a little before its lease ends.
      const there = (one?.commandAt.end ?? 0) > at;
      return sum + (known && there ? takes(one.job) : g.vramMb);
    }, 0);
}

/** The most that was charged on a GPU right after a grant; MiB. */
function mostCharged(machine: Machine, grants: readonly Grant[], driven: readonly Driven[], takes: (job: ListedJob) => number) {
  const all = cards.flatMap((_, i) => {
    const uuid = machine.uuid(i);
    return grants.filter((g) => g.on.includes(uuid)).map((g) => chargedOn(grants, driven, uuid, g.at, takes));
  });
  return Math.max(...all);
}

onTheBestMachine((backend) => {
  it(
    "jobs that all take a tenth more than they declared, with a margin of a tenth: none runs out of memory, because others get less",
    async () => {
      const marginMb = Math.ceil(24_576 / 10);
      await using site = await openSite(backend, cards, ["--margin", "10%"]);
      const driven = await drive(site, jobs, { atOnce, takes: tenthMore });
      const grants = grantsOf(site.server.log());
      const most = mostCharged(site.machine, grants, driven, tenthMore);
      report(`all take a tenth more, margin 10 %, on ${backend.name}`, {
        jobs: jobs.length,
        mostChargedMb: most,
        promisedMb: roomMb - marginMb,
        makespanS: Math.round(makespanOf(driven)),
      });
      expect(failuresOf(driven)).toEqual([]);
      expect(site.machine.outOfMemory()).toEqual([]);
      expect(most).toBeLessThanOrEqual(roomMb - marginMb);
    },
    limitMs(jobs.length),
  );

  it(
    "every other job takes a tenth more, with the usual margin: who kept its word dies only where others took more than the margin",
    async () => {
      const marginMb = 492;
      const takes = (job: ListedJob) => (liar(job) ? tenthMore(job) : job.vramMb);
      await using site = await openSite(backend, cards);
      const driven = await drive(site, jobs, { atOnce, takes });
      const grants = grantsOf(site.server.log());
      const dead = driven.filter((d) => d.end === outOfMemory);
      const honest = dead.filter((d) => !liar(d.job));
      const most = mostCharged(site.machine, grants, driven, takes);
      report(`every other takes a tenth more, usual margin, on ${backend.name}`, {
        jobs: jobs.length,
        diedOfTheirOwn: dead.length - honest.length,
        diedOfOthers: honest.length,
        mostChargedMb: most,
        promisedMb: roomMb - marginMb,
      });
      expect(failuresOf(driven.filter((d) => d.end !== outOfMemory))).toEqual([]);
      for (const d of honest) {
        const own = grants.find((g) => g.name === d.job.id);
        const at = d.commandAt.end ?? 0;
        const excess = (own?.on ?? []).map((uuid) =>
          grants
            .filter((g) => g.on.includes(uuid) && g.at <= at && g.endedAt >= at - 1_000)
            .map((g) => jobs.find((job) => job.id === g.name))
            .reduce((sum, job) => sum + (job !== undefined && liar(job) ? tenthMore(job) - job.vramMb : 0), 0),
        );
        expect(Math.max(...excess), d.job.id).toBeGreaterThan(marginMb);
      }
    },
    limitMs(jobs.length),
  );
});
