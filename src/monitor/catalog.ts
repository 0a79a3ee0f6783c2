import { isIPv6 } from "node:net";
import { Failure, invalidArgument } from "../engine/failure.ts";
import type { SystemMonitor } from "./system-monitor.ts";

/** The monitors that are built in, by name. */
export const builtInMonitors = ["sys-mon-nvidia", "sys-mon-host", "sys-mon-simulated"] as const;

export type BuiltInMonitor = (typeof builtInMonitors)[number];

/** How each monitor is made; called anew for each use. */
export interface MonitorFactories {
  readonly nvidia: () => SystemMonitor;
  readonly host: () => SystemMonitor;
  /** Absent when the server was not told what to simulate. */
  readonly simulated?: () => SystemMonitor;
  /** @param address `host:port` or `unix:/path`. */
  readonly remote: (address: string) => SystemMonitor;
}

/** Knows which monitors can be chosen, and makes them. */
export class MonitorCatalog {
  private readonly factories: MonitorFactories;

  constructor(factories: MonitorFactories) {
    this.factories = factories;
  }

  /** The built-in monitors that can be made here, by name. */
  names(): readonly BuiltInMonitor[] {
    return builtInMonitors.filter((name) => name !== "sys-mon-simulated" || this.factories.simulated !== undefined);
  }

  /**
   * Makes a monitor; it is not started.
   * @param name one of the built-in names, or the address of a server that speaks MonitorService.
   * @throws Failure INVALID_ARGUMENT for field `name`; MONITOR_UNAVAILABLE for `sys-mon-simulated` without a simulation.
   */
  create(name: string): SystemMonitor {
    switch (name) {
      case "sys-mon-nvidia":
        return this.factories.nvidia();
      case "sys-mon-host":
        return this.factories.host();
      case "sys-mon-simulated":
        return this.simulated();
      default:
        if (isMonitorAddress(name)) return this.factories.remote(name);
        throw invalidArgument({
          field: "name",
          description: `must be one of ${builtInMonitors.join(", ")}, host:port, or unix:/path`,
        });
    }
  }

  private simulated(): SystemMonitor {
    if (this.factories.simulated) return this.factories.simulated();
    throw new Failure(
      "MONITOR_UNAVAILABLE",
      "Nothing is simulated here; start the server with --simulate 2x24576 to try it out.",
    );
  }
}

/** Whether `text` is `host:port`, `[IPv6]:port` or `unix:/absolute/path`. */
export function isMonitorAddress(text: string): boolean {
  if (text.length > 256) return false;
  if (text.startsWith("unix:")) return /^unix:\/[\x21-\x7e]+$/.test(text);
  const match = /^(?:\[([^\]]+)\]|([A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?)):(\d{1,5})$/.exec(text);
  if (!match) return false;
  const [, inBrackets, , portText] = match;
  const port = Number(portText);
  return port >= 1 && port <= 65_535 && (inBrackets === undefined || isIPv6(inBrackets));
}

/** Which monitor feeds decisions when nobody chose one: a simulation that was asked for, else what the machine has. */
export function defaultMonitorName(machine: {
  readonly nvidiaSmiFound: boolean;
  readonly simulate?: string | undefined;
}): BuiltInMonitor {
  if (machine.simulate !== undefined && machine.simulate !== "") return "sys-mon-simulated";
  return machine.nvidiaSmiFound ? "sys-mon-nvidia" : "sys-mon-host";
}
