import { describe, expect, it } from "vitest";
import type { Effect } from "../../src/engine/events.ts";
import { explain } from "../../src/engine/explain.ts";
import { Bench, gpu, refusalIn, requirements } from "./support.ts";

const settings = { margin: { percent: 0, atLeastMb: 0 } };
const card = (used = 0) => [gpu(0, 10_000, used)];

function refused(bench: Bench, ticketId: string) {
  return bench.effects.find((e): e is Extract<Effect, { type: "refused" }> => e.type === "refused" && e.ticketId === ticketId);
}

describe("a waiting ticket", () => {
  it("is granted by the event that makes room, and one event grants as many as fit (Q4)", () => {
    const bench = new Bench(settings).sample(card());
    const lease = bench.lease({ vramMb: 9000 });
    const tickets = [1, 2, 3, 4].map(() => bench.wait({ vramMb: 3000 }));
    bench.release(lease);
    expect(tickets.map((t) => bench.grantOf(t) !== undefined)).toEqual([true, true, true, false]);
  });

  it("is granted by the measurement that shows foreign memory to be free (P4)", () => {
    const bench = new Bench(settings).sample(card(9000));
    const ticket = bench.wait({ vramMb: 5000 });
    expect(bench.ticket(ticket)?.reasons[0]).toMatchObject({
      code: "INSUFFICIENT_GPU_MEMORY",
      foreignMb: 9000,
      availableMb: 1000,
      neededMb: 5000,
    });
    bench.sample(card(1000));
    expect(bench.grantOf(ticket)).toBeDefined();
  });

  it("is served by priority, then by arrival", () => {
    const bench = new Bench(settings).sample(card());
    const lease = bench.lease({ vramMb: 10_000 });
    const low = bench.wait({ vramMb: 10_000 });
    const high = bench.wait({ vramMb: 10_000 }, { workload: { priority: 5 } });
    const later = bench.wait({ vramMb: 10_000 }, { workload: { priority: 5 } });
    expect([low, high, later].map((t) => bench.ticket(t)?.position)).toEqual([3, 1, 2]);
    bench.release(lease);
    expect(bench.grantOf(high)).toBeDefined();
    expect(bench.ticket(later)?.position).toBe(1);
  });

  it("times out with its last reasons; 0 waits for ever", () => {
    const bench = new Bench(settings).sample(card(9000));
    const short = bench.wait({ vramMb: 5000 }, { timeoutMs: 1000 });
    const forever = bench.wait({ vramMb: 5000 }, { timeoutMs: 0 });
    bench.pass(999);
    expect(bench.ticket(short)).toBeDefined();
    bench.pass(1);
    const end = bench.effects.find((e) => e.type === "timed-out");
    expect(end).toMatchObject({ ticketId: short, waitedMs: 1000, reasons: [{ code: "INSUFFICIENT_GPU_MEMORY" }] });
    bench.pass(1e9);
    expect(bench.ticket(forever)).toBeDefined();
  });

  it("accepts no measurement that is older than its own poll interval", () => {
    const bench = new Bench(settings).sample(card());
    bench.pass(1500);
    const picky = bench.wait({ vramMb: 5000 }, { pollIntervalMs: 1000 });
    expect(bench.ticket(picky)?.reasons[0]?.code).toBe("GPU_STATS_UNAVAILABLE");
    expect(bench.submit("wait", { vramMb: 1000 }).type).toBe("lease");
    bench.sample(card());
    expect(bench.grantOf(picky)).toBeDefined();
  });

  it("without a request id leaves with its client; with one it keeps its place, is passed meanwhile, and gets it back", () => {
    const bench = new Bench(settings).sample(card());
    const lease = bench.lease({ vramMb: 10_000 });
    const gone = bench.wait({ vramMb: 5000 });
    const away = bench.wait({ vramMb: 10_000 }, { requestId: "r1" });
    const behind = bench.wait({ vramMb: 10_000 });
    bench.step({ type: "disconnect", ticketId: gone });
    expect(bench.ticket(gone)).toBeUndefined();
    bench.step({ type: "disconnect", ticketId: away });
    expect(bench.ticket(away)).toMatchObject({ position: 1, connected: false });
    expect(bench.submit("wait", { vramMb: 10_000 }, { requestId: "r1" })).toMatchObject({
      type: "ticket",
      ticketId: away,
      resumed: true,
    });
    bench.step({ type: "disconnect", ticketId: away });
    bench.release(lease);
    expect(bench.grantOf(behind)).toBeDefined();
    bench.step({ type: "release", leaseId: bench.grantOf(behind)?.id ?? "", token: 0 });
    expect(bench.grantOf(away)).toBeUndefined();
    expect(bench.submit("wait", { vramMb: 10_000 }, { requestId: "r1" }).type).toBe("lease");
  });

  it("whose client does not come back gives its place up after the grace time", () => {
    const bench = new Bench({ ...settings, graceMs: 1000 }).sample(card(9000));
    const away = bench.wait({ vramMb: 5000 }, { requestId: "r1" });
    bench.step({ type: "disconnect", ticketId: away });
    bench.pass(1000);
    expect(bench.ticket(away)).toBeUndefined();
    expect(bench.state.requests.size).toBe(0);
  });

  it("can be cancelled once", () => {
    const bench = new Bench(settings).sample(card(9000));
    const ticket = bench.wait({ vramMb: 5000 });
    expect(bench.step({ type: "cancel", ticketId: ticket }).reply.type).toBe("done");
    expect(bench.step({ type: "cancel", ticketId: ticket }).reply).toMatchObject({
      type: "failure",
      failure: { reason: "TICKET_NOT_FOUND" },
    });
  });

  it("is refused when the policy becomes safety and it does not fit", () => {
    const bench = new Bench(settings).sample(card(9000));
    const ticket = bench.wait({ vramMb: 5000 });
    bench.step({ type: "set-policy", policy: "safety" });
    expect(refused(bench, ticket)?.refusal.reasons[0]?.code).toBe("INSUFFICIENT_GPU_MEMORY");
  });

  it("keeps to the policy that its request named, whatever the server's is", () => {
    const bench = new Bench(settings, "safety").sample(card(9000));
    expect(bench.submit("wait", { vramMb: 5000 }).type).toBe("refused");
    const ticket = bench.wait({ vramMb: 5000 }, { policy: "queue" });
    bench.step({ type: "set-policy", policy: "permissive" });
    expect(bench.ticket(ticket)?.policy).toBe("queue");
  });

  it("is told DRAINING when the server shuts down, and nobody new is taken; leases stay", () => {
    const bench = new Bench(settings).sample(card());
    const lease = bench.lease({ vramMb: 9000 });
    const ticket = bench.wait({ vramMb: 5000 });
    bench.step({ type: "drain" });
    expect(bench.effects.find((e) => e.type === "withdrawn")).toMatchObject({
      ticketId: ticket,
      failure: { reason: "DRAINING" },
    });
    expect(bench.submit("now", { vramMb: 1 })).toMatchObject({ type: "failure", failure: { reason: "DRAINING" } });
    expect(bench.view(lease.id)?.state).toBe("idle");
  });
});

