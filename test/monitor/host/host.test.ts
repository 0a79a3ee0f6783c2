import { totalmem } from "node:os";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type HostSources, parseMemAvailable, SystemHostProbe } from "../../../src/monitor/host.ts";
import { fixtureRoot, mib, procFiles, statLine } from "./fixture-root.ts";

const mb = 1024 * 1024;

/** A probe of a machine with these bytes of memory, and no cgroup limit unless `files` has one. */
function probe(sources: HostSources & { files?: Record<string, string>; now?: () => number } = {}): SystemHostProbe {
  const { files = {}, now = () => 0, ...rest } = sources;
  return new SystemHostProbe(now, {
    root: fixtureRoot(files),
    memory: async () => ({ total: 64_000 * mb, available: 50_000 * mb }),
    load: async () => ({ currentLoad: 25 }),
    ...rest,
  });
}

function limited(max: string, current: string): Record<string, string> {
  return { "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": max, "sys/fs/cgroup/memory.current": current };
}

describe("host memory", () => {
  it("is that of the machine when no cgroup limits it", async () => {
    const { host } = await probe().read([]);
    expect(host).toEqual({ totalMb: 64_000, availableMb: 50_000, observedAt: 0 });
  });

  it("is that of the cgroup when that is smaller", async () => {
    const { host } = await probe({ files: limited(mib(8000), mib(3000)) }).read([]);
    expect(host).toEqual({ totalMb: 8000, availableMb: 5000, cgroupLimitMb: 8000, observedAt: 0 });
  });

  it("is that of the machine when the cgroup allows more than there is", async () => {
    const { host } = await probe({ files: limited(mib(80_000), mib(1)) }).read([]);
    expect(host).toEqual({ totalMb: 64_000, availableMb: 50_000, cgroupLimitMb: 80_000, observedAt: 0 });
  });

  it("leaves out what is available when the usage of a limited cgroup is not known, instead of what the machine has", async () => {
    const files = limited(mib(8000), "");
    const { host } = await probe({ files }).read([]);
    expect(host).toEqual({ totalMb: 8000, cgroupLimitMb: 8000, observedAt: 0 });
  });

  it("leaves out the numbers of a reading that fails, and does not reject", async () => {
    const failing = async () => {
      throw new Error("no");
    };
    const { host } = await probe({ memory: failing, load: failing, files: limited(mib(8000), mib(3000)) }).read([]);
    expect(host).toEqual({ cgroupLimitMb: 8000, observedAt: 0 });
    const none = await probe({ memory: async () => ({ total: Number.NaN, available: Number.NaN }) }).read([]);
    expect(none.host).toEqual({ observedAt: 0 });
  });

  it("believes a MemAvailable of 0 (guards against a library that takes it for 'not told')", async () => {
    const files = {
      "proc/meminfo": "MemTotal:  65536000 kB\nMemFree:  9000000 kB\nMemAvailable:       0 kB\nCached: 50000 kB\n",
    };
    const { host } = await probe({ files }).read([]);
    expect(host.availableMb).toBe(0);
  });

  it("is as old as the moment before anything was read", async () => {
    let clock = 100;
    const memory = async () => {
      clock = 900;
      return { total: mb, available: mb };
    };
    const { host } = await probe({ now: () => clock, memory }).read([]);
    expect(host.observedAt).toBe(100);
  });

  it("is never negative, not a number, or more available than there is in total", async () => {
    const number = fc.oneof(
      fc.double(),
      fc.nat().map((n) => n * mb),
      fc.constantFrom(Number.NaN, -1, Number.POSITIVE_INFINITY),
    );
    const root = fixtureRoot({});
    await fc.assert(
      fc.asyncProperty(number, number, number, async (total, available, currentLoad) => {
        let at = 0;
        const p = new SystemHostProbe(() => at, {
          root,
          memory: async () => ({ total, available }),
          load: async () => ({ currentLoad }),
        });
        await p.read([]);
        at = 5000;
        const { host } = await p.read([]);
        for (const n of [host.totalMb ?? 0, host.availableMb ?? 0, host.cpuPercent ?? 0]) expect(n).toBeGreaterThanOrEqual(0);
        expect(host.cpuPercent ?? 0).toBeLessThanOrEqual(100);
        if (host.totalMb !== undefined) expect(host.availableMb ?? 0).toBeLessThanOrEqual(host.totalMb);
      }),
      { numRuns: 100 },
    );
  });

  it("reads MemAvailable or nothing", () => {
    expect(parseMemAvailable("MemAvailable:   2048 kB\n")).toBe(2 * mb);
    for (const text of ["", "MemAvailable: x kB", "XMemAvailable: 5 kB\n"]) expect(parseMemAvailable(text)).toBeUndefined();
  });
});

describe("CPU load", () => {
  it("is left out of the first reading, which would be the mean since boot", async () => {
    let at = 0;
    const p = probe({ now: () => at });
    expect((await p.read([])).host.cpuPercent).toBeUndefined();
    at = 2000;
    expect((await p.read([])).host.cpuPercent).toBe(25);
  });

  it("does not hold the first reading up (guards against a library that takes half a second to begin)", async () => {
    const p = probe({ load: () => new Promise(() => {}) });
    expect((await p.read([])).host.totalMb).toBe(64_000);
  });

  it("is asked for at most every two seconds, and told in between", async () => {
    let at = 0;
    let asked = 0;
    const load = async () => ({ currentLoad: ++asked });
    const p = probe({ now: () => at, load });
    for (at = 0; at <= 5000; at += 500) await p.read([]);
    expect(asked).toBe(3);
    expect((await p.read([])).host.cpuPercent).toBe(3);
  });

  it("is left out after a reading that failed", async () => {
    let at = 0;
    let works = true;
    const load = async () => {
      if (!works) throw new Error("no");
      return { currentLoad: 10 };
    };
    const p = probe({ now: () => at, load });
    await p.read([]);
    at = 2000;
    expect((await p.read([])).host.cpuPercent).toBe(10);
    at = 4000;
    works = false;
    expect((await p.read([])).host.cpuPercent).toBeUndefined();
  });
});

describe("process trees", () => {
  it("are measured before the host, so that nothing is credited that the host has not lost yet", async () => {
    const order: string[] = [];
    const files = { ...procFiles(statLine(10, 1)), "proc/10/smaps_rollup": "Pss: 4096 kB\n" };
    const p = probe({
      files,
      processes: {
        alive: () => true,
        key: (pid) => `${pid}:1`,
        trees: async () => {
          order.push("trees");
          return new Map([["10:1", [10]]]);
        },
      },
      memory: async () => {
        order.push("memory");
        return { total: mb, available: mb };
      },
    });
    const { treeRam } = await p.read(["10:1"]);
    expect([...treeRam]).toEqual([["10:1", 4]]);
    expect(order).toEqual(["trees", "memory"]);
  });
});

describe("this machine", () => {
  it("is measured in numbers that make sense", async () => {
    const { host } = await new SystemHostProbe(() => performance.now()).read([]);
    expect(host.totalMb).toBeGreaterThan(0);
    expect(host.totalMb).toBeLessThanOrEqual(Math.ceil(totalmem() / mb));
    expect(host.availableMb).toBeGreaterThan(0);
    expect(host.availableMb).toBeLessThan(host.totalMb as number);
  });
});
