import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { CpuLoad, parseTicks } from "../../../src/monitor/cpu-load.ts";

let root: string;
const say = (text: string) => writeFileSync(join(root, "proc/stat"), text);

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "sluice-cpu-load-"));
  mkdirSync(join(root, "proc"));
});

describe("the load of the processors", () => {
  it("is that since boot at first, and then that since the last look", async () => {
    const load = new CpuLoad(root);
    say("cpu  100 0 100 700 100 0 0 0 50 0\ncpu0 1 2 3 4 5 6 7 8 9 0\n");
    expect(await load.read()).toEqual({ currentLoad: 20 });
    say("cpu  150 10 120 800 110 5 5 0 90 0\ncpu0 1 2 3 4 5 6 7 8 9 0\n");
    expect(await load.read()).toEqual({ currentLoad: 45 });
  });

  it("is not a number when no time has passed", async () => {
    const load = new CpuLoad(root);
    say("cpu  100 0 100 700 100 0 0 0 50 0\n");
    await load.read();
    expect((await load.read()).currentLoad).toBeNaN();
  });

  it("comes from systeminformation where the file is not there, or says something else", async () => {
    for (const text of [undefined, "intr 1 2 3\n", "cpu 1 2\n"]) {
      if (text !== undefined) say(text);
      const { currentLoad } = await new CpuLoad(root).read();
      expect(currentLoad).toBeGreaterThanOrEqual(0);
      expect(currentLoad).toBeLessThanOrEqual(100);
    }
  });

  it("counts time that a hypervisor took away, and not guests twice", () => {
    expect(parseTicks("cpu  10 0 0 80 0 0 0 10 10 0\n")).toEqual({ busy: 20, total: 100 });
  });

  it("is between none and all, whatever the counters", async () => {
    const ticks = fc.array(fc.nat({ max: 2 ** 40 }), { minLength: 8, maxLength: 10 });
    await fc.assert(
      fc.asyncProperty(ticks, async (counters) => {
        say(`cpu  ${counters.join(" ")}\n`);
        const { currentLoad } = await new CpuLoad(root).read();
        if (Number.isNaN(currentLoad)) return counters.slice(0, 8).every((c) => c === 0);
        return currentLoad >= 0 && currentLoad <= 100;
      }),
    );
  });
});
