import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { readYaml } from "./yaml.ts";

/** What a server of a scenario is. */
export interface ScenarioServer {
  /** Flags of `sluice serve`, besides those for its doors. */
  readonly flags?: readonly string[];
  /** Measured GPUs on a pretended machine instead of simulated ones: their memory in MiB. */
  readonly machine?: readonly number[];
  /** True: state is kept in a folder, so that a restart finds it again. */
  readonly durable?: boolean;
}

/** One step; README.md says what each word means. */
export type Step = Readonly<Record<string, unknown>>;

/** One scenario, as it is handed to every runner. */
export interface Scenario {
  /** A sentence that is true when the scenario passes. */
  readonly name: string;
  readonly server?: ScenarioServer;
  readonly clients?: Readonly<Record<string, { readonly door?: string; readonly keepalive_ms?: number }>>;
  readonly steps: readonly Step[];
}

/** Where the scenarios are. */
export const scenarioFile = fileURLToPath(new URL("scenarios.yaml", import.meta.url));

/** All scenarios, in the order of the file. */
export function readScenarios(): readonly Scenario[] {
  const { scenarios } = readYaml(readFileSync(scenarioFile, "utf8")) as { scenarios: Scenario[] };
  return scenarios.map((scenario) => expand(scenario) as Scenario);
}

/** Writes out `{ $text: N }`, a text of N bytes, and `{ $texts: N }`, a map of N texts, so that runners need not know them. */
function expand(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(expand);
  if (typeof value !== "object" || value === null) return value;
  if ("$text" in value) return "x".repeat(Number(value.$text));
  if ("$texts" in value) {
    return Object.fromEntries(Array.from({ length: Number(value.$texts) }, (_, n) => [`t${n}`, "x".repeat(1000)]));
  }
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, expand(inner)]));
}
