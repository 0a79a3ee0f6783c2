import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { BreakerState, PluginMode, ResidentState } from "#gen/sluice/v1/executor_pb.js";
import { Attribution, GpuHealth } from "#gen/sluice/v1/monitor_pb.js";
import { EstimateBasis, LeaseEnd, LeaseState, ReasonCode } from "#gen/sluice/v1/types_pb.js";
import { Failure } from "../../src/engine/failure.ts";
import type { FakeServices } from "./fake-server.ts";
import { now } from "./run-in-process.ts";

const a = "GPU-aaaaaaaa-0000-0000-0000-000000000000";
const b = "GPU-bbbbbbbb-0000-0000-0000-000000000000";
const ago = (ms: number) => timestampFromMs(now - ms);
const ahead = (ms: number) => timestampFromMs(now + ms);

const gpus = [
  {
    uuid: a,
    index: 0,
    name: "NVIDIA RTX 4090",
    totalMb: 24564,
    reservedMb: 346,
    usedMb: 14200,
    freeMb: 10018,
    loadPercent: 41.6,
    temperatureC: 55,
    health: GpuHealth.OK,
    computeMode: "Default",
    observedAt: ago(200),
    age: durationFromMs(200),
    attribution: Attribution.AVAILABLE,
  },
  // A name that tries to play with the terminal, and a card that tells nothing.
  {
    uuid: b,
    index: 1,
    name: "Card\u001b[31m \u202ered",
    health: GpuHealth.LOST,
    healthMessage: "It has not answered for 12 s.",
  },
];

const accounts = [
  {
    uuid: a,
    index: 0,
    name: "NVIDIA RTX 4090",
    totalMb: 24564,
    capacityMb: 23726,
    usedMb: 14200,
    freeMb: 10018,
    foreignMb: 8200,
    outstandingMb: 2000,
    claimedMb: 8000,
    availableMb: 7526,
    observedAt: ago(200),
    leaseIds: ["lease-1", "lease-2"],
    attributed: true,
  },
  {
    uuid: b,
    index: 1,
    name: "Card",
    blocked: "It has not answered for 12 s.",
    blockedCode: ReasonCode.GPU_UNHEALTHY,
    attributed: false,
  },
];

const host = {
  totalMb: 64000,
  capacityMb: 62720,
  freeMb: 40000,
  outstandingMb: 1000,
  claimedMb: 9000,
  availableMb: 37720,
  observedAt: ago(300),
};

const leases = [
  {
    id: "lease-1",
    token: 41n,
    workload: {
      name: "train-llama",
      tenant: "vision",
      resources: { requiresGpu: true, minGpuVramMb: 8000, minSystemRamMb: 8000 },
    },
    gpus: [
      { uuid: a, index: 0, vramMb: 8000, residentMb: 6000 },
      { uuid: b, index: 1, vramMb: 8000 },
    ],
    systemRamMb: 8000,
    residentRamMb: 7000,
    grantedAt: ago(3_725_000),
    expiresAt: ahead(42_000),
    state: LeaseState.ACTIVE,
    executions: 1,
    ttl: durationFromMs(60_000),
    policy: "queue",
    pids: [4242],
  },
  {
    id: "lease-2",
    token: 42n,
    workload: { name: "prepare", tenant: "default" },
    systemRamMb: 1000,
    grantedAt: ago(192_000),
    expiresAt: ahead(18_000),
    state: LeaseState.IDLE,
    policy: "permissive",
    overcommitted: true,
  },
  {
    id: "lease-3",
    token: 40n,
    workload: { name: "done", tenant: "default" },
    gpus: [{ uuid: a, index: 0, vramMb: 500 }],
    grantedAt: ago(90_000_000),
    expiresAt: ahead(1_000),
    state: LeaseState.DRAINING,
    end: LeaseEnd.RELEASED,
    policy: "safety",
  },
];

const reason = {
  code: ReasonCode.INSUFFICIENT_GPU_MEMORY,
  message: "GPU 0 has 7526 MiB available and 12000 MiB are needed; programs without a lease use 8200 MiB.",
  gpuUuid: a,
  neededMb: 12000,
  availableMb: 7526,
  foreignMb: 8200,
  outstandingMb: 2000,
  heldBy: ["lease-1"],
};

