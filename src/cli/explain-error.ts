import { shortCause } from "../client/short-cause.ts";
import { ConfigError } from "../config/resolve.ts";
import { Failure } from "../engine/failure.ts";
import { answerTimeoutMs } from "./connection.ts";
import { exitCode } from "./exit-codes.ts";
import { CliError } from "./io.ts";
import { clean } from "./text.ts";

/** Reasons after which trying later makes sense. */
const temporary = new Set([
  "QUEUE_FULL",
  "TENANT_QUEUE_FULL",
  "DRAINING",
  "NOT_ADMITTED",
  "TOO_MANY_EXECUTIONS",
  "PLUGIN_BUSY",
  "WORKER_BROKEN",
]);

/**
 * What to tell about an error: plain words, what to do next, and the exit code.
 * @param address the server that was talked to, for errors of the connection.
 */
export async function explainError(
  error: unknown,
  address: string,
): Promise<{ readonly code: number; readonly message: string }> {
  if (error instanceof CliError) return { code: error.code, message: error.message };
  if (error instanceof ConfigError) return { code: exitCode.usage, message: error.message };
  if (error instanceof Failure) {
    return { code: error.reason === "INVALID_ARGUMENT" ? exitCode.usage : exitCode.failure, message: error.message };
  }
  const { Code, ConnectError } = await import("@connectrpc/connect");
  if (!(error instanceof ConnectError)) {
    return { code: exitCode.failure, message: error instanceof Error ? error.message : String(error) };
  }
  const message = clean(error.rawMessage);
  const reason = await reasonOf(error);
  if (reason !== undefined && temporary.has(reason)) return { code: exitCode.refused, message };
  if (error.code === Code.Unavailable && reason === undefined) {
    return {
      code: exitCode.unreachable,
      message: `no server can be reached at ${clean(address)}. Start one with \`npx sluice serve\`, or name another with --address or SLUICE_ADDRESS (${shortCause(message)})`,
    };
  }
  if (error.code === Code.DeadlineExceeded) {
    return {
      code: exitCode.unreachable,
      message: `the server at ${clean(address)} did not answer within ${answerTimeoutMs / 1000} s. Look into its log, or name another with --address`,
    };
  }
  if (error.code === Code.Unimplemented && reason === undefined) {
    return {
      code: exitCode.failure,
      message: `the server at ${clean(address)} does not know this call; is it sluice, and as new as this command? (${message})`,
    };
  }
  return { code: error.code === Code.InvalidArgument ? exitCode.usage : exitCode.failure, message };
}

/** google.rpc.ErrorInfo.reason of an error from the server; undefined when it has none. */
export async function reasonOf(error: unknown): Promise<string | undefined> {
  const { ConnectError } = await import("@connectrpc/connect");
  if (!(error instanceof ConnectError)) return undefined;
  const { ErrorInfoSchema } = await import("#gen/google/rpc/error_details_pb.js");
  return error.findDetails(ErrorInfoSchema)[0]?.reason;
}
