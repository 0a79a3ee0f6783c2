import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { type CrashResult, runCrashes } from "./crash-schedule.ts";

const steps = 120;
/** A fifth of what the others run; SLUICE_SEED=n to see one again. */
const count = Math.ceil(Number(process.env.SLUICE_SCHEDULES ?? 10_000) / 5);
const from = Number(process.env.SLUICE_SEED ?? 1);

const regressions = JSON.parse(readFileSync(new URL("regressions.json", import.meta.url), "utf8")) as {
  seed: number;
  schedule?: string;
  found: string;
}[];

function run(seed: number): CrashResult {
  try {
    return runCrashes(seed, steps);
  } catch (error) {
    throw new Error(`seed ${seed} (run it again with SLUICE_SEED=${seed} SLUICE_SCHEDULES=1)`, { cause: error });
  }
}

describe("random schedules in which the server is killed", () => {
  it(`keep every promise that is written down, ${count} of them`, { timeout: 600_000 }, () => {
    const total = { crashes: 0, leases: 0, tickets: 0 };
    for (let seed = from; seed < from + count; seed++) {
      const r = run(seed);
      for (const key of ["crashes", "leases", "tickets"] as const) total[key] += r[key];
    }
    // A crash with nothing to lose proves nothing.
    if (count >= 100) expect(Math.min(total.crashes, total.leases, total.tickets)).toBeGreaterThan(count / 2);
  });

  it("that once broke a promise keep it now", () => {
    for (const { seed } of regressions.filter((r) => r.schedule === "crashes")) run(seed);
  });
});
