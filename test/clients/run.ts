import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Scenario } from "./scenario-file.ts";
import type { Stage } from "./stage.ts";

/** How one language executes a scenario. */
export interface Runner {
  readonly language: string;
  /** Gets the toolchain ready (builds, installs). Answers why this language cannot be run here, undefined when it can. */
  prepare(): Promise<string | undefined>;
  /** Why this runner cannot play a scenario, for what its way to the server has not got; undefined when it can. */
  cannot?(scenario: Scenario): string | undefined;
  /** The program to start for each scenario, after prepare(). */
  command(): readonly [program: string, ...args: string[]];
  /** What runs the client's own tests, in the language's own way; undefined when another runner stands for them. */
  ownTests?(): readonly [program: string, ...args: string[]];
}

/** What came of one scenario in one language. */
export interface Outcome {
  readonly passed: boolean;
  readonly ms: number;
  /** Which step failed, and why; empty when it passed. */
  readonly why: string;
}

/** Longer than the slowest scenario (a line that is found to be dead), and an end to a runner that hangs. */
const limitMs = 60_000;

/**
 * Starts a runner and plays one scenario with it. The runner reads the scenario as one line of JSON on stdin, writes one line of JSON
 * on stdout for each thing that it wants of the driver, is answered by one line, and ends with a line that says whether it passed.
 */
export async function play(runner: Runner, scenario: Scenario, stage: Stage): Promise<Outcome> {
  const [program, ...args] = runner.command();
  const started = performance.now();
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"] });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said = `${said}${text}`.slice(-4_000);
  });
  // A runner that has ended already does not read any more; its end is told below.
  child.stdin.on("error", () => {});
  const limit = setTimeout(() => child.kill("SIGKILL"), limitMs);
  try {
    child.stdin.write(`${JSON.stringify({ scenario, doors: stage.doors() })}\n`);
    const verdict = await converse(child, stage);
    const ms = performance.now() - started;
    if (verdict?.passed === true) return { passed: true, ms, why: "" };
    const why = verdict?.why ?? (ms >= limitMs ? `no verdict within ${limitMs / 1000} s` : "it ended without a verdict");
    return { passed: false, ms, why: `${why}${said === "" ? "" : `\n${said}`}` };
  } finally {
    clearTimeout(limit);
    child.kill("SIGKILL");
  }
}

interface Verdict {
  readonly passed: boolean;
  readonly why?: string;
}

async function converse(child: ChildProcessWithoutNullStreams, stage: Stage): Promise<Verdict | undefined> {
  const failed = new Promise<Verdict>((resolve) => {
    child.once("error", (error) => resolve({ passed: false, why: error.message }));
  });
  const talk = async (): Promise<Verdict | undefined> => {
    for await (const line of createInterface({ input: child.stdout })) {
      if (!line.startsWith("{")) continue;
      const message = JSON.parse(line) as { driver?: string; argument?: unknown } & Partial<Verdict>;
      if (message.passed !== undefined) return { passed: message.passed, why: message.why ?? "" };
      if (message.driver === undefined) continue;
      const answer = await stage.act(message.driver, message.argument).then(
        () => ({ ok: true }),
        (error: unknown) => ({ ok: false, why: String(error) }),
      );
      child.stdin.write(`${JSON.stringify(answer)}\n`);
    }
    return undefined;
  };
  return Promise.race([talk(), failed]);
}
