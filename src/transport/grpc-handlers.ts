import {
  create,
  type DescMessage,
  type DescMethod,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import type { ConnectError, MethodImplSpec } from "@connectrpc/connect";
import type {
  handleBidiStreamingCall,
  handleServerStreamingCall,
  handleUnaryCall,
  MethodDefinition,
  ServerDuplexStream,
  ServerWritableStream,
} from "@grpc/grpc-js";
import { GrpcContext } from "./grpc-context.ts";
import { bufferOf } from "./headers.ts";
import { Received } from "./received.ts";
import { statusFromError } from "./status.ts";

/** Says what a caller is told about something that was thrown. */
export type ToError = (thrown: unknown, rpc: string) => ConnectError;

/** Encodes the answers of a method, to the same bytes as `toBinary` or as good ones. */
export type Encoder = (message: MessageShape<DescMessage>) => Uint8Array;

/** Has the answers of one method encoded in its own way; for the `encoders` of a door. */
export function encoding<M extends DescMethod>(
  method: M,
  encode: (message: MessageShape<M["output"]>) => Uint8Array,
): readonly [DescMethod, Encoder] {
  return [method, (message) => encode(message as MessageShape<M["output"]>)];
}

/** How many messages of a stream may be on their way before the next one is asked for. */
const messagesAhead = 2;

/**
 * What grpc-js needs to know about a method. Answers are encoded by the handlers below, where an error can still be
 * told and logged like any other.
 */
export function definitionOf(method: DescMethod): MethodDefinition<Received, Buffer> {
  return {
    path: `/${method.parent.typeName}/${method.name}`,
    requestStream: method.methodKind === "client_streaming" || method.methodKind === "bidi_streaming",
    responseStream: method.methodKind === "server_streaming" || method.methodKind === "bidi_streaming",
    requestDeserialize: (bytes) => new Received(method.input, bytes),
    responseSerialize: (bytes) => bytes,
    // The server never uses these two.
    requestSerialize: () => Buffer.alloc(0),
    responseDeserialize: (bytes) => bytes,
  };
}

/**
 * The handler that grpc-js calls for a method.
 * @param encoder for messages of a stream; absent: `toBinary`.
 */
export function handlerOf(
  spec: MethodImplSpec,
  toError: ToError,
  encoder?: Encoder,
): handleUnaryCall<Received, Buffer> | handleServerStreamingCall<Received, Buffer> | handleBidiStreamingCall<Received, Buffer> {
  const { method } = spec;
  const rpc = `${method.parent.typeName}/${method.name}`;
  const failed = (thrown: unknown) => toError(thrown, rpc);
  switch (spec.kind) {
    case "unary":
      return unary(spec, failed);
    case "server_streaming":
      return (call: ServerWritableStream<Received, Buffer>) => {
        void respond(
          call,
          new GrpcContext(call, method),
          (context) => spec.impl(call.request.take(), context),
          failed,
          encoder,
        );
      };
    case "bidi_streaming":
      return (call: ServerDuplexStream<Received, Buffer>) => {
        void respond(call, new GrpcContext(call, method), (context) => spec.impl(requests(call), context), failed);
      };
    default:
      throw new Error(`${rpc} sends a stream and is answered once, which the gRPC door does not serve`);
  }
}

function unary(
  spec: MethodImplSpec & { kind: "unary" },
  toError: (thrown: unknown) => ConnectError,
): handleUnaryCall<Received, Buffer> {
  return async (call, callback) => {
    let bytes: Buffer;
    const context = new GrpcContext(call, spec.method);
    try {
      bytes = encode(spec.method, await spec.impl(call.request.take(), context));
      context.answered();
      context.sendHeader();
    } catch (thrown) {
      callback(statusFromError(toError(thrown)));
      return;
    }
    callback(null, bytes, context.trailer());
  };
}

/**
 * Sends the messages of a stream, each as soon as it is there, and asks for the next one only while few are on their way:
 * a slow reader so holds the implementation back, and is told the newest state when it can read again.
 */
async function respond(
  call: ServerWritableStream<Received, Buffer> | ServerDuplexStream<Received, Buffer>,
  context: GrpcContext,
  open: (context: GrpcContext) => AsyncIterable<MessageInitShape<DescMessage>>,
  toError: (thrown: unknown) => ConnectError,
  encoder?: Encoder,
): Promise<void> {
  let gone = call.cancelled;
  let onTheirWay = 0;
  let wake: (() => void) | undefined;
  let responses: AsyncIterator<MessageInitShape<DescMessage>> | undefined;
  const flushed = () => {
    onTheirWay--;
    wake?.();
  };
  // Said once; `once` would keep five more objects for each who waits.
  call.on("cancelled", () => {
    gone = true;
    wake?.();
    // Without this an implementation that waits for something other than its signal would learn of it with its next message.
    responses?.return?.().then(undefined, toError);
  });
  try {
    responses = open(context)[Symbol.asyncIterator]();
    while (!gone) {
      const result = await responses.next();
      if (gone || result.done === true) break;
      context.sendHeader();
      onTheirWay++;
      call.write(encode(context.method, result.value, encoder), flushed);
      while (onTheirWay >= messagesAhead && !gone) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
    if (gone) await responses.return?.();
    else call.end(context.trailer());
  } catch (thrown) {
    const error = toError(thrown);
    if (!gone) call.emit("error", statusFromError(error));
  }
}

function encode(method: DescMethod, init: MessageInitShape<DescMessage>, encoder?: Encoder): Buffer {
  const message = create(method.output, init);
  return bufferOf(encoder === undefined ? toBinary(method.output, message) : encoder(message));
}

// biome-ignore lint/suspicious/noExplicitAny: as in Received.
async function* requests(call: ServerDuplexStream<Received, Buffer>): AsyncGenerator<any> {
  try {
    // Destroying the call when nobody reads on would also cut the answers off.
    for await (const request of call.iterator({ destroyOnReturn: false })) yield request.take();
  } catch (thrown) {
    // grpc-js destroys the stream of a client that has gone: for whoever reads, its requests are over.
    if (!call.cancelled) throw thrown;
  }
}
