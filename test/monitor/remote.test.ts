import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { RemoteMonitor } from "../../src/monitor/remote.ts";
import {
  blindSample,
  type RemoteGpu,
  type RemoteStats,
  type RemoteStatsClient,
  remoteSample,
} from "../../src/monitor/remote-stats.ts";
import { collector, fakeContext } from "./fake-context.ts";

function gpu(index: number, more: Partial<RemoteGpu> = {}): RemoteGpu {
  return {
    uuid: `GPU-${index}`,
    index,
    name: "Card",
    kind: "full",
    totalMb: 24_576,
    reservedMb: 400,
    usedMb: 1000,
    freeMb: 23_176,
    loadPercent: 5,
    health: "ok",
    healthMessage: "",
    ageMs: 200,
    ...more,
  };
}

function stats(more: Partial<RemoteStats> = {}): RemoteStats {
  return {
    source: "sys-mon-nvidia",
    simulated: false,
    message: "",
    driverVersion: "550.1",
    gpus: [gpu(0), gpu(1)],
    host: { totalMb: 64_000, availableMb: 50_000, ageMs: 700 },
    ...more,
  };
}

describe("an answer of another server", () => {
  it("is as old as the moment it was asked for, less the age that it tells", () => {
    const sample = remoteSample("gpu1:1", stats(), 10_000, []);
    expect(sample.gpus.map((g) => g.observedAt)).toEqual([9800, 9800]);
    expect(sample.host?.observedAt).toBe(9300);
    expect(sample).toMatchObject({ source: "gpu1:1", driverVersion: "550.1", message: "" });
  });

  it("cannot attribute memory to processes here, and measures no trees here", () => {
    const list = [{ pid: 42, gpuUuid: "GPU-0", usedMb: 900, name: "python3" }];
    const sample = remoteSample("gpu1:1", stats({ processes: { ageMs: 50, list } }), 10_000, []);
    expect(sample.gpus.every((g) => !g.attribution)).toBe(true);
    expect(sample.treeRam.size).toBe(0);
    expect(sample.processes).toEqual({ observedAt: 9950, list: [{ ...list[0], lineage: [] }] });
  });

  it("keeps a GPU that is no longer told of, as lost and without figures", () => {
    const before = remoteSample("gpu1:1", stats(), 10_000, []);
    const after = remoteSample("gpu1:1", stats({ gpus: [gpu(1)] }), 11_000, before.gpus);
    expect(after.gpus.map((g) => [g.uuid, g.health])).toEqual([
      ["GPU-0", "lost"],
      ["GPU-1", "ok"],
    ]);
    expect(after.gpus[0]).toMatchObject({ totalMb: 24_576 });
    expect(after.gpus[0]).not.toHaveProperty("freeMb");
    const back = remoteSample("gpu1:1", stats(), 12_000, after.gpus);
    expect(back.gpus.map((g) => g.health)).toEqual(["ok", "ok"]);
  });

  it("is not used without an age, nor with one that makes no sense", () => {
    const { ageMs: _, ...ageless } = gpu(0);
    for (const odd of [ageless, gpu(0, { ageMs: -1 }), gpu(0, { ageMs: Number.NaN })]) {
      const [told] = remoteSample("gpu1:1", stats({ gpus: [odd] }), 10_000, []).gpus;
      expect(told?.health).toBe("unknown");
      expect(told).not.toHaveProperty("freeMb");
    }
    const { host } = remoteSample("gpu1:1", stats({ host: { totalMb: 5, availableMb: 4 } }), 10_000, []);
    expect(host).toEqual({ totalMb: 5, observedAt: 10_000 });
  });

  it("does not call a GPU well whose memory is not told", () => {
    const { freeMb: _, ...blind } = gpu(0);
    expect(remoteSample("gpu1:1", stats({ gpus: [blind] }), 0, []).gpus[0]?.health).toBe("degraded");
    const [unified] = remoteSample("gpu1:1", stats({ gpus: [{ ...blind, kind: "unified" }] }), 0, []).gpus;
    expect(unified?.health).toBe("ok");
  });

  it("counts a GPU once when it is told twice, and one without identity not at all", () => {
    const gpus = [gpu(1), gpu(1, { freeMb: 1 }), gpu(0, { uuid: "" })];
    const sample = remoteSample("gpu1:1", stats({ gpus }), 0, []);
    expect(sample.gpus.map((g) => [g.uuid, g.freeMb])).toEqual([["GPU-1", 23_176]]);
  });

  it("never yields a negative number or NaN, and never one that is newer than the question", () => {
    const number = fc.oneof(fc.double(), fc.integer(), fc.constant(undefined));
    fc.assert(
      fc.property(number, number, number, (n, ageMs, hostAge) => {
        const odd = { ...gpu(0), ageMs, totalMb: n, freeMb: n, usedMb: n, reservedMb: n, loadPercent: n } as RemoteGpu;
        const sample = remoteSample(
          "a:1",
          stats({ gpus: [odd], host: { totalMb: n, availableMb: n, ageMs: hostAge } as object }),
          5,
          [],
        );
        for (const part of [...sample.gpus, sample.host ?? {}, ...blindSample(sample, "x").gpus]) {
          for (const [key, value] of Object.entries(part)) {
            if (typeof value !== "number") continue;
            if (key === "observedAt") expect(value).toBeLessThanOrEqual(5);
            else expect(value).toBeGreaterThanOrEqual(0);
          }
        }
      }),
    );
  });
});

