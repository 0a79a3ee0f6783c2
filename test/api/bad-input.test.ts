import { create } from "@bufbuild/protobuf";
import { type Duration, DurationSchema } from "@bufbuild/protobuf/wkt";
import { describe, expect, it } from "vitest";
import { BadRequestSchema, ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { ExecutorService, PluginMode } from "#gen/sluice/v1/executor_pb.js";
import { MonitorService } from "#gen/sluice/v1/monitor_pb.js";
import { SchedulerService } from "#gen/sluice/v1/scheduler_pb.js";
import { Hold } from "#gen/sluice/v1/types_pb.js";
import { Code, errorOf, openServices } from "./house.ts";

const tenMegabytes = "x".repeat(10_000_000);
const seconds = (s: bigint | number, nanos = 0): Duration => create(DurationSchema, { seconds: BigInt(s), nanos });
const day = 86_400;

/** A value that is wrong, and the field that has to be named for it. */
type Wrong = readonly [title: string, value: unknown, field: string];

const works = { requiresGpu: true, minGpuVramMb: 1_000 };

function texts(name: string, field: string, maxBytes: number): Wrong[] {
  return [
    [`${name} of 10 MB`, tenMegabytes, field],
    [`${name} one byte too long`, "x".repeat(maxBytes + 1), field],
    [`${name} of few characters and too many bytes`, "€".repeat(Math.floor(maxBytes / 3) + 1), field],
    [`${name} with a line break`, "a\nb", field],
    [`${name} with a terminal's escape`, "\u001b[2J", field],
    [`${name} with a NUL`, "\0", field],
    [`${name} with a line separator`, "a\u2028b", field],
  ];
}

/** @param past seconds that are just too many; undefined when any positive number of seconds is allowed. */
function durations(field: string, past: number, tooShort?: Duration): Wrong[] {
  const wrong: Wrong[] = [
    ["a negative duration", seconds(-1), field],
    ["a duration that is negative by its nanoseconds", seconds(0, -1_000_000), field],
    ["a negative duration of one nanosecond", seconds(0, -1), field],
    ["a duration just too long", seconds(past), field],
    ["the longest duration that 64 bits hold", seconds(2n ** 63n - 1n), field],
    ["the most negative duration that 64 bits hold", seconds(-(2n ** 63n)), field],
    ["a duration with a second in its nanoseconds", seconds(5, 1_000_000_000), field],
    ["a duration whose parts have different signs", seconds(5, -1), field],
  ];
  if (tooShort !== undefined) wrong.push(["a duration just too short", tooShort, field]);
  return wrong;
}

const resources: readonly Wrong[] = [
  ["no resources", undefined, "resources"],
  ["more memory than any machine has", { requiresGpu: true, minGpuVramMb: 16_777_217 }, "resources.min_gpu_vram_mb"],
  ["the most memory that 32 bits hold", { requiresGpu: true, minGpuVramMb: 0xffff_ffff }, "resources.min_gpu_vram_mb"],
  ["more host memory than any machine has", { minSystemRamMb: 16_777_217 }, "resources.min_system_ram_mb"],
  ["too many GPUs", { requiresGpu: true, gpuCount: 65 }, "resources.gpu_count"],
  ["the most GPUs that 32 bits hold", { requiresGpu: true, gpuCount: 0xffff_ffff }, "resources.gpu_count"],
  ["memory of a GPU without a GPU", { minGpuVramMb: 1 }, "resources.min_gpu_vram_mb"],
  ["a number of GPUs without a GPU", { gpuCount: 1 }, "resources.gpu_count"],
  ["names of GPUs without a GPU", { gpuUuids: ["GPU-a"] }, "resources.gpu_uuids"],
  ["a GPU for oneself without a GPU", { exclusiveGpu: true }, "resources.exclusive_gpu"],
  ["an empty GPU name", { requiresGpu: true, gpuUuids: [""] }, "resources.gpu_uuids[0]"],
  ["a GPU name of 10 MB", { requiresGpu: true, gpuUuids: ["GPU-a", tenMegabytes] }, "resources.gpu_uuids[1]"],
  ["a GPU name that is none", { requiresGpu: true, gpuUuids: ["GPU-a; rm -rf /"] }, "resources.gpu_uuids[0]"],
  ["fewer GPU names than GPUs", { requiresGpu: true, gpuCount: 2, gpuUuids: ["GPU-a"] }, "resources.gpu_uuids"],
  ["one GPU named twice", { requiresGpu: true, gpuCount: 2, gpuUuids: ["GPU-a", "GPU-a"] }, "resources.gpu_uuids"],
  [
    "a million GPU names",
    { requiresGpu: true, gpuUuids: Array.from({ length: 1_000_000 }, (_, i) => `GPU-${i}`) },
    "resources.gpu_uuids",
  ],
];

const manyLabels = Object.fromEntries(Array.from({ length: 1_000_000 }, (_, i) => [`k${i}`, "v"]));
const workloads: readonly Wrong[] = [
  ["no workload", undefined, "workload"],
  ...resources.map(([t, v, f]): Wrong => [t, { resources: v }, `workload.${f}`]),
  ...texts("a name", "name", 256).map(([t, v, f]): Wrong => [t, { resources: works, name: v }, `workload.${f}`]),
  ...texts("a tenant", "tenant", 128).map(([t, v, f]): Wrong => [t, { resources: works, tenant: v }, `workload.${f}`]),
  ["too high a priority", { resources: works, priority: 1_001 }, "workload.priority"],
  ["too low a priority", { resources: works, priority: -1_001 }, "workload.priority"],
  ["the lowest priority that 32 bits hold", { resources: works, priority: -(2 ** 31) }, "workload.priority"],
  ...durations("expected_duration", 366 * day + 1, seconds(0)).map(
    ([t, v, f]): Wrong => [t, { resources: works, expectedDuration: v }, `workload.${f}`],
  ),
  ["a million labels", { resources: works, labels: manyLabels }, "workload.labels"],
  [
    "one label too many",
    { resources: works, labels: Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`k${i}`, ""])) },
    "workload.labels",
  ],
  ["a label's key of 10 MB", { resources: works, labels: { [tenMegabytes]: "v" } }, "workload.labels key"],
  ["a label's key with a line break", { resources: works, labels: { "a\nb": "v" } }, "workload.labels key"],
  ["a label of 10 MB", { resources: works, labels: { k: tenMegabytes } }, 'workload.labels["k"]'],
];

