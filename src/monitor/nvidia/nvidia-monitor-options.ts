import type { Millis } from "../../engine/sample.ts";
import type { HostProbe, ProcessTable } from "../host-probe.ts";
import type { MonitorContext } from "../system-monitor.ts";
import { inHostPidNamespace } from "./pid-namespace.ts";

export interface NvidiaMonitorOptions {
  /** nvidia-smi: a path, or a name that is found on PATH. */
  readonly path: string;
  readonly host: HostProbe;
  readonly processes: ProcessTable;
  readonly context: MonitorContext;
  /** Pause between two rounds of the stream. */
  readonly periodMs?: Millis;
  readonly hostPeriodMs?: Millis;
  /** Longest time without a full round before everything is unknown. Default: three periods, at least 3 s. */
  readonly silenceMs?: Millis;
  /** Budget of a first question and of a first round: a cold driver takes seconds. */
  readonly firstMs?: Millis;
  /** How often it is asked afresh which GPUs there are. */
  readonly inventoryMs?: Millis;
  /** The same while some GPU is missing or not well. */
  readonly inventorySickMs?: Millis;
  readonly processListMs?: Millis;
  readonly processBudgetMs?: Millis;
  /** Pause between two `-q -x` where there are MIG devices. */
  readonly migPeriodMs?: Millis;
  readonly backoffMinMs?: Millis;
  readonly backoffMaxMs?: Millis;
  /** From SIGTERM to SIGKILL. */
  readonly graceMs?: Millis;
  /** Whether this process sees the machine's own pids; found out when not given. */
  readonly hostPids?: boolean;
}

/** The options with their defaults. */
export type NvidiaMonitorSettings = Required<Omit<NvidiaMonitorOptions, "path" | "host" | "processes" | "context">>;

/** Fills in what was left out. */
export function settingsOf(options: NvidiaMonitorOptions): NvidiaMonitorSettings {
  const periodMs = options.periodMs ?? 500;
  return {
    periodMs,
    hostPeriodMs: options.hostPeriodMs ?? 2000,
    silenceMs: options.silenceMs ?? Math.max(3000, 3 * periodMs),
    firstMs: options.firstMs ?? 10_000,
    inventoryMs: options.inventoryMs ?? 30_000,
    inventorySickMs: options.inventorySickMs ?? 5000,
    processListMs: options.processListMs ?? 5000,
    processBudgetMs: options.processBudgetMs ?? 5000,
    migPeriodMs: options.migPeriodMs ?? 1500,
    backoffMinMs: options.backoffMinMs ?? 1000,
    backoffMaxMs: options.backoffMaxMs ?? 30_000,
    graceMs: options.graceMs ?? 2000,
    hostPids: options.hostPids ?? inHostPidNamespace(),
  };
}