describe("a monitor fed by another server", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  /** `answer` is asked for each call; it can be exchanged. */
  function monitorOf(answer: (signal: AbortSignal) => Promise<RemoteStats>) {
    const calls: number[] = [];
    let open = 0;
    const seen = { mostOpen: 0, closed: 0 };
    const server = { answer };
    const begin = Date.now();
    const client: RemoteStatsClient = {
      async getSystemStats(signal) {
        calls.push(Date.now() - begin);
        seen.mostOpen = Math.max(seen.mostOpen, ++open);
        try {
          return await server.answer(signal);
        } finally {
          open--;
        }
      },
      close: () => void seen.closed++,
    };
    const monitor = new RemoteMonitor(fakeContext(), "gpu1:50051", client);
    onTestFinished(() => monitor.stop());
    return { monitor, server, calls, seen, begin, ...collector() };
  }

  const down = () => Promise.reject(new Error("connection refused"));
  const silent = (signal: AbortSignal) =>
    new Promise<never>((_, reject) => {
      signal.addEventListener("abort", () => reject(new Error("cancelled")));
    });
  const slow = (ms: number) => () => new Promise<RemoteStats>((resolve) => setTimeout(() => resolve(stats()), ms));

  it("asks every 500 ms, one call at a time", async () => {
    const { monitor, onSample, samples, calls, seen } = monitorOf(async () => stats());
    await monitor.start(onSample);
    await vi.advanceTimersByTimeAsync(2000);
    expect(calls).toEqual([0, 500, 1000, 1500, 2000]);
    expect(samples).toHaveLength(4);
    expect(seen.mostOpen).toBe(1);
    expect(monitor.status()).toEqual({ healthy: true, message: "gpu1:50051 answers." });
  });

  it("dates a slow answer by when it was asked for, not by when it came", async () => {
    const { monitor, onSample, begin } = monitorOf(slow(1500));
    const first = monitor.start(onSample);
    await vi.advanceTimersByTimeAsync(1500);
    expect((await first).gpus[0]?.observedAt).toBe(begin - 200);
  });

  it("starts without an answer, with a first sample that says so, and recovers by itself", async () => {
    const { monitor, onSample, samples, server } = monitorOf(down);
    const first = await monitor.start(onSample);
    expect(first.gpus).toEqual([]);
    expect(first.message).toMatch(/gpu1:50051 does not answer/);
    expect(monitor.status().healthy).toBe(false);
    server.answer = async () => stats();
    await vi.advanceTimersByTimeAsync(1000);
    expect(samples.at(-1)?.gpus.map((g) => g.health)).toEqual(["ok", "ok"]);
    expect(monitor.status().healthy).toBe(true);
  });

  it("waits longer after each failure, from 1 s to 10 s, also when it is asked to hurry", async () => {
    const { monitor, onSample, calls } = monitorOf(down);
    await monitor.start(onSample);
    for (let s = 0; s < 40; s++) {
      monitor.refresh();
      await vi.advanceTimersByTimeAsync(1000);
    }
    expect(calls).toEqual([0, 1000, 3000, 7000, 15_000, 25_000, 35_000]);
  });

  it("knows nothing of any GPU any more three periods after the last answer", async () => {
    const { monitor, onSample, samples, server } = monitorOf(async () => stats());
    await monitor.start(onSample);
    server.answer = down;
    await vi.advanceTimersByTimeAsync(1499);
    expect(samples.every((s) => s.gpus.every((g) => g.health === "ok"))).toBe(true);
    expect(monitor.status().healthy).toBe(false);
    await vi.advanceTimersByTimeAsync(1);
    const blind = samples.at(-1);
    expect(blind?.gpus.map((g) => g.health)).toEqual(["unknown", "unknown"]);
    expect(blind?.gpus.every((g) => g.freeMb === undefined && g.usedMb === undefined && g.totalMb === 24_576)).toBe(true);
    expect(blind?.host?.availableMb).toBeUndefined();
    expect(blind?.message).toMatch(/does not answer/);
    server.answer = async () => stats();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(samples.at(-1)?.gpus.map((g) => g.health)).toEqual(["ok", "ok"]);
    expect(samples.at(-1)?.message).toBe("");
    server.answer = down;
    await vi.advanceTimersByTimeAsync(2100);
    expect(samples.at(-1)?.gpus.map((g) => g.health)).toEqual(["unknown", "unknown"]);
  });

  it("gives a call up after two seconds and cancels it", async () => {
    const { monitor, onSample, seen, samples, server, calls } = monitorOf(async () => stats());
    await monitor.start(onSample);
    server.answer = silent;
    await vi.advanceTimersByTimeAsync(2499);
    expect(samples).toEqual([]);
    await vi.advanceTimersByTimeAsync(2);
    expect(samples.at(-1)?.gpus.map((g) => g.health)).toEqual(["unknown", "unknown"]);
    await vi.advanceTimersByTimeAsync(1100);
    expect(calls).toEqual([0, 500, 3500]);
    expect(seen.mostOpen).toBe(1);
  });

  it("takes no notice of an answer that comes after it was given up", async () => {
    const { monitor, onSample, server, samples } = monitorOf(async () => stats());
    await monitor.start(onSample);
    server.answer = slow(2800);
    await vi.advanceTimersByTimeAsync(2600);
    server.answer = down;
    await vi.advanceTimersByTimeAsync(900);
    expect(samples.at(-1)?.gpus.map((g) => g.health)).toEqual(["unknown", "unknown"]);
    expect(samples).toHaveLength(1);
  });

  it("takes a client that throws, or an answer that is nothing, for a failure", async () => {
    const { monitor, onSample, server } = monitorOf(() => {
      throw new Error("at once");
    });
    expect((await monitor.start(onSample)).message).not.toBe("");
    server.answer = async () => undefined as unknown as RemoteStats;
    await vi.advanceTimersByTimeAsync(5000);
    expect(monitor.status().healthy).toBe(false);
  });

  it("ends a call that is open when it is stopped, and tells nothing more", async () => {
    const { monitor, onSample, samples, seen, server } = monitorOf(async () => stats());
    await monitor.start(onSample);
    server.answer = silent;
    await vi.advanceTimersByTimeAsync(600);
    await monitor.stop();
    await monitor.stop();
    expect(seen.closed).toBeGreaterThanOrEqual(1);
    await vi.advanceTimersByTimeAsync(20_000);
    expect(samples).toEqual([]);
    expect(vi.getTimerCount()).toBe(0);
  });
});
