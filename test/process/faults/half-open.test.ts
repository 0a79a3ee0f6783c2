import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { expect, it } from "vitest";
import { SchedulerService } from "#gen/sluice/v1/scheduler_pb.js";
import { Hold, LeaseEnd } from "#gen/sluice/v1/types_pb.js";
import { connectClient } from "../../../src/transport/client.ts";
import { waitFor } from "../../wait-for.ts";
import { openSockets } from "../support/process-figures.ts";
import { gpuWork, Waiter } from "../support/scheduler.ts";
import { startServer } from "../support/server.ts";
import { startSilentProxy } from "../support/silent-proxy.ts";

/** The gRPC door asks after 10 s of silence and waits 5 s for the answer; see src/transport/grpc.ts. */
const keepaliveMs = 15_000;
const graceMs = 4_000;

it("a line that goes dead without a word is found by keepalive: what hangs on it ends, a named place is kept for the grace time", async () => {
  await using server = await startServer(["--simulate", "24576", "--grace-time", `${graceMs / 1000}`]);
  await using proxy = await startSilentProxy(server.grpc);
  const direct = server.client(SchedulerService);
  // Room for none of those who wait, whatever the line does: what happens to each of them is then its own.
  const { outcome } = await direct.allocate({ workload: gpuWork(14_000), leaseTtl: durationFromMs(112_000) });
  if (outcome.case !== "lease") throw new Error("it was refused");
  const socketsBefore = openSockets(server.process.pid);
  const behind = connectClient(proxy.address);
  const remote = behind.client(SchedulerService);
  const holder = new Waiter(remote, 4_000, { hold: Hold.STREAM });
  await waitFor(() => holder.lease, "the lease of the one behind the line");
  const leaseId = holder.lease?.id ?? "";
  const named = new Waiter(remote, 12_000, { requestId: "named" });
  const nameless = new Waiter(remote, 12_000);
  await waitFor(() => named.last === "queued" && nameless.last === "queued", "both behind the line to wait");
  const local = new Waiter(direct, 12_000);
  await waitFor(() => local.position === 3, "one that is not behind it to wait");

  const cut = performance.now();
  proxy.cut();
  const names = async () => (await direct.listQueue({})).tickets.map((t) => `${t.requestId || "nameless"} ${t.connected}`);
  const seen: Record<string, number> = {};
  await waitFor(
    async () => {
      if ((await direct.getLease({ leaseId })).lease?.end === LeaseEnd.STREAM_CLOSED) seen.lease ??= performance.now() - cut;
      const queue = await names();
      if (queue.length === 2) seen.nameless ??= performance.now() - cut;
      if (queue[0] === "named false") seen.away ??= performance.now() - cut;
      return seen.lease !== undefined && seen.nameless !== undefined && seen.away !== undefined;
    },
    "the server to find out",
    keepaliveMs + 10_000,
  );
  // Not because of a FIN: nothing passed the line before the server's own keepalive ran out.
  for (const at of Object.values(seen)) {
    expect(at).toBeGreaterThan(keepaliveMs - 5_500);
    expect(at).toBeLessThan(keepaliveMs + 3_000);
  }
  // The one behind the line is passed over, and keeps its place.
  await direct.releaseLease({ leaseId: outcome.value.id });
  await waitFor(() => local.lease, "the grant to the one that is there");
  expect(await names()).toEqual(["named false"]);
  await waitFor(async () => (await names()).length === 0, "the place to be given up");
  const gone = performance.now() - cut;
  expect(gone - (seen.away ?? 0)).toBeGreaterThan(graceMs - 300);
  expect(gone - (seen.away ?? 0)).toBeLessThan(graceMs + 2_000);
  // Nothing is left of the connection on the server's side.
  await waitFor(() => openSockets(server.process.pid) <= socketsBefore, "the server's socket to be closed");
  behind.close();
  await Promise.all([holder.over, named.over, nameless.over]);
});