describe("never-fits", () => {
  it("is told at once, with the largest that would fit, whatever is running", () => {
    const bench = new Bench().sample([gpu(0, 24_576, 20_000), gpu(1, 24_576, 0)]);
    const refusal = refusalIn(bench.submit("wait", { vramMb: 40_000 }));
    expect(refusal.reasons[0]).toMatchObject({ code: "NEVER_FITS", neededMb: 40_000, availableMb: 24_084 });
    expect(refusal.largestThatFits).toEqual({ gpuCount: 1, vramMb: 24_084, ramMb: 0 });
  });

  it("is never said because of foreign use (Q10)", () => {
    const bench = new Bench().sample([gpu(0, 24_576, 24_000)]);
    expect(bench.submit("wait", { vramMb: 24_000 }).type).toBe("ticket");
  });

  it("is judged again when a GPU is gone for good: an impossible ticket does not block the head", () => {
    const bench = new Bench(settings).sample([gpu(0, 10_000, 0), gpu(1, 10_000, 9000)]);
    const both = bench.wait({ vramMb: 5000, gpuCount: 2 });
    bench.sample([gpu(0, 10_000, 0)]);
    expect(refused(bench, both)?.refusal.reasons.map((r) => r.code)).toEqual(["NEVER_FITS", "NO_GPU"]);
    expect(refused(bench, both)?.refusal.largestThatFits).toEqual({ gpuCount: 1, vramMb: 10_000, ramMb: 0 });
  });

  it("is not said of a GPU that is only lost: it waits, with the reason, and is served when the GPU is back", () => {
    const bench = new Bench(settings).sample([gpu(0, 10_000, 0), gpu(1, 10_000, 0)]);
    const blocker = bench.lease({ vramMb: 10_000, gpuUuids: ["GPU-1"] });
    const both = bench.wait({ vramMb: 5000, gpuCount: 2 });
    const {
      totalMb: _t,
      usedMb: _u,
      freeMb: _f,
      ...lost
    } = gpu(1, 10_000, 0, { health: "lost", healthMessage: "GPU is lost" });
    bench.sample([gpu(0, 10_000, 0), lost]);
    bench.release(blocker);
    expect(bench.ticket(both)?.reasons).toMatchObject([{ code: "GPU_UNHEALTHY", gpuUuid: "GPU-1" }]);
    bench.sample([gpu(0, 10_000, 0), gpu(1, 10_000, 0)]);
    expect(bench.grantOf(both)?.gpus).toHaveLength(2);
  });

  it("is said of UUIDs that this machine does not have", () => {
    const bench = new Bench(settings).sample(card());
    expect(refusalIn(bench.submit("wait", { vramMb: 1, gpuUuids: ["GPU-elsewhere"] })).reasons.map((r) => r.code)).toEqual([
      "NEVER_FITS",
      "NO_GPU",
    ]);
  });
});

