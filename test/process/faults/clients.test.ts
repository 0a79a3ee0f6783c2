import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { ConnectError } from "@connectrpc/connect";
import { expect, it } from "vitest";
import { Hold, LeaseEnd } from "#gen/sluice/v1/types_pb.js";
import { waitFor } from "../../wait-for.ts";
import { accountOf, leaseIds } from "../support/books.ts";
import { type ClientProcess, startClient } from "../support/client-process.ts";
import { fakeBackend } from "../support/fake-machine.ts";
import { detailsOf, type Scheduler, Waiter } from "../support/scheduler.ts";
import { openSite } from "../support/site.ts";

const card = { totalMb: 24_576 };
const full = { totalMb: 24_576, foreignMb: 20_000 };
const ttlMs = 2_000;

function granted(client: ClientProcess): Promise<{ leaseId: string; token: bigint }> {
  return waitFor(() => {
    const { leaseId = "", token = "0" } = client.said("granted") ?? {};
    return leaseId === "" ? undefined : { leaseId, token: BigInt(token) };
  }, "the client's lease");
}

async function endOf(scheduler: Scheduler, leaseId: string): Promise<LeaseEnd | undefined> {
  return (await scheduler.getLease({ leaseId })).lease?.end;
}

const reasonOf = (call: Promise<unknown>) =>
  call.then(
    () => "ok",
    (error: unknown) => detailsOf(ConnectError.from(error)).reason,
  );

it("kill -9 of clients that wait: one with a request_id keeps its place and is passed over, one without is gone at once", async () => {
  await using site = await openSite(fakeBackend, [full], ["--grace-time", "3"]);
  const { scheduler, server } = site;
  const ids = async () => (await scheduler.listQueue({})).tickets.map((t) => [t.requestId, t.connected]);
  await using named = startClient(server.grpc, { vramMb: 8_000, ttlMs, requestId: "named" });
  await waitFor(() => named.said("queued"), "the first to wait");
  await using nameless = startClient(server.grpc, { vramMb: 8_000, ttlMs });
  await waitFor(() => nameless.said("queued"), "the second to wait");
  const third = new Waiter(scheduler, 16_000);
  await waitFor(() => third.position === 3, "the third to wait");
  const killed = performance.now();
  named.kill("SIGKILL");
  nameless.kill("SIGKILL");
  await waitFor(async () => (await ids()).length === 2, "the nameless one to be gone");
  await waitFor(async () => (await ids())[0]?.[1] === false, "the named one to be away");
  // The kernel says that they are gone: no keepalive is waited for.
  expect(performance.now() - killed).toBeLessThan(2_000);
  expect(await ids()).toEqual([
    ["named", false],
    ["", true],
  ]);
  // There is room for either now. Nothing is granted to nobody.
  site.machine.foreign(0, 0);
  await waitFor(() => third.lease, "the grant to the one that is there");
  await waitFor(async () => (await ids()).length === 0, "the place to be given up");
  expect(performance.now() - killed).toBeGreaterThan(2_950);
  expect(await leaseIds(scheduler)).toEqual([third.lease?.id]);
});

it("kill -9 of clients that hold: by time to live, at once with the stream, at once with the attached process", async () => {
  await using site = await openSite(fakeBackend, [card]);
  const { scheduler, server } = site;
  await using byTtl = startClient(server.grpc, { vramMb: 6_000, ttlMs, renewMs: 500 });
  await using byStream = startClient(server.grpc, { vramMb: 6_000, ttlMs: 60_000, hold: Hold.STREAM });
  await using byProcess = startClient(server.grpc, { vramMb: 6_000, ttlMs: 60_000, renewMs: 10_000, attach: true });
  const [ttl, stream, attached] = await Promise.all([granted(byTtl), granted(byStream), granted(byProcess)]);
  const renewed = async () => (await scheduler.getLease({ leaseId: ttl.leaseId })).lease?.expiresAt?.seconds ?? 0n;
  const first = await renewed();
  await waitFor(async () => (await renewed()) > first + 2n, "it to live by being renewed");

  const killed = performance.now();
  for (const client of [byTtl, byStream, byProcess]) client.kill("SIGKILL");
  const after = async (leaseId: string, end: LeaseEnd) => {
    await waitFor(async () => (await endOf(scheduler, leaseId)) === end, `the end ${LeaseEnd[end]}`);
    return performance.now() - killed;
  };
  const [ofTtl, ofStream, ofProcess] = await Promise.all([
    after(ttl.leaseId, LeaseEnd.EXPIRED),
    after(stream.leaseId, LeaseEnd.STREAM_CLOSED),
    after(attached.leaseId, LeaseEnd.PROCESS_EXITED),
  ]);
  // It had renewed half a second before at the earliest. The time to live is a lower bound from there.
  expect(ofTtl).toBeGreaterThan(ttlMs - 700);
  expect(ofTtl).toBeLessThan(ttlMs + 2_000);
  expect(ofStream).toBeLessThan(2_000);
  expect(ofProcess).toBeLessThan(2_500);
  await waitFor(async () => (await accountOf(scheduler)).outstandingMb === 0, "all memory to be free");
  expect(await leaseIds(scheduler)).toEqual([]);
});

