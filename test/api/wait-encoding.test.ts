import { create, type MessageShape, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Queued, QueuedSchema, WaitForResourcesResponseSchema } from "#gen/sluice/v1/scheduler_pb.js";
import { encodeWait } from "../../src/api/wait-encoding.ts";
import { anyMessage } from "./messages.ts";

type Response = MessageShape<typeof WaitForResourcesResponseSchema>;

const schema = WaitForResourcesResponseSchema;
const respond = (value: Queued, ticketId = "ticket-1"): Response =>
  create(schema, { ticketId, event: { case: "queued", value } });

describe("a message of a wait", () => {
  // Goes by the schema: a field that is added to it and forgotten here fails.
  it("is the same bytes as toBinary makes of it, whatever it says", () => {
    const anyQueued = fc.tuple(anyMessage(QueuedSchema), fc.string()).map(([value, id]) => respond(value as Queued, id));
    fc.assert(
      fc.property(fc.oneof({ weight: 3, arbitrary: anyQueued }, anyMessage(schema)), (message) => {
        expect(Buffer.from(encodeWait(message as Response))).toEqual(Buffer.from(toBinary(schema, message as Response)));
      }),
      { numRuns: 2_000 },
    );
  });

  it("does not change when the next one is made", () => {
    const first = encodeWait(respond(create(QueuedSchema, { position: 1 })));
    const copy = Buffer.from(first);
    encodeWait(respond(create(QueuedSchema, { position: 2, reasons: [{ message: "x".repeat(5_000) }] })));
    expect(Buffer.from(first)).toEqual(copy);
  });

  it("that cannot be encoded fails as it does in toBinary, and those after it are whole", () => {
    const wrong = respond(create(QueuedSchema, { position: -1 }));
    const why = (encode: () => unknown) => {
      try {
        encode();
      } catch (error) {
        return error instanceof Error ? error.message : "";
      }
      return undefined;
    };
    expect(why(() => encodeWait(wrong))).toBe(why(() => toBinary(schema, wrong)));
    expect(why(() => encodeWait(wrong))).toMatch(/position/);
    const right = respond(create(QueuedSchema, { position: 1 }));
    expect(Buffer.from(encodeWait(right))).toEqual(Buffer.from(toBinary(schema, right)));
  });
});
