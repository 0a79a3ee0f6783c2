import { getHeapStatistics, setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, it } from "vitest";
import { EngineLoad, type LoadedEngine, type LoadOptions } from "../../bench/lib/load.mjs";
import { defaultSettings } from "../../src/engine/settings.ts";
import { createState } from "../../src/engine/state.ts";
import { step } from "../../src/engine/step.ts";
import { builtInPolicies } from "../../src/policy/load.ts";
import { VirtualMachine } from "../../src/replay/virtual-machine.ts";

const engine: LoadedEngine = { createState, step, defaultSettings, builtInPolicies, VirtualMachine };

/** Work that ends before anything is measured: by then some tickets have been overtaken as often as they may be. */
const warmUpRounds = 120;
const batches = 7;
const roundsPerBatch = 12;
/** An engine that goes through the whole queue would run for minutes: it is stopped, and has failed by then. */
const longestMs = 12_000;

/** Median of the cost of one event over some batches, in µs: others use the same processor. */
function costOf(options: LoadOptions): number {
  const load = new EngineLoad(engine, options);
  const began = performance.now();
  const isLate = () => performance.now() - began > longestMs;
  for (let i = 0; i < warmUpRounds && !isLate(); i++) load.round();
  const costs: number[] = [];
  do {
    load.reset();
    for (let i = 0; i < roundsPerBatch && (i === 0 || !isLate()); i++) load.round();
    costs.push(load.usPerEvent);
  } while (costs.length < batches && !isLate());
  costs.sort((a, b) => a - b);
  return costs[Math.floor(costs.length / 2)] as number;
}

describe("the cost of one event", () => {
  // Guards the promise that a long queue does not slow the gate down: whatever looks at every waiting ticket shows here.
  it.each([
    { waiting: 10_000, limit: 3 },
    { waiting: 100_000, limit: 5 },
  ])(
    "is with $waiting waiting tickets at most $limit times what it is with 100",
    { retry: 2, timeout: 180_000 },
    ({ waiting, limit }) => {
      const kind: Omit<LoadOptions, "waiting"> = { discipline: "backfill", tenants: 1, sizes: "distinct" };
      costOf({ ...kind, waiting: 100 });
      const many = costOf({ ...kind, waiting });
      const few = costOf({ ...kind, waiting: 100 });
      expect(many / few, `${few.toFixed(0)} µs at 100, ${many.toFixed(0)} µs at ${waiting}`).toBeLessThanOrEqual(limit);
    },
  );
});

describe("memory", () => {
  it("does not grow with work that has finished", { retry: 2, timeout: 120_000 }, () => {
    setFlagsFromString("--expose-gc");
    const gc = runInNewContext("gc") as () => void;
    const load = new EngineLoad(engine, { discipline: "best-effort", waiting: 20, tenants: 20, sizes: "distinct" });
    const usedAfter = (finished: number): number => {
      while (load.finished < finished) load.round();
      load.reset();
      gc();
      gc();
      return getHeapStatistics().used_heap_size;
    };
    // By then everything that is remembered up to a number has reached it.
    const few = usedAfter(6_000);
    const many = usedAfter(16_000);
    // An entry of a map that names a lease takes more than this.
    expect((many - few) / 10_000, "bytes that each finished piece of work leaves behind").toBeLessThan(48);
  });
});
