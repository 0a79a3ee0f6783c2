import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { statSync } from "node:fs";
import type { Readable, Writable } from "node:stream";
import { setImmediate as nextTurn } from "node:timers/promises";
import { descendants, type ProcessRow, readProcess, readProcesses, startedWith } from "./process-tree.ts";

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

/** How long to go on after SIGKILL before giving up. */
const giveUpMs = 5_000;
const pollMs = 20;

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
 * A process belongs to the group when it is in its process group or session, descends from one that belongs, or carries the
 * marker. `ended` comes when the first process has exited and nothing of the group is left: what it leaves behind is ended
 * too, because it would go on holding memory that is given to somebody else.
 *
 * A signal goes only to a process whose start time was checked just before, so that a reused pid is never hit. The first
 * process needs no check before its exit was seen: until then its pid cannot be reused.
 */
export class ProcessGroup {
  readonly pid: number;
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  readonly ended: Promise<ExitReport>;
  readonly #command: Command;
  /** Clock ticks since boot; undefined where there is no /proc. */
  readonly #start: number | undefined;
  readonly #exit: Promise<void>;
  readonly #known = new Set<string>();
  #exited: { code: number | null; signal: NodeJS.Signals | null } | undefined;
  readonly #end: Promise<number>;
  #beginEnd: () => void = () => {};
  #weKilled = false;

  constructor(child: ChildProcessWithoutNullStreams, pid: number, command: Command) {
    this.pid = pid;
    this.stdin = child.stdin;
    this.stdout = child.stdout;
    this.stderr = child.stderr;
    this.#command = command;
    this.#start = readProcess(pid)?.start;
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
    const from = performance.now();
    const asked = new Set<string>();
    for (let round = 0; ; round += 1) {
      // Looked up before each signal: once a parent is gone, its child can no longer be traced to it.
      const members = await this.#members();
      if (this.#exited !== undefined && members.length === 0) return 0;
      const age = performance.now() - from;
      if (age > this.#command.graceMs + giveUpMs) return Math.max(1, members.length);
      if (age >= this.#command.graceMs) this.#signal(members, "SIGKILL", true);
      // Asked once each: to many programs a second SIGTERM means "drop everything".
      else
        this.#signal(
          members.filter((m) => !asked.has(keyOf(m))),
          "SIGTERM",
          round === 0,
        );
      for (const member of members) asked.add(keyOf(member));
      await this.#exitOr(pollMs);
    }
  }

  /** @param together to the process group as one, so that nothing that is being forked meanwhile is missed. */
  #signal(members: readonly ProcessRow[], signal: NodeJS.Signals, together: boolean): void {
    const running = this.#exited === undefined;
    if (running && readProcess(this.pid)?.zombie !== true) this.#weKilled = true;
    // The group's number cannot belong to anybody else before the first process was collected, or while a process that was
    // checked is in it.
    const group = together && (running || members.some((m) => m.group === this.pid && same(m)));
    if (group) send(-this.pid, signal);
    for (const member of members) {
      if (!(group && member.group === this.pid) && same(member)) send(member.pid, signal);
    }
  }

  /** What belongs to the group and still runs. */
  async #members(): Promise<ProcessRow[]> {
    const start = this.#start;
    const rows = start === undefined ? undefined : await readProcesses();
    if (start === undefined || rows === undefined) return this.#membersWithoutProc();
    const numberIsOurs = this.#exited === undefined || !rows.some((r) => r.pid === this.pid && r.start !== start);
    const roots = new Set<number>();
    let looked = 0;
    for (const row of rows) {
      // Nothing that is older than the first process can descend from it.
      if (row.start < start || row.pid === process.pid) continue;
      const ours =
        this.#known.has(keyOf(row)) ||
        (row.pid === this.pid && row.start === start) ||
        (numberIsOurs && (row.group === this.pid || row.session === this.pid));
      if (ours) roots.add(row.pid);
      else if (this.#command.marker !== undefined) {
        if (startedWith(row.pid, this.#command.marker)) roots.add(row.pid);
        looked += 1;
        if (looked % 200 === 0) await nextTurn();
      }
    }
    const below = new Set(descendants(rows, roots).map((r) => r.pid));
    const members = rows.filter((r) => !r.zombie && r.pid !== process.pid && (roots.has(r.pid) || below.has(r.pid)));
    for (const member of members) this.#known.add(keyOf(member));
    return members;
  }

  /** Where there is no /proc only the process group itself can be seen. */
  #membersWithoutProc(): ProcessRow[] {
    try {
      process.kill(-this.pid, 0);
    } catch {
      return [];
    }
    return [{ pid: this.pid, ppid: 0, group: this.pid, session: this.pid, start: Number.NaN, zombie: false }];
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

function keyOf(row: ProcessRow): string {
  return `${row.pid}:${row.start}`;
}

/** True while this very process is there; where the start time is not known, that it was just seen has to do. */
function same(row: ProcessRow): boolean {
  return Number.isNaN(row.start) || readProcess(row.pid)?.start === row.start;
}

function send(pid: number, signal: NodeJS.Signals): void {
  if (Math.abs(pid) <= 1 || pid === process.pid) return;
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended meanwhile, or belongs to another user: the next look says which.
  }
}
