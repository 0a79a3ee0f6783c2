import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { describe, expect, it } from "vitest";
import { SchedulerService } from "#gen/sluice/v1/scheduler_pb.js";
import { type Lease, LeaseEnd } from "#gen/sluice/v1/types_pb.js";
import { FakeNvidiaSmi, gpuUuid } from "../../fakes/nvidia-smi/fake.ts";
import { waitFor } from "../../wait-for.ts";
import { accountOf, leaseIds } from "../support/books.ts";
import { gpuWork, type Scheduler, Waiter } from "../support/scheduler.ts";
import { type Server, startServer } from "../support/server.ts";
import { WallClock, wallClockMissing } from "../support/wall-clock.ts";

if (wallClockMissing !== undefined) process.stderr.write(`skipped: steps of the clock, because ${wallClockMissing}\n`);

const hour = 3_600;

/** A machine whose wall clock can be set, for the server and for nvidia-smi. */
class ClockSite implements AsyncDisposable {
  readonly clock = new WallClock();
  readonly fake = new FakeNvidiaSmi({ gpus: [{ uuid: gpuUuid(0), totalMb: 24_576, usedMb: 0 }] });
  readonly state = mkdtempSync(join(tmpdir(), "sluice-clock-state-"));
  readonly #servers: Server[] = [];

  async serve(args: readonly string[] = []): Promise<Server> {
    const server = await startServer(["--nvidia-smi", this.fake.path, "--sample-period", "200", ...args], this.clock.env);
    this.#servers.push(server);
    return server;
  }

  step(seconds: number): void {
    this.clock.set(seconds);
    this.fake.update((state) => {
      state.clockSkewMs = seconds * 1_000;
    });
  }