const at = (field: string, wrong: readonly Wrong[]): readonly Wrong[] =>
  wrong.map(([t, v, f]) => [t, { workload: { resources: works }, [field]: v }, f]);

const requestIds = texts("a request id", "request_id", 128);
const ttls = durations("lease_ttl", day + 1, seconds(0, 999_000_000));
const policies: readonly Wrong[] = [...texts("a policy", "policy", 128), ["a policy that is not there", "no-such", "policy"]];
const ids = (field: string, key: string): readonly Wrong[] =>
  [["nothing", "", field], ...texts("an id", field, 128)].map(([t, v, f]) => [
    t as string,
    { leaseId: "lease-x", executionId: "e", ticketId: "t", token: 1n, pid: 2, [key]: v },
    f as string,
  ]);
const noToken = (more: object = {}): Wrong => ["no token", { leaseId: "lease-x", token: 0n, ...more }, "token"];

const names = (key: string, wrong: readonly Wrong[]): readonly Wrong[] =>
  wrong.map(([t, v, f]) => [t, { plugin: "known", [key]: v }, f]);
const executions: readonly Wrong[] = [
  ["no plugin", { plugin: "" }, "plugin"],
  ...names("plugin", texts("a plugin's name", "plugin", 128)),
  ...names("policy", policies),
  ...names("tenant", texts("a tenant", "tenant", 128)),
  ...names("requestId", requestIds),
  ...names("timeout", durations("timeout", 366 * day + 1)),
  ...names("priority", [
    ["too high a priority", 1_001, "priority"],
    ["too low a priority", -1_001, "priority"],
  ]),
];

