import { createServer, type Server } from "node:http";
import { createConnectRouter, type MethodImpl, type ServiceImplSpec } from "@connectrpc/connect";
import type { UniversalHandler } from "@connectrpc/connect/protocol";
import type { Metrics } from "../observe/metrics.ts";
import { encodable } from "./encodable.ts";
import { type Door, maxRequestBytes } from "./grpc.ts";
import type { ToError } from "./grpc-handlers.ts";
import type { Health } from "./health.ts";
import { HostNames } from "./host-names.ts";
import { Http2Side, type Liveness } from "./http2-side.ts";
import { listen } from "./listen.ts";
import { serveCall, type WebRequest, type WebResponse } from "./node-adapter.ts";

/** Settings of the web door. */
export interface WebDoorOptions {
  readonly services: readonly ServiceImplSpec[];
  /** `host:port` or `unix:/path`; port 0 takes any free one. */
  readonly address: string;
  /** Names that the door answers to besides localhost and the address that it is bound to. */
  readonly hosts?: readonly string[] | undefined;
  readonly health: Health;
  readonly metrics: Metrics;
  readonly toError: ToError;
  /** For HTTP/2 connections; 10 s and 5 s when left out. */
  readonly liveness?: Liveness;
}

/**
 * Opens the web door: the services as Connect JSON, Connect binary and gRPC-Web over HTTP/1.1 and over HTTP/2 with prior knowledge,
 * and /healthz, /readyz and /metrics.
 *
 * It sends no CORS headers: pages of other origins may not read it.
 * @throws Failure INVALID_ARGUMENT when the address cannot be listened on.
 */
export async function openWebDoor(options: WebDoorOptions): Promise<Door> {
  const handlers = handlersOf(options);
  const pages = pagesOf(options);
  let names = new HostNames([]);
  let draining = false;
  const servers: Server[] = [];
  const closeIdle = () => {
    for (const server of servers) server.closeIdleConnections();
  };

  async function answer(request: WebRequest, response: WebResponse): Promise<void> {
    if (draining && "shouldKeepAlive" in response) response.shouldKeepAlive = false;
    // A connection whose answer began before draining did stays open after it, and would hold the drain up.
    response.once("close", () => draining && setImmediate(closeIdle));
    if (!names.allows(request.headers.host ?? authorityOf(request), request.socket.localAddress)) {
      return text(
        response,
        421,
        "this server does not answer to that host name; see the setting for host names of the web door\n",
      );
    }
    const path = request.url?.split("?", 1)[0] ?? "";
    const handler = handlers.get(path);
    if (handler !== undefined) return serveCall(handler, request, response);
    const page = pages.get(path);
    if (page === undefined) return text(response, 404, "nothing is here\n");
    if (request.method !== "GET" && request.method !== "HEAD")
      return text(response, 405, "only GET and HEAD are answered here\n");
    const { status, contentType, body } = await page();
    send(response, status, contentType, body);
  }

  function onRequest(request: WebRequest, response: WebResponse): void {
    answer(request, response).catch((thrown: unknown) => {
      const error = options.toError(thrown, "web");
      if (response.headersSent) destroy(response);
      else text(response, 500, `${error.rawMessage}\n`);
    });
  }

  const http2 = new Http2Side(onRequest, options.liveness ?? { timeMs: 10_000, timeoutMs: 5_000 });
  const listening = await listen(options.address, "web", () => {
    // Both limits are about receiving a request, not about answering it: a stream may be as long as it likes.
    const server = createServer(
      { headersTimeout: 10_000, requestTimeout: 60_000, keepAlive: true, keepAliveInitialDelay: 10_000 },
      onRequest,
    );
    http2.share(server);
    servers.push(server);
    return server;
  });
  names = new HostNames([...listening.hosts, ...(options.hosts ?? [])]);

  return {
    addresses: [listening.address],
    async drain(graceMs) {
      draining = true;
      const timer = setTimeout(() => {
        for (const server of servers) server.closeAllConnections();
        http2.destroy();
      }, graceMs);
      const over = listening.servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve())));
      closeIdle();
      http2.drain();
      await Promise.all(over);
      clearTimeout(timer);
    },
  };
}

function handlersOf({ services, toError }: WebDoorOptions): Map<string, UniversalHandler> {
  // gRPC itself needs HTTP/2 and has a door of its own.
  // A field that is not known is most often one that was misspelt: to drop it would ask for less than was meant.
  const jsonOptions = { ignoreUnknownFields: false };
  const router = createConnectRouter({ grpc: false, readMaxBytes: maxRequestBytes, jsonOptions });
  for (const { methods } of services) {
    for (const spec of Object.values(methods)) {
      const { method, impl } = encodable(spec, toError);
      router.rpc(method, impl as MethodImpl<typeof method>);
    }
  }
  return new Map(router.handlers.map((handler) => [handler.requestPath, handler]));
}

type Page = () =>
  | { status: number; contentType: string; body: string }
  | Promise<{ status: number; contentType: string; body: string }>;

function pagesOf({ health, metrics }: WebDoorOptions): Map<string, Page> {
  return new Map<string, Page>([
    ["/healthz", () => ({ status: 200, contentType: "text/plain; charset=utf-8", body: "ok\n" })],
    [
      "/readyz",
      () => {
        const ready = health.state === "serving";
        return {
          status: ready ? 200 : 503,
          contentType: "application/json",
          body: `${JSON.stringify({ ready, state: health.state })}\n`,
        };
      },
    ],
    ["/metrics", async () => ({ status: 200, contentType: metrics.contentType, body: await metrics.scrape() })],
  ]);
}

function authorityOf(request: WebRequest): string | undefined {
  return "authority" in request ? request.authority : undefined;
}

function destroy(response: WebResponse): void {
  if ("stream" in response) response.stream.destroy();
  else response.destroy();
}

function text(response: WebResponse, status: number, body: string): void {
  send(response, status, "text/plain; charset=utf-8", body);
}

function send(response: WebResponse, status: number, contentType: string, body: string): void {
  response.writeHead(status, {
    "content-type": contentType,
    "content-length": Buffer.byteLength(body),
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
  });
  response.end(body);
}
