import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect as connectHttp2, constants } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Client, Code, ConnectError, createClient, type HandlerContext, type ServiceImpl } from "@connectrpc/connect";
import type { UniversalClientFn } from "@connectrpc/connect/protocol";
import { createTransport as createConnectTransport } from "@connectrpc/connect/protocol-connect";
import { createTransport as createGrpcWebTransport } from "@connectrpc/connect/protocol-grpc-web";
import { type GetLeaseRequest, SchedulerService, type WaitForResourcesRequest } from "#gen/sluice/v1/scheduler_pb.js";
import { Failure, invalidArgument } from "../../src/engine/failure.ts";
import { createLog } from "../../src/observe/log.ts";
import { createMetrics } from "../../src/observe/metrics.ts";
import { connectClient } from "../../src/transport/client.ts";
import { type Doors, type DoorsOptions, openDoors } from "../../src/transport/doors.ts";
import { Health } from "../../src/transport/health.ts";
import { implement } from "../../src/transport/implement.ts";

/** Text that no client may ever see. */
export const secret = "/etc/sluice/secret: hunter2";

/** A scheduler that does what the name in the request says, and remembers what it saw. */
export class FakeScheduler implements Partial<ServiceImpl<typeof SchedulerService>> {
  /** What happened, in order. */
  readonly seen: string[] = [];
  /** Messages that the stream "flood" was asked for. */
  asked = 0;
  readonly #draining = new AbortController();

  /** Ends the streams that wait and listen. */
  async endWaiters(): Promise<void> {
    this.#draining.abort();
  }

  async getLease(request: GetLeaseRequest, context: HandlerContext) {
    switch (request.leaseId) {
      case "gone":
        throw new Failure("LEASE_EXPIRED", "the lease has ended; ask again", { lease_id: "gone" });
      case "bad":
        throw invalidArgument({ field: "lease_id", description: "must not be bad" });
      case "broken":
        throw new Error(secret);
      case "not-an-error":
        throw secret;
      case "upstream": {
        const error = new ConnectError(secret, Code.Unavailable);
        error.isWireError = true;
        throw error;
      }
      case "unencodable":
        return { lease: { id: "x", executions: -1 } };
      case "half a surrogate":
        throw invalidArgument({ field: "lease_id", description: "cut in the middle: \ud83d" });
      case "hang":
        await this.#hang("unary", context.signal);
        throw context.signal.reason;
      case "headers":
        context.responseHeader.set("x-answer", `to ${context.requestHeader.get("x-question")}`);
        context.responseTrailer.set("x-after", "all");
        return { lease: { id: "headers" } };
      default:
        return { lease: { id: request.leaseId, token: 7n } };
    }
  }

  async releaseLease() {
    return {};
  }

  async setPolicy() {
    return {};
  }

  async *waitForResources(request: WaitForResourcesRequest, context: HandlerContext) {
    const what = request.workload?.name ?? "";
    this.seen.push(`${what}: open`);
    try {
      switch (what) {
        case "three":
          for (const position of [3, 2, 1]) yield queued(position);
          return;
        case "fails at once":
          throw new Failure("QUEUE_FULL", "the queue is full; try again in a while");
        case "breaks in the middle":
          yield queued(1);
          throw new Error(secret);
        case "fails in the middle":
          yield queued(1);
          throw new Failure("LEASE_EXPIRED", "the lease has ended");
        case "flood":
          for (;;) {
            this.asked++;
            yield { ...queued(this.asked), requestId: "x".repeat(60_000) };
          }
        case "stubborn":
          yield queued(1);
          await this.#hang(what, context.signal);
          return;
        default:
          yield queued(1);
          await this.#hang(what, AbortSignal.any([context.signal, this.#draining.signal]));
          if (this.#draining.signal.aborted)
            throw new Failure("DRAINING", "the server is shutting down; wait again in a moment");
      }
    } finally {
      this.seen.push(`${what}: finally`);
    }
  }

  async #hang(what: string, signal: AbortSignal): Promise<void> {
    if (!signal.aborted) await new Promise((resolve) => signal.addEventListener("abort", resolve));
    this.seen.push(`${what}: ${signal.reason instanceof ConnectError ? Code[signal.reason.code] : "end"}`);
  }
}

export function queued(position: number) {
  return { ticketId: "t", event: { case: "queued" as const, value: { position } } };
}

/** The lines of the log so far, parsed. */
export type LogLines = Record<string, unknown>[];

/** A server with both doors and everything that can be seen of it. */
export interface House {
  readonly doors: Doors;
  readonly scheduler: FakeScheduler;
  readonly health: Health;
  readonly metrics: ReturnType<typeof createMetrics>;
  readonly log: LogLines;
  readonly grpcAddress: string;
  readonly webUrl: string;
  close(): Promise<void>;
}

