import type { Command } from "commander";
import { type DescribedSetting, describeConfig, printValue } from "../config/describe.ts";
import { addConfigOptions, readConfig } from "./config-options.ts";
import type { CliIo } from "./io.ts";
import { printJson } from "./json.ts";
import { table } from "./text.ts";

/** The table of settings. */
export function configTable(described: readonly DescribedSetting[]): string {
  return table(
    [
      { title: "SETTING", cell: (setting) => setting.name },
      { title: "VALUE", cell: printValue },
      { title: "FROM", cell: (setting) => (setting.origin === "default" ? "default" : `${setting.origin} (${setting.setBy})`) },
      { title: "VARIABLE", cell: (setting) => setting.variable },
    ],
    described,
  );
}

/** `sluice config` */
export function registerConfig(program: Command, io: CliIo): void {
  const command = program
    .command("config")
    .summary("the settings of the server and where they come from")
    .description(
      "Prints what `sluice serve` with the same flags, environment and file would use, and where each value comes from.",
    )
    .option("--json", "print JSON");
  addConfigOptions(command).action(() => {
    const resolved = readConfig(command, io.env);
    const described = describeConfig(resolved);
    for (const warning of resolved.warnings) io.err(`sluice: ${warning}\n`);
    if (command.opts().json === true) {
      const values = described.map(({ name, value, unit, origin, setBy }) => [name, { value, unit, origin, set_by: setBy }]);
      printJson(io, Object.fromEntries(values));
    } else io.out(configTable(described));
  });
}
