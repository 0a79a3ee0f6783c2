import type { Command } from "commander";
import {
  type GpuAccount,
  ListQueueResponseSchema,
  SchedulerService,
  type WatchQueueResponse,
  WatchQueueResponseSchema,
} from "#gen/sluice/v1/scheduler_pb.js";
import { addAddress, addressOf, withServer } from "./connection.ts";
import { exitCode } from "./exit-codes.ts";
import { CliError, type CliIo } from "./io.ts";
import { messageJson, printJson } from "./json.ts";
import { tenantsTable, ticketsTable } from "./queue-tables.ts";
import { known } from "./text.ts";

/** The state of the queue for people. */
export function queueText(state: Pick<WatchQueueResponse, "tickets" | "leases" | "gpus" | "tenants">): string {
  const waiting = state.tickets.length === 0 ? "Nobody waits.\n" : ticketsTable(state.tickets);
  const leases = state.leases.length === 1 ? "1 lease" : `${state.leases.length} leases`;
  const gpus = state.gpus.map((gpu: GpuAccount) => `; GPU ${gpu.index}: ${availableText(gpu)}`);
  // One tenant alone shares with nobody.
  const tenants = state.tenants.length > 1 ? `\n${tenantsTable(state.tenants)}\n` : "";
  return `${waiting}${tenants}${leases}${gpus.join("")}\n`;
}

function availableText(gpu: GpuAccount): string {
  return gpu.availableMb === undefined ? "not known" : `${gpu.availableMb} of ${known(gpu.totalMb)} MiB available`;
}

/** `sluice queue` */
export function registerQueue(program: Command, io: CliIo): void {
  addAddress(program.command("queue"))
    .summary("who waits, where and why")
    .description(
      "Lists every request that waits, in the order in which they will be considered, and what each tenant has. ~ is when a request is thought to start, ≤ when it starts at the latest; USED is time of the whole machine, and older use counts less.",
    )
    .option("--watch", "print the state again on every change, until stopped")
    .option("--json", "print JSON; with --watch one document a line")
    .action((options: { json?: boolean; watch?: boolean }, command: Command) =>
      withServer(addressOf(command, io), async (connection) => {
        const scheduler = connection.client(SchedulerService);
        if (options.watch !== true) {
          const answer = await scheduler.listQueue({});
          if (options.json === true) printJson(io, messageJson(ListQueueResponseSchema, answer));
          else io.out(queueText(answer));
          return;
        }
        for await (const state of scheduler.watchQueue({})) {
          if (options.json === true) io.out(`${JSON.stringify(messageJson(WatchQueueResponseSchema, state))}\n`);
          else io.out(`${new Date(io.now()).toISOString()}\n${queueText(state)}\n`);
        }
        throw new CliError(exitCode.unreachable, "the server has ended the watch; start it again when the server is back");
      }),
    );
}
