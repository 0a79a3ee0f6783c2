import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { expect, it } from "vitest";
import { SchedulerService } from "#gen/sluice/v1/scheduler_pb.js";
import { LeaseEnd } from "#gen/sluice/v1/types_pb.js";
import { FakeNvidiaSmi, gpuUuid } from "../../fakes/nvidia-smi/fake.ts";
import { waitFor } from "../../wait-for.ts";
import { accountOf } from "../support/books.ts";
import { fileLimitMissing, limitFiles } from "../support/file-limit.ts";
import { openFiles } from "../support/process-figures.ts";
import { gpuWork, Waiter } from "../support/scheduler.ts";
import { startProgram, startServer } from "../support/server.ts";

/** Connections that say nothing, as many as there are asked for; some may be turned away at once, some not be answered. */
async function crowd(address: string, count: number): Promise<Socket[]> {
  const [host = "", port = ""] = address.split(":");
  const sockets = Array.from({ length: count }, () => {
    const socket = connect({ host, port: Number(port) });
    socket.on("error", () => {});
    return socket;
  });
  await Promise.all(sockets.map((s) => Promise.race([once(s, "connect"), once(s, "close"), delay(500)]).catch(() => {})));
  return sockets;
}

if (fileLimitMissing !== undefined) {
  process.stderr.write(`skipped: a server without file descriptors, because ${fileLimitMissing}\n`);
}

it.skipIf(fileLimitMissing !== undefined).each([
  ["with leases in memory", false],
  ["with a state directory", true],
])(
  "a server without file descriptors lives, decides on nothing it cannot measure, and is well again, %s",
  async (name, durable) => {
    const folder = mkdtempSync(join(tmpdir(), "sluice-files-"));
    const fake = new FakeNvidiaSmi({ gpus: [{ uuid: gpuUuid(0), totalMb: 24_576, usedMb: 0 }] });
    const state = durable ? ["--state", join(folder, "state")] : [];
    const job = startProgram(fake.jobPath, ["--mib", "6000", "--seconds", "120"], { CUDA_VISIBLE_DEVICES: gpuUuid(0) });
    const sockets: Socket[] = [];
    try {
      await using server = await startServer([
        "--nvidia-smi",
        fake.path,
        "--sample-period",
        "200",
        "--max-sample-age",
        "1",
        "--poll-interval",
        "1",
        ...state,
      ]);
      const { pid } = server.process;
      const scheduler = server.client(SchedulerService);
      const { outcome } = await scheduler.allocate({ workload: gpuWork(6_000), policy: "safety" });
      if (outcome.case !== "lease") throw new Error("it was refused");
      const lease = outcome.value;
      await scheduler.attachProcess({ leaseId: lease.id, token: lease.token, pid: job.pid });
      await waitFor(async () => (await accountOf(scheduler)).usedMb === 6_000, "the job to be seen");
      const waiter = new Waiter(scheduler, 20_000, { requestId: "waits" });
      await waitFor(() => waiter.last === "queued", "one to wait");

      const before = openFiles(pid);
      // Room to start nvidia-smi again once the crowd is gone.
      const limit = before + 16;
      limitFiles(pid, limit);
      for (let round = 0; round < 8; round++) {
        sockets.push(...(await crowd(round % 2 === 0 ? server.grpc : new URL(server.web).host, 60)));
        // Those that were turned away are tried again, so that it is at its limit all the time.
        await scheduler.renewLease({ leaseId: lease.id, token: lease.token });
        expect(server.process.ended()).toBeUndefined();
      }
      // What it cannot look at has not ended: the lease and the job are there, whatever /proc says.
      const until = performance.now() + 3_000;
      await waitFor(async () => {
        sockets.push(...(await crowd(server.grpc, 10)));
        const now = (await scheduler.getLease({ leaseId: lease.id })).lease;
        expect(now?.end).toBe(LeaseEnd.UNSPECIFIED);
        expect(waiter.last).toBe("queued");
        return performance.now() > until;
      }, "three seconds at the limit");
      const at = openFiles(pid);
      process.stderr.write(
        `file descriptors (${name}): ${before} before, ${at} at the limit of ${limit}, ${sockets.length} connections tried\n`,
      );
      expect(at).toBeGreaterThanOrEqual(limit - 4);
      if (durable) {
        // Its nvidia-smi dies now, and no other can be started. Once is enough: it is tried again with longer and longer pauses.
        const loop = fake.calls().findLast((call) => call.args.includes("-lms"))?.pid ?? 0;
        process.kill(loop, "SIGKILL");
        sockets.push(...(await crowd(server.grpc, 60)));
        await waitFor(async () => (await accountOf(scheduler)).blocked !== "", "it to know nothing");
        const why = async () => (await scheduler.listSystemMonitors({})).monitors[0]?.message ?? "";
        await waitFor(async () => (await why()).includes("no file descriptors left"), "it to say why");
        const blind = await scheduler.allocate({ workload: gpuWork(1_000), policy: "safety" });
        expect(blind.outcome.case).toBe("refusal");
      }

      for (const socket of sockets.splice(0)) socket.destroy();
      await waitFor(() => openFiles(pid) <= before + 2, "the connections to be gone");
      await waitFor(async () => (await accountOf(scheduler)).blocked === "", "it to measure again", 40_000);
      const again = server.connect().client(SchedulerService);
      expect((await again.listLeases({})).leases.map((l) => l.id)).toEqual([lease.id]);
      job.process.kill("SIGKILL");
      await waitFor(() => waiter.lease, "the grant", 20_000);
      expect(await server.stop()).toBe(0);
      if (durable) expect(existsSync(join(folder, "state", "state.db"))).toBe(true);
    } finally {
      for (const socket of sockets) socket.destroy();
      job.process.kill("SIGKILL");
      await job.end;
      fake.dispose();
      rmSync(folder, { recursive: true, force: true });
    }
  },
);
