import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { expect, it } from "vitest";
import { SchedulerService } from "#gen/sluice/v1/scheduler_pb.js";
import { LeaseState } from "#gen/sluice/v1/types_pb.js";
import { Random } from "../simulation/random.ts";
import { waitFor } from "../wait-for.ts";
import { BusyClient, type ToldJob } from "./support/killed-load.ts";
import { type Server, startServer } from "./support/server.ts";

/** SLUICE_KILLS=200 for a long run. */
const kills = Number(process.env.SLUICE_KILLS ?? 12);
const seed = Number(process.env.SLUICE_SEED ?? Date.now() % 1_000_000);
const clients = 24;
const capacityMb = 10_000;

interface Seen {
  maxToken: bigint;
  leases: number;
  tickets: number;
}

/** Everything that a client was told is still so in the next life. */
async function nothingIsForgotten(
  server: Server,
  jobs: readonly (ToldJob | undefined)[],
  ended: ReadonlySet<string>,
  seen: Seen,
) {
  const scheduler = server.client(SchedulerService);
  const { leases, tickets } = await scheduler.listQueue({});
  const held = leases.filter((l) => l.state !== LeaseState.DRAINING);
  const byRequest = new Map(held.map((l) => [l.requestId, l]));
  expect(byRequest.size, "no request has two leases").toBe(held.length);
  for (const job of jobs) {
    if (job === undefined || job.given === "unsure") continue;
    const lease = byRequest.get(job.requestId);
    if (job.lease !== undefined) {
      seen.leases++;
      expect(lease, `${job.requestId} was told that it has ${job.lease.id}`).toMatchObject({
        id: job.lease.id,
        token: job.lease.token,
        gpus: job.lease.gpus.map(({ uuid, vramMb }) => ({ uuid, vramMb })),
      });
      if (job.executionId !== undefined) expect(lease?.executions, `${job.requestId} runs`).toBeGreaterThanOrEqual(1);
    } else if (job.ticketId !== undefined && lease === undefined) {
      seen.tickets++;
      expect(
        tickets.map((t) => t.id),
        `${job.requestId} was told that it waits`,
      ).toContain(job.ticketId);
    }
  }
  for (const l of held) expect(ended.has(l.requestId), `${l.requestId} was told that it has given ${l.id} back`).toBe(false);

  const promised = new Map<string, number>();
  for (const gpu of held.flatMap((l) => l.gpus)) promised.set(gpu.uuid, (promised.get(gpu.uuid) ?? 0) + gpu.vramMb);
  for (const mb of promised.values()) expect(mb, "nothing is promised twice").toBeLessThanOrEqual(capacityMb);

  const place = new Map(tickets.map((t, i) => [t.id, i]));
  for (const a of jobs) {
    for (const b of jobs) {
      const [first, second] = [place.get(a?.ticketId ?? ""), place.get(b?.ticketId ?? "")];
      if (first === undefined || second === undefined || (a?.queuedAt ?? Infinity) >= (b?.askedAt ?? 0)) continue;
      expect(first, `${a?.requestId} waited before ${b?.requestId} asked`).toBeLessThan(second);
    }
  }
}

it(`a server that is killed ${kills} times at random moments under load forgets nothing that it has said`, {
  timeout: 60_000 + kills * 4_000,
}, async () => {
  const random = new Random(seed);
  const dir = mkdtempSync(join(tmpdir(), "sluice-killed-"));
  const workers = Array.from({ length: clients }, (_, n) => new BusyClient(`c${n}`, () => random.next()));
  const seen: Seen = { maxToken: 0n, leases: 0, tickets: 0 };
  const flags = [
    "--state",
    dir,
    "--simulate",
    `2x${capacityMb + 256}`,
    "--sample-period",
    "100",
    "--web",
    "off",
    "--log-level",
    "warn",
  ];
  try {
    for (let life = 0; life <= kills; life++) {
      await using server = await startServer(flags);
      const jobs = workers.map((w) => w.job);
      const ended = new Set(workers.flatMap((w) => w.done.map((j) => j.requestId)));
      await nothingIsForgotten(server, jobs, ended, seen);
      const had = new Set(jobs.map((j) => j?.lease?.id));
      const before = seen.maxToken;
      let [enough, gone] = [false, false];
      const lives = workers.map((w) =>
        w.live(
          server.grpc,
          () => enough,
          () => gone,
        ),
      );
      if (life < kills) {
        // Somebody has something to lose, most of the time.
        if (random.chance(0.8)) await waitFor(() => workers.some((w) => w.job?.given === "no" && w.job.lease), "a lease");
        await delay(random.whole(1, 300));
        server.kill("SIGKILL");
        gone = true;
      } else enough = true;
      await Promise.all(lives);
      expect(
        workers.map((w) => w.error).filter((e) => e !== undefined),
        `seed ${seed}, life ${life}`,
      ).toEqual([]);
      for (const { lease } of workers.flatMap((w) => [...w.done, ...(w.job === undefined ? [] : [w.job])])) {
        if (lease === undefined || had.has(lease.id) || lease.token <= seen.maxToken) continue;
        seen.maxToken = lease.token;
      }
      const fresh = workers.flatMap((w) => w.done.slice(-50)).filter((j) => !ended.has(j.requestId) && !had.has(j.lease?.id));
      for (const { lease, requestId } of fresh) {
        // One that was granted in an earlier life and told in this one has its token from then.
        if (lease === undefined || jobs.some((j) => j?.requestId === requestId)) continue;
        expect(lease.token, `tokens rise over a restart (${requestId})`).toBeGreaterThan(before);
      }
      if (life < kills) continue;
      const { tickets, leases } = await server.client(SchedulerService).listQueue({});
      expect(tickets).toEqual([]);
      expect(leases.filter((l) => l.state !== LeaseState.DRAINING)).toEqual([]);
    }
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
  const done = workers.reduce((sum, w) => sum + w.done.length, 0);
  // Kills that meet nothing prove nothing.
  expect({ enough: Math.min(done, seen.leases, seen.tickets) > kills / 2, done, ...seen }).toMatchObject({ enough: true });
});
