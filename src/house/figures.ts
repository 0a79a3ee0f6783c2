import type { Millis } from "../engine/sample.ts";
import type { Gate } from "../gate/gate.ts";
import type { Figures } from "../observe/metrics.ts";
import type { SystemMonitors } from "./monitors.ts";

/** What /metrics shows of the gate at the moment of a scrape. */
export function figuresOf(gate: Gate, monitors: SystemMonitors, now: Millis): Figures {
  const sample = monitors.sampler.latest();
  const moments = [...(sample?.gpus ?? []), ...(sample?.host === undefined ? [] : [sample.host])].map((s) => s.observedAt);
  const { waiting, leases } = gate.counts;
  return {
    queued: waiting,
    leases,
    gpus: gate.books().gpus.map((g) => ({
      uuid: g.device.uuid,
      index: g.device.index,
      freeMib: g.device.freeMb,
      availableMib: g.availableMb,
      leasedMib: g.claimedMb,
      foreignMib: g.foreignMb,
    })),
    sampleAgeSeconds: moments.length === 0 ? undefined : (now - Math.max(...moments)) / 1000,
    suspended: gate.suspended !== undefined,
    monitorHealthy: monitors.sampler.status().healthy,
  };
}
