import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Runner } from "../run.ts";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const client = here("../../../clients/python");
const own = `${client}/.venv`;

/**
 * Python, with the client as pip installs it. SLUICE_PYTHON names a Python that has it; else one is made in clients/python/.venv,
 * once, with the exact versions of constraints.txt.
 * @param program the runner; the one for asyncio is another program.
 * @param ownTests true for the one of them that also runs the client's own tests.
 */
export function pythonRunner(language: string, program: string, ownTests = false): Runner {
  const python = process.env.SLUICE_PYTHON ?? `${own}/bin/python`;
  return {
    language,
    async prepare() {
      if (hasClient(python)) return undefined;
      if (process.env.SLUICE_PYTHON !== undefined) return `${python} has no package sluice (pip install ${client})`;
      if (spawnSync("python3", ["--version"]).status !== 0) return "there is no python3";
      if (!existsSync(python) && spawnSync("python3", ["-m", "venv", own]).status !== 0) return "python3 -m venv failed";
      const args = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", `${client}/constraints.txt`];
      const { status, stderr } = spawnSync(python, [...args, "-e", client], { encoding: "utf8" });
      return status === 0 ? undefined : `pip failed: ${stderr.trim().split("\n").at(-1)}`;
    },
    command: () => [python, "-u", `${client}/tests/${program}`],
    ...(ownTests ? { ownTests: () => [python, "-m", "unittest", "discover", "-s", `${client}/tests`] as const } : {}),
  };
}

function hasClient(python: string): boolean {
  return spawnSync(python, ["-c", "import sluice.v1.scheduler_pb2_grpc"]).status === 0;
}
