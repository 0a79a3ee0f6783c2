import type { Server as HttpServer } from "node:http";
import {
  createServer,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session,
  type ServerOptions,
} from "node:http2";
import type { Socket } from "node:net";
import { resetLimit } from "./reset-limit.ts";

/** The first bytes of every HTTP/2 connection (RFC 9113, 3.4), as far as no HTTP/1.1 request begins like them. */
const preface = Buffer.from("PRI");
/** A connection that says nothing for so long is no client. */
const firstBytesLimitMs = 10_000;

/** When a peer is asked whether it is alive, and how long it has to answer. */
export interface Liveness {
  readonly timeMs: number;
  readonly timeoutMs: number;
}

/**
 * The HTTP/2 side of the web door: the same port answers HTTP/2 without TLS to clients that know beforehand (curl and buf curl with
 * --http2-prior-knowledge), which is what streams in both directions, such as reflection, need.
 */
export class Http2Side {
  readonly #server;
  readonly #sessions = new Set<ServerHttp2Session>();
  readonly #liveness: Liveness;
  /** Connections that have not said yet what they are. Browsers keep some in reserve. */
  readonly #undecided = new Set<Socket>();
  #draining = false;

  constructor(onRequest: (request: Http2ServerRequest, response: Http2ServerResponse) => void, liveness: Liveness) {
    this.#liveness = liveness;
    this.#server = createServer(resetLimit as ServerOptions, onRequest);
    this.#server.on("session", (session) => this.#keep(session));
    // A broken session ends by itself; there is nobody to tell.
    this.#server.on("sessionError", () => {});
  }

  /** Takes the connections of an HTTP/1.1 server that begin like HTTP/2; the others stay with it. */
  share(http: HttpServer): void {
    const own = http.listeners("connection") as ((socket: Socket) => void)[];
    http.removeAllListeners("connection");
    http.on("connection", (socket: Socket) => {
      this.#undecided.add(socket);
      socket.once("close", () => this.#undecided.delete(socket));
      firstBytes(socket, (isHttp2) => {
        this.#undecided.delete(socket);
        if (isHttp2) this.#take(socket);
        else for (const listener of own) listener.call(http, socket);
      });
    });
  }

  #take(socket: Socket): void {
    // HTTP/1.1 keeps a half-closed connection for its answer. Here its end is the end: the session would wait for ever.
    socket.allowHalfOpen = false;
    this.#server.emit("connection", socket);
  }

  /** Takes no new calls; sessions end when their last call has. */
  drain(): void {
    this.#draining = true;
    for (const socket of this.#undecided) socket.destroy();
    for (const session of this.#sessions) session.close();
  }

  destroy(): void {
    for (const session of this.#sessions) session.destroy();
  }

  /** Node's http2 never notices a frozen peer by itself. */
  #keep(session: ServerHttp2Session): void {
    this.#sessions.add(session);
    if (this.#draining) session.close();
    let deadline: NodeJS.Timeout | undefined;
    const timer = setInterval(() => {
      if (session.destroyed) return;
      deadline ??= setTimeout(() => session.destroy(), this.#liveness.timeoutMs).unref();
      session.ping(() => {
        clearTimeout(deadline);
        deadline = undefined;
      });
    }, this.#liveness.timeMs).unref();
    session.once("close", () => {
      clearInterval(timer);
      clearTimeout(deadline);
      this.#sessions.delete(session);
    });
  }
}

/** Looks at the first bytes and puts them back. */
function firstBytes(socket: Socket, decide: (isHttp2: boolean) => void): void {
  const timer = setTimeout(() => socket.destroy(), firstBytesLimitMs).unref();
  const ignore = () => {};
  const look = () => {
    const bytes: Buffer | null = socket.read();
    if (bytes === null) return;
    socket.unshift(bytes);
    const known = bytes.subarray(0, preface.length);
    // Begins like it, but is too short to tell: more will come.
    if (known.length < preface.length && preface.subarray(0, known.length).equals(known)) return;
    clearTimeout(timer);
    socket.off("readable", look);
    socket.off("error", ignore);
    decide(known.equals(preface));
  };
  socket.on("readable", look);
  // A connection that breaks before it has said anything concerns nobody.
  socket.on("error", ignore);
  socket.once("close", () => clearTimeout(timer));
}
