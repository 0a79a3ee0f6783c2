import { type DestinationStream, type Logger, pino, stdTimeFunctions } from "pino";
import { logSink } from "./log-sink.ts";

/** The server's log: one JSON object a line. */
export type Log = Logger;

/** How much is logged. */
export type LogLevel = "trace" | "debug" | "info" | "warn" | "error" | "silent";

/**
 * Makes the log. Lines go to stderr, so that stdout stays free for what a command answers.
 *
 * Written synchronously: a line is out before whatever it tells of can end the process. That costs some microseconds a line, which is
 * little because decisions are logged and calls are not. A line that cannot be written, because the disk is full or nobody reads,
 * is lost, and the server goes on; see log-sink.ts.
 * Requests are never logged in full: callers name the fields that they log.
 * @param options.destination where lines go instead, for tests.
 */
export function createLog(options: { readonly level?: LogLevel; readonly destination?: DestinationStream } = {}): Log {
  const settings = { level: options.level ?? "info", base: { pid: process.pid }, timestamp: stdTimeFunctions.isoTime };
  return pino(settings, options.destination ?? logSink(2));
}
