import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, it, vi } from "vitest";
import { loadPolicy } from "../../src/policy/load.ts";
import type { AllocationRequest, AllocationView, GpuState } from "../../src/policy/resource-scheduler.ts";

const example = (name: string) => fileURLToPath(new URL(`../../examples/policies/${name}.mjs`, import.meta.url));

async function load(name: string) {
  return loadPolicy(example(name), (_policy, error) => {
    throw error;
  });
}

function asking(vramMb: number, priority: number, gpuCount = 1): AllocationRequest {
  return {
    workload: {
      name: "job",
      tenant: "default",
      priority,
      labels: {},
      requirements: { gpuCount, vramMb, ramMb: 0, gpuUuids: [], exclusive: false },
    },
    mayWait: true,
    waitedMs: 0,
  };
}

function machine(now: Date, fits: boolean, ...gpus: Partial<GpuState>[]): AllocationView {
  return {
    now: now.getTime(),
    fits,
    reasons: [],
    gpus: gpus.map((g, index) => ({
      uuid: `GPU-${index}`,
      index,
      name: "",
      healthy: true,
      outstandingMb: 0,
      claimedMb: 0,
      ...g,
    })),
    host: {},
    waiting: 0,
    executions: new Map(),
  };
}

/** 4 March 2026 is a Wednesday. */
const wednesday = (hour: number) => new Date(2026, 2, 4, hour);
const saturday = new Date(2026, 2, 7, 12);

afterEach(() => vi.unstubAllEnvs());

describe("office-hours", () => {
  it("lets a job of low priority wait by day when no room would be left for people, and says so", async () => {
    const policy = await load("office-hours");
    const view = machine(wednesday(10), true, { availableMb: 20_000 });
    expect(policy.allocate(asking(16_000, -1), view)).toEqual({
      verdict: "wait",
      message: "until 18:00, 8000 MiB are kept free for jobs of priority 0 and above",
    });
    expect(policy.allocate(asking(12_000, -1), view)).toEqual({ verdict: "admit" });
    expect(policy.allocate(asking(16_000, 0), view)).toEqual({ verdict: "admit" });
    const beside = machine(wednesday(10), true, { availableMb: 20_000 }, { availableMb: 9_000 });
    expect(policy.allocate(asking(16_000, -1), beside)).toEqual({ verdict: "admit" });
    expect(
      policy.allocate(asking(8_000, -1, 2), machine(wednesday(10), true, { availableMb: 9_000 }, { availableMb: 9_000 })),
    ).toMatchObject({ verdict: "wait" });
  });

  it.each([
    ["at night", wednesday(18)],
    ["before work", wednesday(7)],
    ["at the weekend", saturday],
  ])("is queue %s", async (_when, now) => {
    const policy = await load("office-hours");
    expect(policy.allocate(asking(16_000, -1), machine(now, true, { availableMb: 16_000 }))).toEqual({ verdict: "admit" });
    expect(policy.allocate(asking(16_000, -1), machine(now, false, { availableMb: 1_000 }))).toEqual({ verdict: "wait" });
  });

  it("never admits what does not fit, and takes no GPU that is not measured for room", async () => {
    const policy = await load("office-hours");
    expect(policy.allocate(asking(1_000, 5), machine(wednesday(10), false, {}))).toEqual({ verdict: "wait" });
    expect(policy.allocate(asking(4_000, -1), machine(wednesday(10), true, { availableMb: 5_000 }, {}))).toMatchObject({
      verdict: "wait",
    });
  });

  it("says at the start when it is set wrongly", async () => {
    vi.stubEnv("RESERVE_MIB", "lots");
    await expect(load("office-hours")).rejects.toThrow("RESERVE_MIB must be a number of MiB");
    vi.stubEnv("RESERVE_MIB", "0");
    const policy = await load("office-hours");
    expect(policy.allocate(asking(16_000, -1), machine(wednesday(10), true, { availableMb: 16_000 }))).toEqual({
      verdict: "admit",
    });
  });
});

it("check-then-act admits by the sum of free memory, which is what is wrong with it", async () => {
  const policy = await load("check-then-act");
  const apart = machine(wednesday(10), false, { freeMb: 3_000 }, { freeMb: 3_000 });
  expect(policy.allocate(asking(4_096, 0), apart)).toEqual({ verdict: "admit" });
  expect(policy.allocate(asking(7_000, 0), apart)).toEqual({ verdict: "wait" });
});
