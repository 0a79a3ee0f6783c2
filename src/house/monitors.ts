import { isAbsolute } from "node:path";
import { MonitorService } from "#gen/sluice/v1/monitor_pb.js";
import { remoteStatsFromProto } from "../api/remote-stats.ts";
import type { MonitorChoice } from "../api/scheduler.ts";
import type { ServeConfig } from "../config/settings.ts";
import { Failure } from "../engine/failure.ts";
import { defaultMonitorName, MonitorCatalog } from "../monitor/catalog.ts";
import { findOnPath, isExecutableFile } from "../monitor/find-executable.ts";
import { SystemHostProbe } from "../monitor/host.ts";
import { HostMonitor } from "../monitor/host-monitor.ts";
import { NvidiaMonitor } from "../monitor/nvidia/nvidia-monitor.ts";
import type { ProcProcessTable } from "../monitor/process-table.ts";
import { RemoteMonitor } from "../monitor/remote.ts";
import type { RemoteStatsClient } from "../monitor/remote-stats.ts";
import { Sampler } from "../monitor/sampler.ts";
import { parseSimulation, SimulatedMonitor } from "../monitor/simulated.ts";
import type { MonitorContext } from "../monitor/system-monitor.ts";
import { connectClient } from "../transport/client.ts";

/** The monitors of this server: which there are, which one feeds decisions, and how to change that. */
export class SystemMonitors implements MonitorChoice {
  readonly sampler: Sampler;
  readonly #catalog: MonitorCatalog;

  constructor(config: ServeConfig, context: MonitorContext, processes: ProcProcessTable) {
    const host = new SystemHostProbe(context.now, { processes });
    const simulation = config.simulate === "" ? undefined : parseSimulation(config.simulate);
    this.#catalog = new MonitorCatalog({
      nvidia: () => new NvidiaMonitor({ path: config.nvidiaSmi, host, processes, context, periodMs: config.samplePeriodMs }),
      host: () => new HostMonitor(context, host),
      ...(simulation === undefined
        ? {}
        : { simulated: () => new SimulatedMonitor(context, simulation, host, config.samplePeriodMs) }),
      remote: (address) => new RemoteMonitor(context, address, remoteClient(address)),
    });
    const name = config.monitor || defaultMonitorName({ nvidiaSmiFound: isThere(config.nvidiaSmi), simulate: config.simulate });
    this.sampler = new Sampler(this.#catalog.create(name), context.log);
  }

  async use(name: string): Promise<void> {
    const active = this.sampler.status();
    if (name !== active.name) {
      await this.sampler.use(this.#catalog.create(name));
      return;
    }
    if (!active.healthy)
      throw new Failure("MONITOR_UNAVAILABLE", `${name} is active already and cannot measure: ${active.message}`, {
        monitor: name,
      });
  }

  list(): ReturnType<MonitorChoice["list"]> {
    const active = this.sampler.status();
    const others = this.#catalog.names().filter((n) => n !== active.name);
    return [
      { name: active.name, active: true, healthy: active.healthy, message: active.message },
      ...others.map((name) => ({ name, active: false, healthy: false, message: "not active" })),
    ];
  }
}

/** True when the nvidia-smi that was named can be run. */
function isThere(nvidiaSmi: string): boolean {
  return isAbsolute(nvidiaSmi) || nvidiaSmi.includes("/") ? isExecutableFile(nvidiaSmi) : findOnPath(nvidiaSmi) !== undefined;
}

function remoteClient(address: string): RemoteStatsClient {
  const connection = connectClient(address);
  const client = connection.client(MonitorService);
  return {
    async getSystemStats(signal) {
      const { stats } = await client.getSystemStats({}, { signal });
      if (stats === undefined) throw new Error("the answer has no stats");
      return remoteStatsFromProto(stats);
    },
    close: () => connection.close(),
  };
}
