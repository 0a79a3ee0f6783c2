import { performance } from "node:perf_hooks";
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";

/** What a GPU's books say at the moment of a scrape, in MiB. A number that is not known is left out, never 0. */
export interface GpuFigures {
  readonly uuid: string;
  readonly index: number;
  readonly freeMib?: number | undefined;
  readonly availableMib?: number | undefined;
  readonly leasedMib?: number | undefined;
  readonly foreignMib?: number | undefined;
}

/** What the gate looks like at the moment of a scrape. */
export interface Figures {
  /** Tickets that wait. */
  readonly queued: number;
  /** Leases that claim memory, those that drain included. */
  readonly leases: number;
  readonly gpus: readonly GpuFigures[];
  /** Seconds since the newest sample was taken; left out when there is none. */
  readonly sampleAgeSeconds?: number | undefined;
  readonly monitorHealthy: boolean;
  /** Nothing new is promised, because it cannot be written down. */
  readonly suspended: boolean;
}

/** What was decided about a request or a lease. */
export type Decision = "granted" | "refused" | "expired" | "timed_out" | "evicted";

/** How one rpc is doing, with its labels already looked up. */
export interface RpcMetrics {
  /** One call is over. @param code name of its status, such as "OK" or "NOT_FOUND". */
  done(code: string, seconds: number): void;
  streamOpened(): void;
  streamClosed(): void;
}

/** Everything that is counted, and how Prometheus reads it. */
export interface Metrics {
  /** Counters of one rpc, named like "sluice.v1.SchedulerService/Allocate". */
  rpc(name: string): RpcMetrics;
  /** Counts a decision. @param reason the code of its first reason, such as "NEVER_FITS"; empty for a grant. */
  decision(decision: Decision, reason: string): void;
  /** What is promised was written to the disk, in one go. */
  stateWritten(seconds: number): void;
  /** Says where the gauges come from: asked at every scrape, and never in between. */
  collect(source: () => Figures): void;
  /** The text that /metrics answers. */
  scrape(): Promise<string>;
  readonly contentType: string;
  readonly registry: Registry;
}

/** From half a millisecond, what an uncontended decision takes, to half an hour, what a wait may take. */
const durationBuckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800];

/**
 * Makes the metrics of one server, with a registry of its own.
 * @param options.processMetrics false leaves out those of the process (memory, event loop, garbage collection).
 */
export function createMetrics(options: { readonly processMetrics?: boolean } = {}): Metrics {
  const registry = new Registry();
  if (options.processMetrics !== false) collectProcessMetrics(registry);

  const calls = new Counter({
    name: "sluice_rpc_calls_total",
    help: "Calls that are over, by rpc and by the status that they ended with.",
    labelNames: ["rpc", "code"],
    registers: [registry],
  });
  const durations = new Histogram({
    name: "sluice_rpc_duration_seconds",
    help: "How long calls took; for streams from open to end.",
    labelNames: ["rpc"],
    buckets: durationBuckets,
    registers: [registry],
  });
  const openStreams = new Gauge({
    name: "sluice_rpc_open_streams",
    help: "Streams that are open now.",
    labelNames: ["rpc"],
    registers: [registry],
  });
  const decisions = new Counter({
    name: "sluice_decisions_total",
    help: "Decisions (granted, refused, expired, timed_out, evicted), by the code of their first reason.",
    labelNames: ["decision", "reason"],
    registers: [registry],
  });
  const stateWrites = new Histogram({
    name: "sluice_state_write_seconds",
    help: "How long it took to have promises on the disk; one write is for all that had come meanwhile.",
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers: [registry],
  });
  const byDecision = new Map<string, Counter.Internal>();
  const gauges = createGauges(registry);
  clear(gauges);
  let source: (() => Figures) | undefined;

  return {
    rpc(name) {
      const duration = durations.labels(name);
      const open = openStreams.labels(name);
      const byCode = new Map<string, Counter.Internal>();
      return {
        done(code, seconds) {
          let counter = byCode.get(code);
          if (counter === undefined) {
            counter = calls.labels(name, code);
            byCode.set(code, counter);
          }
          counter.inc();
          duration.observe(seconds);
        },
        streamOpened: () => open.inc(),
        streamClosed: () => open.dec(),
      };
    },
    decision(decision, reason) {
      const key = `${decision} ${reason}`;
      let counter = byDecision.get(key);
      if (counter === undefined) {
        counter = decisions.labels(decision, reason);
        byDecision.set(key, counter);
      }
      counter.inc();
    },
    stateWritten: (seconds) => stateWrites.observe(seconds),
    collect(from) {
      source = from;
    },
    scrape() {
      if (source !== undefined) setGauges(gauges, source());
      return registry.metrics();
    },
    contentType: registry.contentType,
    registry,
  };
}

