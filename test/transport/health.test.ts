import { Code } from "@connectrpc/connect";
import { afterEach, beforeEach, expect, it } from "vitest";
import { Health as HealthService, HealthCheckResponse_ServingStatus as ServingStatus } from "#gen/grpc/health/v1/health_pb.js";
import { type Connection, connectClient } from "../../src/transport/client.ts";
import { waitFor } from "../wait-for.ts";
import { errorOf, type House, openHouse, readAll } from "./harness.ts";

let house: House;
let connection: Connection;

beforeEach(async () => {
  house = await openHouse();
  connection = connectClient(house.grpcAddress);
});

afterEach(async () => {
  connection.close();
  await house.close();
});

const health = () => connection.client(HealthService);
const scheduler = "sluice.v1.SchedulerService";

it("the server and each of its services say how they are, and a service that is not served is NOT_FOUND", async () => {
  for (const service of ["", scheduler]) expect((await health().check({ service })).status).toBe(ServingStatus.SERVING);
  house.health.pause();
  for (const service of ["", scheduler]) expect((await health().check({ service })).status).toBe(ServingStatus.NOT_SERVING);
  expect((await errorOf(health().check({ service: "<b>" }))).rawMessage).not.toContain("<b>");
  expect((await errorOf(health().check({ service: "nope" }))).code).toBe(Code.NotFound);
});

it("List names everything at once", async () => {
  const { statuses } = await health().list({});
  expect(Object.keys(statuses).sort()).toEqual(["", scheduler]);
  expect(statuses[scheduler]?.status).toBe(ServingStatus.SERVING);
});

it("Watch tells the status at once and on every change, and a service that is not known is SERVICE_UNKNOWN", async () => {
  const watch = health().watch({ service: scheduler })[Symbol.asyncIterator]();
  expect((await watch.next()).value?.status).toBe(ServingStatus.SERVING);
  house.health.pause();
  expect((await watch.next()).value?.status).toBe(ServingStatus.NOT_SERVING);
  house.health.serve();
  expect((await watch.next()).value?.status).toBe(ServingStatus.SERVING);
  await watch.return?.();
  const unknown = health().watch({ service: "nope" })[Symbol.asyncIterator]();
  expect((await unknown.next()).value?.status).toBe(ServingStatus.SERVICE_UNKNOWN);
  await unknown.return?.();
});

it("a change back before anybody looked is not told: the newest status is, and only when it is another", async () => {
  const watch = health().watch({ service: "" })[Symbol.asyncIterator]();
  await watch.next();
  house.health.pause();
  house.health.serve();
  house.health.pause();
  expect((await watch.next()).value?.status).toBe(ServingStatus.NOT_SERVING);
  await watch.return?.();
});

it("a Watch whose client goes is over on the server too", async () => {
  const open = async () =>
    (await house.metrics.scrape()).match(/sluice_rpc_open_streams\{rpc="grpc.health.v1.Health\/Watch"\} (\d+)/)?.[1];
  const watch = health().watch({ service: "" })[Symbol.asyncIterator]();
  await watch.next();
  expect(await open()).toBe("1");
  await watch.return?.();
  await waitFor(async () => (await open()) === "0", "the stream to be over");
});

it("while the server drains, those who watch are told NOT_SERVING and then that it is over, and hold nothing up", async () => {
  const watching = readAll(health().watch({ service: "" }));
  await waitFor(
    async () => /open_streams\{rpc="grpc.health.v1.Health\/Watch"\} 1/.test(await house.metrics.scrape()),
    "the stream to open",
  );
  const started = performance.now();
  await house.doors.drain(10_000, async () => {});
  expect(performance.now() - started).toBeLessThan(2_000);
  const { messages, error } = await watching;
  expect(messages.map((message) => message.status)).toEqual([ServingStatus.SERVING, ServingStatus.NOT_SERVING]);
  expect(error?.code).toBe(Code.Unavailable);
});

it("draining is never left", async () => {
  house.health.drain();
  house.health.serve();
  expect(house.health.state).toBe("draining");
});

it("the web door answers for health too", async () => {
  const response = await fetch(`${house.webUrl}/grpc.health.v1.Health/Check`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: "{}",
  });
  expect(await response.json()).toEqual({ status: "SERVING" });
});
