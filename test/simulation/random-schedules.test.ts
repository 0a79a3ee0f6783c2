import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { runSchedule, type ScheduleResult } from "./schedule.ts";

const steps = 120;
/** SLUICE_SCHEDULES=100000 for a long run; SLUICE_SEED=n to see one again. */
const count = Number(process.env.SLUICE_SCHEDULES ?? 10_000);
const from = Number(process.env.SLUICE_SEED ?? 1);

/** Seeds that once broke a promise, each with what it found. */
const regressions = JSON.parse(readFileSync(new URL("regressions.json", import.meta.url), "utf8")) as {
  seed: number;
  schedule?: "residents";
  found: string;
}[];

function run(seed: number): ScheduleResult {
  try {
    return runSchedule(seed, steps);
  } catch (error) {
    throw new Error(
      `seed ${seed} (run it again with SLUICE_SEED=${seed} SLUICE_SCHEDULES=1, and keep it in regressions.json)`,
      { cause: error },
    );
  }
}

describe("random schedules", () => {
  it(`keep every promise after every step, ${count} of them`, { timeout: 600_000 }, () => {
    const total = { granted: 0, refused: 0, timedOut: 0, steps: 0 };
    for (let seed = from; seed < from + count; seed++) {
      const r = run(seed);
      for (const key of ["granted", "refused", "timedOut", "steps"] as const) total[key] += r[key];
    }
    // A schedule in which nothing happens proves nothing.
    if (count >= 100) expect(Math.min(total.granted, total.refused, total.timedOut)).toBeGreaterThan(count / 10);
  });

  it("that once broke a promise keep it now", () => {
    const seeds = regressions.filter((r) => r.schedule === undefined).map((r) => r.seed);
    for (const seed of seeds) run(seed);
    expect(seeds.length).toBeGreaterThan(0);
  });
});
