import { type DescMessage, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { type Duration, DurationSchema, type Timestamp } from "@bufbuild/protobuf/wkt";
import {
  type Queued,
  QueuedSchema,
  type WaitForResourcesResponse,
  WaitForResourcesResponseSchema,
} from "#gen/sluice/v1/scheduler_pb.js";
import { type Reason, ReasonSchema } from "#gen/sluice/v1/types_pb.js";

const response = numbersOf(WaitForResourcesResponseSchema, ["ticketId", "requestId", "queued"]);
const queued = numbersOf(QueuedSchema, [
  "position",
  "reasons",
  "eta",
  "waited",
  "queueLength",
  "expectedStart",
  "estimateBasis",
]);
/** A Timestamp has the same. */
const time = numbersOf(DurationSchema, ["seconds", "nanos"]);

/** One for all: a new one begins small and grows two times in each message, which takes longer than all the rest. */
let writer = new BinaryWriter();

/** Thousands wait for the same reasons. */
const reasonsBytes = new WeakMap<readonly Reason[], Uint8Array>();

/**
 * The same as `toBinary`, in a fifth of the time: where a ticket stands is told to ten thousand at once, and what differs between them
 * is a few numbers.
 */
export function encodeWait(message: WaitForResourcesResponse): Uint8Array {
  const { event } = message;
  if (event.case !== "queued") return toBinary(WaitForResourcesResponseSchema, message);
  try {
    if (message.ticketId !== "") writer.tag(response.ticketId, WireType.LengthDelimited).string(message.ticketId);
    if (message.requestId !== "") writer.tag(response.requestId, WireType.LengthDelimited).string(message.requestId);
    writer.tag(response.queued, WireType.LengthDelimited).fork();
    writeQueued(event.value);
    return writer.join().finish();
  } catch {
    writer = new BinaryWriter();
    // It says better what is wrong.
    return toBinary(WaitForResourcesResponseSchema, message);
  }
}

function writeQueued(q: Queued): void {
  if (q.position !== 0) writer.tag(queued.position, WireType.Varint).uint32(q.position);
  writer.raw(encodedReasons(q.reasons));
  if (q.eta !== undefined) writeTime(queued.eta, q.eta);
  if (q.waited !== undefined) writeTime(queued.waited, q.waited);
  if (q.queueLength !== 0) writer.tag(queued.queueLength, WireType.Varint).uint32(q.queueLength);
  if (q.expectedStart !== undefined) writeTime(queued.expectedStart, q.expectedStart);
  if (q.estimateBasis !== 0) writer.tag(queued.estimateBasis, WireType.Varint).int32(q.estimateBasis);
}

function writeTime(field: number, { seconds, nanos }: Duration | Timestamp): void {
  writer.tag(field, WireType.LengthDelimited).fork();
  if (seconds !== 0n) writer.tag(time.seconds, WireType.Varint).int64(seconds);
  if (nanos !== 0) writer.tag(time.nanos, WireType.Varint).int32(nanos);
  writer.join();
}

function encodedReasons(reasons: readonly Reason[]): Uint8Array {
  let bytes = reasonsBytes.get(reasons);
  if (bytes === undefined) {
    const own = new BinaryWriter();
    for (const reason of reasons) {
      own.tag(queued.reasons, WireType.LengthDelimited).bytes(toBinary(ReasonSchema, reason));
    }
    bytes = own.finish();
    reasonsBytes.set(reasons, bytes);
  }
  return bytes;
}

function numbersOf<const Name extends string>(schema: DescMessage, names: readonly Name[]): Record<Name, number> {
  const numbers: Partial<Record<Name, number>> = {};
  for (const name of names) {
    const number = schema.field[name]?.number;
    if (number === undefined) throw new Error(`${schema.typeName} has no field ${name}`);
    numbers[name] = number;
  }
  return numbers as Record<Name, number>;
}
