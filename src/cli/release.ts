import type { Command } from "commander";
import { SchedulerService } from "#gen/sluice/v1/scheduler_pb.js";
import { LeaseState } from "#gen/sluice/v1/types_pb.js";
import { addAddress, addressOf, withServer } from "./connection.ts";
import type { CliIo } from "./io.ts";
import { clean } from "./text.ts";

/** `sluice release LEASE` */
export function registerRelease(program: Command, io: CliIo): void {
  addAddress(program.command("release"))
    .summary("give a lease back")
    .description(
      "Gives a lease back, whoever holds it. Its program is not stopped: memory that it still uses counts as foreign use from then on. " +
        "Releasing what has already ended is a success.",
    )
    .argument("<lease>", "id of the lease, as `sluice leases` lists it")
    .action((leaseId: string, _options: object, command: Command) =>
      withServer(addressOf(command, io), async (connection) => {
        const { lease } = await connection.client(SchedulerService).releaseLease({ leaseId });
        if (lease === undefined) io.out(`Nothing is known of lease ${clean(leaseId)}; it ended long ago, or never was.\n`);
        else if (lease.state === LeaseState.DRAINING)
          io.out(`Lease ${clean(leaseId)} was given back; its memory is free once it is seen to be.\n`);
        else io.out(`Lease ${clean(leaseId)} was given back.\n`);
      }),
    );
}
