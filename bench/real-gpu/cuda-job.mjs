// Builds and starts jobs that really take GPU memory.
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** The path of the program; built on the first call. */
export function cudaJob() {
  program ??= build();
  return program;
}

let program;

function build() {
  const out = join(mkdtempSync(join(tmpdir(), "sluice-cuda-")), "cuda-job");
  const source = fileURLToPath(new URL("cuda-job.c", import.meta.url));
  execFileSync("cc", ["-O2", "-o", out, source, "-ldl"], { stdio: "inherit" });
  return out;
}

/** Starts one that holds its memory until it is ended. @returns when it has it: the process, and how long that took. */
export async function holding(mib, seconds = 600) {
  const child = spawn(cudaJob(), [String(mib), String(seconds)], { stdio: ["ignore", "pipe", "inherit"] });
  const end = new Promise((resolve) => child.once("exit", (code, signal) => resolve(signal ?? code)));
  for await (const line of createInterface({ input: child.stdout })) {
    const ready = /^ready (\d+)$/.exec(line);
    if (ready !== null) return { child, end, readyMs: Number(ready[1]) };
  }
  throw new Error(`the job ended with ${await end}`);
}
