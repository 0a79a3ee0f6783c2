import { create, type DescMethod, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError, type HandlerContext, type ServiceImpl } from "@connectrpc/connect";
import {
  type MethodDefinition,
  Server,
  ServerCredentials,
  type ServerWritableStream,
  type ServiceDefinition,
  type sendUnaryData,
} from "@grpc/grpc-js";
import { ExecutorService } from "#gen/sluice/v1/executor_pb.js";
import { MonitorService } from "#gen/sluice/v1/monitor_pb.js";
import { SchedulerService } from "#gen/sluice/v1/scheduler_pb.js";
import { toConnectError } from "../../src/api/errors.ts";
import { Failure } from "../../src/engine/failure.ts";
import { statusFromError } from "../../src/transport/status.ts";

/** What the fake answers; a method that is left out is UNIMPLEMENTED. Handlers may throw a Failure. */
export interface FakeServices {
  readonly scheduler?: Partial<ServiceImpl<typeof SchedulerService>>;
  readonly monitor?: Partial<ServiceImpl<typeof MonitorService>>;
  readonly executor?: Partial<ServiceImpl<typeof ExecutorService>>;
}

export interface FakeServer {
  readonly address: string;
  /** Names of the rpcs that were called, in order, each with its request. */
  readonly calls: { readonly rpc: string; readonly request: unknown }[];
  close(): void;
}

type Handler = (request: unknown, context: HandlerContext) => unknown;

/** A gRPC server in this process that answers what a test tells it to. */
export async function startFakeServer(services: FakeServices): Promise<FakeServer> {
  const calls: FakeServer["calls"] = [];
  const server = new Server();
  const table = [
    [SchedulerService, services.scheduler],
    [MonitorService, services.monitor],
    [ExecutorService, services.executor],
  ] as const;
  for (const [service, impl] of table) {
    const methods = service.methods.filter((method) => impl !== undefined && method.localName in impl);
    if (methods.length === 0) continue;
    server.addService(
      Object.fromEntries(methods.map((method) => [method.name, definition(method)])) as unknown as ServiceDefinition,
      Object.fromEntries(
        methods.map((method) => {
          const handler = (impl as Record<string, Handler>)[method.localName] as Handler;
          const record = (request: unknown) => calls.push({ rpc: method.name, request });
          return [method.name, method.methodKind === "unary" ? unary(handler, record) : streaming(handler, record)];
        }),
      ),
    );
  }
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  return { address: `127.0.0.1:${port}`, calls, close: () => server.forceShutdown() };
}

function definition(method: DescMethod): MethodDefinition<never, never> {
  return {
    path: `/${method.parent.typeName}/${method.name}`,
    requestStream: false,
    responseStream: method.methodKind === "server_streaming",
    requestSerialize: (message: never) => Buffer.from(toBinary(method.input, message)),
    requestDeserialize: (bytes: Buffer) => fromBinary(method.input, bytes) as never,
    responseSerialize: (message: never) => Buffer.from(toBinary(method.output, create(method.output, message))),
    responseDeserialize: (bytes: Buffer) => fromBinary(method.output, bytes) as never,
  };
}

function unary(handler: Handler, record: (request: unknown) => void) {
  return (call: { request: unknown }, answer: sendUnaryData<unknown>) => {
    record(call.request);
    Promise.resolve()
      .then(() => handler(call.request, {} as HandlerContext))
      .then(
        (response) => answer(null, response),
        (error: unknown) => answer(statusFromError(asConnectError(error))),
      );
  };
}

function streaming(handler: Handler, record: (request: unknown) => void) {
  return async (call: ServerWritableStream<unknown, unknown>) => {
    record(call.request);
    const gone = new AbortController();
    call.on("cancelled", () => gone.abort());
    try {
      for await (const message of handler(call.request, { signal: gone.signal } as HandlerContext) as AsyncIterable<unknown>)
        call.write(message);
      call.end();
    } catch (error) {
      call.emit("error", statusFromError(asConnectError(error)));
    }
  };
}

function asConnectError(error: unknown): ConnectError {
  if (error instanceof Failure) return toConnectError(error);
  return error instanceof ConnectError ? error : new ConnectError(String(error), Code.Internal);
}
