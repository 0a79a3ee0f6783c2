import type { Command } from "commander";
import {
  ExecutorService,
  type ListPluginsResponse,
  ListPluginsResponseSchema,
  type Plugin,
} from "#gen/sluice/v1/executor_pb.js";
import { type GetSystemStatsResponse, MonitorService, SystemStatsSchema } from "#gen/sluice/v1/monitor_pb.js";
import {
  type GetPolicyResponse,
  GetPolicyResponseSchema,
  type ListQueueResponse,
  ListQueueResponseSchema,
  type ListSystemMonitorsResponse,
  ListSystemMonitorsResponseSchema,
  SchedulerService,
} from "#gen/sluice/v1/scheduler_pb.js";
import { LeaseState } from "#gen/sluice/v1/types_pb.js";
import { addAddress, addressOf, withServer } from "./connection.ts";
import { since, until } from "./describe-work.ts";
import { reasonOf } from "./explain-error.ts";
import { gpusTable } from "./gpus.ts";
import type { CliIo } from "./io.ts";
import { messageJson, printJson } from "./json.ts";
import { clean, known, orDash, table } from "./text.ts";
import { hasWorker, workerText } from "./worker-text.ts";

/** What `sluice status` puts together. */
export interface ServerStatus {
  readonly address: string;
  readonly policy: GetPolicyResponse;
  readonly monitors: ListSystemMonitorsResponse;
  readonly queue: ListQueueResponse;
  readonly plugins: ListPluginsResponse;
  /** Undefined before the first measurement. */
  readonly stats: GetSystemStatsResponse["stats"] | undefined;
}

/** The status for people. */
export function statusText(status: ServerStatus, now: number): string {
  const workers = status.plugins.plugins.filter(hasWorker);
  return machineText(status) + (workers.length === 0 ? "" : `\n${workersTable(workers, now)}`);
}

/** The table of workers. */
function workersTable(plugins: readonly Plugin[], now: number): string {
  return table(
    [
      { title: "WORKER", cell: ({ manifest }) => manifest?.name ?? "" },
      { title: "STATE", cell: (plugin) => workerText(plugin, now) },
      { title: "VRAM SEEN MiB", right: true, cell: ({ worker }) => known(worker?.residentVramMb) },
      { title: "RAM SEEN MiB", right: true, cell: ({ worker }) => known(worker?.residentRamMb) },
      { title: "LOADED", right: true, cell: ({ worker }) => since(now, worker?.loadedAt) },
      { title: "UNLOADS IN", right: true, cell: ({ worker }) => until(now, worker?.unloadAt) },
      { title: "LEASE", cell: ({ worker }) => orDash(worker?.leaseId ?? "") },
    ],
    plugins,
  );
}

function machineText(status: ServerStatus): string {
  const { queue, stats } = status;
  const active = status.monitors.monitors.find((monitor) => monitor.active);
  const draining = queue.leases.filter((lease) => lease.state === LeaseState.DRAINING).length;
  const away = queue.tickets.filter((ticket) => !ticket.connected).length;
  const lines: [string, string][] = [
    ["server", status.address],
    ["policy", status.policy.policy || "unset: Allocate and plugins are permissive, whoever waits is queued"],
    [
      "monitor",
      active === undefined
        ? "-"
        : `${active.name}${active.message === "" ? (active.healthy ? ", well" : ", not well") : `: ${active.message}`}`,
    ],
    ["queue", `${queue.tickets.length} waiting${away === 0 ? "" : ` (${away} with their client away)`}`],
    [
      "leases",
      `${queue.leases.length - draining} held${draining === 0 ? "" : `, ${draining} ended whose memory is not back yet`}`,
    ],
    [
      "host",
      `${known(queue.host?.availableMb)} MiB available of ${known(queue.host?.totalMb)}, ${known(queue.host?.outstandingMb)} promised but not seen yet`,
    ],
  ];
  if (status.policy.discipline !== "") lines.splice(2, 0, ["discipline", status.policy.discipline]);
  if (stats?.simulated === true) lines.unshift(["SIMULATED", "nothing here is real; the server runs with --simulate"]);
  if (queue.suspended !== "") lines.unshift(["SUSPENDED", queue.suspended]);
  if (stats === undefined) lines.push(["warning", "nothing has been measured yet"]);
  else if (stats.message !== "" && stats.message !== active?.message)
    lines.push([stats.degraded ? "warning" : "note", stats.message]);
  const head = lines.map(([name, value]) => `${name.padEnd(12)}${clean(value)}\n`).join("");
  if (stats === undefined || stats.gpus.length === 0) return `${head}\nNo GPU is seen; \`sluice doctor\` says why.\n`;
  return `${head}\n${gpusTable(stats.gpus, queue.gpus)}`;
}

/** `sluice status` */
export function registerStatus(program: Command, io: CliIo): void {
  addAddress(program.command("status"))
    .summary("what the server sees, and how it is")
    .description("Shows the policy, the discipline, the monitor, the queue, the leases, the host, each GPU and each worker.")
    .option("--json", "print JSON")
    .action((options: { json?: boolean }, command: Command) => {
      const address = addressOf(command, io);
      return withServer(address, async (connection) => {
        const scheduler = connection.client(SchedulerService);
        const [policy, monitors, queue, plugins, stats] = await Promise.all([
          scheduler.getPolicy({}),
          scheduler.listSystemMonitors({}),
          scheduler.listQueue({}),
          connection.client(ExecutorService).listPlugins({}),
          connection
            .client(MonitorService)
            .getSystemStats({})
            .then((answer) => answer.stats, noMeasurement),
        ]);
        if (options.json !== true) {
          io.out(statusText({ address, policy, monitors, queue, plugins, stats }, io.now()));
          return;
        }
        printJson(io, {
          address,
          ...messageJson(GetPolicyResponseSchema, policy),
          ...messageJson(ListSystemMonitorsResponseSchema, monitors),
          stats: stats === undefined ? null : messageJson(SystemStatsSchema, stats),
          queue: messageJson(ListQueueResponseSchema, queue),
          ...messageJson(ListPluginsResponseSchema, plugins),
        });
      });
    });
}

async function noMeasurement(error: unknown): Promise<undefined> {
  if ((await reasonOf(error)) !== "NO_MEASUREMENT") throw error;
  return undefined;
}
