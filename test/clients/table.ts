import type { Outcome } from "./run.ts";

/** What came of each scenario, by language. A language that is missing has no outcomes. */
export type Results = ReadonlyMap<string, ReadonlyMap<string, Outcome>>;

/** One table, language × scenario, for people. A scenario that was not played is "-". */
export function tableOf(scenarios: readonly string[], results: Results): string {
  const languages = [...results.keys()];
  const wide = Math.max(...scenarios.map((name) => name.length));
  const cell = (outcome: Outcome | undefined) => {
    if (outcome === undefined) return "-";
    return `${outcome.passed ? "ok" : "FAILED"} ${(outcome.ms / 1000).toFixed(1)}s`;
  };
  const rows = scenarios.map((name) => [
    name.padEnd(wide),
    ...languages.map((l) => cell(results.get(l)?.get(name)).padEnd(14)),
  ]);
  const total = languages.map((language) => {
    const outcomes = [...(results.get(language)?.values() ?? [])];
    return `${outcomes.filter((o) => o.passed).length}/${scenarios.length}`.padEnd(14);
  });
  const head = ["".padEnd(wide), ...languages.map((language) => language.padEnd(14))];
  return [head, ...rows, ["passed".padEnd(wide), ...total]].map((row) => row.join("  ").trimEnd()).join("\n");
}
