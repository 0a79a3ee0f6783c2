import { Command, CommanderError } from "commander";
import { addAddress, defaultAddress } from "./connection.ts";
import { exitCode, exitCodesHelp } from "./exit-codes.ts";
import type { CliIo } from "./io.ts";
import { version } from "./version.ts";

/** Where a command puts the code that it ends with, when that is not 0 and nothing went wrong. */
export interface CliResult {
  code: number;
}

/** Adds one command to the program. */
export type Register = (program: Command, io: CliIo, result: CliResult) => void;

interface Entry {
  readonly name: string;
  readonly summary: string;
  load(): Promise<Register>;
}

/**
 * The commands in the order of --help. Only the one that is asked for is loaded: `sluice run` starts in front of every job,
 * and what it does not need it should not wait for.
 */
const entries: readonly Entry[] = [
  { name: "serve", summary: "start the server", load: async () => (await import("./serve.ts")).registerServe },
  {
    name: "run",
    summary: "wait until it fits, then run a command",
    load: async () => (await import("./run/command.ts")).registerRun,
  },
  {
    name: "env",
    summary: "wait until it fits, then hold it for this shell",
    load: async () => (await import("./run/env.ts")).registerEnv,
  },
  { name: "exec", summary: "run a plugin and print its result", load: async () => (await import("./exec.ts")).registerExec },
  {
    name: "status",
    summary: "what the server sees, and how it is",
    load: async () => (await import("./status.ts")).registerStatus,
  },
  { name: "queue", summary: "who waits, where and why", load: async () => (await import("./queue.ts")).registerQueue },
  { name: "leases", summary: "who holds what", load: async () => (await import("./leases.ts")).registerLeases },
  { name: "gpus", summary: "each GPU and its books", load: async () => (await import("./gpus.ts")).registerGpus },
  {
    name: "explain",
    summary: "would this fit now, and if not, why not",
    load: async () => (await import("./explain.ts")).registerExplain,
  },
  { name: "release", summary: "give a lease back", load: async () => (await import("./release.ts")).registerRelease },
  { name: "cancel", summary: "take a ticket out of the queue", load: async () => (await import("./cancel.ts")).registerCancel },
  {
    name: "load",
    summary: "start the worker of a plugin, so that its model is there",
    load: async () => (await import("./load.ts")).registerLoad,
  },
  {
    name: "unload",
    summary: "stop the resident worker of a plugin",
    load: async () => (await import("./evict.ts")).registerUnload,
  },
  {
    name: "evict",
    summary: "stop the resident worker of a plugin, or (--soft) have it give its memory back",
    load: async () => (await import("./evict.ts")).registerEvict,
  },
  {
    name: "policy",
    summary: "show or set the policy and the discipline",
    load: async () => (await import("./policy.ts")).registerPolicy,
  },
  {
    name: "monitor",
    summary: "show or choose what feeds decisions",
    load: async () => (await import("./monitor.ts")).registerMonitor,
  },
  { name: "plugins", summary: "the plugins", load: async () => (await import("./plugins.ts")).registerPlugins },
  {
    name: "replay",
    summary: "try an order of the queue on a list of jobs, or on a record",
    load: async () => (await import("./replay.ts")).registerReplay,
  },
  {
    name: "doctor",
    summary: "check this machine, without a server",
    load: async () => (await import("./doctor/command.ts")).registerDoctor,
  },
  {
    name: "config",
    summary: "the settings of the server and where they come from",
    load: async () => (await import("./config.ts")).registerConfig,
  },
];

/**
 * Runs one command line.
 * @param argv what follows the program's name.
 * @returns the exit code; 0 also when the command goes on by itself (`serve`).
 */
export async function runCli(argv: readonly string[], io: CliIo): Promise<number> {
  const result: CliResult = { code: exitCode.ok };
  const program = new Command("sluice")
    .description("A gate for GPU work: admits what fits, queues what does not, and tells everybody why.")
    .version(version, "-V, --version", "print the version")
    .helpOption("-h, --help", "print this help")
    .enablePositionalOptions()
    .addHelpText("after", exitCodesHelp)
    .exitOverride()
    .configureOutput({ writeOut: io.out, writeErr: io.err, getOutHelpWidth: () => 110, getErrHelpWidth: () => 110 });
  addAddress(program);
  const wanted = wantedCommand(argv);
  for (const entry of entries) {
    if (entry.name === wanted) (await entry.load())(program, io, result);
    else program.command(entry.name).summary(entry.summary).description(entry.summary);
  }
  if (wanted === undefined && argv.length === 0) {
    io.err(program.helpInformation());
    return exitCode.usage;
  }
  try {
    await program.parseAsync([...argv], { from: "user" });
    return result.code;
  } catch (error) {
    // Commander has already said what is wrong.
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCode.ok : exitCode.usage;
    const { explainError } = await import("./explain-error.ts");
    const { code, message } = await explainError(error, lastAddress(argv, io));
    for (const line of message.split("\n")) io.err(`sluice: ${line}\n`);
    return code;
  }
}

/** The first word that is a command; for `sluice help run` that is `run`. */
function wantedCommand(argv: readonly string[]): string | undefined {
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i] ?? "";
    if (word === "--address") i++;
    else if (word.startsWith("-") || word === "help") continue;
    else return entries.some((entry) => entry.name === word) ? word : undefined;
  }
  return undefined;
}

function lastAddress(argv: readonly string[], io: CliIo): string {
  for (const [i, word] of argv.entries()) {
    if (word === "--") break;
    if (word === "--address") return argv[i + 1] ?? defaultAddress;
    if (word.startsWith("--address=")) return word.slice("--address=".length);
  }
  return io.env.SLUICE_ADDRESS || defaultAddress;
}
