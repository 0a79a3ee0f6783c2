import { timestampDate } from "@bufbuild/protobuf/wkt";
import { expect, it } from "vitest";
import type { WatchLeaseResponse } from "#gen/sluice/v1/scheduler_pb.js";
import { type Lease, LeaseEnd, LeaseState } from "#gen/sluice/v1/types_pb.js";
import { waitFor } from "../wait-for.ts";
import { fakeBackend } from "./support/fake-machine.ts";
import { gpuWork, type Scheduler, Waiter } from "./support/scheduler.ts";
import type { Started } from "./support/server.ts";
import { openSite, type Site } from "./support/site.ts";

/** Leases of other programs that are idle, and are asked back because somebody waits. */

const card = { totalMb: 24_576 };
const held = 16_000;

/** A lease with a process that holds its memory, measured, and no execution. */
async function idleLease(site: Site): Promise<{ lease: Lease; job: Started }> {
  const { outcome } = await site.scheduler.allocate({ workload: gpuWork(held, { name: "holder" }), policy: "safety" });
  if (outcome.case !== "lease") throw new Error("it was refused");
  const lease = outcome.value;
  const job = site.startJob(held, 60, lease.env);
  await site.scheduler.attachProcess({ leaseId: lease.id, token: lease.token, pid: job.pid });
  await waitFor(async () => {
    const now = (await site.scheduler.getLease({ leaseId: lease.id })).lease;
    return now?.gpus[0]?.residentMb === held;
  }, "its memory to be seen");
  return { lease, job };
}

class Watcher {
  readonly events: WatchLeaseResponse["event"][] = [];

  constructor(scheduler: Scheduler, leaseId: string, token: bigint) {
    void this.#read(scheduler.watchLease({ leaseId, token })).catch(() => {});
  }

  async #read(stream: AsyncIterable<WatchLeaseResponse>): Promise<void> {
    for await (const { event } of stream) this.events.push(event);
  }

  get cases(): readonly (string | undefined)[] {
    return this.events.map((event) => event.case);
  }

  async asked() {
    const event = await waitFor(
      () => this.events.find((e) => e.case === "evictionRequested"),
      "the holder to be asked for its memory",
    );
    if (event.case !== "evictionRequested") throw new Error("not reached");
    return event.value;
  }
}

async function site(evictionGraceS: number): Promise<Site> {
  return openSite(fakeBackend, [card], ["--min-residence", "0", "--eviction-grace", `${evictionGraceS}`]);
}

async function watched(on: Site, lease: Lease, token: bigint): Promise<Watcher> {
  const watcher = new Watcher(on.scheduler, lease.id, token);
  await waitFor(() => watcher.events.length > 0, "the first snapshot");
  return watcher;
}

it("a holder that listens is asked, is told until when, and whoever waits is told for whom; releasing in time serves the waiter", async () => {
  await using on = await site(30);
  const { lease, job } = await idleLease(on);
  const watcher = await watched(on, lease, lease.token);
  const before = Date.now();
  const waiter = new Waiter(on.scheduler, held);
  const { deadline, reason } = await watcher.asked();
  const leftMs = (deadline === undefined ? 0 : timestampDate(deadline).getTime()) - before;
  expect(leftMs).toBeGreaterThan(25_000);
  expect(leftMs).toBeLessThan(40_000);
  expect(reason).toContain(waiter.ticketId);
  await waitFor(() => waiter.codes.includes("WAITING_FOR_EVICTION"), "the reason to be told");
  const told = waiter.reasons.find(({ heldBy }) => heldBy.includes(lease.id));
  expect(told?.message).toMatch(/./);

  await on.scheduler.releaseLease({ leaseId: lease.id, token: lease.token });
  job.process.kill("SIGTERM");
  await waitFor(() => waiter.lease, "the waiter to be served");
  await waitFor(() => watcher.cases.at(-1) === "ended", "the watcher to be told of the end");
  // It was given back because somebody waited; that is what is counted.
  expect(watcher.events.at(-1)?.value).toMatchObject({ why: LeaseEnd.EVICTED });
  waiter.cancel();
});

it("a holder that does not give it back in time loses its lease", async () => {
  await using on = await site(1);
  const { lease, job } = await idleLease(on);
  const watcher = await watched(on, lease, lease.token);
  const waiter = new Waiter(on.scheduler, held);
  const { deadline } = await watcher.asked();
  expect(watcher.cases).not.toContain("ended");
  await waitFor(() => watcher.cases.at(-1) === "ended", "the lease to be taken");
  expect(watcher.events.at(-1)?.value).toMatchObject({ why: LeaseEnd.EVICTED });
  expect(Date.now()).toBeGreaterThanOrEqual((deadline === undefined ? Infinity : timestampDate(deadline).getTime()) - 50);
  // Its memory is not back before its process has ended, so nobody is served with it.
  expect(waiter.lease).toBeUndefined();
  job.process.kill("SIGTERM");
  await waitFor(() => waiter.lease, "the waiter to be served");
  waiter.cancel();
});

it("a holder that was asked may keep its lease when whoever waited has gone, and is told so", async () => {
  await using on = await site(30);
  const { lease } = await idleLease(on);
  const watcher = await watched(on, lease, lease.token);
  const waiter = new Waiter(on.scheduler, held);
  await watcher.asked();
  waiter.cancel();
  await waitFor(() => watcher.cases.at(-1) === "snapshot", "the request to be withdrawn");
  expect(watcher.cases).toEqual(["snapshot", "evictionRequested", "snapshot"]);
  const last = watcher.events.at(-1);
  expect(last?.case === "snapshot" ? last.value.lease?.state : undefined).toBe(LeaseState.IDLE);
  // It can be asked again.
  const next = new Waiter(on.scheduler, held);
  await waitFor(() => watcher.cases.at(-1) === "evictionRequested", "it to be asked again");
  next.cancel();
});

it("a watcher without the token only looks on: the lease is not asked back", async () => {
  await using on = await site(1);
  const { lease } = await idleLease(on);
  const watcher = await watched(on, lease, 0n);
  const waiter = new Waiter(on.scheduler, held);
  await waitFor(() => waiter.last === "queued", "the other to wait");
  // Longer than the deadline would have been.
  const queuedAt = Date.now();
  await waitFor(() => Date.now() - queuedAt > 2_000, "the time of a deadline to pass");
  expect(watcher.cases).toEqual(["snapshot"]);
  expect(waiter.codes).not.toContain("WAITING_FOR_EVICTION");
  // The first who speaks for the holder is asked at once.
  await (await watched(on, lease, lease.token)).asked();
  waiter.cancel();
});
