import type { DescService } from "@bufbuild/protobuf";
import {
  Client,
  credentials,
  type Metadata,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceDefinition,
  type StatusObject,
  type sendUnaryData,
} from "@grpc/grpc-js";
import { ExecutorService } from "#gen/sluice/v1/executor_pb.js";
import { MonitorService } from "#gen/sluice/v1/monitor_pb.js";
import { SchedulerService } from "#gen/sluice/v1/scheduler_pb.js";

/** A door that speaks as a later version of the server would. */
export interface NewerServer extends AsyncDisposable {
  /** `host:port` of the gRPC door. */
  readonly address: string;
}

/** Field 2000, which nobody knows yet, as an empty message: an event that did not exist when the client was generated. */
const unknownEvent = Buffer.from([0x82, 0x7d, 0x00]);
const same = (bytes: Buffer) => bytes;

/**
 * Hands every call on to `target` (`host:port`), byte for byte. Into streams it puts, before every message, one with an event that
 * no client knows, and to every answer it adds a field that no client knows.
 */
export async function startNewerServer(target: string): Promise<NewerServer> {
  const upstream = new Client(target, credentials.createInsecure(), { "grpc.max_receive_message_length": -1 });
  const server = new Server();
  for (const service of [SchedulerService, ExecutorService, MonitorService]) addService(server, service, upstream);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  return {
    address: `127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      server.forceShutdown();
      upstream.close();
    },
  };
}

function addService(server: Server, service: DescService, upstream: Client): void {
  const definition: Record<string, unknown> = {};
  const handlers: Record<string, unknown> = {};
  for (const method of service.methods) {
    const isStream = method.methodKind === "server_streaming";
    const path = `/${service.typeName}/${method.name}`;
    definition[method.name] = {
      path,
      requestStream: false,
      responseStream: isStream,
      requestSerialize: same,
      requestDeserialize: same,
      responseSerialize: same,
      responseDeserialize: same,
    };
    handlers[method.name] = isStream ? streamOf(path, upstream) : unaryOf(path, upstream);
  }
  server.addService(definition as ServiceDefinition, handlers as never);
}

function unaryOf(path: string, upstream: Client) {
  return (call: ServerUnaryCall<Buffer, Buffer>, answer: sendUnaryData<Buffer>) => {
    const options = { deadline: call.getDeadline() };
    const inner = upstream.makeUnaryRequest(path, same, same, call.request, call.metadata, options, (error, bytes) => {
      if (error) answer(withTrailers(error));
      else answer(null, Buffer.concat([bytes ?? Buffer.alloc(0), unknownEvent]));
    });
    call.on("cancelled", () => inner.cancel());
  };
}

function streamOf(path: string, upstream: Client) {
  return (call: ServerWritableStream<Buffer, Buffer>) => {
    const options = { deadline: call.getDeadline() };
    const inner = upstream.makeServerStreamRequest(path, same, same, call.request, call.metadata, options);
    call.on("cancelled", () => inner.cancel());
    inner.on("data", (bytes: Buffer) => {
      call.write(unknownEvent);
      call.write(bytes);
    });
    inner.on("error", () => {});
    inner.on("status", (status: StatusObject) => {
      if (status.code === 0) call.end(status.metadata);
      else call.emit("error", withTrailers(status));
    });
  };
}

/** What an error needs so that its details arrive. */
function withTrailers(status: { readonly code: number; readonly details: string; readonly metadata: Metadata }) {
  return Object.assign(new Error(status.details), { code: status.code, details: status.details, metadata: status.metadata });
}
