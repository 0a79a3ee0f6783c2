import { type ChildProcess, spawn } from "node:child_process";

/** How a child ended, or why it never began. */
export interface ChildEnd {
  readonly code?: number;
  readonly signal?: NodeJS.Signals;
  /** `ENOENT`, `EACCES` … when it could not be started. */
  readonly startError?: string;
}

/**
 * Owns every nvidia-smi that runs.
 *
 * A child of a hung driver sleeps where no signal reaches it, and each new one would join it there. So a child that has been told
 * to end and has not been reaped yet bars all others: `spawn` answers undefined until it is gone.
 */
export class Children {
  readonly #path: string;
  readonly #graceMs: number;
  readonly #live = new Set<Child>();
  #closed = false;

  /** @param graceMs from SIGTERM to SIGKILL; SIGKILL at once has wedged GPUs in the field. */
  constructor(path: string, graceMs: number) {
    this.#path = path;
    this.#graceMs = graceMs;
  }

  /** The child that was told to end and has not ended. */
  get condemned(): Child | undefined {
    for (const child of this.#live) if (child.condemned) return child;
    return undefined;
  }

  /** Children that have not been reaped. */
  get count(): number {
    return this.#live.size;
  }

  /** How long it may take until a condemned child is reaped, when the driver is well. */
  get reapMs(): number {
    return this.#graceMs + 1000;
  }

  /** Starts nvidia-smi, unless a condemned child is still there or all were ended for good. */
  spawn(args: readonly string[], onData: (chunk: Buffer) => void): Child | undefined {
    if (this.#closed || this.condemned) return undefined;
    const child = new Child(this.#path, args, this.#graceMs, onData);
    this.#live.add(child);
    void child.ended.then(() => this.#live.delete(child));
    return child;
  }

  /** Ends all, for good; resolves when they are reaped, or after `limitMs`. */
  async endAll(limitMs: number): Promise<void> {
    this.#closed = true;
    const ends = [...this.#live].map((child) => {
      child.end();
      return child.ended;
    });
    let timer: NodeJS.Timeout | undefined;
    const limit = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, limitMs);
    });
    await Promise.race([Promise.all(ends), limit]);
    clearTimeout(timer);
    for (const child of this.#live) child.abandon();
  }
}

/** One running nvidia-smi. Its output is always drained: a full pipe would hold back rows and hand them out later as fresh. */
export class Child {
  /** When it was reaped (or could not be started), and its output has been read. */
  readonly ended: Promise<ChildEnd>;
  readonly pid: number | undefined;
  /** Absent when not even an attempt could be made. */
  readonly #process: ChildProcess | undefined;
  readonly #graceMs: number;
  #condemned = false;
  #reaped = false;
  #killer: NodeJS.Timeout | undefined;

  constructor(path: string, args: readonly string[], graceMs: number, onData: (chunk: Buffer) => void) {
    this.#graceMs = graceMs;
    let started: ChildProcess;
    try {
      // A group of its own: where nvidia-smi is a wrapper script, the signal must reach what it started.
      started = spawn(path, args, { env: childEnv(), stdio: ["ignore", "pipe", "ignore"], detached: true });
    } catch (error) {
      // Most failures come as an event, but ENOMEM and a few others are thrown.
      this.#reaped = true;
      this.ended = Promise.resolve({ startError: (error as NodeJS.ErrnoException).code ?? String(error) });
      return;
    }
    this.#process = started;
    this.pid = started.pid;
    const stdout = started.stdout;
    stdout?.on("data", (chunk: Buffer) => {
      if (!this.#condemned) onData(chunk);
    });
    stdout?.on("error", () => stdout.destroy());
    this.ended = new Promise((resolve) => {
      const done = (end: ChildEnd) => {
        this.#reaped = true;
        clearTimeout(this.#killer);
        resolve(end);
      };
      started.once("error", (error: NodeJS.ErrnoException) => {
        if (started.pid === undefined) done({ startError: error.code ?? error.message });
      });
      started.once("exit", (code, signal) => {
        const end = { ...(code === null ? {} : { code }), ...(signal === null ? {} : { signal }) };
        // Something that the child left behind may hold the pipe open; what has been written by now arrives well within this.
        const late = setTimeout(() => {
          stdout?.destroy();
          done(end);
        }, 500);
        started.once("close", () => {
          clearTimeout(late);
          done(end);
        });
      });
    });
  }

  /** True from `end()` until it is reaped. */
  get condemned(): boolean {
    return this.#condemned && !this.#reaped;
  }

  /** SIGTERM, then SIGKILL after the grace. Nothing it still says is heard. Idempotent; wait for `ended`. */
  end(): void {
    if (this.#condemned || this.#reaped) return;
    this.#condemned = true;
    // With nobody reading, a child that floods dies of SIGPIPE instead of keeping this process busy.
    this.#process?.stdout?.destroy();
    this.#signal("SIGTERM");
    this.#killer = setTimeout(() => this.#signal("SIGKILL"), this.#graceMs);
  }

  /** One that is stuck in the driver no longer keeps this process from ending. */
  abandon(): void {
    this.#killer?.unref();
    this.#process?.unref();
  }

  #signal(signal: NodeJS.Signals): void {
    const child = this.#process;
    // Once it is reaped its pid may belong to somebody else.
    if (!child || child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    try {
      process.kill(-child.pid, signal);
    } catch {
      // There are no process groups here (Windows): the process itself is what is left to try.
      child.kill(signal);
    }
  }
}

const passedOn = ["PATH", "HOME", "USER", "TMPDIR", "LD_LIBRARY_PATH", "SystemRoot", "WINDIR", "PATHEXT"];

/** A fixed environment: row timestamps in UTC, words in English, nothing else of ours. */
function childEnv(): Record<string, string> {
  const env: Record<string, string> = { TZ: "UTC", LC_ALL: "C" };
  for (const name of passedOn) {
    const value = process.env[name];
    if (value !== undefined) env[name] = value;
  }
  return env;
}
