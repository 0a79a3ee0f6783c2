import type { Command } from "commander";
import type { Log } from "../observe/log.ts";
import { addConfigOptions, readConfig } from "./config-options.ts";
import { exitCode } from "./exit-codes.ts";
import type { CliIo } from "./io.ts";
import type { CliResult } from "./program.ts";

/** `sluice serve` */
export function registerServe(program: Command, io: CliIo, result: CliResult): void {
  const command = program
    .command("serve")
    .summary("start the server")
    .description(
      "Starts the server. It says what it sees, and runs until it is told to stop (Ctrl-C or SIGTERM; a second one ends it at once).",
    );
  addConfigOptions(command).action(async () => {
    const resolved = readConfig(command, io.env);
    for (const warning of resolved.warnings) io.err(`sluice: ${warning}\n`);
    const [{ openHouse }, { keepHeapSmall }, { loadLateParts }, { createLog }, { banner }] = await Promise.all([
      import("../serve.ts"),
      import("../house/heap-growth.ts"),
      import("../house/late-parts.ts"),
      import("../observe/log.ts"),
      import("./banner.ts"),
    ]);
    keepHeapSmall();
    const log = createLog({ level: resolved.config.logLevel });
    const house = await openHouse(resolved.config, log);
    const stopped = untilStopped(log, () => house.close());
    await Promise.race([house.firstSample, stopped]);
    io.out(banner(resolved, house));
    loadLateParts().catch((err: unknown) => log.error({ err }, "a part of the server cannot be read; was it replaced?"));
    result.code = await stopped;
  });
}

/** Resolves with the exit code when the server has shut down. The second signal does not wait for anything. */
function untilStopped(log: Log, close: () => Promise<void>): Promise<number> {
  return new Promise((resolve) => {
    let stopping = false;
    const onSignal = (signal: NodeJS.Signals) => {
      if (stopping) {
        log.warn({ signal }, "told to stop again; ending at once");
        process.exit(exitCode.failure);
      }
      stopping = true;
      log.info({ signal }, "told to stop; shutting down");
      close().then(
        () => resolve(exitCode.ok),
        (err: unknown) => {
          log.error({ err }, "the shutdown failed");
          resolve(exitCode.failure);
        },
      );
    };
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, onSignal);
  });
}
