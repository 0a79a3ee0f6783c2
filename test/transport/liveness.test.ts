import { type ChildProcess, spawn } from "node:child_process";
import { once, setMaxListeners } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { create, toBinary } from "@bufbuild/protobuf";
import { afterEach, beforeEach, expect, it } from "vitest";
import { SchedulerService, WaitForResourcesRequestSchema } from "#gen/sluice/v1/scheduler_pb.js";
import { connectClient } from "../../src/transport/client.ts";
import { waitFor } from "../wait-for.ts";
import { type House, openHouse } from "./harness.ts";

let house: House;
let child: ChildProcess | undefined;

beforeEach(async () => {
  house = await openHouse({ grpc: { addresses: ["127.0.0.1:0"], keepaliveTimeMs: 300, keepaliveTimeoutMs: 300 } });
});

afterEach(async () => {
  child?.kill("SIGKILL");
  child = undefined;
  await house.close();
});

async function startWaiting() {
  child = spawn(process.execPath, [join(import.meta.dirname, "waiting-client.mjs"), house.grpcAddress], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  if (child.stdout === null) throw new Error("no stdout");
  await once(child.stdout, "data");
  return child;
}

it("a client that is frozen is noticed by keepalive, and its waiting ends", async () => {
  (await startWaiting()).kill("SIGSTOP");
  await waitFor(() => house.scheduler.seen.at(-1) === "waits: finally", "the frozen client to be noticed", 5_000);
});

it("a client that is killed is noticed at once", async () => {
  (await startWaiting()).kill("SIGKILL");
  await waitFor(() => house.scheduler.seen.at(-1) === "waits: finally", "the dead client to be noticed", 2_000);
});

it("a client that is alive and waits in silence is left alone by keepalive", async () => {
  await startWaiting();
  await delay(1_500);
  expect(house.scheduler.seen).toEqual(["waits: open"]);
});

// Guards against a ticket that waits for a client that is not there: whatever instant the client goes in, the stream is over.
it("a client that goes as soon as it has asked leaves nothing behind", async () => {
  const session = connectHttp2(`http://${house.grpcAddress}`);
  session.on("error", () => {});
  const body = toBinary(WaitForResourcesRequestSchema, create(WaitForResourcesRequestSchema, { workload: { name: "waits" } }));
  const envelope = Buffer.concat([Buffer.from([0, 0, 0, 0, body.length]), body]);
  for (let round = 0; round < 200; round++) {
    const stream = session.request({
      ":method": "POST",
      ":path": "/sluice.v1.SchedulerService/WaitForResources",
      "content-type": "application/grpc",
      te: "trailers",
    });
    stream.on("error", () => {});
    stream.end(envelope);
    const patience = round % 5;
    const hangUp = () => stream.close(8);
    if (patience === 0) hangUp();
    else if (patience === 1) setImmediate(hangUp);
    else if (patience === 2) process.nextTick(hangUp);
    else setTimeout(hangUp, patience - 2);
  }
  await waitFor(
    async () => /open_streams\{[^}]*WaitForResources"\} 0/.test(await house.metrics.scrape()),
    "every stream to be over",
  );
  await delay(200);
  const opened = house.scheduler.seen.filter((line) => line === "waits: open").length;
  await waitFor(
    () => house.scheduler.seen.filter((line) => line === "waits: finally").length === opened,
    "as many ends as beginnings",
  );
  expect(await house.metrics.scrape()).toMatch(/open_streams\{[^}]*WaitForResources"\} 0/);
  session.destroy();
});

it("hundreds of waiting streams on one connection do not keep a unary call from being served", async () => {
  const connection = connectClient(house.grpcAddress);
  const client = connection.client(SchedulerService);
  const abort = new AbortController();
  setMaxListeners(0, abort.signal);
  const waiters = Array.from({ length: 300 }, () =>
    client.waitForResources({ workload: { name: "waits" } }, { signal: abort.signal })[Symbol.asyncIterator](),
  );
  await Promise.all(waiters.map((waiter) => waiter.next()));
  expect((await client.getLease({ leaseId: "l1" }, { timeoutMs: 2_000 })).lease?.id).toBe("l1");
  abort.abort();
  await waitFor(() => house.scheduler.seen.filter((line) => line === "waits: finally").length === 300, "all to end");
  connection.close();
});
