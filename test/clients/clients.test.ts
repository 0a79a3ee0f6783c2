import { spawnSync } from "node:child_process";
import { afterAll, describe, expect, it } from "vitest";
import { languages } from "./languages.ts";
import { type Outcome, play } from "./run.ts";
import { readScenarios } from "./scenario-file.ts";
import { Stage } from "./stage.ts";
import { tableOf } from "./table.ts";

// SLUICE_CLIENTS says that they are to run at all, and may name some: SLUICE_CLIENTS=python,go. "1" or "all" is every language.
const wanted = process.env.SLUICE_CLIENTS ?? "";
const chosen = languages.filter(({ language }) => ["1", "all"].includes(wanted) || wanted.split(",").includes(language));
// A regular expression, to look into some of them.
const only = process.env.SLUICE_SCENARIO ?? "";
const scenarios = readScenarios().filter(({ name }) => new RegExp(only).test(name));
const results = new Map<string, Map<string, Outcome>>();

afterAll(() => {
  const names = scenarios.map(({ name }) => name);
  if (results.size > 0) process.stdout.write(`\n${tableOf(names, results)}\n`);
});

for (const runner of chosen) {
  const missing = await runner.prepare();
  if (missing !== undefined) process.stderr.write(`SKIPPED: all scenarios in ${runner.language}, because ${missing}\n`);
  describe.skipIf(missing !== undefined)(runner.language, () => {
    // Where one language has two ways to call, its own tests are of both.
    if (runner.ownTests !== undefined && only === "") {
      const [program = "", ...args] = runner.ownTests();
      it("its own tests pass", () => {
        const { status, stdout, stderr } = spawnSync(program, args, { encoding: "utf8", timeout: 80_000 });
        expect(status, `${stdout}${stderr}`).toBe(0);
      });
    }

    for (const scenario of scenarios) {
      const why = runner.cannot?.(scenario);
      const title = `${scenario.name}${why === undefined ? "" : ` (not here: ${why})`}`;
      it(title, { skip: why !== undefined }, async () => {
        await using stage = await Stage.open(scenario);
        const outcome = await play(runner, scenario, stage);
        const outcomes = results.get(runner.language) ?? new Map<string, Outcome>();
        results.set(runner.language, outcomes.set(scenario.name, outcome));
        expect(outcome.passed, `${outcome.why}\n${stage.log().split("\n").slice(-20).join("\n")}`).toBe(true);
      });
    }
  });
}

it("at least one language is chosen, so that green means something", () => {
  expect(chosen.map(({ language }) => language)).not.toEqual([]);
});
