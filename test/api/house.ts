import type { DescMethod, DescService } from "@bufbuild/protobuf";
import {
  type Client,
  Code,
  ConnectError,
  type ConnectRouter,
  createClient,
  createConnectRouter,
  createRouterTransport,
  type MethodImpl,
} from "@connectrpc/connect";
import { createUniversalHandlerClient } from "@connectrpc/connect/protocol";
import { ExecutorService } from "#gen/sluice/v1/executor_pb.js";
import { MonitorService } from "#gen/sluice/v1/monitor_pb.js";
import { SchedulerService } from "#gen/sluice/v1/scheduler_pb.js";
import { executorService } from "../../src/api/executor.ts";
import { monitorService } from "../../src/api/monitor.ts";
import { schedulerService } from "../../src/api/scheduler.ts";
import { Failure } from "../../src/engine/failure.ts";
import type { MachineSample } from "../../src/engine/sample.ts";
import { defaultSettings, type EngineSettings } from "../../src/engine/settings.ts";
import { createState } from "../../src/engine/state.ts";
import { Executor } from "../../src/executor/executor.ts";
import { LoadTurns } from "../../src/executor/load-turns.ts";
import { MemoryProfiles } from "../../src/executor/memory-profile.ts";
import { Registry } from "../../src/executor/registry.ts";
import { Residents } from "../../src/executor/residents.ts";
import { executorAdmission } from "../../src/gate/admission.ts";
import { Gate } from "../../src/gate/gate.ts";
import { LeaseMemory } from "../../src/gate/lease-memory.ts";
import { decisionLog } from "../../src/house/decision-log.ts";
import { createLog } from "../../src/observe/log.ts";
import { createMetrics } from "../../src/observe/metrics.ts";
import { builtInPolicies } from "../../src/policy/load.ts";
import { createGuard } from "../../src/transport/guard.ts";
import { implement } from "../../src/transport/implement.ts";

export const gpu = "GPU-a";

/**
 * The three services behind the guard that both doors have, on a machine with one GPU of 24576 MiB, without a network.
 * @param settings of the engine, where they are not the usual ones.
 */
export function openServices(settings: Partial<EngineSettings> = {}) {
  const start = Date.now();
  const clock = { now: () => start + performance.now() };
  const log: string[] = [];
  const metrics = createMetrics({ processMetrics: false });
  const logger = createLog({ destination: { write: (line: string) => void log.push(line) } });
  const state = createState(
    { ...defaultSettings, maxSampleAgeMs: 1e9, defaultPollIntervalMs: 1e9, ...settings },
    builtInPolicies(),
  );
  const decision = decisionLog(logger, metrics, () => state.discipline);
  const gate = new Gate(state, clock, { decision, watchProcesses() {}, refresh() {} });
  let latest = sampleAt(clock.now());
  gate.step({ type: "sample", sample: latest });
  const registry = new Registry([]);
  const memory = new LeaseMemory(
    (id) => gate.lease(id),
    () => clock.now(),
  );
  const admission = executorAdmission({ gate, address: () => "127.0.0.1:1", processKey: () => undefined, memory });
  const executor = new Executor({
    registry,
    admission,
    // Runs nothing: what these tests are about is over before a process would start.
    commands: { prepare: () => ({ run: async () => ({ ok: true, result: "ran" }) }) },
    residents: new Residents({
      admission,
      profiles: new MemoryProfiles(),
      learnedMemory: "max",
      turns: new LoadTurns(),
      register: undefined,
      serverEnv: {},
      killGraceMs: 100,
      loadStallMs: 1_000,
      idleTtlMs: 0,
      oomKills: async () => undefined,
      now: clock.now,
      onError: () => {},
    }),
  });
  const monitors = {
    async use(name: string) {
      if (name !== "sys-mon-simulated") throw new Failure("MONITOR_UNAVAILABLE", "it cannot be used; the present one stays");
    },
    list: () => [{ name: "sys-mon-simulated", active: true, healthy: true, message: "" }],
  };
  const address = () => "127.0.0.1:1";
  const guard = createGuard({ log: logger, metrics });
  const services = [
    implement(SchedulerService, schedulerService({ gate, address, processKey: (pid) => `${pid}:1`, monitors })),
    implement(
      MonitorService,
      monitorService({
        now: () => clock.now(),
        latest: () => latest,
        maxSampleAgeMs: 1e9,
        leaseOf: (lineage) => gate.ownerOf(lineage),
      }),
    ),
    implement(ExecutorService, executorService({ registry, executor, allowRegister: true, policies: () => gate.policies })),
  ];
  const routes = (router: ConnectRouter) => {
    for (const { methods } of services.map(guard.wrap)) {
      for (const { method, impl } of Object.values(methods)) router.rpc(method, impl as MethodImpl<typeof method>);
    }
    return router;
  };
  const transport = createRouterTransport(routes);
  const wire = createUniversalHandlerClient(routes(createConnectRouter()).handlers);
  return {
    gate,
    registry,
    /** Lines of the log. */
    log,
    /** Sends a text as it is to a unary rpc, as Connect JSON. Answers what came back. */
    async post(rpc: DescMethod, json: string): Promise<{ status: number; body: Record<string, unknown> }> {
      const response = await wire({
        url: `https://in-memory/${rpc.parent.typeName}/${rpc.name}`,
        method: "POST",
        header: new Headers({ "content-type": "application/json" }),
        body: (async function* () {
          yield Buffer.from(json);
        })(),
      });
      const chunks: Uint8Array[] = [];
      for await (const chunk of response.body) chunks.push(chunk);
      return { status: response.status, body: JSON.parse(Buffer.concat(chunks).toString()) };
    },
    client: <D extends DescService>(service: D): Client<D> => createClient(service, transport),
    /** Measures again. */
    measure() {
      latest = sampleAt(clock.now());
      gate.step({ type: "sample", sample: latest });
    },
    /** Everything that a request could have changed. */
    snapshot: () =>
      JSON.stringify([
        gate.queue().tickets.map((t) => [t.id, t.workload, t.policy, t.connected]),
        gate.leases().map((l) => [l.id, l.token, l.state, l.executions, l.processes, l.expiresAt]),
        [...gate.executions()],
        gate.policy,
        gate.discipline,
        registry.list().map((p) => [p.manifest, p.enabled]),
        executor.list("").map((e) => [e.id, e.state]),
      ]),
  };
}

export type Services = ReturnType<typeof openServices>;

function sampleAt(now: number): MachineSample {
  return {
    source: "sys-mon-simulated",
    simulated: true,
    gpus: [
      {
        uuid: gpu,
        index: 0,
        name: "test",
        kind: "full",
        totalMb: 24_576,
        reservedMb: 0,
        usedMb: 0,
        freeMb: 24_576,
        computeMode: "Default",
        health: "ok",
        healthMessage: "",
        observedAt: now,
        attribution: true,
      },
    ],
    host: { totalMb: 65_536, availableMb: 60_000, observedAt: now },
    processes: { observedAt: now, list: [] },
    treeRam: new Map(),
    message: "",
  };
}

/** The error that a call ends with. A stream is read to its first message, and then left. */
export async function errorOf(call: Promise<unknown> | AsyncIterable<unknown>): Promise<ConnectError | undefined> {
  try {
    if (Symbol.asyncIterator in call) for await (const _ of call) break;
    else await call;
    return undefined;
  } catch (error) {
    return ConnectError.from(error);
  }
}

export { Code };