it("a holder that is frozen past its time to live finds its lease gone and its token refused when it wakes", async () => {
  await using site = await openSite(fakeBackend, [card]);
  const { scheduler, server } = site;
  await using holder = startClient(server.grpc, { vramMb: 16_000, ttlMs, renewMs: 500, requestId: "mine" });
  const old = await granted(holder);
  const waiter = new Waiter(scheduler, 16_000, { requestId: "next", leaseTtl: durationFromMs(30_000) });
  await waitFor(() => waiter.last === "queued", "the next one to wait");
  const frozen = performance.now();
  holder.kill("SIGSTOP");
  // No process is attached, and the card shows nothing: its memory can be given to the next one, not before its time.
  await waitFor(() => waiter.lease, "the grant to the next one");
  expect((waiter.grantedAt ?? 0) - frozen).toBeGreaterThan(ttlMs - 700);
  expect(await endOf(scheduler, old.leaseId)).toBe(LeaseEnd.EXPIRED);
  const token = waiter.lease?.token ?? 0n;
  expect(token).toBeGreaterThan(old.token);

  holder.kill("SIGCONT");
  const lost = await waitFor(() => holder.said("lost"), "it to find out");
  expect(lost).toMatchObject({ renew: "LEASE_EXPIRED", startExecution: "LEASE_EXPIRED", attach: "LEASE_EXPIRED" });
  // Its token opens nothing that belongs to the one who has the memory now.
  const leaseId = waiter.lease?.id ?? "";
  const stale = { leaseId, token: old.token };
  expect(await reasonOf(scheduler.renewLease(stale))).toBe("STALE_TOKEN");
  expect(await reasonOf(scheduler.startExecution(stale))).toBe("STALE_TOKEN");
  expect(await reasonOf(scheduler.attachProcess({ ...stale, pid: process.pid }))).toBe("STALE_TOKEN");
  expect(await reasonOf(scheduler.releaseLease(stale))).toBe("STALE_TOKEN");
  expect(await leaseIds(scheduler)).toEqual([leaseId]);
});

it("memory of a frozen holder's job is measured, so it is not given to anybody while the job lives", async () => {
  await using site = await openSite(fakeBackend, [card]);
  const { scheduler, server, machine } = site;
  await using holder = startClient(server.grpc, { vramMb: 16_000, ttlMs, renewMs: 500 });
  const { leaseId, token } = await granted(holder);
  const job = site.startJob(16_000, 60, { CUDA_VISIBLE_DEVICES: machine.uuid(0) });
  await scheduler.attachProcess({ leaseId, token, pid: job.pid });
  await waitFor(async () => (await accountOf(scheduler)).usedMb === 16_000, "the job to be seen");
  const waiter = new Waiter(scheduler, 16_000);
  await waitFor(() => waiter.last === "queued", "the next one to wait");
  // As when a whole session is suspended.
  holder.kill("SIGSTOP");
  job.process.kill("SIGSTOP");
  await waitFor(async () => (await endOf(scheduler, leaseId)) === LeaseEnd.EXPIRED, "the lease to expire");
  await waitFor(async () => (await accountOf(scheduler)).foreignMb === 16_000, "the memory to be foreign");
  const samples = new Set<string>();
  await waitFor(async () => {
    const { observedAt } = await accountOf(scheduler);
    samples.add(`${observedAt?.seconds}.${observedAt?.nanos}`);
    return samples.size > 5;
  }, "several more measurements");
  expect(waiter.lease).toBeUndefined();
  expect(waiter.codes).toEqual(["INSUFFICIENT_GPU_MEMORY"]);
  job.process.kill("SIGKILL");
  await waitFor(() => waiter.lease, "the grant once the job is dead");
  expect(machine.outOfMemory()).toEqual([]);
});
