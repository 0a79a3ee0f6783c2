import { setTimeout as delay } from "node:timers/promises";
import { Code } from "@connectrpc/connect";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { maxRequestBytes } from "../../src/transport/grpc.ts";
import { waitFor } from "../wait-for.ts";
import { errorOf, type House, openHouse, readAll, type SchedulerClient, secret, ways } from "./harness.ts";

describe.each(ways)("over $name", (way) => {
  let house: House;
  let client: SchedulerClient;
  let close: () => void;

  beforeEach(async () => {
    house = await openHouse();
    ({ client, close } = way.open(house));
  });

  afterEach(async () => {
    close();
    await house.close();
  });

  const wait = (name: string, options: { signal?: AbortSignal; timeoutMs?: number } = {}) =>
    client.waitForResources({ workload: { name } }, options);

  it("a unary call is answered", async () => {
    expect((await client.getLease({ leaseId: "l1" })).lease).toMatchObject({ id: "l1", token: 7n });
  });

  it("headers go both ways", async () => {
    let header: string | null = null;
    let trailer: string | null = null;
    await client.getLease(
      { leaseId: "headers" },
      {
        headers: { "x-question": "q" },
        onHeader: (headers) => {
          header = headers.get("x-answer");
        },
        onTrailer: (trailers) => {
          trailer = trailers.get("x-after");
        },
      },
    );
    expect(header).toBe("to q");
    expect(trailer).toBe("all");
  });

  it("a failure arrives with its status, its message and its details", async () => {
    const error = await errorOf(client.getLease({ leaseId: "gone" }));
    expect(error.code).toBe(Code.NotFound);
    expect(error.rawMessage).toBe("the lease has ended; ask again");
    expect(error.findDetails(ErrorInfoSchema)).toMatchObject([
      { reason: "LEASE_EXPIRED", domain: "sluice", metadata: { lease_id: "gone" } },
    ]);
  });

  it("bad input names the field", async () => {
    const error = await errorOf(client.getLease({ leaseId: "bad" }));
    expect(error.code).toBe(Code.InvalidArgument);
    expect(error.findDetails(BadRequestSchema)[0]?.fieldViolations).toMatchObject([
      { field: "lease_id", description: "must not be bad" },
    ]);
  });

  it("a message that no header can hold still arrives as an error", async () => {
    const error = await errorOf(client.getLease({ leaseId: "half a surrogate" }));
    expect(error.code).toBe(Code.InvalidArgument);
    expect(error.rawMessage).toContain("cut in the middle");
  });

  it("a method that is not implemented is UNIMPLEMENTED, unary and streaming", async () => {
    expect((await errorOf(client.listQueue({}))).code).toBe(Code.Unimplemented);
    expect((await readAll(client.watchQueue({}))).error?.code).toBe(Code.Unimplemented);
  });

  it("a stream is told message by message and then ends", async () => {
    const { messages, error } = await readAll(wait("three"));
    expect(messages.map((message) => message.event.case === "queued" && message.event.value.position)).toEqual([3, 2, 1]);
    expect(error).toBeUndefined();
  });

  it("the first message comes at once, while the stream goes on", async () => {
    const iterator = wait("waits")[Symbol.asyncIterator]();
    expect((await iterator.next()).value).toMatchObject({ ticketId: "t" });
    expect(house.scheduler.seen).toEqual(["waits: open"]);
    await iterator.return?.();
  });

  it("a stream that fails before its first message says why", async () => {
    const { messages, error } = await readAll(wait("fails at once"));
    expect(messages).toEqual([]);
    expect(error?.code).toBe(Code.ResourceExhausted);
    expect(error?.findDetails(RetryInfoSchema)[0]?.retryDelay?.seconds).toBe(5n);
  });

  it("a stream that fails in the middle gives what it had, and then says why", async () => {
    const { messages, error } = await readAll(wait("fails in the middle"));
    expect(messages).toHaveLength(1);
    expect(error?.findDetails(ErrorInfoSchema)).toMatchObject([{ reason: "LEASE_EXPIRED" }]);
  });

  it("a client that aborts a waiting stream ends it: its signal fires and its finally runs", async () => {
    const abort = new AbortController();
    const reading = readAll(wait("waits", { signal: abort.signal }));
    await waitFor(() => house.scheduler.seen.length > 0, "the stream to open");
    abort.abort();
    expect((await reading).error?.code).toBe(Code.Canceled);
    await waitFor(() => house.scheduler.seen.at(-1) === "waits: finally", "finally");
    expect(house.scheduler.seen).toEqual(["waits: open", "waits: Canceled", "waits: finally"]);
  });

  it("a client that goes ends a stream that its slow reading holds back", async () => {
    const abort = new AbortController();
    await wait("flood", { signal: abort.signal })[Symbol.asyncIterator]().next();
    await delay(100);
    abort.abort();
    await waitFor(() => house.scheduler.seen.at(-1) === "flood: finally", "finally");
    const { asked } = house.scheduler;
    await delay(50);
    expect(house.scheduler.asked).toBe(asked);
  });

  it("a client that aborts a unary call ends it", async () => {
    const abort = new AbortController();
    const call = errorOf(client.getLease({ leaseId: "hang" }, { signal: abort.signal }));
    await delay(100);
    abort.abort();
    expect((await call).code).toBe(Code.Canceled);
    await waitFor(() => house.scheduler.seen.at(-1) === "unary: Canceled", "the signal");
  });

  it("a signal that has fired before sends nothing", async () => {
    const { error } = await readAll(
      (async function* () {
        yield* wait("three", { signal: AbortSignal.abort() });
      })(),
    );
    expect(error?.code).toBe(Code.Canceled);
    expect((await errorOf(client.getLease({ leaseId: "l" }, { signal: AbortSignal.abort() }))).code).toBe(Code.Canceled);
    expect(house.scheduler.seen).toEqual([]);
  });

  it("a deadline ends a unary call and a stream with DEADLINE_EXCEEDED, on both sides", async () => {
    const started = performance.now();
    expect((await errorOf(client.getLease({ leaseId: "hang" }, { timeoutMs: 150 }))).code).toBe(Code.DeadlineExceeded);
    const { messages, error } = await readAll(wait("waits", { timeoutMs: 150 }));
    expect(messages).toHaveLength(1);
    expect(error?.code).toBe(Code.DeadlineExceeded);
    expect(performance.now() - started).toBeLessThan(3_000);
    await waitFor(() => house.scheduler.seen.at(-1) === "waits: finally", "finally");
    // Whether the server's clock or the client's hanging up is first is a race that either may win.
    expect(house.scheduler.seen[0]).toMatch(/^unary: (DeadlineExceeded|Canceled)$/);
  });

  it("a reader that is slow holds the implementation back, so that memory is bounded, and gets on when it reads on", async () => {
    const iterator = wait("flood")[Symbol.asyncIterator]();
    await iterator.next();
    let before = -1;
    await waitFor(async () => {
      const now = house.scheduler.asked;
      const still = now === before;
      before = now;
      await delay(100);
      return still;
    }, "the implementation to be held back");
    // 60 KB each: what flow control, the sockets and the client's own buffers hold, and no more.
    expect(before).toBeLessThan(300);
    for (let read = 0; read < before + 10; read++) await iterator.next();
    expect(house.scheduler.asked).toBeGreaterThan(before);
    await iterator.return?.();
  });

  it.each(["broken", "not-an-error", "upstream", "unencodable"])(
    "an internal error (%s) tells nothing but an id, under which the log has the rest",
    async (leaseId) => {
      const error = await errorOf(client.getLease({ leaseId }));
      expect(error.code).toBe(Code.Internal);
      expect(JSON.stringify([error, error.message, error.details, [...error.metadata]])).not.toContain("hunter2");
      const id = error.findDetails(ErrorInfoSchema)[0]?.metadata.id;
      expect(error.rawMessage).toBe(`internal error, id ${id}; the server's log has more`);
      expect(house.log.filter((line) => line.id === id)).toMatchObject([
        { level: 50, rpc: "sluice.v1.SchedulerService/GetLease" },
      ]);
    },
  );

  it("an internal error in the middle of a stream tells nothing but an id", async () => {
    const { messages, error } = await readAll(wait("breaks in the middle"));
    expect(messages).toHaveLength(1);
    expect(error?.code).toBe(Code.Internal);
    expect(JSON.stringify([error, error?.message, error?.details])).not.toContain("hunter2");
    const id = error?.findDetails(ErrorInfoSchema)[0]?.metadata.id;
    expect(JSON.stringify(house.log.filter((line) => line.id === id))).toContain(secret);
  });

  it("a request over the limit is a clean error, and the next call works", async () => {
    const error = await errorOf(client.getLease({ leaseId: "x".repeat(maxRequestBytes + 1) }));
    expect(error.code).toBe(Code.ResourceExhausted);
    expect((await client.getLease({ leaseId: "l1" })).lease?.id).toBe("l1");
  });

  it("while the server drains, new calls are refused, and what is held can still be looked at and given back", async () => {
    let waitersEnd = () => {};
    const drained = house.doors.drain(
      5_000,
      () =>
        new Promise((resolve) => {
          waitersEnd = resolve;
        }),
    );
    const refusals = [
      await errorOf(client.setPolicy({ policy: "queue" })),
      (await readAll(wait("three"))).error,
      (await readAll(client.watchQueue({}))).error,
    ];
    for (const error of refusals) {
      expect(error?.code).toBe(Code.Unavailable);
      expect(error?.findDetails(ErrorInfoSchema)).toMatchObject([{ reason: "DRAINING" }]);
      expect(error?.findDetails(RetryInfoSchema)).toHaveLength(1);
    }
    expect((await client.getLease({ leaseId: "l1" })).lease?.id).toBe("l1");
    await client.releaseLease({ leaseId: "l1" });
    expect(house.scheduler.seen).toEqual([]);
    waitersEnd();
    await drained;
    expect((await errorOf(client.getLease({ leaseId: "l1" }, { timeoutMs: 1_000 }))).code).not.toBe(Code.Internal);
  });

  it("while the server drains, those who wait are told to come back, and a stream that does not end is cut when the grace is over", async () => {
    const waiter = wait("waits")[Symbol.asyncIterator]();
    await waiter.next();
    const stubborn = wait("stubborn")[Symbol.asyncIterator]();
    await stubborn.next();

    const started = performance.now();
    let drainedAfter = 0;
    const drained = house.doors
      .drain(1_000, () => house.scheduler.endWaiters())
      .then(() => {
        drainedAfter = performance.now() - started;
      });
    const told = await errorOf(waiter.next());
    expect(told.code).toBe(Code.Unavailable);
    expect(told.findDetails(ErrorInfoSchema)).toMatchObject([{ reason: "DRAINING" }]);
    expect(told.findDetails(RetryInfoSchema)[0]?.retryDelay?.seconds).toBe(1n);

    await errorOf(stubborn.next());
    await drained;
    expect(drainedAfter).toBeGreaterThan(900);
    expect(drainedAfter).toBeLessThan(4_000);
    await waitFor(() => house.scheduler.seen.includes("stubborn: finally"), "the stubborn stream's finally");
  });

  it("draining takes no longer than the waiters do", async () => {
    const waiters = Array.from({ length: 20 }, () => readAll(wait("waits")));
    await waitFor(() => house.scheduler.seen.length === 20, "the streams to open");
    const started = performance.now();
    await house.doors.drain(10_000, () => house.scheduler.endWaiters());
    expect(performance.now() - started).toBeLessThan(2_000);
    for (const { error } of await Promise.all(waiters)) expect(error?.code).toBe(Code.Unavailable);
  });

  it("calls are counted by rpc and status, and open streams are", async () => {
    await client.getLease({ leaseId: "l1" });
    await errorOf(client.getLease({ leaseId: "gone" }));
    await readAll(wait("three"));
    const abort = new AbortController();
    await wait("waits", { signal: abort.signal })[Symbol.asyncIterator]().next();
    const text = await house.metrics.scrape();
    expect(text).toContain('sluice_rpc_calls_total{rpc="sluice.v1.SchedulerService/GetLease",code="OK"} 1');
    expect(text).toContain('sluice_rpc_calls_total{rpc="sluice.v1.SchedulerService/GetLease",code="NOT_FOUND"} 1');
    expect(text).toContain('sluice_rpc_calls_total{rpc="sluice.v1.SchedulerService/WaitForResources",code="OK"} 1');
    expect(text).toContain('sluice_rpc_open_streams{rpc="sluice.v1.SchedulerService/WaitForResources"} 1');
    expect(text).toContain('sluice_rpc_duration_seconds_count{rpc="sluice.v1.SchedulerService/GetLease"} 2');
    abort.abort();
    await waitFor(
      async () =>
        (await house.metrics.scrape()).includes('rpc="sluice.v1.SchedulerService/WaitForResources",code="CANCELLED"} 1'),
      "the cancelled stream to be counted",
    );
    expect(await house.metrics.scrape()).toContain(
      'sluice_rpc_open_streams{rpc="sluice.v1.SchedulerService/WaitForResources"} 0',
    );
  });
});
