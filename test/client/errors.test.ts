import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { expect, it } from "vitest";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import {
  ExecutionFailedSchema,
  ExecutionFailure,
  type StreamExecutionResponse,
  StreamExecutionResponseSchema,
} from "#gen/sluice/v1/executor_pb.js";
import { ReasonCode, RefusalSchema } from "#gen/sluice/v1/types_pb.js";
import { errorFrom } from "../../src/client/error-from.ts";
import * as names from "../../src/client/names.ts";
import { FakeScheduler } from "./fake-scheduler.ts";

const { Draining, Failed, InvalidRequest, LeaseGone, QueueFull, Refused, SluiceError, TicketCancelled, Unreachable } = names;

function failed(code: Code, reason: string, ...more: ConnectError["details"]): ConnectError {
  const error = new ConnectError("in words", code);
  error.details = [{ desc: ErrorInfoSchema, value: { reason, domain: "sluice", metadata: { limit: "1" } } }, ...more];
  return error;
}

it("an error carries what the server said: reason, metadata, fields, and when to ask again", () => {
  const error = errorFrom(
    failed(
      Code.ResourceExhausted,
      "QUEUE_FULL",
      { desc: RetryInfoSchema, value: { retryDelay: durationFromMs(5_500) } },
      {
        desc: BadRequestSchema,
        value: { fieldViolations: [{ field: "workload.priority", description: "too high" }] },
      },
    ),
  );
  expect(error).toBeInstanceOf(QueueFull);
  expect(error).toMatchObject({
    name: "QueueFull",
    message: "in words",
    code: Code.ResourceExhausted,
    reason: "QUEUE_FULL",
    metadata: { limit: "1" },
    retryAfterMs: 5_500,
    violations: [{ field: "workload.priority", description: "too high" }],
  });
});

it("the reason decides which error it is", () => {
  const kinds = {
    INVALID_ARGUMENT: InvalidRequest,
    TENANT_QUEUE_FULL: QueueFull,
    DRAINING: Draining,
    STATE_UNAVAILABLE: Draining,
    TICKET_CANCELLED: TicketCancelled,
    LEASE_EXPIRED: LeaseGone,
    STALE_TOKEN: LeaseGone,
    EXECUTION_FAILED: Failed,
  };
  for (const [reason, kind] of Object.entries(kinds)) expect(errorFrom(failed(Code.Internal, reason))).toBeInstanceOf(kind);
});

it("without details the status has to do, and nobody at the address is named with the address", () => {
  const nobody = errorFrom(
    new ConnectError(
      "No connection established. Last error: Error: connect ECONNREFUSED 127.0.0.1:1. Resolution note: ",
      Code.Unavailable,
    ),
    "127.0.0.1:1",
  );
  expect(nobody).toBeInstanceOf(Unreachable);
  expect(nobody.message).toBe("no server answers at 127.0.0.1:1 (connect ECONNREFUSED 127.0.0.1:1)");
  const told = new ConnectError("wrong", Code.InvalidArgument);
  told.isWireError = true;
  expect(errorFrom(told)).toBeInstanceOf(InvalidRequest);
  expect(errorFrom(new ConnectError("broken", Code.Internal)).constructor).toBe(SluiceError);
});

it("a line that breaks under fetch, or a stream that stops without its end, is a server that does not answer", () => {
  expect(errorFrom(ConnectError.from(new TypeError("Failed to fetch"), Code.Internal))).toBeInstanceOf(Unreachable);
  expect(errorFrom(new ConnectError("missing EndStreamResponse", Code.InvalidArgument))).toBeInstanceOf(Unreachable);
});

it("an execution that is not admitted is a refusal with its reasons, and what is one of ours already stays itself", () => {
  const refusal = create(RefusalSchema, { reasons: [{ code: ReasonCode.INSUFFICIENT_GPU_MEMORY, message: "full" }] });
  const error = errorFrom(failed(Code.FailedPrecondition, "NOT_ADMITTED", { desc: RefusalSchema, value: refusal }));
  expect(error).toBeInstanceOf(Refused);
  expect(error).toMatchObject({ message: "in words", reasons: [{ message: "full" }] });
  expect(errorFrom(error)).toBe(error);
});

it("every error that is exported is a SluiceError that is called as it is", () => {
  const errors = Object.entries(names).filter(([, value]) => value.prototype instanceof Error);
  expect(errors.length).toBeGreaterThanOrEqual(12);
  for (const [name, kind] of errors) {
    const error = Reflect.construct(kind, ["m", undefined, []]) as Error;
    expect(error).toBeInstanceOf(SluiceError);
    expect(error.name).toBe(name);
  }
});

function events(...all: StreamExecutionResponse["event"][]) {
  return {
    async *streamExecution() {
      for (const event of all) yield Object.assign(create(StreamExecutionResponseSchema), { event });
    },
  };
}
const failure = create(ExecutionFailedSchema, { code: ExecutionFailure.PLUGIN_ERROR, message: "the page is torn" });

it("a plugin's failure is Failed with what is known of it, and an execution without an end is one too", async () => {
  const { client } = new FakeScheduler().client({}, events({ case: "failed", value: failure }));
  await expect(client.execute("reader")).rejects.toMatchObject({
    name: "Failed",
    message: "the page is torn",
    failure: { code: ExecutionFailure.PLUGIN_ERROR },
  });
  const silent = new FakeScheduler().client({}, events()).client;
  await expect(silent.execute("reader")).rejects.toThrow("ended the execution without an answer");
});

it("what onEvent throws comes out as it is", async () => {
  const { client } = new FakeScheduler().client({}, events({ case: "failed", value: failure }));
  const onEvent = () => {
    throw new RangeError("mine");
  };
  await expect(client.execute("reader", {}, { onEvent })).rejects.toThrow(RangeError);
});
