import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { onTheBestMachine, openSite } from "../support/site.ts";
import { atOnce, boxMb, cardMb, cards, failuresOf, limitMs, listLength, report, shortLength } from "./box.ts";
import { grantsOf } from "./decisions.ts";
import { drive } from "./drive.ts";
import { demandOf, jobList } from "./job-list.ts";
import { predict } from "./prediction.ts";
import { firstOfferOf, makespanOf, overheadsOf, ownSeconds, utilisationPct } from "./utilisation.ts";

const seed = 1;
/** Of what the replay of the same list makes of the machine. */
const leastShare = 0.85;
const outOfMemory = 77;

onTheBestMachine((backend) => {
  it(
    `${listLength} jobs at more than twice what there is: all are done, none runs out of memory, and the machine is used as the replay says`,
    async () => {
      const jobs = jobList(seed, listLength);
      expect((atOnce * demandOf(jobs)) / jobs.length).toBeGreaterThan(2 * boxMb);
      await using site = await openSite(backend, cards);
      const driven = await drive(site, jobs, { atOnce });

      expect(failuresOf(driven)).toEqual([]);
      expect(site.machine.outOfMemory()).toEqual([]);
      const grants = grantsOf(site.server.log());
      expect(grants.map((g) => g.name).sort()).toEqual(jobs.map((j) => j.id).sort());

      const first = firstOfferOf(driven);
      const list = driven.map((d) => ({ job: d.job, arriveS: (d.offeredAt - first) / 1000, durationS: ownSeconds(d) }));
      const asOffered = await predict(list, cards.length, cardMb);
      // Offers follow ends, so a slow server has its jobs offered later; this does not forgive that.
      const atTheStart = await predict(
        list.map((row) => ({ ...row, arriveS: 0 })),
        cards.length,
        cardMb,
      );
      const measured = utilisationPct(driven, boxMb);
      report(`${jobs.length} jobs on ${backend.name}`, {
        makespanS: Math.round(makespanOf(driven)),
        utilPct: Math.round(10 * measured) / 10,
        asOffered: { makespanS: asOffered.makespan_s, utilPct: asOffered.util_pct },
        atTheStart: { makespanS: atTheStart.makespan_s, utilPct: atTheStart.util_pct },
        overheadMs: overheadsOf(driven, grants),
      });
      expect(asOffered).toMatchObject({ done: jobs.length, oom: 0 });
      expect(measured / asOffered.util_pct).toBeGreaterThanOrEqual(leastShare);
      // In a short list the first offers, one after the other, are a good part of all time.
      if (jobs.length >= 200) expect(measured / atTheStart.util_pct).toBeGreaterThanOrEqual(leastShare);
    },
    limitMs(listLength),
  );

  it(
    `${shortLength} of them under a policy that looks at free memory and then acts: more than one in ten runs out of memory`,
    async () => {
      const policy = fileURLToPath(new URL("../../../examples/policies/check-then-act.mjs", import.meta.url));
      const jobs = jobList(seed, shortLength);
      await using site = await openSite(backend, cards, ["--policy", policy]);
      // As they come where nobody holds them back. On a slow machine the usual pace leaves each time to take its memory.
      const driven = await drive(site, jobs, { atOnce, paceMs: 0 });
      const lost = driven.filter((d) => d.end === outOfMemory).length;
      report(`check then act, ${jobs.length} jobs on ${backend.name}`, {
        lost,
        lostPct: Math.round((100 * lost) / jobs.length),
        makespanS: Math.round(makespanOf(driven)),
      });
      expect(driven.filter((d) => d.end !== 0 && d.end !== outOfMemory)).toEqual([]);
      expect(lost).toBeGreaterThan(jobs.length / 10);
    },
    limitMs(shortLength),
  );
});
