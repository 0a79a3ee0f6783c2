import { Code, ConnectError, createHandlerContext, type HandlerContext } from "@connectrpc/connect";
import { beforeEach, describe, expect, it } from "vitest";
import { SchedulerService } from "#gen/sluice/v1/scheduler_pb.js";
import { createLog } from "../../src/observe/log.ts";
import { createMetrics, type Metrics } from "../../src/observe/metrics.ts";
import { createGuard, type Guard } from "../../src/transport/guard.ts";
import { codeName } from "../../src/transport/guarded-stream.ts";
import { implement } from "../../src/transport/implement.ts";
import { errorOf, queued, secret } from "./harness.ts";

let guard: Guard;
let metrics: Metrics;
let log: string[];

beforeEach(() => {
  log = [];
  metrics = createMetrics({ processMetrics: false });
  guard = createGuard({ log: createLog({ destination: { write: (line) => void log.push(line) } }), metrics });
});

type Scheduler = Parameters<typeof implement<typeof SchedulerService>>[1];

function context() {
  const method = SchedulerService.method.waitForResources;
  return createHandlerContext({
    service: SchedulerService,
    method,
    protocolName: "test",
    requestMethod: "POST",
    url: "http://localhost/",
  });
}

/** The guarded stream of an implementation. */
function stream(waitForResources: NonNullable<Scheduler["waitForResources"]>, handlerContext: HandlerContext) {
  const spec = guard.wrap(implement(SchedulerService, { waitForResources })).methods.waitForResources;
  if (spec?.kind !== "server_streaming") throw new Error("not a stream");
  return spec.impl({ $typeName: "sluice.v1.WaitForResourcesRequest" }, handlerContext)[Symbol.asyncIterator]();
}

/** The error of a guarded unary call. */
function unary(getLease: NonNullable<Scheduler["getLease"]>, handlerContext: HandlerContext) {
  const spec = guard.wrap(implement(SchedulerService, { getLease })).methods.getLease;
  if (spec?.kind !== "unary") throw new Error("not unary");
  return errorOf(Promise.resolve(spec.impl({ $typeName: "sluice.v1.GetLeaseRequest" }, handlerContext)));
}

const statuses = async () =>
  [...(await metrics.scrape()).matchAll(/calls_total\{[^}]*code="([A-Z_]+)"\} (\d+)/g)].map(
    ([, code, count]) => `${code} ${count}`,
  );

describe("an abort", () => {
  it("that the client caused is CANCELLED and is not logged", async () => {
    const handlerContext = context();
    handlerContext.abort();
    const error = await unary(async () => {
      throw new DOMException("aborted", "AbortError");
    }, handlerContext);
    expect(error.code).toBe(Code.Canceled);
    expect(log).toEqual([]);
  });

  it("that the deadline caused is DEADLINE_EXCEEDED", async () => {
    const handlerContext = context();
    handlerContext.abort(new ConnectError("too late", Code.DeadlineExceeded));
    const error = await unary(async () => {
      throw handlerContext.signal.reason;
    }, handlerContext);
    expect(error.code).toBe(Code.DeadlineExceeded);
  });

  // Guards against calling a mistake of our own, such as a worker that timed out, a cancellation by the client.
  it("that nobody asked for is an internal error", async () => {
    const error = await unary(async () => {
      throw new DOMException(secret, "TimeoutError");
    }, context());
    expect(error.code).toBe(Code.Internal);
    expect(error.message).not.toContain("hunter2");
    expect(log).toHaveLength(1);
  });

  it("does not hide another error that happens after it", async () => {
    const handlerContext = context();
    handlerContext.abort();
    const error = await unary(async () => {
      throw new TypeError("x is undefined");
    }, handlerContext);
    expect(error.code).toBe(Code.Internal);
    expect(log[0]).toContain("x is undefined");
  });
});

describe("a stream", () => {
  it("whose client goes while it waits for a message is told at once, not with the next message", async () => {
    const handlerContext = context();
    let told = () => {};
    const stopped = new Promise<void>((resolve) => {
      told = resolve;
    });
    const messages: AsyncIterableIterator<ReturnType<typeof queued>> = {
      [Symbol.asyncIterator]: () => messages,
      next: () => new Promise(() => {}),
      async return() {
        told();
        return { done: true, value: undefined };
      },
    };
    void stream(() => messages, handlerContext).next();
    handlerContext.abort();
    await stopped;
    expect(await statuses()).toEqual(["CANCELLED 1"]);
  });

  it("whose client had gone before it began is told to stop", async () => {
    const handlerContext = context();
    handlerContext.abort();
    let stopped = false;
    const messages = {
      [Symbol.asyncIterator]: () => messages,
      next: async () => ({ done: true as const, value: undefined }),
      return: async () => {
        stopped = true;
        return { done: true as const, value: undefined };
      },
    };
    stream(() => messages, handlerContext);
    expect(stopped).toBe(true);
  });

  it("is counted once, however often it ends", async () => {
    const handlerContext = context();
    const iterator = stream(async function* () {
      yield queued(1);
    }, handlerContext);
    await iterator.next();
    expect((await iterator.next()).done).toBe(true);
    await iterator.return?.();
    handlerContext.abort();
    expect(await statuses()).toEqual(["OK 1"]);
    expect(await metrics.scrape()).toMatch(/open_streams\{[^}]*WaitForResources"\} 0/);
  });

  it("whose cleaning up fails after its client has gone is in the log, and harms nobody", async () => {
    const iterator = stream(async function* () {
      try {
        yield queued(1);
      } finally {
        // biome-ignore lint/correctness/noUnsafeFinally: this is the mistake that the test is about.
        throw new Error("cleaning up failed");
      }
    }, context());
    await iterator.next();
    expect(await iterator.return?.()).toEqual({ done: true, value: undefined });
    expect(log[0]).toContain("cleaning up failed");
  });
});

it("statuses are spelled as gRPC spells them", () => {
  const names = Object.values(Code).flatMap((code) => (typeof code === "number" ? [codeName(code)] : []));
  expect(names).toEqual([
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
  ]);
});
