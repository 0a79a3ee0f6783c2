import { describe, expect, it } from "vitest";
import { everything, type SaveEffect } from "../../src/engine/saves.ts";
import { defaultSettings } from "../../src/engine/settings.ts";
import { createState } from "../../src/engine/state.ts";
import { builtInPolicies } from "../../src/policy/load.ts";
import { Bench, gpu, leaseIn } from "./support.ts";

/** A server with one GPU that takes up what `before` had written down, by way of the disk. */
function nextLife(before: Bench | undefined, afterMs = 0): Bench {
  const bench = new Bench();
  Object.assign(bench, { state: createState(defaultSettings, builtInPolicies(), "", true) });
  if (before !== undefined) {
    bench.now = before.now + afterMs;
    const { leases, tickets } = JSON.parse(JSON.stringify(everything(before.state)));
    bench.step({ type: "restore", leases, tickets });
  }
  return bench.sample([gpu(0, 10_256, 0)]);
}

const ttlMs = 60_000;

describe("what an earlier life of the server had promised", () => {
  it("holds: its leases have their tokens, and their whole time once more, however long the server was away", () => {
    const first = nextLife(undefined);
    const leases = [1_000, 2_000, 3_000].map((vramMb, n) => leaseIn(first.allocate({ vramMb }, { requestId: `r${n}`, ttlMs })));
    const second = nextLife(first, 3 * ttlMs);
    const ends = leases.map(({ id, token }) => {
      expect(second.view(id)).toMatchObject({ id, token, state: "idle" });
      return (second.view(id)?.expiresAt ?? 0) - second.now;
    });
    for (const end of ends) expect(end).toBeGreaterThan(ttlMs - 5);
    expect(new Set(ends).size).toBe(3);
    expect(Math.max(...ends)).toBeLessThan(1.5 * ttlMs);
    const fresh = leaseIn(second.allocate({ vramMb: 1 }, { id: "fresh" }));
    expect(fresh.token).toBeGreaterThan(Math.max(...leases.map((l) => l.token)));
    // 6,000 MiB are promised and not in use yet.
    expect(second.allocate({ vramMb: 5_000 }, { id: "large" }).type).toBe("refused");
    const { reply } = second.step({ type: "renew", leaseId: leases[0]?.id ?? "", token: leases[0]?.token ?? 0 });
    expect(reply.type).toBe("lease");
  });

  it("holds for as long as the longest that it was ever renewed for", () => {
    const first = nextLife(undefined);
    const { id, token } = leaseIn(first.allocate({ vramMb: 1_000 }, { ttlMs }));
    first.step({ type: "renew", leaseId: id, token, ttlMs: 10 * ttlMs });
    first.step({ type: "renew", leaseId: id, token });
    const second = nextLife(first);
    expect((second.view(id)?.expiresAt ?? 0) - second.now).toBeGreaterThan(10 * ttlMs - 5);
  });

  it("is found by request id, and places in the queue keep their order while their clients are away", () => {
    const first = nextLife(undefined);
    const lease = leaseIn(first.allocate({ vramMb: 8_000 }, { requestId: "holder" }));
    const [a, b] = ["a", "b"].map((requestId) => first.wait({ vramMb: 8_000 }, { requestId }));
    first.wait({ vramMb: 8_000 });
    const second = nextLife(first);
    expect(second.state.tickets.size).toBe(2);
    expect(second.submit("wait", { vramMb: 8_000 }, { requestId: "b" })).toMatchObject({
      type: "ticket",
      ticketId: b,
      resumed: true,
    });
    expect(leaseIn(second.submit("wait", { vramMb: 8_000 }, { requestId: "holder" })).id).toBe(lease.id);
    expect(second.ticket(a ?? "")).toMatchObject({ position: 1, connected: false });
    expect(second.ticket(b ?? "")).toMatchObject({ position: 2, connected: true });
    second.pass(defaultSettings.graceMs);
    expect(second.ticket(a ?? "")).toBeUndefined();
    expect(second.ticket(b ?? "")?.position).toBe(1);
  });

  it("is gone where it lived as long as a stream, and where nobody could find it again", () => {
    const first = nextLife(undefined);
    leaseIn(first.submit("wait", { vramMb: 1_000 }, { hold: "stream", requestId: "r" }));
    first.wait({ vramMb: 10_000 });
    expect(everything(first.state)).toEqual({ leases: [], tickets: [] });
  });

  it("does not wait for longer than was asked, also where the clock was set back", () => {
    const first = nextLife(undefined);
    leaseIn(first.allocate({ vramMb: 8_000 }));
    const ticket = first.wait({ vramMb: 8_000 }, { requestId: "r", timeoutMs: 40_000 });
    first.now = 100_000_000;
    const late = nextLife(first);
    expect(late.ticket(ticket)).toBeUndefined();
    expect(late.effects.map((e) => e.type)).toContain("timed-out");

    const again = nextLife(undefined);
    again.now = 50_000_000;
    again.sample([gpu(0, 10_256, 0)]);
    leaseIn(again.allocate({ vramMb: 8_000 }, { ttlMs: 1e9 }));
    const other = again.wait({ vramMb: 8_000 }, { requestId: "r", timeoutMs: 20_000 });
    const back = nextLife(again, -10_000_000);
    expect((back.ticket(other)?.deadline ?? 0) - back.now).toBeLessThanOrEqual(20_000);
  });
});

