import { type Command, Option } from "commander";
import { type ResolvedConfig, readConfigFile, resolveConfig } from "../config/resolve.ts";
import { flagOf, type Setting, settingKeys, settings } from "../config/settings.ts";
import { collect } from "./workload-options.ts";

/** Adds a flag for every setting of the server, and --config. */
export function addConfigOptions(command: Command): Command {
  command.option("--config <FILE>", "JSON file with settings (SLUICE_CONFIG); environment and flags override it");
  for (const key of settingKeys) {
    const setting = settings[key] as Setting<unknown>;
    const { argument, shape } = setting.type;
    const option = new Option(
      `${flagOf(setting)} ${shape === "switch" ? `[${argument}]` : `<${argument}>`}`,
      `${setting.help} (default: ${defaultOf(setting)})`,
    );
    if (shape === "list") option.argParser(collect);
    command.addOption(option);
  }
  return command;
}

/**
 * The configuration that this command line, the environment and the file add up to.
 * @throws ConfigError
 */
export function readConfig(command: Command, env: Readonly<Record<string, string | undefined>>): ResolvedConfig {
  const flags: Record<string, unknown> = command.opts();
  const path = typeof flags.config === "string" ? flags.config : env.SLUICE_CONFIG;
  return resolveConfig({ flags, env, file: path ? readConfigFile(path) : undefined });
}

function defaultOf(setting: Setting<unknown>): string {
  if (setting.defaultText !== undefined) return setting.defaultText;
  const value = setting.type.toJson(setting.default);
  if (Array.isArray(value)) return value.join(", ") || "none";
  if (typeof value === "boolean") return value ? "yes" : "no";
  return setting.type.unit === "" ? String(value) : `${value} ${setting.type.unit}`;
}
