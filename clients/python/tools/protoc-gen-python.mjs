// What buf runs for Python. Nobody needs Python to change the contract: without the one version of grpcio-tools that the committed
// files were made with, this says so in one line, answers no file, and what is committed stays as it is.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const [, version] = /^grpcio-tools==(\S+)$/m.exec(readFileSync(here("requirements.txt"), "utf8"));
const request = readFileSync(0);

/** An answer without files that knows proto3 optional (supported_features = 1). */
const nothing = Buffer.from([0x10, 0x01]);

const question = "from importlib.metadata import version; print(version('grpcio-tools'))";
const pythons = [process.env.SLUICE_PYTHON, here("../.venv/bin/python"), "python3"].filter(Boolean);
const python = pythons.find((name) => spawnSync(name, ["-c", question], { encoding: "utf8" }).stdout?.trim() === version);

if (python === undefined) {
  process.stderr.write(
    `SKIPPED: Python stubs were not generated: no Python with grpcio-tools ${version} (SLUICE_PYTHON names one)\n`,
  );
  process.stdout.write(nothing);
} else {
  const { status, stdout, stderr } = spawnSync(python, [here("generate.py")], { input: request, maxBuffer: 64 * 1024 * 1024 });
  process.stderr.write(stderr);
  if (status !== 0) process.exit(1);
  process.stdout.write(stdout);
}
