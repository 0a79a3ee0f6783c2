import type { Command } from "commander";
import {
  ExecutorService,
  ListPluginsResponseSchema,
  LoadAllPluginsResponseSchema,
  type ManifestError,
  type Plugin,
  PluginMode,
} from "#gen/sluice/v1/executor_pb.js";
import { addAddress, addressOf, withServer } from "./connection.ts";
import { exitCode } from "./exit-codes.ts";
import type { CliIo } from "./io.ts";
import { messageJson, printJson } from "./json.ts";
import type { CliResult } from "./program.ts";
import { clean, orDash, table } from "./text.ts";
import { breakerLines, declaredText, learnedText, workerText } from "./worker-text.ts";

/** The table of plugins, and what keeps their workers from starting. */
export function pluginsText(plugins: readonly Plugin[], now: number): string {
  if (plugins.length === 0) return noPlugins;
  const broken = breakerLines(plugins);
  return `${pluginsTable(plugins, now)}${broken === "" ? "" : `\n${broken}`}`;
}

function pluginsTable(plugins: readonly Plugin[], now: number): string {
  return table(
    [
      { title: "PLUGIN", cell: (plugin) => plugin.manifest?.name ?? "" },
      { title: "VERSION", cell: (plugin) => orDash(plugin.manifest?.version ?? "") },
      { title: "MODE", cell: (plugin) => (PluginMode[plugin.manifest?.mode ?? 0] ?? "unknown").toLowerCase() },
      { title: "ENABLED", cell: (plugin) => (plugin.enabled ? "yes" : "no") },
      { title: "RUNNING", right: true, cell: (plugin) => String(plugin.executions) },
      { title: "WORKER", cell: (plugin) => orDash(workerText(plugin, now)) },
      { title: "DECLARED", cell: ({ manifest }) => declaredText(manifest?.resources) },
      { title: "LEARNED", cell: ({ manifest, memory }) => learnedText(memory, manifest?.resources) },
      { title: "FROM", cell: (plugin) => orDash(plugin.source) },
    ],
    plugins,
  );
}

/** What is wrong with manifests, one line each. */
export function manifestErrors(errors: readonly ManifestError[]): string {
  return errors
    .map((error) => `${clean(error.file)}: ${error.field === "" ? "" : `${clean(error.field)}: `}${clean(error.message)}\n`)
    .join("");
}

/** `sluice plugins` */
export function registerPlugins(program: Command, io: CliIo, result: CliResult): void {
  addAddress(program.command("plugins"))
    .summary("the plugins")
    .description(
      "Lists the plugins: their workers, the memory that they declare, and what was measured of it (LEARNED). With --reload the folders are " +
        "read again first, and what is wrong with a manifest is told by file and field.",
    )
    .option("--reload", "read the plugin folders again; exits with 1 when a manifest has an error")
    .option("--json", "print JSON")
    .action((options: { json?: boolean; reload?: boolean }, command: Command) =>
      withServer(addressOf(command, io), async (connection) => {
        const executor = connection.client(ExecutorService);
        if (options.reload !== true) {
          const answer = await executor.listPlugins({});
          if (options.json === true) printJson(io, messageJson(ListPluginsResponseSchema, answer));
          else io.out(pluginsText(answer.plugins, io.now()));
          return;
        }
        const answer = await executor.loadAllPlugins({});
        if (options.json === true) printJson(io, messageJson(LoadAllPluginsResponseSchema, answer));
        else io.out(pluginsText(answer.plugins, io.now()));
        if (answer.errors.length === 0) return;
        io.err(manifestErrors(answer.errors));
        result.code = exitCode.failure;
      }),
    );
}

const noPlugins = "There are no plugins; name their folder with `sluice serve --plugins DIR`.\n";
