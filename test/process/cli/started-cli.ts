import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { waitFor } from "../../wait-for.ts";

/** The built command line; `npm test` builds it first. */
export const main = fileURLToPath(new URL("../../../dist/bin/sluice.js", import.meta.url));

export interface StartedCli {
  readonly process: ChildProcess;
  readonly pid: number;
  readonly out: () => string;
  readonly err: () => string;
  /** The exit code, or the signal that ended it. */
  readonly end: Promise<number | NodeJS.Signals>;
}

/** Starts the real command line as a process of its own. */
export function startCli(argv: readonly string[], env: Readonly<Record<string, string>> = {}): StartedCli {
  const child = spawn(process.execPath, [main, ...argv], {
    env: { PATH: process.env.PATH, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let out = "";
  let err = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    out += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    err += text;
  });
  const end = new Promise<number | NodeJS.Signals>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => resolve(signal ?? code ?? -1));
  });
  return { process: child, pid: child.pid ?? -1, out: () => out, err: () => err, end };
}

/** True while this process runs; a zombie has ended. */
export function runs(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return !"ZX".includes(stat.slice(stat.lastIndexOf(")") + 2, stat.lastIndexOf(")") + 3));
  } catch {
    return false;
  }
}

/** Pids of the children of a process. */
export function childrenOf(pid: number): readonly number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

/** The number that a command printed after a word: `pid 123`. */
export async function printed(cli: StartedCli, word: string): Promise<number> {
  return Number(
    await waitFor(
      () => new RegExp(`${word} (\\d+)\\n`).exec(cli.out())?.[1],
      `${word} on standard output; standard error: ${cli.err()}`,
    ),
  );
}
