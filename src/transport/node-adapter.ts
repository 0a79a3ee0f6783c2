import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import { Code, ConnectError } from "@connectrpc/connect";
import type { UniversalHandler, UniversalServerResponse } from "@connectrpc/connect/protocol";

/** A request over HTTP/1.1 or HTTP/2. */
export type WebRequest = IncomingMessage | Http2ServerRequest;
/** Its answer. */
export type WebResponse = ServerResponse | Http2ServerResponse;

/**
 * Serves one call of one of Connect's handlers over Node's http or http2 server.
 *
 * When the client goes, the signal of the call aborts and the iterator of the response is told to stop, so that the
 * `finally` of an implementation runs. A client that reads slowly holds the implementation back.
 */
export async function serveCall(handler: UniversalHandler, request: WebRequest, response: WebResponse): Promise<void> {
  const ended = new AbortController();
  response.once("close", () => {
    if (!isFinished(response)) ended.abort(new ConnectError("the call was cancelled by the client", Code.Canceled));
  });
  const answer = await handler({
    httpVersion: request.httpVersion,
    method: request.method ?? "",
    // Only path and query are looked at.
    url: `http://localhost${request.url}`,
    header: headersOf(request),
    // Destroying the request when the rest of it is not wanted would take the connection along before the error is sent.
    body: request.iterator({ destroyOnReturn: false }),
    signal: ended.signal,
  });
  await send(answer, response, ended.signal);
  // What was not read of the request would be taken for the start of the next one's wait.
  request.resume();
}

async function send(answer: UniversalServerResponse, response: WebResponse, ended: AbortSignal): Promise<void> {
  const body = answer.body?.[Symbol.asyncIterator]();
  let wake = () => {};
  const stop = () => {
    wake();
    // The error, if any, is the one that the loop below meets too.
    body?.return?.().then(undefined, () => {});
  };
  if (ended.aborted) return stop();
  ended.addEventListener("abort", stop);
  response.on("drain", () => wake());
  response.writeHead(answer.status, Object.fromEntries(answer.header ?? []));
  while (body !== undefined && !ended.aborted) {
    const chunk = await body.next();
    if (ended.aborted || chunk.done === true) break;
    if (!write(response, chunk.value)) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  }
  if (!ended.aborted) response.end();
}

/** Over HTTP/2 there is no telling whether the last bytes have left; that they were given away must do. */
function isFinished(response: WebResponse): boolean {
  return "stream" in response ? response.writableEnded : response.writableFinished;
}

function write(response: WebResponse, bytes: Uint8Array): boolean {
  return "stream" in response ? response.write(bytes) : response.write(bytes);
}

function headersOf(request: WebRequest): Headers {
  const headers = new Headers();
  for (const [name, value] of Object.entries(request.headers)) {
    // Pseudo-headers are HTTP/2's own.
    if (value !== undefined && !name.startsWith(":")) headers.set(name, Array.isArray(value) ? value.join(", ") : value);
  }
  return headers;
}