const ofWorkers: readonly Wrong[] = [
  ["too high an importance", { importance: 1_001 }, "importance"],
  ["too low an importance", { importance: -1_001 }, "importance"],
  ...durations("idle_ttl", 366 * day + 1).map(([t, v, f]): Wrong => [t, { idleTtl: v }, f]),
  ...durations("min_residence", day + 1).map(([t, v, f]): Wrong => [t, { minResidence: v }, f]),
  ...durations("load_stall", day + 1, seconds(0)).map(([t, v, f]): Wrong => [t, { loadStall: v }, f]),
  ["a pin, but no worker", { mode: PluginMode.COMMAND, pin: true }, "pin"],
  ["time to be idle, but no worker", { mode: PluginMode.COMMAND, idleTtl: seconds(1) }, "idle_ttl"],
];

const manifests: readonly Wrong[] = [
  ["no manifest", undefined, "manifest"],
  ["no name", { command: ["true"], resources: {} }, "manifest.name"],
  ["a name of 10 MB", { name: tenMegabytes, command: ["true"], resources: {} }, "manifest.name"],
  ["a name that is a path", { name: "../x", command: ["true"], resources: {} }, "manifest.name"],
  ["no command", { name: "x", resources: {} }, "manifest.command"],
  ["a mode that is not known", { name: "x", command: ["true"], resources: {}, mode: 99 }, "manifest.mode"],
  [
    "too much at the same time",
    { name: "x", command: ["true"], resources: {}, maxConcurrency: 1_025 },
    "manifest.max_concurrency",
  ],
  [
    "memory of a GPU without a GPU",
    { name: "x", command: ["true"], resources: { minGpuVramMb: 5 } },
    "manifest.resources.min_gpu_vram_mb",
  ],
  ...ofWorkers.map(([title, change, field]): Wrong => {
    const worker = { name: "x", command: ["true"], resources: {}, mode: PluginMode.WORKER };
    return [title, { ...worker, ...(change as object) }, `manifest.${field}`];
  }),
];

const hold: Wrong = ["a hold that is not known", { workload: { resources: works }, hold: 99 as Hold }, "hold"];

