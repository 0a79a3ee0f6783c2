import { randomUUID } from "node:crypto";
import { basename } from "node:path";
import type { Command } from "commander";
import { addAddress, addressOf, withServer } from "../connection.ts";
import type { CliIo } from "../io.ts";
import type { CliResult } from "../program.ts";
import { addWorkloadOptions, seconds, type WorkloadOptions, workloadOf } from "../workload-options.ts";
import { runJob } from "./run-job.ts";
import { Signals } from "./signals.ts";

interface RunOptions extends WorkloadOptions {
  readonly timeout?: number;
  readonly ttl?: number;
  readonly policy?: string;
  readonly requestId?: string;
  readonly verbose?: boolean;
}

const help = `
While it waits, one line on standard error says where it stands and why. The command inherits everything, and gets
CUDA_VISIBLE_DEVICES, CUDA_DEVICE_ORDER, SLUICE_LEASE_ID, SLUICE_LEASE_TOKEN and SLUICE_ADDRESS. Standard output is the
command's alone.

Signals (INT, TERM, HUP, QUIT, USR1, USR2, WINCH) go to the command; while it only waits they end the wait. If sluice itself
is killed, the command is ended too. If the lease is lost, because the server was away for too long, the command runs on and
this is told on standard error; its memory then counts as foreign use.

Example:
  sluice run --vram 6000 -- python3 train.py`;

/** `sluice run … -- COMMAND…` */
export function registerRun(program: Command, io: CliIo, result: CliResult): void {
  addAddress(addWorkloadOptions(program.command("run")))
    .summary("wait until it fits, then run a command")
    .description("Waits until there is enough memory, runs a command on it, gives it back, and exits with the command's code.")
    .argument("<command...>", "the command with its arguments, after --")
    .passThroughOptions()
    .option("--timeout <S>", "how long to wait, 0 for ever (default: the server's, 300 s)", seconds)
    .option("--policy <NAME>", "policy for this one request (default: the server's, else queue)")
    .option("--ttl <S>", "time to live of the lease between renewals, 1 to 86400 (default: the server's, 60 s)", seconds)
    .option(
      "--request-id <ID>",
      "the same id finds the same place or lease again after a broken connection (default: a fresh one)",
    )
    .option("--verbose", "also tell what usually goes without saying")
    .addHelpText("after", help)
    .action(async (words: string[], options: RunOptions, command: Command) => {
      const [name = "", ...args] = words;
      const address = addressOf(command, io);
      const request = {
        workload: workloadOf(
          options,
          basename(name)
            .replace(/\p{Cc}/gu, "?")
            .slice(0, 60),
        ),
        // Without one, a restart of the server would cost the place. Nobody else knows it, so who is killed leaves at once.
        ...(options.requestId === undefined
          ? { requestId: `run-${randomUUID()}`, graceMs: 0 }
          : { requestId: options.requestId }),
        policy: options.policy ?? "",
        timeoutMs: options.timeout,
        ttlMs: options.ttl,
      };
      const signals = new Signals();
      try {
        result.code = await withServer(address, (connection) =>
          runJob({ request, command: name, args, address, verbose: options.verbose ?? false }, connection, signals, io),
        );
      } finally {
        signals.dispose();
      }
    });
}
