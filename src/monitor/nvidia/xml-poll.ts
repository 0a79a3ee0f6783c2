import type { Millis } from "../../engine/sample.ts";
import type { ComputeApp } from "./compute-apps.ts";
import type { GpuFleet } from "./gpu-fleet.ts";
import { type Inventory, only } from "./inventory.ts";
import { type OneShots, xmlBytes } from "./one-shot.ts";
import type { ProcessLedger } from "./process-ledger.ts";
import type { XmlLog } from "./query-xml.ts";
import { oneGpuIsUnreadable, troubleOf } from "./trouble.ts";

export interface XmlPollOptions {
  readonly shots: OneShots;
  readonly path: string;
  readonly fleet: GpuFleet;
  readonly ledger: ProcessLedger;
  readonly inventory: Inventory;
  readonly timeoutMs: Millis;
  now(): Millis;
  onFigures(): void;
  /** The pause between two questions. */
  sleep(): Promise<void>;
  /** Takes stock when it is time, or soon when the answer was strange; true when polling must end, since it has. */
  renew(strange: boolean): Promise<boolean>;
}

/**
 * Measures by `-q -x`, the only answer with the memory of MIG devices, until stock was taken (answer "") or something is wrong.
 * Processes come with it. They are read after the memory, so they are shown with the next answer's figures.
 */
export async function pollXml(options: XmlPollOptions): Promise<string> {
  const { fleet, ledger, inventory } = options;
  for (;;) {
    const askedAt = options.now();
    const args = ["-q", "-x", ...only(inventory.indexes)];
    const answer = await options.shots.ask({ args, timeoutMs: options.timeoutMs, maxBytes: xmlBytes });
    const unreadable = oneGpuIsUnreadable(answer);
    const trouble = troubleOf(answer, options.path);
    if (trouble !== undefined && !unreadable) return trouble;
    const { parseQueryXml } = await import("./query-xml.ts");
    const log = parseQueryXml(answer.kind === "ended" ? answer.text : "");
    if (log.gpus.length === 0 && !unreadable)
      return "nvidia-smi -q -x printed nothing readable; run it by hand to see what it prints.";
    const { strange } = fleet.applyXml(log, inventory.listing, askedAt);
    options.onFigures();
    if (log.complete) {
      ledger.offer({ askedAt, endedAt: options.now(), apps: { list: appsOf(log, fleet), incomplete: new Set(), rejected: 0 } });
    }
    if (await options.renew(strange || unreadable)) return "";
    await options.sleep();
  }
}

/** Processes by the device they run on: the MIG device where it is told, else the physical GPU. */
function appsOf(log: XmlLog, fleet: GpuFleet): ComputeApp[] {
  return log.gpus.flatMap((gpu) =>
    gpu.processes.map((process) => ({
      gpuUuid: fleet.migDevice(gpu.uuid, process.gpuInstanceId, process.computeInstanceId) ?? gpu.uuid,
      pid: process.pid,
      name: process.name,
      nameless: process.name === "" || process.name.startsWith("["),
      ...(process.usedMb === undefined ? {} : { usedMb: process.usedMb }),
    })),
  );
}
