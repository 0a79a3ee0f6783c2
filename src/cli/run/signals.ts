import { readFileSync } from "node:fs";
import { isatty } from "node:tty";
import { codeOfSignal } from "../exit-codes.ts";

/** What `sluice run` passes on. SIGTSTP and its like are left alone, so that a shell's job control works as usual. */
const forwarded = [
  "SIGINT",
  "SIGTERM",
  "SIGHUP",
  "SIGQUIT",
  "SIGUSR1",
  "SIGUSR2",
  "SIGWINCH",
] as const satisfies readonly NodeJS.Signals[];

/** Those that end a program which only waits. */
const ending: ReadonlySet<string> = new Set(["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"]);

/** Those that a terminal sends to everybody in the foreground, so that the command has got them already. */
const fromTerminal: ReadonlySet<string> = new Set(["SIGINT", "SIGQUIT"]);

/**
 * Catches signals from the moment it is made. Without a command the first ending one aborts `interrupt`; with one they go to
 * the command.
 */
export class Signals {
  readonly #interrupt = new AbortController();
  readonly #listener = (signal: NodeJS.Signals) => this.#catch(signal);
  #received: NodeJS.Signals | undefined;
  #send: ((signal: NodeJS.Signals) => void) | undefined;

  constructor() {
    for (const signal of forwarded) process.on(signal, this.#listener);
  }

  /** Aborted by the first signal that comes while there is no command. */
  get interrupt(): AbortSignal {
    return this.#interrupt.signal;
  }

  /** The exit code for the signal that interrupted the wait. */
  get code(): number {
    return codeOfSignal(this.#received ?? "SIGTERM");
  }

  /** From now on signals go to the command. */
  forwardTo(send: (signal: NodeJS.Signals) => void): void {
    this.#send = send;
  }

  dispose(): void {
    for (const signal of forwarded) process.off(signal, this.#listener);
  }

  #catch(signal: NodeJS.Signals): void {
    if (this.#send !== undefined) {
      if (!(fromTerminal.has(signal) && inForeground())) this.#send(signal);
    } else if (ending.has(signal)) {
      this.#received ??= signal;
      this.#interrupt.abort();
    }
  }
}

/** True when this process, and so its command, is in the foreground of a terminal, which then signals both. */
function inForeground(): boolean {
  try {
    const stat = readFileSync("/proc/self/stat", "utf8");
    // The name in parentheses may hold anything; after it come state, ppid, pgrp, session, tty_nr, tpgid.
    const [, , group, , terminal, foreground] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return terminal !== "0" && group === foreground;
  } catch {
    return isatty(0);
  }
}
