import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { waitFor } from "../wait-for.ts";
import { fakeBackend } from "./support/fake-machine.ts";
import type { End, Started } from "./support/server.ts";
import { onEachMachine, openSite, type Site } from "./support/site.ts";

const gpus = [{ totalMb: 24_576 }, { totalMb: 24_576 }];
/** Of both GPUs: what the driver keeps and the margin taken off. */
const capacityMb = 2 * 23_738;
/** 30 jobs of different sizes that together want three times what there is. */
const sizes = Array.from({ length: 30 }, (_, i) => [3_000, 8_000, 4_000, 6_000, 2_700][i % 5] ?? 0);
const outOfMemory = 77;
/** Starting ninety processes takes a small machine most of half a minute. */
const limitMs = 120_000;

/** Starts them all at once; each takes its memory over 0.3 s and holds it for 1.5 s. */
function startAll(site: Site): Started[] {
  return sizes.map((mib, i) =>
    site.run(["--vram", `${mib}`, "--timeout", "60", "--name", `job-${i}`], site.machine.job(mib, 1.5, 0.3)),
  );
}

async function ends(jobs: readonly Started[]): Promise<End[]> {
  return Promise.all(jobs.map((job) => job.end));
}

onEachMachine((backend) => {
  it(
    "thirty jobs that want three times what there is are all done, and none runs out of memory",
    async () => {
      expect(sizes.reduce((a, b) => a + b)).toBeGreaterThan(2.9 * capacityMb);
      await using site = await openSite(backend, gpus);
      const jobs = startAll(site);
      const codes = await ends(jobs);
      expect(codes.map((code, i) => (code === 0 ? 0 : `${code}: ${jobs[i]?.err()}`))).toEqual(sizes.map(() => 0));
      expect(site.machine.outOfMemory()).toEqual([]);
      // They did not simply all fit: some had to wait, and were told so.
      const decisions = site.server.log().map((line) => line.decision);
      expect(decisions.filter((d) => d === "queue").length).toBeGreaterThan(0);
      expect(decisions.filter((d) => d === "grant")).toHaveLength(30);
      await waitFor(async () => (await site.scheduler.listLeases({})).leases.length === 0, "every lease to be given back");
    },
    limitMs,
  );

  it(
    "the same jobs under a policy that checks the sum of free memory and then acts: some run out of memory",
    async () => {
      const policy = fileURLToPath(new URL("../../examples/policies/check-then-act.mjs", import.meta.url));
      await using site = await openSite(backend, gpus, ["--policy", policy]);
      expect((await site.scheduler.getPolicy({})).policy).toBe("check-then-act");
      const codes = await ends(startAll(site));
      const lost = codes.filter((code) => code === outOfMemory).length;
      expect(lost).toBeGreaterThan(0);
      expect(site.machine.outOfMemory()).toHaveLength(lost);
      expect(site.server.log().some((line) => line.decision === "grant" && line.overcommitted === true)).toBe(true);
    },
    limitMs,
  );
});

it("a policy of one's own is given by a path relative to where the server is started, and can be left for another", async () => {
  await using site = await openSite(fakeBackend, gpus, ["--policy", "./examples/policies/office-hours.mjs"]);
  const { scheduler } = site;
  expect(await scheduler.getPolicy({})).toMatchObject({
    policy: "office-hours",
    available: ["permissive", "safety", "queue", "office-hours"],
  });
  const run = site.run(["--vram", "6000"], ["sh", "-c", "echo $CUDA_VISIBLE_DEVICES"]);
  expect(await run.end).toBe(0);
  expect(run.out()).toBe(`${site.machine.uuid(0)}\n`);
  expect(await scheduler.setPolicy({ policy: "safety" })).toMatchObject({ policy: "safety", previous: "office-hours" });
  const explained = await scheduler.explain({
    workload: { resources: { requiresGpu: true, minGpuVramMb: 6_000 } },
    policy: "office-hours",
  });
  expect(explained).toMatchObject({ fitsNow: true, policy: "office-hours" });
});
