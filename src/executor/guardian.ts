import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import type { Socket } from "node:net";
import { fileURLToPath } from "node:url";
import { groupRecord } from "./foreign-group.ts";
import type { GroupIdentity } from "./group-members.ts";

/** One that ended sooner than this is not started again before there is something new to tell, in ms. */
const restartAfterMs = 10_000;
/** More than it needs to end what is left, in ms. */
const closeMs = 10_000;

export interface GuardianOptions {
  /** The program; else the one beside this file. */
  readonly entry?: string;
  /** Told, in plain words, that what runs is not guarded. */
  readonly onWarn?: (message: string) => void;
}

/**
 * Has every group ended when this process dies, be it by SIGKILL. A process of its own looks after them: it is started with the
 * first group, and again when it died.
 */
export class Guardian {
  readonly #options: GuardianOptions;
  readonly #groups = new Map<number, GroupIdentity>();
  #child: ChildProcess | undefined;
  #startedAt = 0;
  #closed = false;

  constructor(options: GuardianOptions = {}) {
    this.#options = options;
  }

  /** Undefined while none is there. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  add(group: GroupIdentity): void {
    if (this.#closed) return;
    this.#groups.set(group.pid, group);
    if (this.#child === undefined) this.#start();
    else this.#say({ add: groupRecord(group) });
  }

  remove(pid: number): void {
    if (this.#groups.delete(pid)) this.#say({ remove: { pid } });
  }

  /** Lets it go. What was not removed is ended. Resolves when it is gone. */
  async close(): Promise<void> {
    const child = this.#child;
    this.#closed = true;
    if (child?.stdin == null) return;
    const gone = new Promise((resolve) => child.once("exit", resolve));
    if (this.#groups.size === 0) this.#say({ bye: true });
    child.ref();
    child.stdin.end();
    const timer = setTimeout(() => child.kill("SIGKILL"), closeMs);
    await gone;
    clearTimeout(timer);
  }

  #start(): void {
    // A session of its own, so that what a terminal sends to the server does not end it. No folder that somebody wants to unmount.
    const { NODE_OPTIONS: _, ...env } = process.env;
    let child: ChildProcess;
    try {
      child = spawn(process.execPath, ["--max-old-space-size=32", this.#options.entry ?? defaultEntry()], {
        cwd: "/",
        env,
        detached: true,
        stdio: ["pipe", "ignore", "ignore"],
      });
    } catch (error) {
      this.#warn(error);
      return;
    }
    this.#startedAt = performance.now();
    this.#child = child;
    const gone = () => this.#gone(child);
    child.once("exit", gone);
    child.once("error", (error) => {
      this.#warn(error);
      gone();
    });
    // That it is gone is heard from the process itself.
    child.stdin?.on("error", () => {});
    child.unref();
    (child.stdin as Socket | null)?.unref();
    for (const group of this.#groups.values()) this.#say({ add: groupRecord(group) });
  }

  #gone(child: ChildProcess): void {
    if (this.#child !== child) return;
    this.#child = undefined;
    // What was told to it when it was dying was told to nobody.
    const lived = performance.now() - this.#startedAt;
    if (!this.#closed && this.#groups.size > 0 && lived >= restartAfterMs) this.#start();
  }

  #say(line: object): void {
    this.#child?.stdin?.write(`${JSON.stringify(line)}\n`);
  }

  #warn(error: unknown): void {
    const why = error instanceof Error ? error.message : String(error);
    this.#options.onWarn?.(
      `The process that ends workers when the server is killed could not be started (${why}): should the server be killed now, its workers may stay.`,
    );
  }
}

/** Under a test runner that reads the sources there is no built file beside this one. */
function defaultEntry(): string {
  const beside = fileURLToPath(new URL("./guardian-main.js", import.meta.url));
  return existsSync(beside) ? beside : fileURLToPath(new URL("../../dist/executor/guardian-main.js", import.meta.url));
}
