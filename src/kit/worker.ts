import { createMessageConnection } from "vscode-jsonrpc/node";
import { LineMessageReader, LineMessageWriter } from "./line-transport.ts";
import { takeStdout } from "./private-stdout.ts";
import type { WorkerProgram } from "./program.ts";
import { refusal } from "./refusal.ts";
import { WorkerSession } from "./session.ts";

export type { PluginName, WorkerContext, WorkerLease } from "./context.ts";
export { Cancelled, Fatal, InvalidArguments, type MemoryResource, OutOfMemory } from "./errors.ts";
export type { WorkerProgram } from "./program.ts";

/** docs/workers.md: a line is at most 4 MiB. */
const maxLineBytes = 4 * 1_048_576;
/** sluice sends SIGTERM 5 s after `shutdown`. */
const askedMs = 4_000;
/** Nobody waits for last words any more. */
const goneMs = 1_000;

/**
 * Serves over stdin and stdout until the server says so, sends SIGTERM, or is gone; then the process ends. What is written to
 * `process.stdout` or `console` goes to stderr from here on.
 *
 * ```
 * import { runWorker } from "sluice/worker";
 *
 * runWorker({
 *   async initialize(ctx) {
 *     ctx.progress(0.5, "loading");
 *   },
 *   async execute(args, ctx) {
 *     ctx.signal.throwIfAborted();
 *     return { got: args };
 *   },
 * });
 * ```
 *
 * A call that never gives the event loop a turn hears neither a cancellation nor the end of stdin: put such work into a thread of
 * `node:worker_threads`, or into a library that does.
 */
export function runWorker(program: WorkerProgram): void {
  // Ctrl-C in a terminal is for the server, which then asks its workers to end.
  process.on("SIGINT", () => {});
  const stdout = takeStdout();
  const reader = new LineMessageReader(process.stdin, {
    maxLineBytes,
    onOther: (line, cut) => {
      const answer = refusal(line, cut);
      if (answer !== undefined) writer.write(answer).catch(told);
    },
  });
  const writer = new LineMessageWriter(stdout);
  const connection = createMessageConnection(reader, writer, undefined, {
    messageStrategy: {
      handleMessage: async (message, next) => {
        await next(message);
        if ("method" in message && message.method === "shutdown" && "id" in message) process.exit(0);
      },
    },
  });
  const session = new WorkerSession(program, (method, params) => {
    connection.sendNotification(method, params).catch(told);
  });
  const end = (ms: number) => {
    setTimeout(() => process.exit(0), ms);
    void session.shutdown().then(
      () => process.exit(0),
      () => process.exit(0),
    );
  };
  function gone(): void {
    end(goneMs);
  }
  connection.onRequest((method, params, token) => {
    if (method === "shutdown") setTimeout(() => process.exit(0), askedMs);
    return session.handle(method, params, token);
  });
  reader.onClose(gone);
  writer.onError(([, message]) => {
    // Without a message it is the stream that broke.
    if (message === undefined) gone();
  });
  process.on("SIGTERM", () => end(askedMs));
  connection.listen();
}

/** A message that could not be written: the writer's error has been told. */
function told(): void {}
