import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { toJson } from "@bufbuild/protobuf";
import { durationFromMs, ValueSchema } from "@bufbuild/protobuf/wkt";
import type { Command } from "commander";
import {
  type ExecutionFailed,
  ExecutionFailure,
  ExecutorService,
  type StreamExecutionResponse,
} from "#gen/sluice/v1/executor_pb.js";
import { addAddress, addressOf, withServer } from "./connection.ts";
import { granted, reasonLines, reasonsText } from "./describe-work.ts";
import { codeOfSignal, exitCode } from "./exit-codes.ts";
import { CliError, type CliIo } from "./io.ts";
import { printJson } from "./json.ts";
import type { CliResult } from "./program.ts";
import { clean } from "./text.ts";
import { collect, integer, seconds } from "./workload-options.ts";

interface ExecOptions {
  readonly arg?: readonly string[];
  readonly jsonArgs?: string;
  readonly policy?: string;
  readonly timeout?: number;
  readonly tenant?: string;
  readonly priority?: number;
  readonly requestId?: string;
}

/** `sluice exec PLUGIN` */
export function registerExec(program: Command, io: CliIo, result: CliResult): void {
  addAddress(program.command("exec"))
    .summary("run a plugin and print its result")
    .description(
      "Runs a plugin. Its result is printed as JSON on standard output; what it logs, and how it stands, goes to standard error.",
    )
    .argument("<plugin>", "name of the plugin, as `sluice plugins` lists it")
    .option(
      "--arg <NAME=VALUE>",
      "an argument; the value is JSON, or text when it is not JSON; may be given more than once",
      collect,
    )
    .option("--json-args <JSON>", "all arguments as one JSON object")
    .option("--policy <NAME>", "policy for this one execution")
    .option("--timeout <S>", "how long to wait for resources, 0 for ever", seconds)
    .option("--tenant <NAME>", "who is asking")
    .option("--priority <N>", "higher is served first, -1000 to 1000", integer)
    .option("--request-id <ID>", "the same id finds the same execution again")
    .action(async (plugin: string, options: ExecOptions, command: Command) => {
      const args = argumentsOf(options);
      await withServer(addressOf(command, io), async (connection) => {
        const interrupt = new AbortController();
        let signal: NodeJS.Signals | undefined;
        const stop = (name: NodeJS.Signals) => {
          signal ??= name;
          interrupt.abort();
        };
        process.on("SIGINT", stop).on("SIGTERM", stop).on("SIGHUP", stop);
        try {
          const request = {
            plugin,
            arguments: args,
            policy: options.policy ?? "",
            tenant: options.tenant ?? "",
            priority: options.priority ?? 0,
            requestId: options.requestId ?? "",
            ...(options.timeout === undefined ? {} : { timeout: durationFromMs(options.timeout) }),
          };
          for await (const message of connection
            .client(ExecutorService)
            .streamExecution(request, { signal: interrupt.signal })) {
            const code = tell(message, io);
            if (code === undefined) continue;
            result.code = code;
            return;
          }
          throw new CliError(exitCode.failure, "the server ended the stream without a result; look into its log");
        } catch (error) {
          if (signal === undefined) throw error;
          result.code = codeOfSignal(signal);
        } finally {
          process.off("SIGINT", stop).off("SIGTERM", stop).off("SIGHUP", stop);
        }
      });
    });
}

/**
 * The arguments of a plugin.
 * @throws CliError for what is not NAME=VALUE, and for JSON that is not an object.
 */
export function argumentsOf(options: Pick<ExecOptions, "arg" | "jsonArgs">): JsonObject {
  const all: JsonObject = {};
  if (options.jsonArgs !== undefined) {
    const parsed = parsedOrText(options.jsonArgs);
    if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
      throw new CliError(exitCode.usage, '--json-args must be a JSON object, such as {"audio": "a.wav"}');
    }
    Object.assign(all, parsed);
  }
  for (const pair of options.arg ?? []) {
    const at = pair.indexOf("=");
    if (at < 1) throw new CliError(exitCode.usage, `--arg ${clean(pair)}: it must be NAME=VALUE`);
    all[pair.slice(0, at)] = parsedOrText(pair.slice(at + 1));
  }
  return all;
}

function parsedOrText(text: string): JsonValue {
  try {
    return JSON.parse(text) as JsonValue;
  } catch {
    return text;
  }
}

/** Tells one event; answers the exit code when it was the last. */
function tell({ event }: StreamExecutionResponse, io: CliIo): number | undefined {
  const say = (text: string) => io.err(`sluice: ${text}\n`);
  switch (event.case) {
    case "queued":
      say(`waiting, place ${event.value.position}: ${reasonsText(event.value.reasons)}`);
      return undefined;
    case "admitted":
      if (event.value.lease !== undefined) say(`admitted: ${granted(event.value.lease)}`);
      return undefined;
    case "loading":
      say(`loading ${clean(event.value.message)}`);
      return undefined;
    case "progress": {
      const { fraction, message } = event.value;
      say(`${fraction === undefined ? "progress" : `${Math.round(fraction * 100)} %`} ${clean(message)}`.trimEnd());
      return undefined;
    }
    case "log":
      io.err(`${clean(event.value.line)}\n`);
      return undefined;
    case "result":
      printJson(io, event.value.result === undefined ? null : toJson(ValueSchema, event.value.result));
      return exitCode.ok;
    case "failed":
      return tellFailure(event.value, say, io);
    default:
      return undefined;
  }
}

function tellFailure(failed: ExecutionFailed, say: (text: string) => void, io: CliIo): number {
  say(clean(failed.message));
  if (failed.refusal !== undefined) io.err(reasonLines(failed.refusal.reasons));
  return failed.code === ExecutionFailure.NOT_ADMITTED || failed.code === ExecutionFailure.TIMED_OUT
    ? exitCode.refused
    : exitCode.failure;
}
