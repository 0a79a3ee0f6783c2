import type { HostSample, Mib, ProcessKey } from "../engine/sample.ts";
import type { HostProbe } from "./host-probe.ts";
import type { MonitorContext } from "./system-monitor.ts";

/** The part of a sample that every monitor of this machine has. */
export interface HostReading {
  readonly host?: HostSample;
  readonly treeRam: ReadonlyMap<ProcessKey, Mib>;
  /** What is wrong with the measurements of the host, and what to do; empty when they are complete. */
  readonly message: string;
}

const unreadable = "Host memory cannot be measured; make /proc and /sys/fs/cgroup readable for this process.";

/** Reads the host and the watched process trees. Never rejects, whatever the probe does. */
export async function readHost(context: MonitorContext, probe: HostProbe): Promise<HostReading> {
  try {
    const { host, treeRam } = await probe.read(context.watchedTrees());
    const complete = host.totalMb !== undefined && host.availableMb !== undefined;
    return { host, treeRam, message: complete ? "" : unreadable };
  } catch (error) {
    context.log.warn({ err: error }, "The host could not be measured.");
    return { treeRam: new Map(), message: unreadable };
  }
}