describe("a client with a request id that says how long it may be away", () => {
  function away(graceMs: number | undefined): Bench {
    const bench = nextLife(undefined);
    leaseIn(bench.allocate({ vramMb: 8_000 }));
    const ticket = bench.wait({ vramMb: 8_000 }, { requestId: "r", ...(graceMs === undefined ? {} : { graceMs }) });
    bench.step({ type: "disconnect", ticketId: ticket });
    return bench;
  }

  it("leaves at once with 0, like one without an id, and so does a grant that it has not heard of", () => {
    expect(away(0).state.tickets.size).toBe(0);
    const bench = nextLife(undefined);
    const lease = leaseIn(bench.submit("wait", { vramMb: 8_000 }, { requestId: "r", graceMs: 0 }));
    bench.step({ type: "undelivered", leaseId: lease.id });
    expect(bench.view(lease.id)?.end).toBe("stream-closed");
  });

  it("keeps its place for so long, and for the server's grace time when it does not say", () => {
    for (const [graceMs, ms] of [
      [5_000, 5_000],
      [undefined, defaultSettings.graceMs],
    ] as const) {
      const bench = away(graceMs);
      expect(bench.pass(ms - 1).state.tickets.size).toBe(1);
      expect(bench.pass(1).state.tickets.size).toBe(0);
    }
  });

  it("has the server's grace time after a restart in any case", () => {
    const first = nextLife(undefined);
    leaseIn(first.allocate({ vramMb: 8_000 }));
    const ticket = first.wait({ vramMb: 8_000 }, { requestId: "r", graceMs: 0, timeoutMs: 0 });
    const second = nextLife(first);
    second.pass(defaultSettings.graceMs - 10);
    expect(second.ticket(ticket)).toMatchObject({ connected: false });
    second.submit("wait", { vramMb: 8_000 }, { requestId: "r" });
    second.step({ type: "disconnect", ticketId: ticket });
    expect(second.ticket(ticket)).toBeUndefined();
  });
});

describe("what a step changed of it", () => {
  it("comes first of its effects, and not at all where nothing has to outlive the server", () => {
    const durable = nextLife(undefined);
    const { effects } = durable.step({ type: "tick" });
    expect(effects.map((e) => e.type)).toEqual(["measured"]);
    const outcome = durable.submit("wait", { vramMb: 1_000 }, { requestId: "r" });
    const saves = durable.effects.filter((e): e is SaveEffect => e.type === "save");
    expect(saves).toHaveLength(1);
    expect(saves[0]?.leases.map((l) => l.memo?.id)).toEqual([leaseIn(outcome).id]);
    const forgetful = new Bench().sample([gpu(0, 10_256, 0)]);
    forgetful.submit("wait", { vramMb: 1_000 }, { requestId: "r" });
    expect(forgetful.effects.some((e) => e.type === "save")).toBe(false);
  });
});
