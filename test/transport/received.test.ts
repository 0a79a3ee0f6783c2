import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, it } from "vitest";
import { SchedulerService, type WaitForResourcesRequest, WaitForResourcesRequestSchema } from "#gen/sluice/v1/scheduler_pb.js";
import { createLog } from "../../src/observe/log.ts";
import { createMetrics } from "../../src/observe/metrics.ts";
import { connectClient } from "../../src/transport/client.ts";
import { openDoors } from "../../src/transport/doors.ts";
import { Health } from "../../src/transport/health.ts";
import { implement } from "../../src/transport/implement.ts";
import { Received } from "../../src/transport/received.ts";
import { waitFor } from "../wait-for.ts";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

/** One message, then nothing until the call is over; knows nothing of the request. */
function sleeper() {
  let isAsleep = false;
  let wake = () => {};
  const over = { done: true as const, value: undefined };
  const iterator = {
    [Symbol.asyncIterator]: () => iterator,
    next: async () => {
      if (!isAsleep) {
        isAsleep = true;
        return { done: false as const, value: { ticketId: "ticket-1" } };
      }
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
      return over;
    },
    return: async () => {
      wake();
      return over;
    },
  };
  return iterator;
}

// Guards the memory of ten thousand who wait: a kilobyte of each was the request, which grpc-js and a closure kept.
it("a stream that waits keeps nothing of its request, however long it lasts", async () => {
  const requests: WeakRef<WaitForResourcesRequest>[] = [];
  const health = new Health([SchedulerService.typeName]);
  const scheduler = implement(SchedulerService, {
    waitForResources(request: WaitForResourcesRequest) {
      requests.push(new WeakRef(request));
      return sleeper();
    },
  });
  const doors = await openDoors({
    services: [scheduler],
    grpc: { addresses: ["127.0.0.1:0"] },
    log: createLog({ destination: { write: () => {} } }),
    metrics: createMetrics({ processMetrics: false }),
    health,
  });
  const connection = connectClient(doors.grpcAddresses[0] ?? "");
  const abort = new AbortController();
  for (let n = 0; n < 20; n++) {
    const stream = connection.client(SchedulerService).waitForResources({ requestId: `${n}` }, { signal: abort.signal });
    await stream[Symbol.asyncIterator]().next();
  }
  expect(requests).toHaveLength(20);
  await waitFor(() => {
    collect();
    return requests.every((request) => request.deref() === undefined);
  }, "every request to be forgotten");
  abort.abort();
  connection.close();
  await doors.drain(0, async () => {});
});

it("a request is taken once", () => {
  const received = new Received(WaitForResourcesRequestSchema, new Uint8Array(0));
  expect(received.take()).toMatchObject({ $typeName: "sluice.v1.WaitForResourcesRequest" });
  expect(() => received.take()).toThrow();
});
