import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

// A traced process that is killed stops on its way out until its tracer lets it go: it is there, does nothing, and no signal
// reaches it, as one that sleeps in a driver.
const source = `
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <unistd.h>

int main(int argc, char **argv) {
  /* A test that is cut off must not leave what it held. */
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (argc < 2 || ptrace(PTRACE_SEIZE, atoi(argv[1]), 0, PTRACE_O_TRACEEXIT) != 0) {
    perror("ptrace");
    return 1;
  }
  puts("held");
  fflush(stdout);
  pause();
  return 0;
}
`;

/** Makes processes that SIGKILL does not end. */
export class Unkillable implements AsyncDisposable {
  readonly #dir: string;
  readonly #tracers = new Set<ChildProcess>();

  private constructor(dir: string) {
    this.#dir = dir;
  }

  /** Answers why it cannot be had here, where it cannot. */
  static async create(): Promise<Unkillable | string> {
    if (process.platform !== "linux") return "there is no ptrace here";
    const dir = mkdtempSync(join(tmpdir(), "sluice-unkillable-"));
    const made = new Unkillable(dir);
    try {
      writeFileSync(join(dir, "hold.c"), source);
      execFileSync("gcc", ["-o", join(dir, "hold"), join(dir, "hold.c")], { timeout: 30_000 });
      const probe = spawn("sleep", ["60"]);
      try {
        await made.hold(probe.pid ?? -1);
      } finally {
        await made.letGo();
        probe.kill("SIGKILL");
      }
      return made;
    } catch (error) {
      await made[Symbol.asyncDispose]();
      return `a process cannot be held (${error instanceof Error ? error.message : error})`;
    }
  }

  /** From now on this process does not end, whatever is sent to it. */
  async hold(pid: number): Promise<void> {
    const tracer = spawn(join(this.#dir, "hold"), [String(pid)], { stdio: ["ignore", "pipe", "pipe"] });
    this.#tracers.add(tracer);
    const ended = once(tracer, "exit").then(() => Promise.reject(new Error("ptrace is not allowed")));
    ended.catch(() => {});
    if (tracer.stdout !== null) await Promise.race([once(tracer.stdout, "data"), ended]);
  }

  /** Every process that was held goes on with its end, or lives as before. */
  async letGo(): Promise<void> {
    const tracers = [...this.#tracers];
    this.#tracers.clear();
    for (const tracer of tracers) {
      if (tracer.exitCode !== null || tracer.signalCode !== null) continue;
      const ended = once(tracer, "exit");
      tracer.kill("SIGKILL");
      await ended;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.letGo();
    rmSync(this.#dir, { recursive: true, force: true });
  }
}
