import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import {
  createFileRegistry,
  type DescMethod,
  type DescService,
  fromBinary,
  fromJson,
  type JsonObject,
  type JsonValue,
  type Message,
  toJson,
} from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, expect, it } from "vitest";
import { errorOf } from "../transport/harness.ts";
import { type Server, startServer } from "./support/server.ts";

// A client that was generated from the first contract: its messages have none of the fields that came later, and its calls are made
// and read with nothing else.
const set = fromBinary(FileDescriptorSetSchema, readFileSync(new URL("./old-contract/first.binpb", import.meta.url)));
const registry = createFileRegistry(set);

let server: Server;

beforeAll(async () => {
  const plugins = fileURLToPath(new URL("../../examples/plugins", import.meta.url));
  server = await startServer(["--simulate", "24576", "--sample-period", "100", "--plugins", plugins]);
});

afterAll(() => server.stop());

function methodOf(service: string, name: string): { readonly desc: DescService; readonly method: DescMethod } {
  const desc = registry.getService(`sluice.v1.${service}`);
  const method = desc?.methods.find((m) => m.name === name);
  if (desc === undefined || method === undefined) throw new Error(`the first contract has no ${service}.${name}`);
  return { desc, method };
}

type Call = (request: Message, options?: object) => unknown;

/** One answer, as JSON with the names that the old client knows. */
async function call(service: string, name: string, request: JsonObject = {}): Promise<JsonObject> {
  const { desc, method } = methodOf(service, name);
  const client = server.client(desc) as unknown as Record<string, Call>;
  const answer = await client[method.localName]?.(fromJson(method.input, request, { registry }));
  return toJson(method.output, answer as Message, { registry }) as JsonObject;
}

/** The messages of a stream; it is left when nobody asks for more. */
async function* stream(service: string, name: string, request: JsonObject = {}): AsyncGenerator<JsonObject> {
  const { desc, method } = methodOf(service, name);
  const client = server.client(desc) as unknown as Record<string, Call>;
  const answers = client[method.localName]?.(fromJson(method.input, request, { registry })) as AsyncIterable<Message>;
  for await (const answer of answers) yield toJson(method.output, answer, { registry }) as JsonObject;
}

function at(value: JsonValue | undefined, ...path: (string | number)[]): JsonValue | undefined {
  return path.reduce<JsonValue | undefined>((v, key) => (v as Record<string | number, JsonValue> | undefined)?.[key], value);
}

const work = (minGpuVramMb: number, name = "old") => ({ name, resources: { requiresGpu: true, minGpuVramMb } });

it("every method of the first contract is still there", async () => {
  const missing: string[] = [];
  const services = ["SchedulerService", "MonitorService", "ExecutorService"].map((name) => methodOf(name, firstOf(name)).desc);
  for (const service of services) {
    for (const method of service.methods) {
      // Nothing in the request: it may be refused, but not for being unknown.
      if (method.methodKind !== "unary") continue;
      const error = await call(service.name, method.name).then(() => undefined, ConnectError.from);
      if (error?.code === Code.Unimplemented) missing.push(method.name);
    }
  }
  expect(missing).toEqual([]);
});

function firstOf(service: string): string {
  return registry.getService(`sluice.v1.${service}`)?.methods[0]?.name ?? "";
}

it("it is granted, renews, watches, runs, and gives back", async () => {
  const allocated = await call("SchedulerService", "Allocate", { workload: work(4_096) });
  const [leaseId, token] = [at(allocated, "lease", "id") as string, at(allocated, "lease", "token") as string];
  expect(allocated).toMatchObject({ lease: { gpus: [{ vramMb: 4_096 }], ttl: "60s", workload: { name: "old" } } });
  expect(at(allocated, "lease", "env", "CUDA_VISIBLE_DEVICES")).toBe(at(allocated, "lease", "gpus", 0, "uuid"));
  const watching = stream("SchedulerService", "WatchLease", { leaseId });
  expect((await watching.next()).value).toMatchObject({ snapshot: { lease: { id: leaseId } } });
  expect(await call("SchedulerService", "RenewLease", { leaseId, token })).toMatchObject({ lease: { id: leaseId } });
  const started = await call("SchedulerService", "StartExecution", { leaseId, token });
  expect(await call("SchedulerService", "GetLease", { leaseId })).toMatchObject({ lease: { executions: 1 } });
  await call("SchedulerService", "FinishExecution", { leaseId, executionId: started.executionId as string });
  expect(await call("SchedulerService", "ReleaseLease", { leaseId, token })).toMatchObject({ lease: { id: leaseId } });
  let last: JsonObject = {};
  for await (const message of watching) last = message;
  expect(last).toMatchObject({ ended: { why: "LEASE_END_RELEASED" } });
});

it("it waits with a place and reasons, and is granted when there is room", async () => {
  const first = await call("SchedulerService", "Allocate", { workload: work(20_000) });
  const waiting = stream("SchedulerService", "WaitForResources", { workload: work(8_000, "next"), requestId: "old-client" });
  const queued = (await waiting.next()).value;
  expect(queued).toMatchObject({
    requestId: "old-client",
    queued: { position: 1, reasons: [{ code: "REASON_CODE_INSUFFICIENT_GPU_MEMORY", neededMb: 8_000 }] },
  });
  expect(await call("SchedulerService", "ListQueue")).toMatchObject({ tickets: [{ requestId: "old-client", position: 1 }] });
  await call("SchedulerService", "ReleaseLease", { leaseId: at(first, "lease", "id") as string });
  let last: JsonObject = {};
  for await (const message of waiting) last = message;
  expect(last).toMatchObject({ granted: { lease: { workload: { name: "next" }, gpus: [{ vramMb: 8_000 }] } } });
  await call("SchedulerService", "ReleaseLease", { leaseId: at(last, "granted", "lease", "id") as string });
});

it("it is refused with reasons, and told of errors with their details", async () => {
  const refused = await call("SchedulerService", "Explain", { workload: work(30_000) });
  expect(refused).toMatchObject({ neverFits: true, largestThatFits: { minGpuVramMb: 24_084 } });
  const error = await errorOf(call("SchedulerService", "RenewLease", { leaseId: "lease-none", token: "1" }));
  expect(error.code).toBe(Code.NotFound);
  const info = registry.getMessage("google.rpc.ErrorInfo");
  if (info === undefined) throw new Error("the first contract has no ErrorInfo");
  expect(error.findDetails(info)).toMatchObject([{ reason: "LEASE_EXPIRED", domain: "sluice" }]);
});

it("it reads the machine, and runs a plugin with and without progress", async () => {
  expect(await call("MonitorService", "ListGpus")).toMatchObject({
    gpus: [{ name: "Simulated GPU", health: "GPU_HEALTH_OK" }],
  });
  const stats = stream("MonitorService", "WatchSystemStats");
  expect((await stats.next()).value).toBeDefined();
  await stats.return(undefined);
  const args = { plugin: "word-count", arguments: { text: "to be or not to be" } };
  expect(await call("ExecutorService", "ExecutePlugin", args)).toMatchObject({ result: { words: 6 } });
  let last: JsonObject = {};
  for await (const message of stream("ExecutorService", "StreamExecution", args)) last = message;
  expect(last).toMatchObject({ result: { result: { words: 6 } } });
});
