import { readFileSync } from "node:fs";
import { nearest } from "./nearest.ts";
import { flagOf, type ServeConfig, type Setting, settingKeys, settings, variableOf } from "./settings.ts";

/** Where a value comes from: a flag, a variable of the environment, a key of the file, or the default. */
export type Origin =
  | { readonly layer: "default" }
  | { readonly layer: "file"; readonly name: string }
  | { readonly layer: "environment"; readonly name: string }
  | { readonly layer: "flag"; readonly name: string };

export interface ConfigFile {
  readonly path: string;
  /** Parsed JSON. */
  readonly content: unknown;
}

export interface ConfigSources {
  /** By name of the setting; undefined is the same as not given. */
  readonly flags?: Readonly<Record<string, unknown>>;
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly file?: ConfigFile | undefined;
}

export interface ResolvedConfig {
  readonly config: ServeConfig;
  readonly origins: Readonly<Record<keyof ServeConfig, Origin>>;
  /** Sentences for people: what is probably not meant so. */
  readonly warnings: readonly string[];
}

/** Everything that is wrong with the configuration, one sentence each. */
export class ConfigError extends Error {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join("\n"));
    this.name = "ConfigError";
    this.problems = problems;
  }
}

/** SLUICE_* variables that are not settings of the server. */
const otherVariables = ["SLUICE_LEASE_ID", "SLUICE_LEASE_TOKEN", "SLUICE_ADDRESS", "SLUICE_CONFIG"];

/**
 * Reads a configuration file.
 * @throws ConfigError when it cannot be read or is not JSON.
 */
export function readConfigFile(path: string): ConfigFile {
  let source: string;
  try {
    source = readFileSync(path, "utf8");
  } catch (error) {
    throw new ConfigError([`the configuration file ${path} cannot be read: ${(error as Error).message}`]);
  }
  try {
    return { path, content: JSON.parse(source) };
  } catch (error) {
    throw new ConfigError([`the configuration file ${path} is not valid JSON: ${(error as Error).message}`]);
  }
}

/**
 * Puts the layers together: defaults, then file, environment and flags, each overriding those before. An empty variable of
 * the environment counts as not set.
 * @throws ConfigError that names every bad value with where it came from and what is allowed.
 */
export function resolveConfig(sources: ConfigSources): ResolvedConfig {
  const problems: string[] = [];
  const values = new Map<keyof ServeConfig, unknown>();
  const origins = new Map<keyof ServeConfig, Origin>();
  const fileValues = keysOf(sources.file, problems);

  for (const key of settingKeys) {
    const setting: Setting<unknown> = settings[key] as Setting<unknown>;
    values.set(key, setting.default);
    origins.set(key, { layer: "default" });
    for (const [origin, raw] of layersOf(setting, sources, fileValues)) {
      const parsed = setting.type.parse(raw);
      if (parsed.ok) {
        values.set(key, parsed.value);
        origins.set(key, origin);
      } else {
        problems.push(
          `${place(origin, sources.file)}: ${parsed.why ?? `${show(raw)} is not allowed; it must be ${setting.type.allowed}`}`,
        );
      }
    }
  }
  if (problems.length > 0) throw new ConfigError(problems);
  if (origins.get("maxQueuePerTenant")?.layer === "default") values.set("maxQueuePerTenant", values.get("maxQueue"));

  const config = Object.fromEntries(values) as unknown as ServeConfig;
  return {
    config,
    origins: Object.fromEntries(origins) as Record<keyof ServeConfig, Origin>,
    warnings: [...misspelt(sources.env ?? {}), ...doubtful(config)],
  };
}

/** The raw values that are given for a setting, weakest first. */
function layersOf(
  setting: Setting<unknown>,
  sources: ConfigSources,
  fileValues: ReadonlyMap<string, unknown>,
): readonly (readonly [Origin, unknown])[] {
  const layers: [Origin, unknown][] = [];
  if (fileValues.has(setting.name)) layers.push([{ layer: "file", name: setting.name }, fileValues.get(setting.name)]);
  const variable = variableOf(setting);
  const fromEnvironment = sources.env?.[variable];
  if (fromEnvironment !== undefined && fromEnvironment !== "") {
    layers.push([{ layer: "environment", name: variable }, fromEnvironment]);
  }
  const fromFlag = sources.flags?.[setting.name];
  if (fromFlag !== undefined) layers.push([{ layer: "flag", name: flagOf(setting) }, fromFlag]);
  return layers;
}

function keysOf(file: ConfigFile | undefined, problems: string[]): ReadonlyMap<string, unknown> {
  if (file === undefined) return new Map();
  if (typeof file.content !== "object" || file.content === null || Array.isArray(file.content)) {
    problems.push(`the configuration file ${file.path} must hold one JSON object, such as {"policy": "queue"}`);
    return new Map();
  }
  const names = settingKeys.map((key) => settings[key].name);
  for (const key of Object.keys(file.content)) {
    if (names.includes(key)) continue;
    const guess = nearest(key, names);
    problems.push(
      `${key} in ${file.path}: there is no such setting${guess === undefined ? "; `sluice config` lists them all" : `; did you mean ${guess}?`}`,
    );
  }
  return new Map(Object.entries(file.content));
}

function place(origin: Origin, file: ConfigFile | undefined): string {
  if (origin.layer === "default") return "default";
  return origin.layer === "file" ? `${origin.name} in ${file?.path ?? "the configuration file"}` : origin.name;
}

function show(raw: unknown): string {
  const shown = JSON.stringify(raw) ?? String(raw);
  return shown.length > 80 ? `${shown.slice(0, 80)}…` : shown;
}

function misspelt(env: Readonly<Record<string, string | undefined>>): readonly string[] {
  const known = [...settingKeys.map((key) => variableOf(settings[key])), ...otherVariables];
  return Object.keys(env)
    .filter((name) => name.startsWith("SLUICE_") && !known.includes(name))
    .sort()
    .flatMap((name) => {
      // The prefix is equal in all of them and would make everything look alike.
      const guess = nearest(
        name.slice("SLUICE_".length),
        known.map((candidate) => candidate.slice("SLUICE_".length)),
      );
      return guess === undefined
        ? []
        : [`the environment sets ${name}, which means nothing to sluice; did you mean SLUICE_${guess}?`];
    });
}

function doubtful(config: ServeConfig): readonly string[] {
  const warnings: string[] = [];
  if (config.maxSampleAgeMs < 2 * config.samplePeriodMs) {
    warnings.push(
      `measurements are taken every ${config.samplePeriodMs} ms but count as too old after ${config.maxSampleAgeMs} ms, so much of the time ` +
        "nothing would be admitted; raise --max-sample-age or lower --sample-period",
    );
  }
  if (config.simulate !== "" && config.monitor !== "" && config.monitor !== "sys-mon-simulated") {
    warnings.push(`--simulate has no effect while --monitor chooses ${config.monitor}; leave one of them out`);
  }
  return warnings;
}
