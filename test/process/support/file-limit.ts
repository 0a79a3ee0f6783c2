import { execFileSync } from "node:child_process";

/** Why the limit of a running process cannot be set here; undefined when it can. */
export const fileLimitMissing = missing();

function missing(): string | undefined {
  try {
    execFileSync("prlimit", ["--version"], { stdio: "ignore" });
    return undefined;
  } catch {
    return "there is no prlimit";
  }
}

/** From now on this process may not have a file descriptor with this number or a higher one. Those that it has stay. */
export function limitFiles(pid: number, limit: number): void {
  execFileSync("prlimit", ["--pid", String(pid), `--nofile=${limit}:`]);
}
