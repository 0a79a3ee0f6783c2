import { create, toJson } from "@bufbuild/protobuf";
import { DurationSchema, ValueSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient, createRouterTransport, type Interceptor } from "@connectrpc/connect";
import fc from "fast-check";
import { expect, it } from "vitest";
import { BadRequestSchema, ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import {
  ExecutionFailedSchema,
  ExecutionFailure,
  ExecutionState,
  ExecutorService,
  PluginMode,
  type StreamExecutionResponse,
} from "#gen/sluice/v1/executor_pb.js";
import { ReasonCode, RefusalSchema } from "#gen/sluice/v1/types_pb.js";
import { toConnectError } from "../../src/api/errors.ts";
import { executorService } from "../../src/api/executor.ts";
import { Failure } from "../../src/engine/failure.ts";
import { waitFor } from "../wait-for.ts";
import { house, node } from "./house.ts";

/** As the doors do it: a Failure leaves the house as the error that the one table says. */
const errors: Interceptor = (next) => async (request) => {
  const known = (error: unknown) => (error instanceof Failure ? toConnectError(error) : error);
  try {
    const response = await next(request);
    if (!response.stream) return response;
    const { message } = response;
    return {
      ...response,
      message: (async function* () {
        try {
          yield* message;
        } catch (error) {
          throw known(error);
        }
      })(),
    };
  } catch (error) {
    throw known(error);
  }
};

function served(options: { allowRegister?: boolean } = {}) {
  const rooms = house();
  const service = executorService({ ...rooms, allowRegister: options.allowRegister ?? false });
  const transport = createRouterTransport((router) => void router.service(ExecutorService, service), {
    router: { interceptors: [errors] },
  });
  return { ...rooms, client: createClient(ExecutorService, transport) };
}

async function errorOf(call: Promise<unknown>) {
  const error = ConnectError.from(
    await call.then(
      () => undefined,
      (e) => e,
    ),
  );
  return {
    code: Code[error.code],
    message: error.rawMessage,
    reason: error.findDetails(ErrorInfoSchema)[0]?.reason,
    fields: error.findDetails(BadRequestSchema)[0]?.fieldViolations.map((v) => v.field) ?? [],
    refusal: error.findDetails(RefusalSchema)[0],
    failed: error.findDetails(ExecutionFailedSchema)[0],
  };
}

const manifest = {
  name: "echo",
  version: "2",
  description: "Says it again.",
  resources: { requiresGpu: true, minGpuVramMb: 512, minSystemRamMb: 64, gpuUuids: ["GPU-1"] },
  command: [node, "-p", "JSON.stringify(process.argv[1])", "{text}"],
  mode: PluginMode.COMMAND,
  maxConcurrency: 3,
  argumentsSchema: { type: "object", required: ["text"] },
  env: { A: "b" },
};

it("registers a plugin only when that was allowed, and names the flag otherwise", async () => {
  const { client } = served();
  expect(await errorOf(client.registerPlugin({ manifest }))).toMatchObject({
    code: "PermissionDenied",
    reason: "REGISTER_NOT_ALLOWED",
    message: expect.stringContaining("--allow-register"),
  });
  expect((await client.listPlugins({})).plugins).toEqual([]);
});

it("answers a registered plugin as it was given", async () => {
  const { client } = served({ allowRegister: true });
  const { plugin } = await client.registerPlugin({ manifest });
  expect(plugin).toMatchObject({ enabled: true, source: "registered", executions: 0 });
  expect(plugin?.manifest).toMatchObject({
    ...manifest,
    resources: { ...manifest.resources, gpuCount: 1, exclusiveGpu: false },
  });
  expect((await client.getPlugin({ name: "echo" })).plugin).toEqual(plugin);
  expect((await client.disablePlugin({ name: "echo" })).plugin?.enabled).toBe(false);
  expect(await errorOf(client.executePlugin({ plugin: "echo", arguments: { text: "x" } }))).toMatchObject({
    code: "FailedPrecondition",
    reason: "PLUGIN_DISABLED",
  });
  expect((await client.enablePlugin({ name: "echo" })).plugin?.enabled).toBe(true);
});

const worker = {
  name: "chat",
  resources: { requiresGpu: true, gpuCount: 1, minGpuVramMb: 512 },
  command: [node],
  mode: PluginMode.WORKER,
  pin: true,
  importance: -7,
  idleTtl: { seconds: 0n, nanos: 0 },
  minResidence: { seconds: 2n, nanos: 500_000_000 },
  serialLoad: true,
  loadStall: { seconds: 86_400n, nanos: 0 },
};

it("answers what only workers have as it was given, and nothing where nothing was given", async () => {
  const { client } = served({ allowRegister: true });
  const { pin, importance, idleTtl, minResidence, serialLoad, loadStall } = worker;
  const given = { pin, importance, idleTtl, minResidence, serialLoad, loadStall };
  expect((await client.registerPlugin({ manifest: worker })).plugin?.manifest).toMatchObject(given);
  for (const mode of [PluginMode.WORKER, PluginMode.COMMAND]) {
    const { plugin } = await client.registerPlugin({ manifest: { ...manifest, mode } });
    expect(plugin?.manifest).toMatchObject({ pin: false, importance: 0, serialLoad: false });
    const { idleTtl, minResidence, loadStall } = plugin?.manifest ?? {};
    expect([idleTtl, minResidence, loadStall]).toEqual([undefined, undefined, undefined]);
  }
});

it("names durations of a worker that are out of range as the request names them, with all else that is wrong", async () => {
  const { client } = served({ allowRegister: true });
  const wrong: [object, string[]][] = [
    [{ idleTtl: { seconds: -1n } }, ["idle_ttl"]],
    [{ idleTtl: { seconds: 366n * 86_400n, nanos: 1 } }, ["idle_ttl"]],
    [{ idleTtl: { seconds: 2n ** 63n - 1n } }, ["idle_ttl"]],
    [{ idleTtl: { nanos: -1 } }, ["idle_ttl"]],
    [{ idleTtl: { seconds: 1n, nanos: -1 } }, ["idle_ttl"]],
    [{ minResidence: { seconds: 86_401n } }, ["min_residence"]],
    [{ loadStall: { seconds: 0n } }, ["load_stall"]],
    [{ loadStall: { seconds: 86_401n }, minResidence: { seconds: -5n } }, ["min_residence", "load_stall"]],
    [{ importance: 1001 }, ["importance"]],
    [{ importance: -1001, name: "", loadStall: { seconds: -1n } }, ["name", "importance", "load_stall"]],
    [{ mode: PluginMode.COMMAND }, ["pin", "importance", "serial_load", "idle_ttl", "min_residence", "load_stall"]],
  ];
  for (const [change, fields] of wrong) {
    expect(await errorOf(client.registerPlugin({ manifest: { ...worker, ...change } }))).toMatchObject({
      code: "InvalidArgument",
      fields: fields.map((f) => `manifest.${f}`),
    });
  }
  expect((await client.listPlugins({})).plugins).toEqual([]);
});

it("keeps a part of a millisecond from becoming nothing", async () => {
  const { client } = served({ allowRegister: true });
  const { plugin } = await client.registerPlugin({ manifest: { ...worker, idleTtl: { nanos: 1 }, loadStall: { nanos: 1 } } });
  expect(plugin?.manifest).toMatchObject({ idleTtl: { nanos: 1_000_000 }, loadStall: { nanos: 1_000_000 } });
});

it("judges a registered manifest by the rules of files", async () => {
  const { client } = served({ allowRegister: true });
  const bad = {
    ...manifest,
    mode: 7 as PluginMode,
    resources: { minGpuVramMb: 512 },
    maxConcurrency: 5000,
    env: { SLUICE_X: "" },
  };
  expect(await errorOf(client.registerPlugin({ manifest: bad }))).toMatchObject({
    code: "InvalidArgument",
    fields: ["manifest.mode", "manifest.resources.min_gpu_vram_mb", "manifest.max_concurrency", "manifest.env.SLUICE_X"],
  });
  expect((await errorOf(client.registerPlugin({}))).fields).toEqual(["manifest"]);
});

it("executes a plugin and answers its result as a value", async () => {
  const { client, registry, executor } = served();
  registry.register({ name: "echo", command: [node, "-p", "process.argv[1]", "{v}"], resources: {} }, "manifest");
  for (const v of [null, true, 1.5, "ü", [1, { a: [] }], { deep: { er: null } }]) {
    const { result, executionId } = await client.executePlugin({ plugin: "echo", arguments: { v: { is: v } } });
    expect(result && toJson(ValueSchema, result)).toEqual({ is: v });
    expect(executor.get(executionId).state).toBe("succeeded");
  }
});

it("carries the refusal with NOT_ADMITTED", async () => {
  const { client, script, admission } = served();
  script("p", "0");
  const reasons = Array.from({ length: 64 }, (_, i) => ({
    code: "INSUFFICIENT_GPU_MEMORY" as const,
    message: `GPU ${i} has 100 MiB available, 4096 MiB are needed`,
    neededMb: 4096,
  }));
  admission.mode = { reasons, largestThatFits: { gpuCount: 1, vramMb: 100, ramMb: 0 } };
  const error = await errorOf(client.executePlugin({ plugin: "p" }));
  expect(error).toMatchObject({
    code: "FailedPrecondition",
    reason: "NOT_ADMITTED",
    message: expect.stringContaining("GPU 0 has 100"),
  });
  expect(error.refusal?.reasons[0]).toMatchObject({ code: ReasonCode.INSUFFICIENT_GPU_MEMORY, neededMb: 4096 });
  expect(error.refusal?.largestThatFits?.minGpuVramMb).toBe(100);
  // Errors travel in headers, and many clients take no more than 8 KiB of them.
  expect(error.refusal?.reasons.length).toBeLessThanOrEqual(8);
  expect(error.message.length).toBeLessThan(400);
});

it("carries what happened with EXECUTION_FAILED, and keeps it for GetExecution", async () => {
  const { client, script } = served();
  script("p", 'console.error("ü".repeat(5000) + " no such file"); process.exitCode = 3');
  const error = await errorOf(client.executePlugin({ plugin: "p" }));
  expect(error).toMatchObject({ code: "Aborted", reason: "EXECUTION_FAILED" });
  expect(error.failed).toMatchObject({ code: ExecutionFailure.EXIT, exitCode: 3, signal: "" });
  expect(error.failed?.stderrTail).toMatch(/^ü+ no such file\n$/);
  const [listed] = (await client.listExecutions({})).executions;
  expect(listed).toMatchObject({ plugin: "p", state: ExecutionState.FAILED, failure: { exitCode: 3, stderrTail: "" } });
  const { execution } = await client.getExecution({ executionId: listed?.id ?? "" });
  expect(Buffer.byteLength(execution?.failure?.stderrTail ?? "")).toBeGreaterThan(4_000);
  expect(execution?.finishedAt).toBeDefined();
  expect(await errorOf(client.getExecution({ executionId: "x" }))).toMatchObject({
    code: "NotFound",
    reason: "EXECUTION_NOT_FOUND",
  });
});

it("streams what happens, the lease with its environment included", async () => {
  const { client, script } = served();
  script("p", 'console.log("hi"); console.log("[1]")');
  const events: StreamExecutionResponse["event"][] = [];
  for await (const response of client.streamExecution({ plugin: "p" })) events.push(response.event);
  expect(events.map((e) => e.case)).toEqual(["admitted", "started", "log", "result"]);
  expect(events[0]).toMatchObject({ value: { lease: { env: { CUDA_VISIBLE_DEVICES: "GPU-0" }, policy: "permissive" } } });
  expect(events[2]).toMatchObject({ value: { line: "hi", stderr: false } });
});

it("ends the process when the client leaves the stream, or the call", async () => {
  const { client, script, admission, executor } = served();
  script("p", 'console.error("up"); setInterval(() => {}, 1000)', { max_concurrency: 2 });
  const cut = new AbortController();
  const reading = errorOf(
    (async () => {
      for await (const { event } of client.streamExecution({ plugin: "p" }, { signal: cut.signal }))
        if (event.case === "log") cut.abort();
    })(),
  );
  expect((await reading).code).toBe("Canceled");
  await waitFor(() => executor.unfinishedOf("p") === 0, "the streamed one has ended");
  const gone = new AbortController();
  const call = errorOf(client.executePlugin({ plugin: "p" }, { signal: gone.signal }));
  await waitFor(() => admission.attached.length === 2, "it runs");
  gone.abort();
  expect((await call).code).toBe("Canceled");
  await waitFor(() => executor.unfinishedOf("p") === 0, "the called one has ended");
  expect(admission.held).toBe(0);
});

it("answers CANCELLED to the caller of an execution that somebody cancels, and answers how it ended, twice", async () => {
  const { client, script, admission } = served();
  script("p", "setInterval(() => {}, 1000)");
  const call = errorOf(client.executePlugin({ plugin: "p" }));
  await waitFor(() => admission.attached.length === 1, "it runs");
  const executionId = (await client.listExecutions({ plugin: "p" })).executions[0]?.id ?? "";
  for (let times = 0; times < 2; times += 1) {
    const { execution } = await client.cancelExecution({ executionId });
    expect(execution).toMatchObject({ state: ExecutionState.CANCELLED, failure: { code: ExecutionFailure.CANCELLED } });
  }
  expect(await call).toMatchObject({ code: "Canceled", reason: "EXECUTION_CANCELLED" });
});

it("refuses for a plugin in command mode what only workers can do", async () => {
  const { client, script } = served();
  script("c", "0");
  script("w", "0", { mode: "worker" });
  for (const call of [client.loadPlugin, client.unloadPlugin, client.releasePlugin]) {
    expect(await errorOf(call({ name: "c" }))).toMatchObject({ code: "FailedPrecondition", reason: "NOT_A_WORKER" });
    expect(await errorOf(call({ name: "x" }))).toMatchObject({ code: "NotFound", reason: "PLUGIN_NOT_FOUND" });
  }
  expect((await client.listPlugins({})).plugins.map((p) => p.manifest?.mode)).toEqual([PluginMode.COMMAND, PluginMode.WORKER]);
});

it("names every field of a request that is out of range, and starts nothing", async () => {
  const { client, script, admission } = served();
  script("p", "0");
  const wrong = {
    plugin: "",
    policy: "x".repeat(129),
    timeout: create(DurationSchema, { seconds: 367n * 86_400n }),
    tenant: "a\nb",
    priority: 1001,
    requestId: "x".repeat(129),
  };
  const fields = ["plugin", "policy", "timeout", "tenant", "priority", "request_id"];
  expect(await errorOf(client.executePlugin(wrong))).toMatchObject({ code: "InvalidArgument", fields });
  const stream = client.streamExecution(wrong)[Symbol.asyncIterator]();
  expect(await errorOf(stream.next())).toMatchObject({ code: "InvalidArgument", fields });
  expect(admission.requests).toEqual([]);
});

it("answers INVALID_ARGUMENT that names a field, or runs, whatever the request holds", async () => {
  const { client, script, errors: internal } = served();
  script("p", "console.log(1)", { max_concurrency: 8, arguments_schema: { properties: { n: { type: "integer" } } } });
  const requests = fc.record(
    {
      policy: fc.string({ maxLength: 200 }),
      timeout: fc.record({ seconds: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), nanos: fc.integer() }),
      tenant: fc.string({ maxLength: 200 }),
      priority: fc.integer(),
      requestId: fc.string({ maxLength: 200 }),
      arguments: fc.dictionary(fc.string({ maxLength: 5 }), fc.oneof(fc.integer(), fc.string(), fc.constant(null))),
    },
    { requiredKeys: [] },
  );
  let ran = 0;
  await fc.assert(
    fc.asyncProperty(requests, async ({ timeout, ...rest }) => {
      const init = { plugin: "p", ...rest, ...(timeout === undefined ? {} : { timeout: create(DurationSchema, timeout) }) };
      try {
        await client.executePlugin(init);
        ran += 1;
      } catch (error) {
        const { code, fields } = await errorOf(Promise.reject(error));
        expect(code).toBe("InvalidArgument");
        expect(fields.length).toBeGreaterThan(0);
      }
    }),
    // With the empty request at least one is valid, whatever is drawn.
    { numRuns: 60, examples: [[{}]] },
  );
  expect(ran).toBeGreaterThan(0);
  expect(internal).toEqual([]);
});
