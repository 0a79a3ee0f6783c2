import { describe, expect, it } from "vitest";
import type { LeaseView } from "../../src/engine/types.ts";
import type { MemoryLimit } from "../../src/executor/memory-profile.ts";
import { LeaseMemory } from "../../src/gate/lease-memory.ts";

/** One lease on one GPU, with what measurements show of it and when they were taken. */
function open(gpus = 1) {
  const seen = {
    now: 100,
    vram: undefined as [number, number] | undefined,
    ram: undefined as [number, number] | undefined,
    end: false,
  };
  const view = (): LeaseView =>
    ({
      gpus: Array.from({ length: gpus }, () =>
        seen.vram === undefined ? {} : { residentMb: seen.vram[0], residentAt: seen.vram[1] },
      ),
      ...(seen.ram === undefined ? {} : { residentRamMb: seen.ram[0], residentRamAt: seen.ram[1] }),
      ...(seen.end ? { end: "released" } : {}),
    }) as unknown as LeaseView;
  const memory = new LeaseMemory(view, () => seen.now);
  return { seen, memory };
}

describe("what is measured of a lease", () => {
  it("is the largest since the watch began", () => {
    const { seen, memory } = open();
    let grew = 0;
    const watch = memory.watch("lease", () => grew++);
    for (const [mb, at] of [
      [10, 101],
      [30, 102],
      [20, 103],
    ] as const) {
      seen.vram = [mb, at];
      memory.sampled();
    }
    expect(watch.peak()).toEqual({ vramMb: 30 });
    expect(grew).toBe(2);
  });

  it("is not what was measured before the watch began: a worker that had not got its memory yet is no worker that needs none", () => {
    const { seen, memory } = open();
    const watch = memory.watch("lease");
    seen.vram = [0, 99];
    seen.ram = [5, 100];
    memory.sampled();
    expect(watch.peak()).toEqual({});
    seen.vram = [700, 101];
    memory.sampled();
    expect(watch.peak()).toEqual({ vramMb: 700 });
  });

  it("of a run that is over before anything was measured is what the worker keeps, at the next measurement", () => {
    const { seen, memory } = open();
    const told: MemoryLimit[] = [];
    memory.watch("lease").finish((peak) => told.push(peak));
    seen.vram = [0, 99];
    memory.sampled();
    expect(told).toEqual([]);
    seen.vram = [700, 101];
    seen.ram = [40, 101];
    memory.sampled();
    memory.sampled();
    expect(told).toEqual([{ vramMb: 700, ramMb: 40 }]);
  });

  it("is told at once where everything was measured during the run, and without a GPU that is host memory alone", () => {
    const { seen, memory } = open(0);
    const told: MemoryLimit[] = [];
    const watch = memory.watch("lease");
    seen.ram = [40, 101];
    memory.sampled();
    watch.finish((peak) => told.push(peak));
    expect(told).toEqual([{ ramMb: 40 }]);
  });

  it("is not waited for longer than eight measurements, nor when the lease has ended", () => {
    const { seen, memory } = open();
    const told: MemoryLimit[] = [];
    memory.watch("lease").finish((peak) => told.push(peak));
    seen.ram = [40, 101];
    for (let i = 0; i < 7; i++) memory.sampled();
    expect(told).toEqual([]);
    memory.sampled();
    expect(told).toEqual([{ ramMb: 40 }]);
    memory.watch("lease").finish((peak) => told.push(peak));
    seen.end = true;
    memory.sampled();
    expect(told).toEqual([{ ramMb: 40 }, {}]);
  });
});
