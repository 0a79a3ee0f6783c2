import type { Command } from "commander";
import {
  ListSystemMonitorsResponseSchema,
  RegisterSystemMonitorResponseSchema,
  SchedulerService,
  type SystemMonitor,
} from "#gen/sluice/v1/scheduler_pb.js";
import { addAddress, addressOf, withServer } from "./connection.ts";
import type { CliIo } from "./io.ts";
import { messageJson, printJson } from "./json.ts";
import { orDash, table } from "./text.ts";

/** The table of monitors. */
export function monitorsTable(monitors: readonly SystemMonitor[]): string {
  return table(
    [
      { title: "MONITOR", cell: (monitor) => monitor.name },
      { title: "ACTIVE", cell: (monitor) => (monitor.active ? "yes" : "no") },
      { title: "WELL", cell: (monitor) => (monitor.active ? (monitor.healthy ? "yes" : "no") : "-") },
      { title: "MESSAGE", cell: (monitor) => orDash(monitor.message) },
    ],
    monitors,
  );
}

/** `sluice monitor [NAME]` */
export function registerMonitor(program: Command, io: CliIo): void {
  addAddress(program.command("monitor"))
    .summary("show or choose what feeds decisions")
    .description("Without a name, lists the monitors. With one, decisions rest on that monitor's measurements from now on.")
    .argument("[name]", "sys-mon-nvidia, sys-mon-host, sys-mon-simulated, or the address of a server that measures")
    .option("--json", "print JSON")
    .action((name: string | undefined, options: { json?: boolean }, command: Command) =>
      withServer(addressOf(command, io), async (connection) => {
        const scheduler = connection.client(SchedulerService);
        if (name === undefined) {
          const answer = await scheduler.listSystemMonitors({});
          if (options.json === true) printJson(io, messageJson(ListSystemMonitorsResponseSchema, answer));
          else io.out(monitorsTable(answer.monitors));
          return;
        }
        const answer = await scheduler.registerSystemMonitor({ name });
        if (options.json === true) printJson(io, messageJson(RegisterSystemMonitorResponseSchema, answer));
        else io.out(monitorsTable(answer.monitor === undefined ? [] : [answer.monitor]));
      }),
    );
}
