import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Runner } from "../run.ts";

const client = fileURLToPath(new URL("../../../clients/rust", import.meta.url));
/** Longer than everything takes from nothing on a small, busy machine. */
const limitMs = 15 * 60_000;

/**
 * Rust, with what Cargo.lock says. Everything is built in clients/rust/target, the tests too, so that nothing that has a limit of its own
 * waits for the compiler.
 */
export function rustRunner(): Runner {
  const cargo = (...args: string[]) => spawnSync("cargo", args, { cwd: client, encoding: "utf8", timeout: limitMs, env });
  return {
    language: "rust",
    async prepare() {
      if (cargo("--version").status !== 0) return "there is no cargo";
      const { status, stderr } = cargo("build", "--quiet", "--locked", "--workspace", "--all-targets");
      if (status === 0) return undefined;
      if (status === null) return `cargo build took longer than ${limitMs / 60_000} minutes`;
      return `cargo build failed: ${stderr.split("\n").find((line) => line.startsWith("error")) ?? stderr.trim().split("\n").at(-1)}`;
    },
    command: () => [`${target}/debug/runner`],
    ownTests: () => ["cargo", "test", "--quiet", "--locked", "--workspace", "--manifest-path", `${client}/Cargo.toml`],
  };
}

const target = process.env.CARGO_TARGET_DIR ?? `${client}/target`;
// Two at a time: other runners build on the same machine.
const env = { CARGO_BUILD_JOBS: "2", ...process.env };