  foreign(mib: number): void {
    this.fake.update((state) => {
      for (const gpu of state.gpus) gpu.usedMb = mib;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.#servers) await server.stop();
    this.fake.dispose();
    this.clock[Symbol.dispose]();
    rmSync(this.state, { recursive: true, force: true });
  }
}

async function lease(scheduler: Scheduler, vramMb: number, ttlMs: number): Promise<Lease> {
  const { outcome } = await scheduler.allocate({
    workload: gpuWork(vramMb),
    leaseTtl: durationFromMs(ttlMs),
    policy: "safety",
  });
  if (outcome.case !== "lease") throw new Error("it was refused");
  return outcome.value;
}

/** performance.now() at which a lease was seen to have expired. */
async function expiry(scheduler: Scheduler, leaseId: string, withinMs: number): Promise<number> {
  await waitFor(
    async () => (await scheduler.getLease({ leaseId })).lease?.end === LeaseEnd.EXPIRED,
    `the end of ${leaseId}`,
    withinMs,
  );
  return performance.now();
}

/** How far the clock of the server's log is from the real one, in seconds. */
function offsetOfLog(server: Server): number {
  const at = server.log().at(-1)?.time;
  return Math.round((Date.parse(String(at)) - Date.now()) / 1_000);
}

describe.skipIf(wallClockMissing !== undefined)("a clock that is set", () => {
  it.each([
    ["forward", hour],
    ["back", -hour],
  ])("%s by an hour while leases are held and requests wait changes no time to live and no timeout", async (_name, seconds) => {
    await using site = new ClockSite();
    const server = await site.serve();
    const scheduler = server.client(SchedulerService);
    const kept = await lease(scheduler, 8_000, 2_000);
    const left = await lease(scheduler, 8_000, 4_000);
    const granted = performance.now();
    const times = new Waiter(scheduler, 16_000, { timeout: durationFromMs(3_000) });
    const waits = new Waiter(scheduler, 12_000, { timeout: durationFromMs(60_000) });
    await waitFor(() => waits.last === "queued" && times.last === "queued", "both to wait");
    const asked = performance.now();
    let renewals = 0;
    const renew = async () => {
      await scheduler.renewLease({ leaseId: kept.id, token: kept.token });
      renewals++;
    };
    await renew();

    site.step(seconds);
    const stepped = performance.now();
    // One is renewed every half second across the step and for longer than twice its time to live.
    await waitFor(async () => {
      if (performance.now() - stepped > 500 * renewals) await renew();
      return times.last === "timedOut" && performance.now() - stepped > 2_500;
    }, "the timeout");
    const timedOut = times.arrivals.at(-1) ?? 0;
    expect(timedOut - asked).toBeGreaterThan(2_800);
    expect(timedOut - asked).toBeLessThan(5_000);
    const ended = await expiry(scheduler, left.id, 10_000);
    expect(ended - granted).toBeGreaterThan(3_900);
    expect(ended - granted).toBeLessThan(7_000);
    // It fits beside the one that is left; measurements count for what they are.
    await waitFor(() => waits.lease, "the grant on measurements after the step");
    expect(await accountOf(scheduler)).toMatchObject({ blocked: "" });
    const lastRenewed = performance.now();
    await renew();
    const keptEnd = await expiry(scheduler, kept.id, 10_000);
    expect(keptEnd - lastRenewed).toBeGreaterThan(1_950);
    expect(keptEnd - lastRenewed).toBeLessThan(5_000);
    // The clock was really set: what the log shows is off by it.
    expect(Math.abs(offsetOfLog(server) - seconds)).toBeLessThan(30);
  });

  it("back by an hour over a restart gives every lease its time to live once more, and tokens rise", async () => {
    await using site = new ClockSite();
    const ttlMs = 4_000;
    const before = await site.serve(["--state", site.state]);
    const first = before.client(SchedulerService);
    const leases = [await lease(first, 5_000, ttlMs), await lease(first, 5_000, ttlMs), await lease(first, 5_000, ttlMs)];
    const waiter = new Waiter(first, 20_000, { requestId: "waits", timeout: durationFromMs(60_000) });
    await waitFor(() => waiter.last === "queued", "the request to wait");
    before.kill("SIGKILL");
    await Promise.all([before.process.end, waiter.over]);

    site.step(-hour);
    const after = await site.serve(["--state", site.state]);
    const taken = performance.now();
    const second = after.client(SchedulerService);
    expect(await leaseIds(second)).toEqual(leases.map((l) => l.id));
    const again = new Waiter(second, 20_000, { requestId: "waits", timeout: durationFromMs(60_000) });
    await waitFor(() => again.last === "queued", "its place");
    expect(again.ticketId).toBe(waiter.ticketId);
    const ends = await Promise.all(leases.map((l) => expiry(second, l.id, 20_000)));
    const lived = ends.map((at) => at - taken);
    process.stderr.write(
      `clock back by an hour over a restart: leases of ${ttlMs} ms ended after ${lived.map(Math.round).join(", ")} ms\n`,
    );
    for (const ms of lived) {
      // It was ready a little before it said so.
      expect(ms).toBeGreaterThan(ttlMs - 1_500);
      expect(ms).toBeLessThan(ttlMs * 1.5 + 2_000);
    }
    // They are spread.
    expect((lived[2] ?? 0) - (lived[0] ?? 0)).toBeGreaterThan(ttlMs / 6);
    await waitFor(() => again.lease, "the grant");
    for (const { token } of leases) expect(again.lease?.token).toBeGreaterThan(token);
    expect(Math.abs(offsetOfLog(after) + hour)).toBeLessThan(30);
  });

  it("back by an hour over a restart does not make a request wait for an hour more", async () => {
    await using site = new ClockSite();
    site.foreign(20_000);
    const before = await site.serve(["--state", site.state]);
    const request = { requestId: "waits", timeout: durationFromMs(4_000) };
    const waiter = new Waiter(before.client(SchedulerService), 8_000, request);
    await waitFor(() => waiter.last === "queued", "the request to wait");
    before.kill("SIGKILL");
    await Promise.all([before.process.end, waiter.over]);
    site.step(-hour);
    const after = await site.serve(["--state", site.state]);
    const asked = performance.now();
    const again = new Waiter(after.client(SchedulerService), 8_000, request);
    await waitFor(() => again.last === "timedOut", "the timeout", 20_000);
    expect(again.ticketId).toBe(waiter.ticketId);
    expect((again.arrivals.at(-1) ?? 0) - asked).toBeLessThan(6_000);
  });
});
