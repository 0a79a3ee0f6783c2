import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Health, HealthCheckResponse_ServingStatus as Serving } from "#gen/grpc/health/v1/health_pb.js";
import { SchedulerService } from "#gen/sluice/v1/scheduler_pb.js";
import { connectClient } from "../../src/transport/client.ts";
import { waitFor } from "../wait-for.ts";
import { allocate, codesOf, detailsOf, gpuWork, Waiter } from "./support/scheduler.ts";
import { startProgram } from "./support/server.ts";

const main = fileURLToPath(new URL("../../dist/bin/sluice.js", import.meta.url));
const canMount = spawnSync("unshare", ["-rm", "true"]).status === 0;
if (!canMount) process.stderr.write("SKIPPED: no file system of its own can be mounted here, so a full disk was not tried.\n");

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "sluice-full-"));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** Everything in it is 4 KiB large. */
function fill(folder: string): void {
  writeFileSync(join(folder, "ballast"), "");
  try {
    for (;;) writeFileSync(join(folder, "ballast"), Buffer.alloc(4_096), { flag: "a" });
  } catch {
    // Full.
  }
}

it.skipIf(!canMount)(
  "a disk that is full: nothing new is promised and everybody is told why, what was promised holds, and it goes on when there is room",
  async () => {
    const socket = join(dir, "grpc.sock");
    const state = join(dir, "state");
    const flags = ["serve", "--simulate", "1x10256", "--web", "off", "--grpc", `unix:${socket}`, "--state", state];
    // A small file system that only the server sees.
    const mounted = `mkdir -p "$1" && mount -t tmpfs -o size=600k tmpfs "$1" && shift && exec "$@"`;
    const server = startProgram("unshare", ["-rm", "sh", "-c", mounted, "sh", state, process.execPath, main, ...flags]);
    const connection = connectClient(`unix:${socket}`, { timeoutMs: 20_000 });
    try {
      await waitFor(() => server.out().includes("Next, in another terminal"), `it to be ready: ${server.err()}`, 20_000);
      const scheduler = connection.client(SchedulerService);
      const lease = await allocate(scheduler, 8_000);
      const waiter = new Waiter(scheduler, 5_000, { requestId: "waits" });
      await waitFor(() => waiter.last === "queued", "it to be queued");

      // Through the server's own view of the file system.
      const inside = `/proc/${server.pid}/root${state}`;
      expect(readdirSync(inside)).toContain("state.db");
      fill(inside);
      const refused = await waitFor(async () => {
        const error = await scheduler
          .allocate({ workload: gpuWork(10), policy: "safety", requestId: `more-${Math.random()}` })
          .then(() => undefined, ConnectError.from);
        return error;
      }, "it to notice");
      expect(detailsOf(refused)).toMatchObject({ reason: "STATE_UNAVAILABLE", retry: true });
      expect(refused.rawMessage).toMatch(/the disk of .*state\.db is full.*free some space/);
      const queue = await scheduler.listQueue({});
      expect(queue.suspended).toContain("is full");
      expect(queue.leases.map((l) => l.id)).toEqual([lease?.id]);
      const health = connection.client(Health);
      expect((await health.check({})).status).toBe(Serving.NOT_SERVING);

      // What was promised holds, and is given back; who waits is told why.
      await scheduler.renewLease({ leaseId: lease?.id ?? "", token: lease?.token ?? 0n });
      await scheduler.releaseLease({ leaseId: lease?.id ?? "", token: lease?.token ?? 0n });
      await waitFor(() => codesOf(waiter.reasons).includes("POLICY"), "the waiter to be told");
      expect(waiter.last).toBe("queued");

      rmSync(join(inside, "ballast"));
      await waitFor(() => waiter.lease, "it to go on by itself", 15_000);
      expect((await scheduler.listQueue({})).suspended).toBe("");
      await waitFor(async () => (await health.check({})).status === Serving.SERVING, "it to say that it is well");
    } finally {
      connection.close();
      server.process.kill("SIGKILL");
      await server.end;
    }
  },
);
