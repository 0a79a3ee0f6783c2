import {
  create,
  type DescMessage,
  type DescMethod,
  type DescService,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { type CallOptions, type Client, Code, ConnectError } from "@connectrpc/connect";
import {
  type ClientReadableStream,
  type ClientUnaryCall,
  credentials,
  type CallOptions as GrpcCallOptions,
  Client as GrpcClient,
  type Metadata,
  type ServiceError,
  type StatusObject,
} from "@grpc/grpc-js";
import { formatAddress, isLocal, parseAddress } from "./address.ts";
import { bufferOf, headersFromMetadata, metadataFromHeaders, metadataFromRecord } from "./headers.ts";
import { errorFromStatus } from "./status.ts";

/** Settings of a connection. */
export interface ConnectOptions {
  /** How long a unary call may take when the call itself does not say, in ms. Streams have no limit but their own. */
  readonly timeoutMs?: number;
  /** Headers sent with every call. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** How long the line may be silent before the server is asked for a sign of life, in ms; it has half of that, at least 1 s, to give it. */
  readonly keepaliveMs?: number;
  /** The largest answer that is read, in bytes. */
  readonly maxReceiveBytes?: number;
  /** The longest pause between two attempts to connect, in ms. */
  readonly maxReconnectPauseMs?: number;
}

/** A connection to a server, shared by the clients of its services. Nothing is opened before the first call. */
export interface Connection {
  /**
   * The client of one service. Unary calls answer a promise, server streams an async iterable that may be read once; every
   * error is a ConnectError whose findDetails works. Breaking out of a stream, or aborting its signal, cancels the call.
   * Streams start at once, also before the first message is asked for.
   */
  client<Desc extends DescService>(service: Desc): Client<Desc>;
  /** Ends the connection; calls that run are cancelled. */
  close(): void;
}

/**
 * Makes a connection over gRPC.
 * @param address `host:port`, `[ipv6]:port` or `unix:/path`.
 * @throws Failure INVALID_ARGUMENT for an address that is none of these.
 */
export function connectClient(address: string, options: ConnectOptions = {}): Connection {
  const { keepaliveMs = 10_000, maxReceiveBytes = 16 * 1024 * 1024, maxReconnectPauseMs = 5_000 } = options;
  const parsed = parseAddress(address);
  const running = new Set<RunningCall>();
  const grpc = new GrpcClient(formatAddress(parsed), credentials.createInsecure(), {
    "grpc.keepalive_time_ms": keepaliveMs,
    "grpc.keepalive_timeout_ms": Math.max(1_000, Math.trunc(keepaliveMs / 2)),
    "grpc.max_receive_message_length": maxReceiveBytes,
    // Whoever waits in the queue should be back soon after the server is, not after two minutes.
    "grpc.initial_reconnect_backoff_ms": Math.min(1_000, maxReconnectPauseMs),
    "grpc.max_reconnect_backoff_ms": maxReconnectPauseMs,
    // One connection each: what one does to its own (HTTP/2 ends one that cancels too much) is no harm to others in the program.
    "grpc.use_local_subchannel_pool": 1,
    // Bookkeeping for a debugging service that nobody serves here; it costs time on every call.
    "grpc.enable_channelz": 0,
    // A look-up in DNS for settings that sluice does not publish would only add delay.
    "grpc.service_config_disable_resolution": 1,
    // A proxy from the environment cannot reach this machine's own loopback.
    ...(isLocal(parsed) ? { "grpc.enable_http_proxy": 0 } : {}),
  });
  return {
    client<Desc extends DescService>(service: Desc): Client<Desc> {
      const methods: Record<string, unknown> = {};
      for (const method of service.methods) methods[method.localName] = methodOf(grpc, method, options, running);
      return methods as Client<Desc>;
    },
    close: () => {
      // grpc-js only takes no new ones: what runs would go on, and keep the line.
      for (const call of running) call.cancel();
      grpc.close();
    },
  };
}

type RunningCall = ClientUnaryCall | ClientReadableStream<unknown>;

function methodOf(grpc: GrpcClient, method: DescMethod, defaults: ConnectOptions, running: Set<RunningCall>) {
  const path = `/${method.parent.typeName}/${method.name}`;
  const serialize = (message: MessageShape<DescMessage>) => bufferOf(toBinary(method.input, message));
  const deserialize = (bytes: Buffer) => fromBinary(method.output, bytes);
  const metadata = (call: CallOptions) => metadataFromHeaders(call.headers, metadataFromRecord(defaults.metadata ?? {}));

  switch (method.methodKind) {
    case "unary":
      return (init: MessageInitShape<DescMessage>, call: CallOptions = {}) =>
        new Promise((resolve, reject) => {
          if (call.signal?.aborted) return reject(canceled());
          const grpcCall = grpc.makeUnaryRequest(
            path,
            serialize,
            deserialize,
            create(method.input, init),
            metadata(call),
            deadline(call.timeoutMs ?? defaults.timeoutMs),
            (error, response) => {
              call.signal?.removeEventListener("abort", cancel);
              if (error) reject(errorFromStatus(error));
              else resolve(response);
            },
          );
          const cancel = () => grpcCall.cancel();
          call.signal?.addEventListener("abort", cancel);
          report(grpcCall, call, running);
        });
    case "server_streaming":
      return (init: MessageInitShape<DescMessage>, call: CallOptions = {}) => {
        if (call.signal?.aborted) throw canceled();
        const stream = grpc.makeServerStreamRequest(
          path,
          serialize,
          deserialize,
          create(method.input, init),
          metadata(call),
          deadline(call.timeoutMs),
        );
        report(stream, call, running);
        return messages(stream, call.signal);
      };
    default:
      return () => {
        throw new ConnectError(`this client cannot send a stream, as ${path} needs`, Code.Unimplemented);
      };
  }
}

/** Reads a stream to its end. What arrived before an error is given out before the error is. */
function messages<T>(stream: ClientReadableStream<T>, signal: AbortSignal | undefined): AsyncIterable<T> {
  let failure: ServiceError | undefined;
  let over = false;
  let wake: () => void = () => {};
  const cancel = () => stream.cancel();
  signal?.addEventListener("abort", cancel);
  // Listening from the start, not from the first read: the call may fail before anybody reads, and an "error" event that
  // nobody listens to ends the process.
  stream.on("error", (error: ServiceError) => {
    failure = error;
  });
  stream.on("readable", () => wake());
  stream.on("status", () => {
    over = true;
    signal?.removeEventListener("abort", cancel);
    wake();
  });

  async function* read(): AsyncGenerator<T> {
    try {
      for (;;) {
        const message: T | null = stream.read();
        if (message !== null) yield message;
        else if (!over) {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        } else if (failure) throw errorFromStatus(failure);
        else return;
      }
    } finally {
      if (!over) stream.cancel();
    }
  }
  return read();
}

function report(call: RunningCall, options: CallOptions, running: Set<RunningCall>): void {
  const { onHeader, onTrailer } = options;
  running.add(call);
  call.once("status", () => running.delete(call));
  if (onHeader) call.once("metadata", (metadata: Metadata) => onHeader(headersFromMetadata(metadata)));
  if (onTrailer) call.once("status", (status: StatusObject) => onTrailer(headersFromMetadata(status.metadata)));
}

function deadline(timeoutMs: number | undefined): GrpcCallOptions {
  // Timers cannot count further than this (24.8 days); they would fire at once.
  const timerLimitMs = 2 ** 31 - 1;
  return timeoutMs === undefined || timeoutMs <= 0 || timeoutMs > timerLimitMs ? {} : { deadline: Date.now() + timeoutMs };
}

function canceled(): ConnectError {
  return new ConnectError("the call was cancelled before it started", Code.Canceled);
}