/** Every rpc that takes anything that can be wrong. */
const table = [
  {
    rpc: SchedulerService.method.allocate,
    wrong: [
      ...workloads.map(([t, v, f]): Wrong => [t, { workload: v }, f]),
      ...at("requestId", requestIds),
      ...at("leaseTtl", ttls),
      ...at("policy", policies),
      hold,
      [
        "a lease that lives as long as a stream that is not there",
        { workload: { resources: works }, hold: Hold.STREAM },
        "hold",
      ],
    ],
  },
  {
    rpc: SchedulerService.method.waitForResources,
    wrong: [
      ...workloads.map(([t, v, f]): Wrong => [t, { workload: v }, f]),
      ...at("requestId", requestIds),
      ...at("leaseTtl", ttls),
      ...at("timeout", durations("timeout", 366 * day + 1)),
      ...at("pollInterval", durations("poll_interval", 3_601, seconds(0, 99_000_000))),
      ...at("policy", policies),
      hold,
      [
        "a lease that lives as long as the stream, on the web door",
        { workload: { resources: works }, hold: Hold.STREAM },
        "hold",
      ],
    ],
  },
  {
    rpc: SchedulerService.method.explain,
    wrong: [...workloads.map(([t, v, f]): Wrong => [t, { workload: v }, f]), ...at("policy", policies)],
  },
  {
    rpc: SchedulerService.method.renewLease,
    wrong: [
      ...ids("lease_id", "leaseId"),
      noToken(),
      ...durations("ttl", day + 1, seconds(0, 999_000_000)).map(
        ([t, v, f]): Wrong => [t, { leaseId: "x", token: 1n, ttl: v }, f],
      ),
    ],
  },
  { rpc: SchedulerService.method.releaseLease, wrong: ids("lease_id", "leaseId") },
  { rpc: SchedulerService.method.startExecution, wrong: [...ids("lease_id", "leaseId"), noToken()] },
  {
    rpc: SchedulerService.method.finishExecution,
    wrong: [...ids("lease_id", "leaseId"), ...ids("execution_id", "executionId")],
  },
  {
    rpc: SchedulerService.method.attachProcess,
    wrong: [
      ...ids("lease_id", "leaseId"),
      noToken({ pid: 2 }),
      ["no pid", { leaseId: "x", token: 1n }, "pid"],
      ["the pid of init", { leaseId: "x", token: 1n, pid: 1 }, "pid"],
      ["a pid that no system gives", { leaseId: "x", token: 1n, pid: 0xffff_ffff }, "pid"],
    ],
  },
  { rpc: SchedulerService.method.cancelTicket, wrong: ids("ticket_id", "ticketId") },
  {
    rpc: SchedulerService.method.setPolicy,
    wrong: [
      ...policies.map(([t, v, f]): Wrong => [t, { policy: v, discipline: "strict-fifo" }, f]),
      ...[...texts("a discipline", "discipline", 128), ["a discipline that is not there", "fifo", "discipline"] as const].map(
        ([t, v, f]): Wrong => [t, { policy: "safety", discipline: v }, f],
      ),
    ],
  },
  {
    rpc: SchedulerService.method.registerSystemMonitor,
    wrong: [["nothing", { name: "" }, "name"], ...texts("a name", "name", 256).map(([t, v, f]): Wrong => [t, { name: v }, f])],
  },
  {
    rpc: MonitorService.method.watchSystemStats,
    wrong: durations("interval", 3_601, seconds(0, 99_000_000)).map(([t, v, f]): Wrong => [t, { interval: v }, f]),
  },
  {
    rpc: MonitorService.method.listGpuProcesses,
    wrong: texts("a uuid", "gpu_uuid", 128).map(([t, v, f]): Wrong => [t, { gpuUuid: v }, f]),
  },
  { rpc: ExecutorService.method.executePlugin, wrong: executions },
  { rpc: ExecutorService.method.streamExecution, wrong: executions },
  { rpc: ExecutorService.method.registerPlugin, wrong: manifests.map(([t, v, f]): Wrong => [t, { manifest: v }, f]) },
] as const satisfies readonly { readonly rpc: unknown; readonly wrong: readonly Wrong[] }[];

describe.each(table)("$rpc.name", ({ rpc, wrong }) => {
  const house = openServices();
  house.registry.register({ name: "known", command: ["true"], resources: {} }, "manifest");
  const client = house.client(rpc.parent) as unknown as Record<string, (request: unknown) => Promise<unknown>>;

  it.each(wrong)(
    "refuses %s with INVALID_ARGUMENT that names the field, and nothing happens",
    async (_title, request, field) => {
      const before = house.snapshot();
      const lines = house.log.length;
      const error = await errorOf(client[rpc.localName]?.(request) ?? Promise.resolve());
      expect(error && Code[error.code]).toBe("InvalidArgument");
      expect(error?.findDetails(ErrorInfoSchema)[0]).toMatchObject({ reason: "INVALID_ARGUMENT", domain: "sluice" });
      const violations = error?.findDetails(BadRequestSchema)[0]?.fieldViolations ?? [];
      expect(violations.map((v) => v.field)).toContain(field);
      // What is wrong and what is allowed, for people, and without giving the 10 MB back.
      for (const v of violations) expect(v.description).toMatch(/must|is required|needs|only|at most/);
      expect(JSON.stringify(violations).length + (error?.rawMessage.length ?? 0)).toBeLessThan(4_096);
      expect(house.snapshot()).toBe(before);
      // A caller's mistake is the caller's to read: the log does not grow by it.
      expect(house.log.slice(lines)).toEqual([]);
    },
  );
});

