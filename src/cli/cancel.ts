import type { Command } from "commander";
import { SchedulerService } from "#gen/sluice/v1/scheduler_pb.js";
import { addAddress, addressOf, withServer } from "./connection.ts";
import type { CliIo } from "./io.ts";
import { clean } from "./text.ts";

/** `sluice cancel TICKET` */
export function registerCancel(program: Command, io: CliIo): void {
  addAddress(program.command("cancel"))
    .summary("take a ticket out of the queue")
    .description("Takes a waiting request out of the queue; its client is told.")
    .argument("<ticket>", "id of the ticket, as `sluice queue` lists it")
    .action((ticketId: string, _options: object, command: Command) =>
      withServer(addressOf(command, io), async (connection) => {
        await connection.client(SchedulerService).cancelTicket({ ticketId });
        io.out(`Ticket ${clean(ticketId)} was taken out of the queue.\n`);
      }),
    );
}
