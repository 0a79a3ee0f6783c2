import type { Origin, ResolvedConfig } from "./resolve.ts";
import { flagOf, type Setting, settingKeys, settings, variableOf } from "./settings.ts";
import type { Json } from "./values.ts";

/** One setting with its value, ready to be printed. */
export interface DescribedSetting {
  readonly name: string;
  readonly value: Json;
  /** "s", "ms", or empty. */
  readonly unit: string;
  readonly origin: Origin["layer"];
  /** The flag, variable or file key that set it; empty for a default. */
  readonly setBy: string;
  readonly flag: string;
  readonly variable: string;
  readonly help: string;
}

/** Every setting with its value and where that came from, in the order of the table. */
export function describeConfig(resolved: ResolvedConfig): readonly DescribedSetting[] {
  return settingKeys.map((key) => {
    const setting = settings[key] as Setting<unknown>;
    const origin = resolved.origins[key];
    return {
      name: setting.name,
      value: setting.type.toJson(resolved.config[key]),
      unit: setting.type.unit,
      origin: origin.layer,
      setBy: origin.layer === "default" ? "" : origin.name,
      flag: flagOf(setting),
      variable: variableOf(setting),
      help: setting.help,
    };
  });
}

/** The value of a setting for people: with its unit, and in words where it is empty. */
export function printValue(described: DescribedSetting): string {
  const { value, unit } = described;
  const setting = settingByName(described.name);
  if (Array.isArray(value)) return value.length === 0 ? "-" : value.join(`${setting?.type.separator ?? ","} `);
  if (value === "") return setting?.defaultText ?? "-";
  if (typeof value === "boolean") return value ? "yes" : "no";
  return unit === "" ? String(value) : `${value} ${unit}`;
}

function settingByName(name: string): Setting<unknown> | undefined {
  const key = settingKeys.find((candidate) => settings[candidate].name === name);
  return key === undefined ? undefined : (settings[key] as Setting<unknown>);
}
