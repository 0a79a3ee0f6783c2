import { execFile, spawnSync } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { type ClientDuplexStream, credentials, Client as GrpcClient } from "@grpc/grpc-js";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  type ServerReflectionRequest,
  ServerReflectionRequestSchema,
  type ServerReflectionResponse,
  ServerReflectionResponseSchema,
} from "#gen/grpc/reflection/v1/reflection_pb.js";
import { waitFor } from "../wait-for.ts";
import { type House, openHouse } from "./harness.ts";

let house: House;
let grpc: GrpcClient;

beforeEach(async () => {
  house = await openHouse();
  grpc = new GrpcClient(house.grpcAddress, credentials.createInsecure());
});

afterEach(async () => {
  grpc.close();
  await house.close();
});

type Ask = NonNullable<MessageInitShape<typeof ServerReflectionRequestSchema>["messageRequest"]>;
type Stream = ClientDuplexStream<ServerReflectionRequest, ServerReflectionResponse>;

/** The two versions say the same on the wire, so one codec does for both. */
function open(version: "v1" | "v1alpha"): Stream {
  return grpc.makeBidiStreamRequest(
    `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`,
    (request: ServerReflectionRequest) => Buffer.from(toBinary(ServerReflectionRequestSchema, request)),
    (bytes) => fromBinary(ServerReflectionResponseSchema, bytes),
  );
}

/** Asks everything on one stream and ends it. */
async function ask(version: "v1" | "v1alpha", ...asks: Ask[]) {
  const stream = open(version);
  for (const messageRequest of asks) stream.write(create(ServerReflectionRequestSchema, { host: "h", messageRequest }));
  stream.end();
  const responses: ServerReflectionResponse[] = [];
  for await (const response of stream) responses.push(response);
  return responses.map(({ messageResponse }) => messageResponse);
}

async function askOne(messageRequest: Ask) {
  const [response] = await ask("v1", messageRequest);
  if (response === undefined) throw new Error("no answer");
  return response;
}

function filesIn(response: ServerReflectionResponse["messageResponse"] | undefined) {
  if (response?.case !== "fileDescriptorResponse") throw new Error(`no files but ${response?.case}`);
  return response.value.fileDescriptorProto.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes));
}

describe.each(["v1", "v1alpha"] as const)("reflection %s", (version) => {
  it("lists the services, itself and health included", async () => {
    const [response] = await ask(version, { case: "listServices", value: "" });
    expect(response?.case === "listServicesResponse" && response.value.service.map((service) => service.name)).toEqual([
      "grpc.health.v1.Health",
      "grpc.reflection.v1.ServerReflection",
      "grpc.reflection.v1alpha.ServerReflection",
      "sluice.v1.SchedulerService",
    ]);
  });

  it("answers several questions on one stream, in order, and repeats them", async () => {
    const answers = await ask(
      version,
      { case: "fileByFilename", value: "sluice/v1/types.proto" },
      { case: "fileContainingSymbol", value: "nope" },
      { case: "fileContainingSymbol", value: "sluice.v1.SchedulerService" },
    );
    expect(answers.map((answer) => answer.case)).toEqual(["fileDescriptorResponse", "errorResponse", "fileDescriptorResponse"]);
    const stream = open(version);
    stream.end(
      create(ServerReflectionRequestSchema, { host: "h", messageRequest: { case: "fileContainingSymbol", value: "nope" } }),
    );
    for await (const response of stream as AsyncIterable<ServerReflectionResponse>) {
      expect(response.validHost).toBe("h");
      expect(response.originalRequest?.messageRequest).toEqual({ case: "fileContainingSymbol", value: "nope" });
    }
  });
});

it("a file comes first, with everything that it imports and their imports", async () => {
  const files = filesIn(await askOne({ case: "fileByFilename", value: "sluice/v1/scheduler.proto" }));
  expect(files[0]?.name).toBe("sluice/v1/scheduler.proto");
  const names = files.map((file) => file.name);
  expect(new Set(names).size).toBe(names.length);
  for (const file of files) for (const dependency of file.dependency) expect(names).toContain(dependency);
  expect(names).toContain("google/protobuf/timestamp.proto");
});

it.each([
  "sluice.v1.SchedulerService",
  "sluice.v1.SchedulerService.WaitForResources",
  "sluice.v1.AllocateRequest",
  ".sluice.v1.AllocateRequest",
  "sluice.v1.AllocateRequest.workload",
  "sluice.v1.AllocateResponse.outcome",
  "sluice.v1.Workload.LabelsEntry",
  "sluice.v1.Hold",
  "sluice.v1.HOLD_STREAM",
  "grpc.health.v1.HealthCheckResponse.ServingStatus",
  "grpc.health.v1.HealthCheckResponse.SERVING",
  "google.protobuf.Timestamp.seconds",
])("the symbol %s is found in a file that declares it", async (symbol) => {
  const [file] = filesIn(await askOne({ case: "fileContainingSymbol", value: symbol }));
  expect(symbol.replace(/^\./, "").startsWith(`${file?.package}.`)).toBe(true);
});