it("one answer names everything that is wrong with a request", async () => {
  const house = openServices();
  const request = {
    workload: { name: "a\nb", priority: 5_000, resources: { minGpuVramMb: 1, gpuCount: 100 } },
    requestId: "x".repeat(129),
    leaseTtl: seconds(-5),
    hold: 7 as Hold,
  };
  const error = await errorOf(house.client(SchedulerService).allocate(request));
  expect(error?.findDetails(BadRequestSchema)[0]?.fieldViolations.map((v) => v.field)).toEqual([
    "workload.name",
    "workload.resources.gpu_count",
    "workload.resources.min_gpu_vram_mb",
    "workload.resources.gpu_count",
    "workload.priority",
    "request_id",
    "lease_ttl",
    "hold",
  ]);
});

it("what is just within the limits is accepted", async () => {
  const { client } = openServices();
  const scheduler = client(SchedulerService);
  const workload = {
    name: "x".repeat(256),
    tenant: "€".repeat(42),
    priority: -1_000,
    expectedDuration: seconds(366 * day),
    labels: Object.fromEntries(Array.from({ length: 64 }, (_, i) => [`${i}`.padStart(128, "k"), "v".repeat(1_024)])),
    resources: { requiresGpu: true, minGpuVramMb: 16_777_216, minSystemRamMb: 16_777_216, gpuCount: 64 },
  };
  for (const leaseTtl of [seconds(1), seconds(day)]) {
    const { outcome } = await scheduler.allocate({
      workload,
      requestId: "x".repeat(128),
      leaseTtl,
      hold: Hold.TTL,
      policy: "safety",
    });
    expect(outcome.case).toBe("refusal");
  }
  expect(
    await errorOf(scheduler.waitForResources({ workload, timeout: seconds(0), pollInterval: seconds(0, 100_000_000) })),
  ).toBe(undefined);
});

it("a request id that was used for another workload is refused, and names the field", async () => {
  const house = openServices();
  const scheduler = house.client(SchedulerService);
  await scheduler.allocate({ workload: { resources: works }, requestId: "mine" });
  const before = house.snapshot();
  const other = { workload: { resources: { ...works, minGpuVramMb: 2_000 } }, requestId: "mine" };
  const error = await errorOf(scheduler.allocate(other));
  expect(error?.findDetails(BadRequestSchema)[0]?.fieldViolations[0]?.field).toBe("request_id");
  expect(house.snapshot()).toBe(before);
});

it("ids of nobody are NOT_FOUND, however long they are, and come back shortened", async () => {
  const house = openServices();
  const scheduler = house.client(SchedulerService);
  const executor = house.client(ExecutorService);
  const before = house.snapshot();
  const calls = [
    scheduler.getLease({ leaseId: tenMegabytes }),
    scheduler.watchLease({ leaseId: tenMegabytes }),
    scheduler.cancelTicket({ ticketId: "nobody" }),
    scheduler.renewLease({ leaseId: "nobody", token: 2n ** 64n - 1n }),
    executor.getPlugin({ name: tenMegabytes }),
    executor.enablePlugin({ name: tenMegabytes }),
    executor.disablePlugin({ name: "" }),
    executor.loadPlugin({ name: tenMegabytes }),
    executor.getExecution({ executionId: tenMegabytes }),
    executor.cancelExecution({ executionId: tenMegabytes }),
    executor.executePlugin({ plugin: "nobody" }),
  ];
  for (const call of calls) {
    const error = await errorOf(call);
    expect(error && Code[error.code]).toBe("NotFound");
    expect(error?.rawMessage.length).toBeLessThan(1_000);
  }
  expect(house.snapshot()).toBe(before);
});
