import type { Command } from "commander";
import {
  type GpuAccount,
  ListQueueResponseSchema,
  SchedulerService,
  type Ticket,
  type WatchQueueResponse,
  WatchQueueResponseSchema,
} from "#gen/sluice/v1/scheduler_pb.js";
import { addAddress, addressOf, withServer } from "./connection.ts";
import { lasting, reasonsText } from "./describe-work.ts";
import { exitCode } from "./exit-codes.ts";
import { CliError, type CliIo } from "./io.ts";
import { messageJson, printJson } from "./json.ts";
import { known, orDash, table } from "./text.ts";

/** The table of tickets. */
export function ticketsTable(tickets: readonly Ticket[]): string {
  return table(
    [
      { title: "PLACE", right: true, cell: (ticket) => String(ticket.position) },
      { title: "TICKET", cell: (ticket) => ticket.id },
      { title: "NAME", cell: (ticket) => orDash(ticket.workload?.name ?? "") },
      { title: "TENANT", cell: (ticket) => orDash(ticket.workload?.tenant ?? "") },
      { title: "PRIO", right: true, cell: (ticket) => String(ticket.workload?.priority ?? 0) },
      { title: "GPUS", right: true, cell: (ticket) => String(gpusOf(ticket)) },
      {
        title: "VRAM MiB",
        right: true,
        cell: (ticket) => (gpusOf(ticket) === 0 ? "-" : String(ticket.workload?.resources?.minGpuVramMb ?? 0)),
      },
      { title: "RAM MiB", right: true, cell: (ticket) => String(ticket.workload?.resources?.minSystemRamMb ?? 0) },
      { title: "WAITED", right: true, cell: (ticket) => lasting(ticket.age) },
      { title: "POLICY", cell: (ticket) => `${orDash(ticket.policy)}${ticket.connected ? "" : " (away)"}` },
      { title: "WHY", cell: (ticket) => orDash(reasonsText(ticket.reasons)) },
    ],
    tickets,
  );
}

/** The state of the queue for people. */
export function queueText(state: Pick<WatchQueueResponse, "tickets" | "leases" | "gpus">): string {
  const waiting = state.tickets.length === 0 ? "Nobody waits.\n" : ticketsTable(state.tickets);
  const leases = state.leases.length === 1 ? "1 lease" : `${state.leases.length} leases`;
  const gpus = state.gpus.map((gpu: GpuAccount) => `; GPU ${gpu.index}: ${availableText(gpu)}`);
  return `${waiting}${leases}${gpus.join("")}\n`;
}

function availableText(gpu: GpuAccount): string {
  return gpu.availableMb === undefined ? "not known" : `${gpu.availableMb} of ${known(gpu.totalMb)} MiB available`;
}

function gpusOf(ticket: Ticket): number {
  const resources = ticket.workload?.resources;
  return resources?.requiresGpu === true ? resources.gpuCount || 1 : 0;
}

/** `sluice queue` */
export function registerQueue(program: Command, io: CliIo): void {
  addAddress(program.command("queue"))
    .summary("who waits, where and why")
    .description("Lists every request that waits, in the order in which they will be considered.")
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
