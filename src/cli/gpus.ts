import type { Command } from "commander";
import {
  Attribution,
  GpuHealth,
  type GpuProcess,
  type GpuStats,
  ListGpuProcessesResponseSchema,
  ListGpusResponseSchema,
  MonitorService,
} from "#gen/sluice/v1/monitor_pb.js";
import { type GpuAccount, GpuAccountSchema, SchedulerService } from "#gen/sluice/v1/scheduler_pb.js";
import { addAddress, addressOf, withServer } from "./connection.ts";
import type { CliIo } from "./io.ts";
import { messageJson, printJson } from "./json.ts";
import { known, orDash, table } from "./text.ts";

/** The table of GPUs: what was measured, and what the books say about it. */
export function gpusTable(gpus: readonly GpuStats[], accounts: readonly GpuAccount[]): string {
  const account = (gpu: GpuStats) => accounts.find((candidate) => candidate.uuid === gpu.uuid);
  return table(
    [
      { title: "GPU", right: true, cell: (gpu) => String(gpu.index) },
      { title: "NAME", cell: (gpu) => orDash(gpu.name) },
      { title: "UUID", cell: (gpu) => gpu.uuid },
      { title: "TOTAL MiB", right: true, cell: (gpu) => known(gpu.totalMb) },
      { title: "USED MiB", right: true, cell: (gpu) => known(gpu.usedMb) },
      { title: "FREE MiB", right: true, cell: (gpu) => known(gpu.freeMb) },
      { title: "FOREIGN MiB", right: true, cell: (gpu) => foreignText(account(gpu)) },
      { title: "PROMISED MiB", right: true, cell: (gpu) => known(account(gpu)?.outstandingMb) },
      { title: "AVAILABLE MiB", right: true, cell: (gpu) => known(account(gpu)?.availableMb) },
      { title: "LOAD %", right: true, cell: (gpu) => (gpu.loadPercent === undefined ? "-" : gpu.loadPercent.toFixed(0)) },
      { title: "LEASES", right: true, cell: (gpu) => String(account(gpu)?.leaseIds.length ?? 0) },
      { title: "HEALTH", cell: (gpu) => healthText(gpu, account(gpu)) },
    ],
    gpus,
  );
}

/** The table of processes on GPUs. */
export function processesTable(processes: readonly GpuProcess[], gpus: readonly GpuStats[]): string {
  return table(
    [
      { title: "GPU", right: true, cell: (process) => known(gpus.find((gpu) => gpu.uuid === process.gpuUuid)?.index) },
      { title: "PID", right: true, cell: (process) => String(process.pid) },
      { title: "USED MiB", right: true, cell: (process) => known(process.usedMb) },
      { title: "LEASE", cell: (process) => process.leaseId || "- (foreign)" },
      { title: "PROGRAM", cell: (process) => orDash(process.name) },
    ],
    processes,
  );
}

function foreignText(account: GpuAccount | undefined): string {
  if (account?.foreignMb === undefined) return "-";
  return account.attributed ? String(account.foreignMb) : `${account.foreignMb}?`;
}

function healthText(gpu: GpuStats, account: GpuAccount | undefined): string {
  const word = (GpuHealth[gpu.health] ?? "UNKNOWN").toLowerCase();
  const why = gpu.healthMessage || account?.blocked || "";
  return why === "" ? word : `${word}: ${why}`;
}

/** `sluice gpus` */
export function registerGpus(program: Command, io: CliIo): void {
  addAddress(program.command("gpus"))
    .summary("each GPU and its books")
    .description(
      "Lists the GPUs: what was measured, what processes without a lease use (FOREIGN; with ? when that is an estimate), what is leased but " +
        "not seen yet (PROMISED), and what a new request could get (AVAILABLE).",
    )
    .option("--processes", "also list the processes that hold GPU memory")
    .option("--json", "print JSON")
    .action((options: { json?: boolean; processes?: boolean }, command: Command) =>
      withServer(addressOf(command, io), async (connection) => {
        const monitor = connection.client(MonitorService);
        const [gpus, queue, processes] = await Promise.all([
          monitor.listGpus({}),
          connection.client(SchedulerService).listQueue({}),
          options.processes === true ? monitor.listGpuProcesses({}) : undefined,
        ]);
        if (options.json === true) {
          printJson(io, {
            ...messageJson(ListGpusResponseSchema, gpus),
            accounts: queue.gpus.map((account) => messageJson(GpuAccountSchema, account)),
            ...(processes === undefined ? {} : messageJson(ListGpuProcessesResponseSchema, processes)),
          });
          return;
        }
        io.out(
          gpus.gpus.length === 0
            ? "This machine has no GPU that sluice can see; `sluice doctor` says why.\n"
            : gpusTable(gpus.gpus, queue.gpus),
        );
        if (processes === undefined) return;
        io.out(
          processes.processes.length === 0
            ? "\nNo process is seen to hold GPU memory.\n"
            : `\n${processesTable(processes.processes, gpus.gpus)}`,
        );
        if (processes.attribution === Attribution.UNAVAILABLE)
          io.out("The driver does not tell here how much each process uses.\n");
      }),
    );
}
