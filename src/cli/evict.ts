import type { Command } from "commander";
import { ExecutorService, type Plugin, ResidentState } from "#gen/sluice/v1/executor_pb.js";
import { addAddress, addressOf, withServer, workerCallMs } from "./connection.ts";
import type { CliIo } from "./io.ts";
import { clean } from "./text.ts";
import { residentWord } from "./worker-text.ts";

/** `sluice evict PLUGIN` */
export function registerEvict(program: Command, io: CliIo): void {
  addAddress(program.command("evict"))
    .summary("stop the resident worker of a plugin, or (--soft) have it give its memory back")
    .description(
      "Stops the resident worker of a plugin, so that its memory comes back. A worker that works or loads is left alone, and that is told.",
    )
    .argument("<plugin>", "name of the plugin, as `sluice plugins` lists it")
    .option("--soft", "only have it give its memory back: it lives on, and takes the memory again when it is used")
    .action((name: string, options: { soft?: boolean }, command: Command) =>
      options.soft === true ? release(name, command, io) : unload(name, command, io),
    );
}

/** `sluice unload PLUGIN` */
export function registerUnload(program: Command, io: CliIo): void {
  addAddress(program.command("unload"))
    .summary("stop the resident worker of a plugin")
    .description(
      "Stops the resident worker of a plugin, so that its memory comes back. A worker that works or loads is left alone, and that is told.",
    )
    .argument("<plugin>", "name of the plugin, as `sluice plugins` lists it")
    .action((name: string, _options: object, command: Command) => unload(name, command, io));
}

async function unload(name: string, command: Command, io: CliIo): Promise<void> {
  await withServer(addressOf(command, io), async (connection) => {
    const { plugin } = await connection.client(ExecutorService).unloadPlugin({ name }, { timeoutMs: workerCallMs });
    io.out(`The worker of ${clean(name)}: ${gone(plugin) ? "stopped" : residentWord(plugin?.resident ?? 0)}.\n`);
  });
}

async function release(name: string, command: Command, io: CliIo): Promise<void> {
  await withServer(addressOf(command, io), async (connection) => {
    const { plugin } = await connection.client(ExecutorService).releasePlugin({ name }, { timeoutMs: workerCallMs });
    const says = gone(plugin)
      ? "there is none"
      : "it says that it gave its memory back; what is free is what `sluice gpus` shows";
    io.out(`The worker of ${clean(name)}: ${says}.\n`);
  });
}

function gone(plugin: Plugin | undefined): boolean {
  const resident = plugin?.resident ?? ResidentState.UNSPECIFIED;
  return resident === ResidentState.UNSPECIFIED || resident === ResidentState.DEAD;
}
