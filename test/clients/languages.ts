import type { Runner } from "./run.ts";
import { goRunner } from "./runners/go.ts";
import { javaRunner } from "./runners/java.ts";
import { pythonRunner } from "./runners/python.ts";
import { rustRunner } from "./runners/rust.ts";
import { tsRunner, tsWebRunner } from "./runners/ts.ts";

/** Every language that has a client, in the order of the table. */
export const languages: readonly Runner[] = [
  pythonRunner("python", "scenario_runner.py", true),
  pythonRunner("python-asyncio", "scenario_runner_aio.py"),
  goRunner(),
  javaRunner(),
  rustRunner(),
  tsRunner,
  tsWebRunner,
];
