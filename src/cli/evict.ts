import type { Command } from "commander";
import { ExecutorService, ResidentState } from "#gen/sluice/v1/executor_pb.js";
import { addAddress, addressOf, withServer } from "./connection.ts";
import type { CliIo } from "./io.ts";
import { clean } from "./text.ts";

/** `sluice evict PLUGIN` */
export function registerEvict(program: Command, io: CliIo): void {
  addAddress(program.command("evict"))
    .summary("stop the resident worker of a plugin")
    .description("Stops the resident worker of a plugin, so that its memory comes back.")
    .argument("<plugin>", "name of the plugin, as `sluice plugins` lists it")
    .action((name: string, _options: object, command: Command) =>
      withServer(addressOf(command, io), async (connection) => {
        const { plugin } = await connection.client(ExecutorService).unloadPlugin({ name });
        const state =
          plugin === undefined || plugin.resident === ResidentState.UNSPECIFIED ? "stopped" : residentWord(plugin.resident);
        io.out(`The worker of ${clean(name)}: ${state}.\n`);
      }),
    );
}

/** The state of a resident worker as a word. */
export function residentWord(state: ResidentState): string {
  return (ResidentState[state] ?? "unknown").toLowerCase().replaceAll("_", " ");
}