describe("placement", () => {
  it("packs: the fullest GPU that fits, ties by index", () => {
    const bench = new Bench(settings).sample([
      gpu(0, 10_000, 0),
      gpu(1, 10_000, 6000),
      gpu(2, 10_000, 9000),
      gpu(3, 10_000, 6000),
    ]);
    expect(bench.lease({ vramMb: 3000 }).gpus.map((g) => g.uuid)).toEqual(["GPU-1"]);
    expect(bench.lease({ vramMb: 3000 }).gpus.map((g) => g.uuid)).toEqual(["GPU-3"]);
    expect(bench.lease({ vramMb: 3000 }).gpus.map((g) => g.uuid)).toEqual(["GPU-0"]);
  });

  it("of several GPUs is all or nothing, and nothing is held while it waits", () => {
    const bench = new Bench(settings).sample([gpu(0, 10_000, 0), gpu(1, 10_000, 9000)]);
    const pair = bench.wait({ vramMb: 5000, gpuCount: 2 });
    expect(bench.state.pools.get("GPU-0")?.claimedMb).toBe(0);
    bench.sample([gpu(0, 10_000, 0), gpu(1, 10_000, 0)]);
    expect(bench.grantOf(pair)?.gpus.map((g) => g.uuid)).toEqual(["GPU-0", "GPU-1"]);
  });

  it("keeps to the GPUs that the request allows", () => {
    const bench = new Bench(settings).sample([gpu(0, 10_000, 5000), gpu(1, 10_000, 0)]);
    expect(bench.lease({ vramMb: 1000, gpuUuids: ["GPU-1"] }).gpus[0]?.uuid).toBe("GPU-1");
  });

  it("exclusive means no other lease, before or after", () => {
    const bench = new Bench(settings).sample([gpu(0, 10_000, 500), gpu(1, 10_000, 0)]);
    const alone = bench.lease({ vramMb: 1000, exclusive: true });
    expect(alone.gpus[0]?.uuid).toBe("GPU-0");
    expect(bench.lease({ vramMb: 1000 }).gpus[0]?.uuid).toBe("GPU-1");
    const refusal = refusalIn(bench.allocate({ vramMb: 1000, exclusive: true }));
    expect(refusal.reasons).toHaveLength(2);
    expect(refusal.reasons[0]?.heldBy).toEqual([alone.id]);
  });
});