const tickets = [
  {
    id: "ticket-9",
    workload: {
      name: "fine-tune",
      tenant: "vision",
      priority: 5,
      resources: { requiresGpu: true, minGpuVramMb: 12000, minSystemRamMb: 4000, gpuCount: 2 },
    },
    position: 1,
    submittedAt: ago(75_000),
    age: durationFromMs(75_000),
    reasons: [reason],
    policy: "queue",
    connected: true,
    eta: ahead(290_000),
    expectedStart: ahead(170_000),
    estimateBasis: EstimateBasis.DECLARED,
  },
  {
    id: "ticket-10",
    requestId: "night-run",
    workload: { name: "evil\u001b]0;title\u0007\nname", tenant: "default", resources: { minSystemRamMb: 60000 } },
    position: 2,
    submittedAt: ago(5_000),
    age: durationFromMs(5_000),
    reasons: [{ code: ReasonCode.BEHIND_IN_QUEUE, message: "1 request is served first." }],
    policy: "queue",
    connected: false,
    overtaken: 3,
  },
];

const tenants = [
  { tenant: "default", waiting: 1, usage: durationFromMs(0) },
  // A tenant that tries to play with the terminal, and is limited in everything.
  { tenant: "red\u001b[31m", maxGpus: 0, maxVramMb: 0, maxWaiting: 0, usage: durationFromMs(45_000) },
  { tenant: "vision", waiting: 1, gpus: 2, vramMb: 16_000, maxGpus: 4, usage: durationFromMs(7_500_000) },
];

const plugins = [
  {
    manifest: {
      name: "whisper-local",
      version: "1.0.0",
      resources: { requiresGpu: true, minGpuVramMb: 4096, minSystemRamMb: 8192 },
      command: ["python3", "worker.py"],
      mode: PluginMode.COMMAND,
    },
    enabled: true,
    source: "/plugins/whisper.json",
    executions: 1,
    memory: {
      learnedVramMb: 5210,
      learnedRamMb: 900,
      runs: 12,
      asksFor: { requiresGpu: true, gpuCount: 1, minGpuVramMb: 5210, minSystemRamMb: 8192 },
    },
  },
  {
    manifest: {
      name: "chat",
      resources: { requiresGpu: true, minGpuVramMb: 9000, gpuCount: 2, exclusiveGpu: true },
      mode: PluginMode.WORKER,
      pin: true,
      importance: 10,
      idleTtl: durationFromMs(0),
    },
    enabled: false,
    source: "registered",
    executions: 3,
    resident: ResidentState.IN_USE,
    worker: {
      state: ResidentState.IN_USE,
      pid: 4242,
      leaseId: "lease-1",
      executions: 2,
      loadedAt: ago(3_725_000),
      loadTime: durationFromMs(41_500),
      residentVramMb: 17_400,
      residentRamMb: 2_100,
    },
    breaker: { state: BreakerState.CLOSED },
    memory: { learnedVramMb: 8700, runs: 1, atLeastRamMb: 6000, asksFor: { requiresGpu: true, gpuCount: 2 } },
  },
  {
    manifest: { name: "embed", resources: { requiresGpu: true }, mode: PluginMode.WORKER },
    enabled: true,
    source: "/plugins/embed.json",
    resident: ResidentState.IDLE,
    worker: {
      state: ResidentState.IDLE,
      pid: 4343,
      leaseId: "lease-2",
      loadedAt: ago(192_000),
      idleSince: ago(12_400),
      unloadAt: ahead(287_600),
    },
    memory: { atLeastVramMb: 6000, asksFor: { requiresGpu: true, minGpuVramMb: 6000 } },
  },
  // One whose error tries to play with the terminal.
  {
    manifest: { name: "segment", resources: { minSystemRamMb: 500 }, mode: PluginMode.WORKER },
    enabled: true,
    source: "/plugins/segment.json",
    resident: ResidentState.DEAD,
    worker: { state: ResidentState.DEAD },
    breaker: {
      state: BreakerState.OPEN,
      failures: 3,
      nextAttemptAt: ahead(125_000),
      lastError: "Its program ended with exit code 1: no such file \u001b[31m\nweights.bin",
    },
  },
  {
    manifest: { name: "translate", resources: {}, mode: PluginMode.WORKER },
    enabled: true,
    source: "/plugins/translate.json",
    breaker: {
      state: BreakerState.BACKING_OFF,
      failures: 1,
      nextAttemptAt: ahead(1_500),
      lastError: "It showed no progress for 60 s.",
    },
  },
];