/** Node looks at its event loop a hundred times a second to have percentiles of its delay, which would keep an idle machine awake. */
const never = 2 ** 31 - 1;
const delays = ["min", "max", "mean", "stddev", "p50", "p90", "p99"].map((what) => `nodejs_eventloop_lag_${what}_seconds`);

function collectProcessMetrics(registry: Registry): void {
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: never });
  for (const name of delays) registry.removeSingleMetric(name);
  let before = performance.eventLoopUtilization();
  new Gauge({
    name: "sluice_event_loop_utilization",
    help: "Part of the time since the last scrape in which the server's main thread was busy, 0 to 1.",
    registers: [registry],
    collect() {
      const now = performance.eventLoopUtilization();
      this.set(performance.eventLoopUtilization(now, before).utilization);
      before = now;
    },
  });
}

type Gauges = ReturnType<typeof createGauges>;

function createGauges(registry: Registry) {
  const gauge = (name: string, help: string) => new Gauge({ name, help, registers: [registry] });
  const perGpu = (name: string, help: string) =>
    new Gauge({ name, help, labelNames: ["gpu_uuid", "gpu"], registers: [registry] });
  return {
    queued: gauge("sluice_queue_depth", "Tickets that wait."),
    leases: gauge("sluice_leases", "Leases that claim memory, those that drain included."),
    sampleAge: gauge("sluice_sample_age_seconds", "Age of the newest sample; absent when there is none."),
    healthy: gauge("sluice_monitor_healthy", "1 when the newest sample is fresh and complete, else 0."),
    suspended: gauge("sluice_suspended", "1 while nothing new is promised, because it cannot be written down, else 0."),
    free: perGpu("sluice_gpu_free_mib", "Measured free memory, in MiB; absent when it is not known."),
    available: perGpu("sluice_gpu_available_mib", "What a new request could get, in MiB; absent when it is not known."),
    leased: perGpu("sluice_gpu_leased_mib", "Memory that leases claim, in MiB."),
    foreign: perGpu(
      "sluice_gpu_foreign_mib",
      "Measured memory of processes without a lease, in MiB; absent when it is not known.",
    ),
  };
}

/** A GPU or a number that has gone must not stay at what it last was, and a gauge that was never set must not say 0. */
function clear(gauges: Gauges): void {
  for (const gauge of [gauges.queued, gauges.leases, gauges.sampleAge, gauges.healthy, gauges.suspended]) gauge.remove();
  for (const gauge of [gauges.free, gauges.available, gauges.leased, gauges.foreign]) gauge.reset();
}

function setGauges(gauges: Gauges, figures: Figures): void {
  clear(gauges);
  gauges.queued.set(figures.queued);
  gauges.leases.set(figures.leases);
  gauges.suspended.set(figures.suspended ? 1 : 0);
  gauges.healthy.set(figures.monitorHealthy ? 1 : 0);
  if (figures.sampleAgeSeconds !== undefined) gauges.sampleAge.set(figures.sampleAgeSeconds);
  for (const gpu of figures.gpus) {
    const labels = { gpu_uuid: gpu.uuid, gpu: String(gpu.index) };
    if (gpu.freeMib !== undefined) gauges.free.set(labels, gpu.freeMib);
    if (gpu.availableMib !== undefined) gauges.available.set(labels, gpu.availableMib);
    if (gpu.leasedMib !== undefined) gauges.leased.set(labels, gpu.leasedMib);
    if (gpu.foreignMib !== undefined) gauges.foreign.set(labels, gpu.foreignMib);
  }
}
