import { expect, it } from "vitest";
import { waitFor } from "../../wait-for.ts";
import { fakeBackend } from "../support/fake-machine.ts";
import { onTheBestMachine, openSite } from "../support/site.ts";
import { atOnce, cardMb, cards, failuresOf, limitMs, listLength, report, shortLength } from "./box.ts";
import { grantsOf, leasedOn } from "./decisions.ts";
import { type Drivable, type Driven, drive } from "./drive.ts";
import { jobList } from "./job-list.ts";
import { makespanOf } from "./utilisation.ts";

const jobs = jobList(2, shortLength);
const quarter = Math.round(jobs.length / 4);
/** What is decided for those who wait rests on measurements that are at most so old: the default of --poll-interval. */
const pollIntervalMs = 2_000;
const outOfMemory = 77;
const gpuLost = 78;

/** A list under way. */
class Course {
  readonly over: Promise<readonly Driven[]>;
  #ended = 0;

  constructor(site: Drivable) {
    const onEnd = () => {
      this.#ended++;
    };
    this.over = drive(site, jobs, { atOnce, onEnd });
    // Looked at when the list is over; a test that fails before has said why.
    this.over.catch(() => {});
  }

  /** Waits until so many jobs have ended. */
  async ended(count: number): Promise<void> {
    await waitFor(() => this.#ended >= count, `${count} jobs to end`, limitMs(jobs.length));
  }
}

onTheBestMachine((backend) => {
  it(
    "foreign memory that comes and goes: whoever is granted a place once it is measured is done, and what it leaves is used again",
    async () => {
      const foreignMb = 10_000;
      await using site = await openSite(backend, cards, [], (machine) => machine.releaseLag(500));
      const uuid = site.machine.uuid(1);
      const course = new Course(site);
      await course.ended(quarter);
      const cameAt = Date.now();
      site.machine.foreign(1, foreignMb);
      await course.ended(2 * quarter);
      const leftAt = Date.now();
      site.machine.foreign(1, 0);
      const driven = await course.over;

      const grants = grantsOf(site.server.log());
      const seenAt = cameAt + pollIntervalMs;
      // It took memory that was promised already, which nobody can prevent: those it was promised to may die, and nobody else.
      const victims = grants.filter((g) => g.on.includes(uuid) && g.at <= seenAt && g.endedAt >= cameAt).map((g) => g.name);
      const dead = driven.filter((d) => d.end === outOfMemory).map((d) => d.job.id);
      report(`foreign memory on ${backend.name}`, {
        jobs: jobs.length,
        presentMs: leftAt - cameAt,
        couldDie: victims.length,
        died: dead.length,
        makespanS: Math.round(makespanOf(driven)),
      });
      expect(failuresOf(driven.filter((d) => !dead.includes(d.job.id)))).toEqual([]);
      expect(dead.filter((id) => !victims.includes(id))).toEqual([]);
      const onIt = grants.filter((g) => g.on.includes(uuid));
      const meanwhile = onIt.filter((g) => g.at > seenAt && g.at < leftAt);
      for (const g of meanwhile) expect(leasedOn(grants, uuid, g.at) + foreignMb, g.name).toBeLessThanOrEqual(cardMb);
      const after = onIt.filter((g) => g.at > leftAt).map((g) => leasedOn(grants, uuid, g.at));
      expect(Math.max(...after)).toBeGreaterThan(cardMb - foreignMb);
    },
    limitMs(jobs.length),
  );

  it(
    "a GPU that is lost and comes back: nothing new goes there meanwhile, only what was on it dies, and afterwards it works again",
    async () => {
      await using site = await openSite(backend, cards);
      const uuid = site.machine.uuid(2);
      const course = new Course(site);
      await course.ended(quarter);
      const lostAt = Date.now();
      site.machine.lose(2);
      await course.ended(2 * quarter);
      const backAt = Date.now();
      site.machine.recover(2);
      const driven = await course.over;

      const grants = grantsOf(site.server.log());
      const onIt = grants.filter((g) => g.on.includes(uuid));
      const there = onIt.filter((g) => g.endedAt >= lostAt && g.at <= backAt).map((g) => g.name);
      const dead = driven.filter((d) => d.end === gpuLost).map((d) => d.job.id);
      const after = onIt.filter((g) => g.at > backAt);
      report(`a lost GPU on ${backend.name}`, {
        jobs: jobs.length,
        lostMs: backAt - lostAt,
        onIt: there.length,
        died: dead.length,
        lastGrantAfterLossMs: Math.max(0, ...onIt.filter((g) => g.at > lostAt && g.at < backAt).map((g) => g.at - lostAt)),
        firstGrantAfterReturnMs: Math.min(...after.map((g) => g.at - backAt)),
      });
      expect(failuresOf(driven.filter((d) => !dead.includes(d.job.id)))).toEqual([]);
      expect(site.machine.outOfMemory()).toEqual([]);
      expect(dead.filter((id) => !there.includes(id))).toEqual([]);
      expect(onIt.filter((g) => g.at > lostAt + pollIntervalMs && g.at < backAt)).toEqual([]);
      expect(after.length).toBeGreaterThan(0);
    },
    limitMs(jobs.length),
  );

  it(
    "nvidia-smi that hangs: nothing is granted once measurements are too old, what runs goes on, and in the end all are done",
    async () => {
      const hangMs = backend === fakeBackend || listLength < 200 ? 8_000 : 20_000;
      await using site = await openSite(backend, cards);
      const course = new Course(site);
      await course.ended(quarter);
      const hungAt = Date.now();
      site.machine.hang(true);
      await waitFor(() => Date.now() >= hungAt + hangMs, "the time of the hang to pass", hangMs + 5_000);
      const freedAt = Date.now();
      site.machine.hang(false);
      const driven = await course.over;

      const grants = grantsOf(site.server.log());
      const during = grants.filter((g) => g.at > hungAt && g.at < freedAt);
      report(`a hung nvidia-smi on ${backend.name}`, {
        jobs: jobs.length,
        hungMs: freedAt - hungAt,
        lastGrantAfterHangMs: Math.max(0, ...during.map((g) => g.at - hungAt)),
        endedMeanwhile: driven.filter((d) => d.endedAt > hungAt && d.endedAt < freedAt).length,
        firstGrantAfterwardsMs: Math.min(...grants.filter((g) => g.at >= freedAt).map((g) => g.at - freedAt)),
        makespanS: Math.round(makespanOf(driven)),
      });
      expect(failuresOf(driven)).toEqual([]);
      expect(site.machine.outOfMemory()).toEqual([]);
      expect(during.filter((g) => g.at > hungAt + pollIntervalMs)).toEqual([]);
      expect(driven.some((d) => d.endedAt > hungAt && d.endedAt < freedAt)).toBe(true);
    },
    limitMs(jobs.length),
  );
});
