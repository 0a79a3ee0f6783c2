import { createServer, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { Code } from "@connectrpc/connect";
import { credentials, Client as GrpcClient, type ServiceError } from "@grpc/grpc-js";
import { afterEach, beforeEach, expect, it } from "vitest";
import { ServerReflection } from "#gen/grpc/reflection/v1/reflection_pb.js";
import { SchedulerService } from "#gen/sluice/v1/scheduler_pb.js";
import { connectClient } from "../../src/transport/client.ts";
import { waitFor } from "../wait-for.ts";
import { errorOf, type House, openHouse, readAll } from "./harness.ts";

let house: House;

beforeEach(async () => {
  house = await openHouse();
});

afterEach(() => house.close());

it("a stream begins when it is asked for, before anybody reads it, and loses nothing until somebody does", async () => {
  const connection = connectClient(house.grpcAddress);
  const stream = connection.client(SchedulerService).waitForResources({ workload: { name: "fails in the middle" } });
  await waitFor(() => house.scheduler.seen.includes("fails in the middle: finally"), "the stream to run");
  await delay(50);
  const { messages, error } = await readAll(stream);
  expect(messages).toHaveLength(1);
  expect(error?.code).toBe(Code.NotFound);
  connection.close();
});

// Guards the process: an "error" event of a stream that nobody reads would end it.
it("a stream that fails and is never read harms nobody", async () => {
  const connection = connectClient(house.grpcAddress);
  connection.client(SchedulerService).waitForResources({ workload: { name: "fails at once" } });
  await waitFor(() => house.scheduler.seen.includes("fails at once: finally"), "the stream to fail");
  await delay(50);
  expect((await connection.client(SchedulerService).getLease({ leaseId: "l" })).lease?.id).toBe("l");
  connection.close();
});

it("breaking out of a stream cancels the call", async () => {
  const connection = connectClient(house.grpcAddress);
  for await (const _ of connection.client(SchedulerService).waitForResources({ workload: { name: "waits" } })) break;
  await waitFor(() => house.scheduler.seen.at(-1) === "waits: finally", "finally");
  connection.close();
});

it("answers of more than 4 MiB are read", async () => {
  const connection = connectClient(house.grpcAddress);
  // The server's limit is on what it receives; the answer repeats the id twice over with its framing.
  const leaseId = "x".repeat(4 * 1024 * 1024 - 100);
  expect((await connection.client(SchedulerService).getLease({ leaseId })).lease?.id).toHaveLength(leaseId.length);
  connection.close();
});

it("a server that is not there is UNAVAILABLE, and one that never answers is DEADLINE_EXCEEDED when the connection has a time limit", async () => {
  const sockets: Socket[] = [];
  const silent = createServer((socket) => void sockets.push(socket.resume()));
  await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
  const bound = silent.address();
  const address = `127.0.0.1:${typeof bound === "object" ? bound?.port : ""}`;
  const waiting = connectClient(address, { timeoutMs: 200 });
  expect((await errorOf(waiting.client(SchedulerService).getLease({}))).code).toBe(Code.DeadlineExceeded);
  waiting.close();
  for (const socket of sockets) socket.destroy();
  await new Promise((resolve) => silent.close(resolve));
  const refused = connectClient(address, { timeoutMs: 5_000 });
  expect((await errorOf(refused.client(SchedulerService).getLease({}))).code).toBe(Code.Unavailable);
  refused.close();
});

// Guards long waits: timers count to 24.8 days, and a longer deadline used to mean at once.
it("a time limit longer than timers can count is no limit", async () => {
  const connection = connectClient(house.grpcAddress);
  const answer = await connection.client(SchedulerService).getLease({ leaseId: "l" }, { timeoutMs: 366 * 86_400_000 });
  expect(answer.lease?.id).toBe("l");
  connection.close();
});

it("headers of the connection go with every call", async () => {
  const connection = connectClient(house.grpcAddress, { metadata: { "x-question": "mine" } });
  let header: string | null = null;
  await connection
    .client(SchedulerService)
    .getLease({ leaseId: "headers" }, { onHeader: (headers) => (header = headers.get("x-answer")) });
  expect(header).toBe("to mine");
  connection.close();
});

it("a method that sends a stream says that it cannot be called with this client", () => {
  const connection = connectClient(house.grpcAddress);
  expect(() => connection.client(ServerReflection).serverReflectionInfo((async function* () {})())).toThrow(
    /cannot send a stream/,
  );
  connection.close();
});

it("bytes that are no request are INVALID_ARGUMENT, unary and streaming, and an unknown method is UNIMPLEMENTED", async () => {
  const grpc = new GrpcClient(house.grpcAddress, credentials.createInsecure());
  const raw = (method: string) =>
    new Promise<ServiceError | null>((resolve) => {
      const same = (bytes: Buffer) => bytes;
      grpc.makeUnaryRequest(`/sluice.v1.SchedulerService/${method}`, same, same, Buffer.from([0xff, 0xff, 0xff]), resolve);
    });
  expect(await raw("GetLease")).toMatchObject({
    code: Code.InvalidArgument,
    details: "the request could not be read as a sluice.v1.GetLeaseRequest message",
  });
  expect(await raw("WaitForResources")).toMatchObject({ code: Code.InvalidArgument });
  expect(await raw("Nope")).toMatchObject({ code: Code.Unimplemented });
  grpc.close();
});
