import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { waitFor } from "../../wait-for.ts";
import { type Server, startServer } from "../support/server.ts";
import { onTheBestMachine, openSite, samplePeriodMs } from "../support/site.ts";
import { atOnce, cards, failuresOf, limitMs, report, shortLength } from "./box.ts";
import { type Grant, grantsOf } from "./decisions.ts";
import { drive } from "./drive.ts";
import { jobList } from "./job-list.ts";
import { makespanOf } from "./utilisation.ts";

const jobs = jobList(4, shortLength);

onTheBestMachine((backend) => {
  it(
    "a server that is killed twice in the middle: all jobs are done, none runs out of memory, and nobody is granted a lease twice",
    async () => {
      const dir = mkdtempSync(join(tmpdir(), "sluice-restart-"));
      await using site = await openSite(backend, cards, ["--state", dir]);
      const address = site.server.grpc;
      let server: Server = site.server;
      const grants: Grant[] = [];
      let ended = 0;
      const onEnd = () => {
        ended++;
      };
      // Whoever is there while the server is away asks again for a minute; that nobody answers at first is an error sooner.
      let back: Promise<unknown> = Promise.resolve();
      const course = drive(site, jobs, { atOnce, onEnd, mayOffer: () => back });
      course.catch(() => {});
      const tookUp: unknown[] = [];
      try {
        for (const share of [0.25, 0.5]) {
          await waitFor(() => ended >= share * jobs.length, "jobs to end", limitMs(jobs.length));
          const flags = ["--nvidia-smi", site.machine.nvidiaSmi, "--sample-period", `${samplePeriodMs}`, "--state", dir];
          server.kill("SIGKILL");
          const restarted = server.process.end.then(() => startServer([...flags, "--grpc", address]));
          back = restarted;
          const before = server;
          server = await restarted;
          grants.push(...grantsOf(before.log()));
          tookUp.push(server.log().find((line) => line.msg === "took up what was promised before"));
        }
        const driven = await course;
        grants.push(...grantsOf(server.log()));
        report(`a server that is killed twice, on ${backend.name}`, {
          jobs: jobs.length,
          tookUp: tookUp.map((line) => ({
            leases: (line as { leases: number }).leases,
            tickets: (line as { tickets: number }).tickets,
          })),
          makespanS: Math.round(makespanOf(driven)),
        });
        expect(failuresOf(driven)).toEqual([]);
        expect(site.machine.outOfMemory()).toEqual([]);
        expect(grants.map((g) => g.name).sort()).toEqual(jobs.map((j) => j.id).sort());
        for (const line of tookUp) expect(line).toMatchObject({ leases: expect.any(Number), tickets: expect.any(Number) });
      } finally {
        await server.stop();
        rmSync(dir, { recursive: true, force: true });
      }
    },
    limitMs(jobs.length),
  );
});