const monitors = [
  { name: "sys-mon-nvidia", active: true, healthy: false, message: "GPU 1 has not answered for 12 s." },
  { name: "sys-mon-host" },
  { name: "sys-mon-simulated" },
];

function named(name: string) {
  return { plugin: plugins.find((plugin) => plugin.manifest.name === name) ?? { manifest: { name } } };
}

/** A server with a little of everything: two GPUs of which one is lost, three leases, two tickets, three tenants. */
export const fakeMachine: FakeServices = {
  scheduler: {
    listLeases: () => ({ leases }),
    listQueue: () => ({ tickets, leases, gpus: accounts, host, tenants }),
    async *watchQueue() {
      yield { tickets, leases, gpus: accounts, host, tenants };
      yield { tickets: [], leases: [], gpus: accounts, host };
    },
    getPolicy: () => ({
      policy: "safety",
      available: ["permissive", "safety", "queue"],
      discipline: "backfill",
      availableDisciplines: ["strict-fifo", "best-effort", "backfill"],
    }),
    setPolicy: (request) => ({
      policy: request.policy,
      previous: "safety",
      discipline: request.discipline || "backfill",
      previousDiscipline: "backfill",
    }),
    listSystemMonitors: () => ({ monitors }),
    registerSystemMonitor: (request) => ({ monitor: { name: request.name, active: true, healthy: true, message: "Well." } }),
    releaseLease: (request) => ({ lease: { id: request.leaseId, state: LeaseState.DRAINING } }),
    cancelTicket: () => ({}),
    explain: (request) => {
      const vram = request.workload?.resources?.minGpuVramMb ?? 0;
      if (vram <= 7526)
        return {
          fitsNow: true,
          gpus: [{ uuid: a, index: 0, vramMb: vram }],
          policy: "queue",
          largestThatFits: { requiresGpu: true, minGpuVramMb: 23726 },
        };
      return {
        fitsNow: false,
        neverFits: vram > 23726,
        position: vram > 23726 ? 0 : 3,
        reasons: [reason],
        wouldEvict: ["chat", "embed\u001b[31m"],
        evictionPlan: [
          { leaseId: "lease-1", name: "chat", gpus: [{ gpuUuid: a, vramMb: 5210 }], ramMb: 900, costMs: 12_345.6 },
          { leaseId: "lease-2", name: "embed\u001b[31m", costMs: 0 },
        ],
        policy: "queue",
        largestNow: { requiresGpu: true, minGpuVramMb: 7526 },
        largestThatFits: { requiresGpu: true, minGpuVramMb: 23726 },
      };
    },
  },
  monitor: {
    listGpus: () => ({ gpus }),
    listGpuProcesses: () => ({
      processes: [
        { pid: 4242, gpuUuid: a, usedMb: 6000, name: "python3", leaseId: "lease-1" },
        { pid: 777, gpuUuid: a, name: "Xorg" },
      ],
      attribution: Attribution.AVAILABLE,
    }),
    getSystemStats: () => ({
      stats: {
        gpuFreeMemoryMb: 10018,
        gpus,
        source: "sys-mon-nvidia",
        simulated: true,
        degraded: true,
        message: "One of 2 GPUs cannot be measured.",
      },
    }),
  },
  executor: {
    listPlugins: () => ({ plugins }),
    loadAllPlugins: () => ({
      plugins,
      errors: [
        { file: "/plugins/bad.json", field: "resources.min_gpu_vram_mb", message: "must be a whole number, not -1" },
        { file: "/plugins/worse.json", field: "", message: "is not valid JSON" },
      ],
    }),
    loadPlugin: ({ name }) => {
      const { plugin } = named(name);
      if (name !== "segment") return { plugin };
      const message = 'The worker of "segment" failed 3 times in a row alike; it is tried again in 125 s.';
      throw new Failure("WORKER_BROKEN", message, { retry_after_ms: "125000" });
    },
    releasePlugin: ({ name }) => {
      if (name === "chat")
        throw new Failure("PLUGIN_BUSY", 'The worker of "chat" works on 2 executions; try again once it is idle.');
      return named(name);
    },
    unloadPlugin: (request) => ({ plugin: { manifest: { name: request.name }, resident: ResidentState.EVICTING } }),
  },
};
