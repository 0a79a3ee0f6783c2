import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { Failure } from "../../src/engine/failure.ts";
import { parseSimulation, SimulatedMonitor } from "../../src/monitor/simulated.ts";
import { collector, fakeContext, fakeProbe } from "./fake-context.ts";

describe("what to simulate", () => {
  it("is written as COUNTxMIB, as MIB alone, or as several with commas", () => {
    expect(parseSimulation("2x24576")).toEqual([24576, 24576]);
    expect(parseSimulation("24576")).toEqual([24576]);
    expect(parseSimulation("24576,81920")).toEqual([24576, 81920]);
    expect(parseSimulation("2x24576, 1x8192")).toEqual([24576, 24576, 8192]);
    expect(parseSimulation("64x16777216")).toHaveLength(64);
    expect(parseSimulation("1")).toEqual([1]);
  });

  it.each([
    "",
    " ",
    "x",
    "2x",
    "x24576",
    "0x24576",
    "2x0",
    "0",
    "-1",
    "2X24576",
    "1.5",
    "1e3",
    "16777217",
    "65x1",
    "64x1,1",
    "2x24576,",
    ",24576",
    "24576;8192",
    "24 GB",
    "99999999999999999999",
    `${"1,".repeat(100_000)}1`,
  ])("is refused, with the field and the form, when it is %j", (spec) => {
    let thrown: unknown;
    try {
      parseSimulation(spec);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(Failure);
    const { reason, violations } = thrown as Failure;
    expect(reason).toBe("INVALID_ARGUMENT");
    expect(violations.map((v) => v.field)).toEqual(["simulate"]);
    expect(violations[0]?.description).toContain("2x24576");
    expect(violations[0]?.description.length).toBeLessThan(200);
  });

  it("is 1 to 64 GPUs of 1 to 16,777,216 MiB, or a Failure, whatever is written", () => {
    const near = fc.array(fc.constantFrom("1", "2", "64", "x", ",", " ", "24576", "16777216", "0", "-"), { maxLength: 8 });
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          near.map((parts) => parts.join("")),
        ),
        (spec) => {
          try {
            const totals = parseSimulation(spec);
            expect(totals.length >= 1 && totals.length <= 64).toBe(true);
            for (const total of totals) expect(Number.isInteger(total) && total >= 1 && total <= 16_777_216).toBe(true);
          } catch (error) {
            expect(error).toBeInstanceOf(Failure);
          }
        },
      ),
    );
  });
});

describe("sys-mon-simulated", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  async function started(probe = fakeProbe()) {
    const monitor = new SimulatedMonitor(fakeContext(["5:5"]), parseSimulation("2x24576,8192"), probe);
    onTestFinished(() => monitor.stop());
    const { samples, onSample } = collector();
    return { monitor, samples, first: await monitor.start(onSample) };
  }

  it("shows empty GPUs of the given sizes on the real host, and says that they are not real", async () => {
    const { monitor, first } = await started();
    expect(first).toMatchObject({ source: "sys-mon-simulated", simulated: true, host: { totalMb: 4000, availableMb: 3000 } });
    expect(first.message).toMatch(/nothing about them is real/);
    expect(first.gpus.map((g) => [g.index, g.totalMb, g.freeMb, g.usedMb, g.reservedMb, g.health, g.name])).toEqual([
      [0, 24576, 24576, 0, 0, "ok", "Simulated GPU"],
      [1, 24576, 24576, 0, 0, "ok", "Simulated GPU"],
      [2, 8192, 8192, 0, 0, "ok", "Simulated GPU"],
    ]);
    expect([...first.treeRam]).toEqual([["5:5", 7]]);
    expect(monitor.status()).toEqual({ healthy: true, message: first.message });
  });

  it("gives each GPU an identity that is the same in every life", async () => {
    const uuids = (await started()).first.gpus.map((g) => g.uuid);
    expect(uuids).toEqual([
      "GPU-51300000-0000-4000-8000-000000000000",
      "GPU-51300000-0000-4000-8000-000000000001",
      "GPU-51300000-0000-4000-8000-000000000002",
    ]);
    expect((await started()).first.gpus.map((g) => g.uuid)).toEqual(uuids);
  });

  it("measures every 500 ms, so that its samples never look old", async () => {
    const { samples } = await started();
    const begin = Date.now();
    await vi.advanceTimersByTimeAsync(2000);
    expect(samples.map((s) => (s.gpus[0]?.observedAt ?? 0) - begin)).toEqual([500, 1000, 1500, 2000]);
    expect(samples.every((s) => (s.processes?.observedAt ?? Number.POSITIVE_INFINITY) <= (s.gpus[0]?.observedAt ?? 0))).toBe(
      true,
    );
  });

  it("goes on with its GPUs when the host cannot be measured, and says so", async () => {
    const { samples, first } = await started({ asked: [], read: () => Promise.reject(new Error("no")) });
    expect(first.gpus).toHaveLength(3);
    expect(first.host).toBeUndefined();
    expect(first.message).toMatch(/Host memory cannot be measured/);
    await vi.advanceTimersByTimeAsync(500);
    expect(samples).toHaveLength(1);
  });

  it("tells nothing after it was stopped, and leaves no timer", async () => {
    const { monitor, samples } = await started();
    await monitor.stop();
    monitor.refresh();
    await vi.advanceTimersByTimeAsync(5000);
    expect(samples).toEqual([]);
    expect(vi.getTimerCount()).toBe(0);
  });
});
