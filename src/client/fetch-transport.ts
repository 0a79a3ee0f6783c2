import { Code, ConnectError, type Transport } from "@connectrpc/connect";
import type { UniversalClientFn } from "@connectrpc/connect/protocol";
import { createTransport } from "@connectrpc/connect/protocol-connect";

/** The largest message that is read, in bytes. */
const maxBytes = 64 * 1024 * 1024;

/** Connect over the fetch() that browsers and Node have. No more of @connectrpc/connect-web is needed. */
export function fetchTransport(baseUrl: string): Transport {
  return createTransport({
    baseUrl: baseUrl.replace(/\/+$/, ""),
    httpClient,
    useBinaryFormat: true,
    interceptors: [],
    acceptCompression: [],
    sendCompression: null,
    compressMinBytes: Number.MAX_SAFE_INTEGER,
    readMaxBytes: maxBytes,
    writeMaxBytes: maxBytes,
  });
}

const httpClient: UniversalClientFn = async ({ url, method, header, body, signal }) => {
  try {
    // Requests are one message: only some browsers can send a body piece by piece.
    const whole = body === undefined ? null : await wholeOf(body);
    const response = await fetch(url, { method, headers: header, body: whole, signal: signal ?? null, redirect: "error" });
    return { status: response.status, header: response.headers, body: piecesOf(response.body, signal), trailer: new Headers() };
  } catch (error) {
    throw asUnavailable(error, signal);
  }
};

async function wholeOf(pieces: AsyncIterable<Uint8Array>): Promise<Blob> {
  const all: Uint8Array<ArrayBuffer>[] = [];
  for await (const piece of pieces) all.push(Uint8Array.from(piece));
  return new Blob(all);
}

async function* piecesOf(body: ReadableStream<Uint8Array> | null, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
  const reader = body?.getReader();
  if (reader === undefined) return;
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value;
  } catch (error) {
    throw asUnavailable(error, signal);
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** fetch tells of a server that is not there, and of a line that broke, by a TypeError with the cause in it. */
function asUnavailable(error: unknown, signal: AbortSignal | undefined): unknown {
  if (signal?.aborted || !(error instanceof TypeError)) return error;
  const { cause } = error;
  const why = cause instanceof Error && cause.message !== "" ? cause.message : error.message;
  return new ConnectError(why, Code.Unavailable, undefined, undefined, error);
}
