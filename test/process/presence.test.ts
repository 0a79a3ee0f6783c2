import { expect, it } from "vitest";
import { waitFor } from "../wait-for.ts";
import { type Scheduler, Waiter } from "./support/scheduler.ts";
import { onEachMachine, openSite } from "./support/site.ts";

const full = { totalMb: 24_576, foreignMb: 20_000 };

async function tickets(scheduler: Scheduler) {
  return (await scheduler.listQueue({})).tickets;
}

onEachMachine((backend) => {
  it("a client that disappears leaves the queue at once: a process that is killed with SIGKILL", async () => {
    await using site = await openSite(backend, [full]);
    const { scheduler } = site;
    const client = site.run(["--vram", "8000", "--name", "killed"], ["true"]);
    await waitFor(async () => (await tickets(scheduler)).length === 1, "the process to wait");
    const next = new Waiter(scheduler, 8_000);
    await waitFor(() => next.position === 2, "the next one to wait behind it");
    const killed = performance.now();
    client.process.kill("SIGKILL");
    await waitFor(() => next.position === 1, "its place to be given up");
    // The kernel closes the connection of a dead process; no keepalive (10 s) and no timeout (60 s) is waited for.
    expect(performance.now() - killed).toBeLessThan(2_000);
    expect((await tickets(scheduler)).map((t) => t.id)).toEqual([next.ticketId]);
    next.cancel();
    await next.over;
  });

  it("a client that disappears leaves the queue at once: a call that is cancelled", async () => {
    await using site = await openSite(backend, [full]);
    const { scheduler } = site;
    const waiter = new Waiter(scheduler, 8_000);
    await waitFor(() => waiter.last === "queued", "the request to wait");
    waiter.cancel();
    await waitFor(async () => (await tickets(scheduler)).length === 0, "the ticket to be gone", 2_000);
    // Room for it changes nothing any more.
    site.machine.foreign(0, 0);
    await waitFor(async () => (await scheduler.listQueue({})).gpus[0]?.foreignMb === 0, "the memory to be free");
    expect((await scheduler.listLeases({})).leases).toEqual([]);
  });

  it("a client that disappears leaves the queue at once: a browser that goes away", async () => {
    await using site = await openSite(backend, [full]);
    const { scheduler, server } = site;
    const leave = new AbortController();
    const json = JSON.stringify({ workload: { name: "tab", resources: { requiresGpu: true, minGpuVramMb: 8_000 } } });
    const envelope = Buffer.alloc(5 + Buffer.byteLength(json));
    envelope.writeUInt32BE(Buffer.byteLength(json), 1);
    envelope.write(json, 5);
    const response = await fetch(`${server.web}/sluice.v1.SchedulerService/WaitForResources`, {
      method: "POST",
      headers: { "content-type": "application/connect+json" },
      body: envelope,
      signal: leave.signal,
    });
    expect(response.status).toBe(200);
    await waitFor(async () => (await tickets(scheduler)).length === 1, "the tab to wait");
    leave.abort();
    await waitFor(async () => (await tickets(scheduler)).length === 0, "the ticket to be gone", 2_000);
    await response.text().catch(() => "");
  });

  it("a client with a request_id keeps its place while it is away, and gets it back", async () => {
    await using site = await openSite(backend, [full]);
    const { scheduler, machine } = site;
    const before = new Waiter(scheduler, 8_000, { requestId: "mine" });
    await waitFor(() => before.position === 1, "the request to wait");
    const behind = new Waiter(scheduler, 16_000);
    await waitFor(() => behind.position === 2, "another one behind it");
    before.cancel();
    await waitFor(async () => (await tickets(scheduler))[0]?.connected === false, "its absence to be noticed");
    expect(behind.position).toBe(2);

    const again = new Waiter(scheduler, 8_000, { requestId: "mine" });
    await waitFor(() => again.last === "queued", "it to be back");
    expect(again).toMatchObject({ position: 1, ticketId: before.ticketId });
    expect((await tickets(scheduler)).map((t) => t.connected)).toEqual([true, true]);
    machine.foreign(0, 0);
    await waitFor(() => again.lease, "the grant");
    expect(again.lease?.requestId).toBe("mine");
    // 24000 do not fit together.
    await waitFor(() => behind.position === 1, "the other to move up");
    expect(behind.lease).toBeUndefined();
    behind.cancel();
    await behind.over;
  });

  it("a client with a request_id that does not come back loses its place after the grace time", async () => {
    await using site = await openSite(backend, [full], ["--grace-time", "1"]);
    const { scheduler } = site;
    const waiter = new Waiter(scheduler, 8_000, { requestId: "mine" });
    await waitFor(() => waiter.last === "queued", "the request to wait");
    const left = performance.now();
    waiter.cancel();
    await waitFor(async () => (await tickets(scheduler)).length === 0, "the place to be given up");
    expect(performance.now() - left).toBeGreaterThan(950);
  });

  it("a grant that its client never heard of comes back after the claim timeout, or goes to the client when it returns", async () => {
    await using site = await openSite(backend, [full], ["--claim-timeout", "1"]);
    const { scheduler, machine, server } = site;
    const waiter = new Waiter(scheduler, 8_000, { requestId: "mine" });
    await waitFor(() => waiter.last === "queued", "the request to wait");
    waiter.cancel();
    await waitFor(async () => (await tickets(scheduler))[0]?.connected === false, "its absence to be noticed");
    machine.foreign(0, 0);
    await waitFor(async () => (await scheduler.listQueue({})).gpus[0]?.foreignMb === 0, "the memory to be free");
    // A ticket whose client is away is passed over, so nothing is granted to nobody.
    expect((await scheduler.listLeases({})).leases).toEqual([]);
    const again = new Waiter(scheduler, 8_000, { requestId: "mine" });
    await waitFor(() => again.lease, "the grant on return");
    expect(server.log().filter((l) => l.decision === "grant")).toHaveLength(1);
  });
});
