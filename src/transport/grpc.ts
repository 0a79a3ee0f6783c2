import { createServer, type Socket } from "node:net";
import type { DescMethod } from "@bufbuild/protobuf";
import type { ServiceImplSpec } from "@connectrpc/connect";
import { Server, ServerCredentials, type UntypedHandleCall } from "@grpc/grpc-js";
import { definitionOf, type Encoder, handlerOf, type ToError } from "./grpc-handlers.ts";
import { type Listening, listen } from "./listen.ts";
import { resetLimit } from "./reset-limit.ts";

/** Settings of the gRPC door. */
export interface GrpcDoorOptions {
  readonly services: readonly ServiceImplSpec[];
  /** `host:port` or `unix:/path`, each; port 0 takes any free one. */
  readonly addresses: readonly string[];
  readonly toError: ToError;
  /** For streams whose messages are encoded in a way of their own; made with encoding(). */
  readonly encoders?: ReadonlyMap<DescMethod, Encoder>;
  /** Time after which a connection that says nothing is asked whether it is alive, in ms. */
  readonly keepaliveTimeMs?: number;
  /** Time that it has to answer, in ms; then its calls are cancelled. */
  readonly keepaliveTimeoutMs?: number;
}

/** A door that is open. */
export interface Door {
  /** Where it can be reached, in the order asked for, with the ports that were taken. */
  readonly addresses: readonly string[];
  /** Takes no new connections and waits for the calls that run; those that still run after `graceMs` are cut off. */
  drain(graceMs: number): Promise<void>;
}

/**
 * Requests are small. One with a field of 10 MB or a million labels is still read, so that the field that is wrong can be named; what
 * is larger is not even read.
 */
export const maxRequestBytes = 32 * 1024 * 1024;

/**
 * Opens the gRPC door.
 *
 * The number of streams on a connection has no limit here: waiters would take the places of the unary calls that end
 * their waiting. How many may wait is the scheduler's to limit.
 * @throws Failure INVALID_ARGUMENT when an address cannot be listened on.
 */
export async function openGrpcDoor(options: GrpcDoorOptions): Promise<Door> {
  const server = new Server({
    "grpc.keepalive_time_ms": options.keepaliveTimeMs ?? 10_000,
    "grpc.keepalive_timeout_ms": options.keepaliveTimeoutMs ?? 5_000,
    "grpc.max_receive_message_length": maxRequestBytes,
    // Bookkeeping for a debugging service that is not served; it costs time on every message.
    "grpc.enable_channelz": 0,
  });
  // grpc-js has no setting for it, and hands this object to http2.createServer; test/transport/cancelling.test.ts sees whether it does.
  Object.assign((server as unknown as { commonServerOptions: object }).commonServerOptions, resetLimit);
  for (const { service, methods } of options.services) {
    const definition = Object.fromEntries(service.methods.map((method) => [method.localName, definitionOf(method)]));
    const handlers = Object.fromEntries(
      Object.entries(methods).map(([name, spec]) => [
        name,
        handlerOf(spec, options.toError, options.encoders?.get(spec.method)) as UntypedHandleCall,
      ]),
    );
    server.addService(definition, handlers);
  }

  // The sockets are ours rather than grpc-js's: a Unix socket has to be private from its first instant on, and errors of
  // listening have to be told by their code.
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  const listening: Listening[] = [];
  const sockets = new Set<Socket>();
  let onEmpty = () => {};
  const accept = (socket: Socket): void => {
    sockets.add(socket);
    socket.once("close", () => {
      sockets.delete(socket);
      if (sockets.size === 0) onEmpty();
    });
    injector.injectConnection(socket);
  };
  try {
    for (const address of options.addresses) listening.push(await listen(address, "grpc", () => createServer(accept)));
  } catch (error) {
    server.forceShutdown();
    for (const one of listening) one.close();
    throw error;
  }
  return {
    addresses: listening.map((one) => one.address),
    async drain(graceMs) {
      for (const one of listening) one.close();
      let timer: NodeJS.Timeout | undefined;
      // It asks the sessions to close. From Node 24 on it answers before they have, so the sockets say when it is over.
      server.tryShutdown(() => {});
      const over = new Promise<void>((resolve) => {
        onEmpty = resolve;
        if (sockets.size === 0) resolve();
      });
      const cut = new Promise<void>((resolve) => {
        timer = setTimeout(() => {
          server.forceShutdown();
          resolve();
        }, graceMs);
      });
      await Promise.race([over, cut]);
      clearTimeout(timer);
      server.forceShutdown();
      // A session that was asked to close before only half closes its socket when it is destroyed; the client would notice
      // with its next keepalive.
      for (const socket of sockets) socket.destroy();
    },
  };
}
