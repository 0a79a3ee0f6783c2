import { ExecutorService } from "#gen/sluice/v1/executor_pb.js";
import { MonitorService } from "#gen/sluice/v1/monitor_pb.js";
import { SchedulerService } from "#gen/sluice/v1/scheduler_pb.js";
import { executorService } from "./api/executor.ts";
import { monitorService } from "./api/monitor.ts";
import { schedulerService } from "./api/scheduler.ts";
import { encodeWait } from "./api/wait-encoding.ts";
import type { ServeConfig } from "./config/settings.ts";
import { isPolicyModule } from "./config/settings.ts";
import type { MachineSample } from "./engine/sample.ts";
import { everything } from "./engine/saves.ts";
import { createState } from "./engine/state.ts";
import { MemoryProfiles } from "./executor/memory-profile.ts";
import { type LoadReport, Registry } from "./executor/registry.ts";
import { MonotonicClock } from "./gate/clock.ts";
import { Gate, type GateWorld } from "./gate/gate.ts";
import { LeaseMemory } from "./gate/lease-memory.ts";
import { decisionLog } from "./house/decision-log.ts";
import { DecisionRecorder } from "./house/decision-recorder.ts";
import { engineSettings, tokenOfTime } from "./house/engine-settings.ts";
import { openExecutor } from "./house/executor.ts";
import { figuresOf } from "./house/figures.ts";
import { Learned } from "./house/learned.ts";
import { SystemMonitors } from "./house/monitors.ts";
import { openRecord } from "./house/record-file.ts";
import { openState } from "./house/state.ts";
import { stateDirOf } from "./house/state-dir.ts";
import { ProcProcessTable } from "./monitor/process-table.ts";
import { ProcessWatch } from "./monitor/process-watch.ts";
import type { Log } from "./observe/log.ts";
import { createMetrics } from "./observe/metrics.ts";
import { builtInPolicies, loadPolicy } from "./policy/load.ts";
import { type Doors, openDoors } from "./transport/doors.ts";
import { encoding } from "./transport/grpc-handlers.ts";
import { Health } from "./transport/health.ts";
import { implement } from "./transport/implement.ts";

/** A running server. */
export interface House {
  readonly doors: Doors;
  readonly gate: Gate;
  readonly monitors: SystemMonitors;
  /** The first sample; when the source of measurements fails it says so. The doors are open before. */
  readonly firstSample: Promise<MachineSample>;
  readonly plugins: LoadReport;
  /** Folder for what outlives the server; undefined: nothing does. */
  readonly stateDir: string | undefined;
  /**
   * Shuts down: no new work, waiters are told to come back, executions and calls get the grace time, everything that was
   * started is ended. Idempotent.
   */
  close(): Promise<void>;
}

