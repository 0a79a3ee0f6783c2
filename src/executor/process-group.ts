import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { statSync } from "node:fs";
import type { Readable, Writable } from "node:stream";
import { GroupMembers } from "./group-members.ts";
import { readProcess } from "./process-tree.ts";

export interface Command {
  /** Program and arguments, handed over as they are: there is no shell. */
  readonly argv: readonly string[];
  readonly cwd: string;
  /** The whole environment; nothing is inherited. */
  readonly env: Readonly<Record<string, string>>;
  /** A variable of `env` that no other process group has. Finds a descendant that made itself a stranger. */
  readonly marker?: string;
  /** Time that processes get to end by themselves after SIGTERM, in ms. */
  readonly graceMs: number;
}

/** How a process group ended. */
export interface ExitReport {
  /** Exit code of its first process; absent when a signal ended it. */
  readonly code?: number;
  readonly signal?: NodeJS.Signals;
  /** True when it was still running when we sent it a signal: then code and signal say nothing about the program. */
  readonly weKilled: boolean;
  /** Processes that did not go away even after SIGKILL (stuck in the kernel, or another user's). */
  readonly left: number;
}

export type StartResult =
  | { readonly ok: true; readonly group: ProcessGroup }
  | { readonly ok: false; readonly message: string };

/** Starts a command in a session and process group of its own. Never throws: why it did not start is in plain words. */
export async function startProcessGroup(command: Command): Promise<StartResult> {
  const [program = "", ...args] = command.argv;
  let child: ChildProcessWithoutNullStreams;
  try {
    child = spawn(program, args, { cwd: command.cwd, env: { ...command.env }, detached: true, stdio: "pipe" });
  } catch (error) {
    return { ok: false, message: spawnMessage(error, command) };
  }
  const pid = child.pid;
  if (pid === undefined) {
    const error = await new Promise((resolve) => child.once("error", resolve));
    return { ok: false, message: spawnMessage(error, command) };
  }
  return { ok: true, group: new ProcessGroup(child, pid, command) };
}

function spawnMessage(error: unknown, { argv, cwd }: Command): string {
  const program = (argv[0] ?? "").slice(0, 200);
  const code = (error as NodeJS.ErrnoException).code ?? "unknown error";
  if (!statSync(cwd, { throwIfNoEntry: false })?.isDirectory()) {
    return `Its folder ${cwd} does not exist any more: put it back, or load the plugins again.`;
  }
  switch (code) {
    case "ENOENT":
      return `Its program "${program}" was not found: install it, or name it by its full path in "command" (the server's PATH is searched).`;
    case "EACCES":
      return `Its program "${program}" may not be run: check that it is a file, and executable for the user of the server (chmod +x).`;
    case "E2BIG":
      return "Its command line is too long: let the plugin read the arguments from stdin instead of {placeholders}.";
    case "EAGAIN":
    case "ENOMEM":
    case "EMFILE":
    case "ENFILE":
      return `The machine cannot start another process now (${code}): try again later, or raise its limits (ulimit -u, ulimit -n).`;
    default:
      return `Its program "${program}" could not be started (${code}).`;
  }
}

/**
 * A running command with everything that descends from it.
 *
 * `ended` comes when the first process has exited and nothing of the group is left: what it leaves behind is ended too, because it
 * would go on holding memory that is given to somebody else.
 */
export class ProcessGroup {
  readonly pid: number;
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  readonly ended: Promise<ExitReport>;
  readonly #graceMs: number;
  readonly #members: GroupMembers;
  readonly #exit: Promise<void>;
  #exited: { code: number | null; signal: NodeJS.Signals | null } | undefined;
  readonly #end: Promise<number>;
  #beginEnd: () => void = () => {};
  #weKilled = false;

  constructor(child: ChildProcessWithoutNullStreams, pid: number, command: Command) {
    this.pid = pid;
    this.stdin = child.stdin;
    this.stdout = child.stdout;
    this.stderr = child.stderr;
    this.#graceMs = command.graceMs;
    this.#members = new GroupMembers(
      { pid, start: readProcess(pid)?.start, marker: command.marker },
      // Until its exit was seen its pid cannot be reused.
      { pinned: () => this.#exited === undefined, otherwise: "nobody-else" },
    );
    // A plugin that does not read its arguments closes the pipe; that is its right.
    for (const emitter of [child, child.stdin, child.stdout, child.stderr]) emitter.on("error", () => {});
    this.#exit = new Promise((resolve) => {
      child.once("exit", (code, signal) => {
        this.#exited = { code, signal };
        resolve();
      });
    });
    this.#end = new Promise((resolve) => {
      this.#beginEnd = () => {
        this.#beginEnd = () => {};
        resolve(this.#endAll());
      };
    });
    this.ended = this.#watch();
  }

  /** Ends the whole group: SIGTERM, the grace, SIGKILL. Idempotent. */
  kill(): Promise<ExitReport> {
    this.#beginEnd();
    return this.ended;
  }

  async #watch(): Promise<ExitReport> {
    void this.#exit.then(() => this.#beginEnd());
    const left = await this.#end;
    const { code, signal } = this.#exited ?? { code: null, signal: null };
    return {
      ...(code === null ? {} : { code }),
      ...(signal === null ? {} : { signal }),
      weKilled: this.#weKilled,
      left,
    };
  }

  /** Answers how many processes are left. */
  async #endAll(): Promise<number> {
    const { left } = await this.#members.end({
      graceMs: this.#graceMs,
      gone: () => this.#exited !== undefined,
      onSignal: () => {
        if (this.#exited === undefined && readProcess(this.pid)?.zombie !== true) this.#weKilled = true;
      },
      wait: (ms) => this.#exitOr(ms),
    });
    return left;
  }

  async #exitOr(ms: number): Promise<void> {
    if (this.#exited !== undefined) return await new Promise((resolve) => setTimeout(resolve, ms));
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, ms);
    });
    await Promise.race([this.#exit, late]);
    clearTimeout(timer);
  }
}
