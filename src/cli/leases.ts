import type { Command } from "commander";
import { ListLeasesResponseSchema, SchedulerService } from "#gen/sluice/v1/scheduler_pb.js";
import { type Lease, type LeasedGpu, LeaseState } from "#gen/sluice/v1/types_pb.js";
import { addAddress, addressOf, withServer } from "./connection.ts";
import { leaseState, since, until } from "./describe-work.ts";
import type { CliIo } from "./io.ts";
import { messageJson, printJson } from "./json.ts";
import { known, orDash, table } from "./text.ts";

/** The table of leases; a row for each GPU of each lease, so that every number has its own column. */
export function leasesTable(leases: readonly Lease[], now: number): string {
  const rows = leases.flatMap((lease): { lease: Lease; gpu: LeasedGpu | undefined; first: boolean }[] =>
    lease.gpus.length === 0
      ? [{ lease, gpu: undefined, first: true }]
      : lease.gpus.map((gpu, i) => ({ lease, gpu, first: i === 0 })),
  );
  const held = (lease: Lease) => lease.state !== LeaseState.DRAINING && lease.state !== LeaseState.ENDED;
  return table(
    [
      { title: "LEASE", cell: ({ lease, first }) => (first ? lease.id : "") },
      { title: "NAME", cell: ({ lease, first }) => (first ? orDash(lease.workload?.name ?? "") : "") },
      { title: "TENANT", cell: ({ lease, first }) => (first ? orDash(lease.workload?.tenant ?? "") : "") },
      { title: "STATE", cell: ({ lease, first }) => (first ? leaseState(lease.state) : "") },
      { title: "GPU", right: true, cell: ({ gpu }) => known(gpu?.index) },
      { title: "VRAM MiB", right: true, cell: ({ gpu }) => known(gpu?.vramMb) },
      { title: "VRAM SEEN MiB", right: true, cell: ({ gpu }) => known(gpu?.residentMb) },
      { title: "RAM MiB", right: true, cell: ({ lease, first }) => (first ? String(lease.systemRamMb) : "") },
      { title: "RAM SEEN MiB", right: true, cell: ({ lease, first }) => (first ? known(lease.residentRamMb) : "") },
      { title: "AGE", right: true, cell: ({ lease, first }) => (first ? since(now, lease.grantedAt) : "") },
      {
        title: "EXPIRES IN",
        right: true,
        cell: ({ lease, first }) => (first ? (held(lease) ? until(now, lease.expiresAt) : "-") : ""),
      },
      { title: "PIDS", cell: ({ lease, first }) => (first ? orDash(lease.pids.join(",")) : "") },
      {
        title: "POLICY",
        cell: ({ lease, first }) => (first ? `${orDash(lease.policy)}${lease.overcommitted ? " (did not fit)" : ""}` : ""),
      },
    ],
    rows,
  );
}

/** `sluice leases` */
export function registerLeases(program: Command, io: CliIo): void {
  addAddress(program.command("leases"))
    .summary("who holds what")
    .description("Lists every lease that still claims memory: what was reserved, and what was measured (SEEN).")
    .option("--json", "print JSON")
    .action((options: { json?: boolean }, command: Command) =>
      withServer(addressOf(command, io), async (connection) => {
        const answer = await connection.client(SchedulerService).listLeases({});
        if (options.json === true) printJson(io, messageJson(ListLeasesResponseSchema, answer));
        else io.out(answer.leases.length === 0 ? "Nobody holds a lease.\n" : leasesTable(answer.leases, io.now()));
      }),
    );
}
