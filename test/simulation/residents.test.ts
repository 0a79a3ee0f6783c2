import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { type ResidentsResult, runResidents } from "./residents-schedule.ts";

const steps = 120;
/** A tenth of the other schedules, because each takes ten times as long: every eviction is judged with and without each victim. */
const count = Math.ceil(Number(process.env.SLUICE_SCHEDULES ?? 3_000) / 10);
const from = Number(process.env.SLUICE_SEED ?? 1);

/** Seeds that once broke a promise, each with what it found. */
const regressions = JSON.parse(readFileSync(new URL("regressions.json", import.meta.url), "utf8")) as {
  seed: number;
  schedule?: "residents";
  found: string;
}[];

function run(seed: number): ResidentsResult {
  try {
    return runResidents(seed, steps);
  } catch (error) {
    throw new Error(
      `seed ${seed} (run it again with SLUICE_SEED=${seed} SLUICE_SCHEDULES=1, and keep it in regressions.json with "schedule": "residents")`,
      { cause: error },
    );
  }
}

describe("random schedules with residents", () => {
  it(`keep every promise after every step, ${count} of them`, { timeout: 600_000 }, () => {
    const total = { granted: 0, plans: 0, evicted: 0, softReleases: 0, refills: 0 };
    for (let seed = from; seed < from + count; seed++) {
      const r = run(seed);
      for (const key of ["granted", "plans", "evicted", "softReleases", "refills"] as const) total[key] += r[key];
    }
    // A schedule in which nothing happens proves nothing.
    if (count >= 100) expect(Math.min(...Object.values(total))).toBeGreaterThan(count / 10);
  });

  it("that once broke a promise keep it now", () => {
    const seeds = regressions.filter((r) => r.schedule === "residents").map((r) => r.seed);
    for (const seed of seeds) run(seed);
    expect(seeds.length).toBeGreaterThan(0);
  });
});
