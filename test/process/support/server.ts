import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { DescService } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import { type Connection, connectClient } from "../../../src/transport/client.ts";
import { waitFor } from "../../wait-for.ts";

/** The built command line. */
const main = fileURLToPath(new URL("../../../dist/bin/sluice.js", import.meta.url));

/** How a process ended: its exit code, or the signal that ended it. */
export type End = number | NodeJS.Signals;

/** A process that a test has started, with everything that it said. */
export interface Started {
  readonly process: ChildProcess;
  readonly pid: number;
  readonly out: () => string;
  readonly err: () => string;
  readonly end: Promise<End>;
  /** Undefined while it runs. */
  readonly ended: () => End | undefined;
}

/** What still runs when a test was cut off, for example by its time limit. */
const running = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** Starts a program. Its environment holds PATH, HOME and what is given, and nothing else. */
export function startProgram(command: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Started {
  const child = spawn(command, args, {
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  running.add(child);
  const said = { out: "", err: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    said.out += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said.err += text;
  });
  let ended: End | undefined;
  const end = new Promise<End>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => {
      running.delete(child);
      ended = signal ?? code ?? -1;
      resolve(ended);
    });
  });
  // Whoever looks at `end` hears of a program that cannot be started; nobody has to look.
  end.catch(() => {});
  return { process: child, pid: child.pid ?? -1, out: () => said.out, err: () => said.err, end, ended: () => ended };
}

/** Starts the built command line. */
export function startSluice(args: readonly string[], env: Readonly<Record<string, string>> = {}): Started {
  if (!existsSync(main)) throw new Error(`${main} is missing: run "npm run build" first; these tests start the built program`);
  // Nothing that a test does may end up in the state of whoever runs it.
  return startProgram(process.execPath, [main, ...args], { SLUICE_STATE: ":memory:", ...env });
}

/** One line of the server's log. */
export type LogLine = Record<string, unknown> & { readonly msg: string; readonly level: number };

/** A server in a process of its own. `await using` ends it. */
export interface Server extends AsyncDisposable {
  /** `host:port` of the gRPC door. */
  readonly grpc: string;
  /** `http://host:port` of the web door; empty when it has none. */
  readonly web: string;
  readonly process: Started;
  /** A client of one service over gRPC. All clients of a server share one connection; `connect` makes another. */
  client<Desc extends DescService>(service: Desc): Client<Desc>;
  /** A connection of its own. Closed with the server. */
  connect(): Connection;
  /** The lines of the log so far. */
  log(): LogLine[];
  /** Sends a signal. */
  kill(signal: NodeJS.Signals): void;
  /** Sends SIGTERM and waits for the end; SIGKILL when that does not come. Answers how it ended. */
  stop(): Promise<End>;
}

/** Longer than the first question to nvidia-smi may take. */
const readyLimitMs = 20_000;

/**
 * Starts `sluice serve` on free ports of the loopback and waits until it says that it is ready. Drains quickly unless told
 * otherwise.
 * @param args more flags; those for the doors and the grace time replace what is said above.
 */
export async function startServer(args: readonly string[] = [], env: Readonly<Record<string, string>> = {}): Promise<Server> {
  const defaults = { "--grpc": "127.0.0.1:0", "--web": "127.0.0.1:0", "--drain-grace": "2" };
  const missing = Object.entries(defaults).filter(([flag]) => !args.includes(flag));
  const server = startSluice(["serve", ...missing.flat(), ...args], env);
  try {
    await waitFor(
      () => {
        if (server.ended() !== undefined) return "ended";
        return server.out().includes(" is ready\n") && server.out().includes("Next, in another terminal");
      },
      `the server to be ready; it said ${server.out()}${server.err()}`,
      readyLimitMs,
    );
    if (server.ended() !== undefined) throw new Error(`the server ended (${server.ended()}): ${server.err()}`);
  } catch (error) {
    server.process.kill("SIGKILL");
    throw error;
  }
  const grpc = /^ {2}gRPC +(\S+)$/m.exec(server.out())?.[1] ?? "";
  const web = /^ {2}web +(http:\S+)$/m.exec(server.out())?.[1] ?? "";
  const connections: Connection[] = [];
  const connect = () => {
    const connection = connectClient(grpc, { timeoutMs: 20_000 });
    connections.push(connection);
    return connection;
  };
  let shared: Connection | undefined;

  async function stop(): Promise<End> {
    if (server.ended() === undefined) server.process.kill("SIGTERM");
    const hard = setTimeout(() => server.process.kill("SIGKILL"), 15_000);
    try {
      return await server.end;
    } finally {
      clearTimeout(hard);
      for (const connection of connections.splice(0)) connection.close();
      shared = undefined;
    }
  }

  return {
    grpc,
    web,
    process: server,
    client(service) {
      shared ??= connect();
      return shared.client(service);
    },
    connect,
    log: () => parseLog(server.err()),
    kill: (signal) => void server.process.kill(signal),
    stop,
    async [Symbol.asyncDispose]() {
      await stop();
    },
  };
}

function parseLog(text: string): LogLine[] {
  const complete = text.slice(0, text.lastIndexOf("\n") + 1);
  return complete
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line) as LogLine);
}