describe("bounded overtaking", () => {
  /** One GPU on which a small lease always runs, a large ticket that waits for all of it, and small ones that keep coming. */
  function crowd(maxOvertakes: number) {
    const bench = new Bench({ ...settings, maxOvertakes }).sample(card());
    const running = [bench.lease({ vramMb: 3000 })];
    const big = bench.wait({ vramMb: 9000 });
    let served = 0;
    for (let i = 0; i < 50 && bench.grantOf(big) === undefined; i++) {
      const small = bench.submit("wait", { vramMb: 3000 });
      if (small.type === "lease") {
        served++;
        running.push(small.lease);
      }
      const oldest = running.shift();
      if (oldest !== undefined) bench.release(oldest);
    }
    return { bench, big, served };
  }

  it.each([0, 1, 5, 16])("a large ticket is overtaken %i times and then served (P5, Q2)", (max) => {
    const { bench, big, served } = crowd(max);
    expect(served).toBe(max);
    expect(bench.grantOf(big)).toBeDefined();
  });

  it("says for whom memory is held", () => {
    const bench = new Bench({ ...settings, maxOvertakes: 0 }).sample(card());
    bench.lease({ vramMb: 3000 });
    const big = bench.wait({ vramMb: 9000 });
    const small = bench.wait({ vramMb: 3000 });
    expect(bench.ticket(small)?.reasons[0]).toMatchObject({ code: "HELD_FOR_EARLIER_TICKET", heldBy: [big] });
    expect(refusalIn(bench.allocate({ vramMb: 3000 })).reasons[0]?.code).toBe("HELD_FOR_EARLIER_TICKET");
    bench.step({ type: "cancel", ticketId: big });
    expect(bench.grantOf(small)).toBeDefined();
  });

  it("holds only what the ticket needs: other GPUs go on", () => {
    const bench = new Bench({ ...settings, maxOvertakes: 0 }).sample([gpu(0, 10_000, 0), gpu(1, 10_000, 0)]);
    bench.lease({ vramMb: 3000, gpuUuids: ["GPU-0"] });
    bench.lease({ vramMb: 5000, gpuUuids: ["GPU-1"] });
    bench.wait({ vramMb: 9000 });
    expect(bench.lease({ vramMb: 2000 }).gpus[0]?.uuid).toBe("GPU-1");
    expect(bench.allocate({ vramMb: 2000, gpuUuids: ["GPU-0"] }).type).toBe("refused");
  });

  it("a ticket that comes first by priority is not bound by what is held behind it", () => {
    const bench = new Bench({ ...settings, maxOvertakes: 0 }).sample(card());
    bench.lease({ vramMb: 3000 });
    bench.wait({ vramMb: 9000 });
    expect(bench.submit("wait", { vramMb: 3000 }, { workload: { priority: 1 } }).type).toBe("lease");
  });

  it("holds host memory too", () => {
    const bench = new Bench({ ...settings, maxOvertakes: 0, ramMargin: { percent: 0, atLeastMb: 0 } });
    bench.sample([], { host: { totalMb: 10_000, availableMb: 10_000, observedAt: bench.now + 1 } });
    const ram = (mb: number) => ({ gpuCount: 0, vramMb: 0, ramMb: mb });
    bench.lease(ram(5000));
    const big = bench.wait(ram(8000));
    const small = bench.wait(ram(2000));
    expect(bench.ticket(small)?.reasons[0]).toMatchObject({ code: "HELD_FOR_EARLIER_TICKET", heldBy: [big] });
  });

  it("a ticket that GPUs which answer cannot serve holds nothing", () => {
    const bench = new Bench({ ...settings, maxOvertakes: 0 }).sample([gpu(0, 10_000, 0), gpu(1, 10_000, 0)]);
    bench.lease({ vramMb: 6000, gpuUuids: ["GPU-1"] });
    bench.wait({ vramMb: 9000, gpuCount: 2 });
    bench.sample([gpu(0, 10_000, 0), gpu(1, 10_000, 0, { health: "lost" })]);
    expect(bench.submit("wait", { vramMb: 3000 }).type).toBe("lease");
  });
});

describe("explain", () => {
  it("says what would happen and changes nothing", () => {
    const bench = new Bench(settings).sample([gpu(0, 10_000, 4000), gpu(1, 10_000, 7000)]);
    const ask = (vramMb: number, gpuCount = 1) =>
      explain(
        bench.state,
        { name: "x", tenant: "t", priority: 0, labels: {}, requirements: requirements({ vramMb, gpuCount }) },
        "",
        bench.now,
      );
    expect(ask(5000)).toMatchObject({ fitsNow: true, gpus: [{ uuid: "GPU-0" }], reasons: [], position: 0, policy: "queue" });
    expect(ask(8000)).toMatchObject({
      fitsNow: false,
      neverFits: false,
      position: 1,
      largestNow: { vramMb: 6000 },
      largestThatFits: { vramMb: 10_000 },
    });
    expect(ask(5000, 2)).toMatchObject({ fitsNow: false, largestNow: { vramMb: 3000, gpuCount: 2 } });
    expect(ask(11_000)).toMatchObject({ neverFits: true, position: 0 });
    expect(bench.state.leases.size + bench.state.line.size).toBe(0);
  });
});