/** Puts the house together and opens its doors. @throws Failure in plain words when it cannot be opened as configured. */
export async function openHouse(config: ServeConfig, log: Log): Promise<House> {
  const clock = new MonotonicClock();
  const metrics = createMetrics();
  const { policies, policy } = await policiesOf(config, log);
  const stateDir = stateDirOf(config, process.env);
  const { store, kept, isDurable, attach } = await openState(stateDir, tokenOfTime(clock.now()), { log, metrics });
  const state = createState(engineSettings(config, kept.firstToken), policies, policy, isDurable);
  const record = config.record === "" ? undefined : await openRecord(config.record, log);
  record?.write({ type: "start", at: Math.round(clock.now()) });
  const recorder = record === undefined ? undefined : new DecisionRecorder((line) => record.write(line), config.timeoutMs);
  const logDecision = decisionLog(log, metrics, () => state.discipline);
  const processes = new ProcProcessTable();
  let watched: readonly string[] = [];

  const monitors = new SystemMonitors(config, { now: () => clock.now(), watchedTrees: () => watched, log }, processes);
  const watch = new ProcessWatch(processes, (process) => gate.step({ type: "process-exited", process }));
  const world: GateWorld = {
    decision(effect, now, event) {
      logDecision(effect, now);
      recorder?.decision(effect, now, event);
    },
    watchProcesses(keys) {
      watched = keys;
      watch.set(keys);
    },
    refresh: () => monitors.sampler.refresh(),
  };
  const health = new Health([SchedulerService.typeName, MonitorService.typeName, ExecutorService.typeName]);
  const gate: Gate = new Gate(state, clock, world, store);
  attach({
    everything: () => everything(state),
    failed(failure) {
      log.error({ problem: failure.message }, "the state cannot be written; nothing new is promised");
      gate.suspend(failure.message);
      health.pause();
    },
    recovered() {
      log.info("the state is written again");
      gate.resume();
      health.serve();
    },
  });
  const profiles = new MemoryProfiles();
  const learned = new Learned({ state, profiles, store, now: () => clock.now() });
  learned.takeUp(kept.learned, log);
  gate.step({ type: "restore", leases: kept.leases, tickets: kept.tickets });
  const memory = new LeaseMemory(
    (id) => gate.lease(id),
    () => clock.now(),
  );
  monitors.sampler.subscribe((sample) => {
    gate.step({ type: "sample", sample });
    memory.sampled();
    if (recorder === undefined) return;
    const { gpus, host } = gate.books();
    recorder.measured(gpus, host, clock.now());
  });
  metrics.collect(() => figuresOf(gate, monitors, clock.now()));

  const registry = new Registry(config.plugins);
  const plugins = await registry.loadAll();
  for (const e of plugins.errors) log.warn({ file: e.file, field: e.field, problem: e.message }, "manifest not loaded");
  const address = () => advertised(doors.grpcAddresses[0] ?? "");
  const processKey = (pid: number) => processes.key(pid);
  const executor = await openExecutor(config, stateDir, { gate, registry, memory, profiles, address, processKey }, log);

  const doors: Doors = await openDoors({
    services: [
      implement(SchedulerService, schedulerService({ gate, address, processKey, monitors })),
      implement(
        MonitorService,
        monitorService({
          now: () => clock.now(),
          latest: () => monitors.sampler.latest(),
          maxSampleAgeMs: config.maxSampleAgeMs,
          leaseOf: (lineage) => gate.ownerOf(lineage),
        }),
      ),
      implement(
        ExecutorService,
        executorService({ registry, executor, allowRegister: config.allowRegister, policies: () => gate.policies }),
      ),
    ],
    grpc: {
      addresses: config.grpc,
      encoders: new Map([encoding(SchedulerService.method.waitForResources, encodeWait)]),
    },
    ...(config.web === "off" ? {} : { web: { address: config.web, hosts: config.webHosts } }),
    log,
    metrics,
    health,
    insecure: config.insecure,
  });
  if (gate.suspended === undefined) health.serve();
  const firstSample = monitors.sampler.start();

  let closing: Promise<void> | undefined;
  async function close(): Promise<void> {
    await doors.drain(config.drainGraceMs, async () => {
      gate.drain();
      await executor.shutdown(config.drainGraceMs);
    });
    gate.stop();
    watch.stop();
    await monitors.sampler.stop();
    learned.stop();
    await store.close();
    await record?.close();
  }
  return {
    doors,
    gate,
    monitors,
    firstSample,
    plugins,
    stateDir,
    close() {
      closing ??= close();
      return closing;
    },
  };
}

async function policiesOf(config: ServeConfig, log: Log) {
  const policies = builtInPolicies();
  if (!isPolicyModule(config.policy)) return { policies, policy: config.policy };
  const own = await loadPolicy(config.policy, (policy, err) =>
    log.error({ policy, err }, "the policy failed; nothing is admitted by it"),
  );
  policies.set(own.name, own);
  return { policies, policy: own.name };
}

/** What holders on this machine reach the server at: an address that stands for all interfaces is not one to connect to. */
function advertised(address: string): string {
  return address.replace(/^0\.0\.0\.0:/, "127.0.0.1:").replace(/^\[::\]:/, "[::1]:");
}