/** Opens both doors on loopback, on free ports. */
export async function openHouse(options: Partial<Pick<DoorsOptions, "grpc" | "web">> = {}): Promise<House> {
  const scheduler = new FakeScheduler();
  const health = new Health([SchedulerService.typeName]);
  const metrics = createMetrics({ processMetrics: false });
  const lines: LogLines = [];
  const log = createLog({ destination: { write: (line) => void lines.push(JSON.parse(line)) } });
  const doors = await openDoors({
    services: [implement(SchedulerService, scheduler)],
    grpc: { addresses: ["127.0.0.1:0"] },
    web: { address: "127.0.0.1:0" },
    log,
    metrics,
    health,
    ...options,
  });
  health.serve();
  return {
    doors,
    scheduler,
    health,
    metrics,
    log: lines,
    grpcAddress: doors.grpcAddresses[0] ?? "",
    webUrl: `http://${doors.webAddress}`,
    close: () => doors.drain(0, () => scheduler.endWaiters()),
  };
}

export type SchedulerClient = Client<typeof SchedulerService>;

/** A way for clients to reach the scheduler. */
export interface Way {
  readonly name: string;
  open(house: House): { client: SchedulerClient; close(): void };
}

/** Every protocol, over the door that serves it. */
export const ways: readonly Way[] = [
  {
    name: "gRPC",
    open(house) {
      const connection = connectClient(house.grpcAddress);
      return { client: connection.client(SchedulerService), close: () => connection.close() };
    },
  },
  { name: "Connect JSON", open: (house) => overFetch(house, createConnectTransport, false) },
  { name: "Connect binary", open: (house) => overFetch(house, createConnectTransport, true) },
  { name: "gRPC-Web", open: (house) => overFetch(house, createGrpcWebTransport, true) },
  { name: "Connect JSON over HTTP/2", open: (house) => overHttp2(house) },
];

/** Node's fetch, as Connect's client wants it. The request is sent whole, as browsers do. */
const overGlobalFetch: UniversalClientFn = async (request) => {
  const chunks: Uint8Array[] = [];
  for await (const chunk of request.body ?? []) chunks.push(chunk);
  const response = await fetch(request.url, {
    method: request.method,
    headers: request.header,
    body: Buffer.concat(chunks),
    signal: request.signal ?? null,
  });
  async function* body() {
    yield* response.body ?? [];
  }
  return { status: response.status, header: response.headers, body: body(), trailer: new Headers() };
};

/** One HTTP/2 connection without TLS, as curl makes it with --http2-prior-knowledge. */
function overHttp2(house: House) {
  const session = connectHttp2(house.webUrl);
  session.on("error", () => {});
  const send: UniversalClientFn = async (request) => {
    const { host: _, ...headers } = Object.fromEntries(request.header);
    const stream = session.request({ ":method": request.method, ":path": new URL(request.url).pathname, ...headers });
    stream.on("error", () => {});
    const abort = () => stream.close(constants.NGHTTP2_CANCEL);
    request.signal?.addEventListener("abort", abort);
    stream.once("close", () => request.signal?.removeEventListener("abort", abort));
    for await (const chunk of request.body ?? []) stream.write(chunk);
    stream.end();
    const [answered] = (await once(stream, "response", { signal: request.signal })) as [Record<string, string>];
    const header = new Headers(Object.entries(answered).filter(([name]) => !name.startsWith(":")));
    async function* body() {
      yield* stream;
      request.signal?.throwIfAborted();
    }
    return { status: Number(answered[":status"]), header, body: body(), trailer: new Headers() };
  };
  return { ...overFetch(house, createConnectTransport, false, send), close: () => session.destroy() };
}

function overFetch(
  house: House,
  createTransport: typeof createConnectTransport,
  useBinaryFormat: boolean,
  httpClient: UniversalClientFn = overGlobalFetch,
) {
  const transport = createTransport({
    baseUrl: house.webUrl,
    httpClient,
    useBinaryFormat,
    interceptors: [],
    acceptCompression: [],
    sendCompression: null,
    compressMinBytes: 0,
    readMaxBytes: 64 * 1024 * 1024,
    writeMaxBytes: 64 * 1024 * 1024,
  });
  return { client: createClient(SchedulerService, transport), close: () => {} };
}

/** The error that a call ends with. */
export async function errorOf(call: Promise<unknown>): Promise<ConnectError> {
  try {
    await call;
  } catch (error) {
    if (error instanceof ConnectError) return error;
    throw error;
  }
  throw new Error("the call did not fail");
}

/** Everything that a stream says, and the error that it ends with, if any. */
export async function readAll<T>(stream: AsyncIterable<T>): Promise<{ messages: T[]; error: ConnectError | undefined }> {
  const messages: T[] = [];
  try {
    for await (const message of stream) messages.push(message);
  } catch (error) {
    if (error instanceof ConnectError) return { messages, error };
    throw error;
  }
  return { messages, error: undefined };
}

/** A folder that is removed again by what it answers. */
export function temporaryFolder(): { path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), "sluice-"));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}
