import { type ChildProcess, spawn } from "node:child_process";
import { codeOfSignal, exitCode } from "../exit-codes.ts";

/** How a command ended. */
export type ChildEnd =
  | { readonly kind: "ended"; readonly code: number }
  | { readonly kind: "not-started"; readonly code: number; readonly message: string };

/** A command that was started, or could not be. */
export interface Child {
  /** Undefined when it could not be started. */
  readonly pid: number | undefined;
  readonly end: Promise<ChildEnd>;
  kill(signal: NodeJS.Signals): void;
}

/** Starts a command on this process's own standard streams, without a shell. */
export function startChild(command: string, args: readonly string[], env: Readonly<Record<string, string | undefined>>): Child {
  let child: ChildProcess;
  try {
    child = spawn(command, args, { stdio: "inherit", env: env as NodeJS.ProcessEnv });
  } catch (error) {
    // Thrown for what no program can be given, such as a NUL in an argument.
    return { pid: undefined, end: Promise.resolve(notStarted(command, error as NodeJS.ErrnoException)), kill: () => {} };
  }
  const end = new Promise<ChildEnd>((resolve) => {
    child.once("error", (error: NodeJS.ErrnoException) => {
      if (child.pid === undefined) resolve(notStarted(command, error));
    });
    child.once("exit", (code, signal) =>
      resolve({ kind: "ended", code: signal === null ? (code ?? exitCode.failure) : codeOfSignal(signal) }),
    );
  });
  return { pid: child.pid, end, kill: (signal) => void child.kill(signal) };
}

function notStarted(command: string, error: NodeJS.ErrnoException): ChildEnd {
  if (error.code === "ENOENT") {
    return {
      kind: "not-started",
      code: exitCode.notFound,
      message: `${command}: there is no such command; check its name and PATH`,
    };
  }
  const why = error.code === "EACCES" ? "it is not a program that you may run" : error.message;
  return { kind: "not-started", code: exitCode.cannotRun, message: `${command} cannot be run: ${why}` };
}