it.each<Ask>([
  { case: "fileContainingSymbol", value: "sluice.v1.Nope" },
  { case: "fileContainingSymbol", value: "sluice.v1" },
  { case: "fileContainingSymbol", value: "" },
  { case: "fileContainingSymbol", value: "__proto__" },
  { case: "fileByFilename", value: "/etc/passwd" },
  { case: "fileByFilename", value: "sluice/v1/scheduler" },
  { case: "fileContainingExtension", value: { containingType: "sluice.v1.Lease", extensionNumber: 100 } },
  { case: "fileContainingExtension", value: { containingType: "nope", extensionNumber: 1 } },
  { case: "allExtensionNumbersOfType", value: "nope" },
])("what is not there ($case $value) is NOT_FOUND in the answer, and the stream goes on", async (question) => {
  const [answer, next] = await ask("v1", question, { case: "listServices", value: "" });
  expect(answer).toMatchObject({ case: "errorResponse", value: { errorCode: Code.NotFound } });
  expect(next?.case).toBe("listServicesResponse");
});

it("a message without extensions has none, which is not an error; a request that asks nothing is one", async () => {
  expect(await askOne({ case: "allExtensionNumbersOfType", value: "sluice.v1.Lease" })).toMatchObject({
    case: "allExtensionNumbersResponse",
    value: { baseTypeName: "sluice.v1.Lease", extensionNumber: [] },
  });
  expect(await askOne({ case: undefined })).toMatchObject({
    case: "errorResponse",
    value: { errorCode: Code.InvalidArgument },
  });
});

it("a client that goes in the middle is no error, and one that stays does not hold the drain up", async () => {
  const gone = open("v1");
  gone.on("error", () => {});
  gone.write(create(ServerReflectionRequestSchema, { messageRequest: { case: "listServices", value: "" } }));
  await new Promise((resolve) => gone.once("data", resolve));
  gone.cancel();
  const openStreams = async () =>
    (await house.metrics.scrape()).match(/open_streams\{rpc="grpc.reflection.v1.ServerReflection[^}]*\} (\d+)/)?.[1];
  await waitFor(async () => (await openStreams()) === "0", "the stream to be over");
  expect(house.log).toEqual([]);

  const stays = open("v1");
  const ended = new Promise((resolve) => stays.once("status", resolve));
  stays.write(create(ServerReflectionRequestSchema, { messageRequest: { case: "listServices", value: "" } }));
  await new Promise((resolve) => stays.once("data", resolve));
  stays.resume();
  const started = performance.now();
  await house.doors.drain(10_000, async () => {});
  expect(performance.now() - started).toBeLessThan(2_000);
  expect(await ended).toMatchObject({ code: 0 });
});

describe("other tools", () => {
  const buf = join(import.meta.dirname, "../../node_modules/.bin/buf");
  const plainCurl = async (...args: string[]) =>
    (await promisify(execFile)(buf, ["curl", "--http2-prior-knowledge", ...args])).stdout;

  it.each([
    ["the gRPC door", (h: House) => `http://${h.grpcAddress}`, ["--protocol", "grpc"]],
    ["the web door", (h: House) => h.webUrl, []],
  ])("buf curl lists and calls without a proto file at %s", async (_, urlOf, protocol) => {
    const curl = (...args: string[]) => plainCurl(...protocol, ...args);
    const url = urlOf(house);
    expect(await curl("--list-services", url)).toContain("sluice.v1.SchedulerService\n");
    expect(await curl("--list-methods", url)).toContain("sluice.v1.SchedulerService/WaitForResources\n");
    const answer = await curl("-d", '{"leaseId":"l1"}', `${url}/sluice.v1.SchedulerService/GetLease`);
    expect(JSON.parse(answer)).toEqual({ lease: { id: "l1", token: "7" } });
    const waited = await curl("-d", '{"workload":{"name":"three"}}', `${url}/sluice.v1.SchedulerService/WaitForResources`);
    expect(waited.match(/"position"/g)).toHaveLength(3);
  });

  it("Python's descriptor pool takes what is answered", async (context) => {
    if (spawnSync("python3", ["-c", "import google.protobuf"]).status !== 0) {
      process.emitWarning(
        "not tested: python3 with google.protobuf is missing, so Python's reading of reflection was not looked at",
      );
      return context.skip();
    }
    const services = ["sluice.v1.SchedulerService", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"];
    const answers = await ask("v1", ...services.map((value): Ask => ({ case: "fileContainingSymbol", value })));
    const input: Buffer[] = [];
    for (const answer of answers) {
      for (const bytes of answer.case === "fileDescriptorResponse" ? answer.value.fileDescriptorProto : []) {
        const length = Buffer.alloc(4);
        length.writeUInt32BE(bytes.length);
        input.push(length, Buffer.from(bytes));
      }
    }
    const pool = spawnSync("python3", [join(import.meta.dirname, "descriptor_pool.py")], {
      input: Buffer.concat(input),
      encoding: "utf8",
    });
    expect(pool.stderr).toBe("");
    expect(pool.stdout).toContain(
      "sluice.v1.SchedulerService/WaitForResources sluice.v1.WaitForResourcesRequest sluice.v1.WaitForResourcesResponse\n",
    );
    expect(pool.stdout).toContain("presence True False\n");
  });
});
