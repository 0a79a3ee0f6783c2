import type { Command } from "commander";
import { ExecutorService, type Plugin } from "#gen/sluice/v1/executor_pb.js";
import { mib } from "../engine/mib.ts";
import { addAddress, addressOf, withServer, workerCallMs } from "./connection.ts";
import { lasting } from "./describe-work.ts";
import type { CliIo } from "./io.ts";
import { clean, orDash } from "./text.ts";
import { workerText } from "./worker-text.ts";

/** `sluice load PLUGIN` */
export function registerLoad(program: Command, io: CliIo): void {
  addAddress(program.command("load"))
    .summary("start the worker of a plugin, so that its model is there")
    .description(
      "Starts the worker of a plugin and waits until its model is loaded; one that is loaded already stays as it is. It is admitted like an " +
        "execution, under the server's policy.",
    )
    .argument("<plugin>", "name of the plugin, as `sluice plugins` lists it")
    .action((name: string, _options: object, command: Command) =>
      withServer(addressOf(command, io), async (connection) => {
        const { plugin } = await connection.client(ExecutorService).loadPlugin({ name }, { timeoutMs: workerCallMs });
        io.out(`The worker of ${clean(name)}: ${plugin === undefined ? "loaded" : loadedText(plugin, io.now())}.\n`);
      }),
    );
}

function loadedText(plugin: Plugin, now: number): string {
  const { worker } = plugin;
  return [
    orDash(workerText(plugin, now)),
    worker?.loadTime === undefined ? "" : `loaded in ${lasting(worker.loadTime)}`,
    worker?.residentVramMb === undefined ? "" : `${mib(worker.residentVramMb)} of GPU memory`,
  ]
    .filter((part) => part !== "")
    .join(", ");
}
