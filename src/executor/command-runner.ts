import type { Readable } from "node:stream";
import { fillCommand } from "./arguments.ts";
import { firstText, TailBytes } from "./bytes.ts";
import { exitMessage } from "./exit-message.ts";
import type { JsonObject } from "./json.ts";
import { killedByKernel, killsNow, type OomKills } from "./oom-kills.ts";
import { failed, type Outcome } from "./outcome.ts";
import { LineSplitter, maxLineBytes, ResultCollector } from "./output.ts";
import { type ExitReport, type ProcessGroup, startProcessGroup } from "./process-group.ts";
import type { ProcessRegister } from "./process-register.ts";
import type { LoadedPlugin } from "./registry.ts";
import type { Job, RunContext, Runner } from "./runner.ts";
import { serverEnvOf } from "./server-env.ts";

const stderrTailBytes = 4_096;
/** Once nothing of the group is left, its pipes hold no more than the kernel's buffers; only a stranger keeps them open. */
const drainMs = 5_000;

const leaseMarker = "SLUICE_LEASE_ID";

export interface CommandRunnerOptions {
  /** Environment of the server; only PATH, HOME and LANG are taken out of it. */
  readonly serverEnv: Readonly<Record<string, string | undefined>>;
  /** Time that a plugin gets to end by itself after SIGTERM, in ms. */
  readonly killGraceMs: number;
  /** Left out: that the kernel ended something for lack of memory is never known. */
  readonly oomKills?: OomKills;
  /** Left out: what runs outlives a server that is killed. */
  readonly register?: ProcessRegister;
}

/** Runs plugins in command mode: one process group for each execution. */
export class CommandRunner implements Runner {
  readonly #options: CommandRunnerOptions;

  constructor(options: CommandRunnerOptions) {
    this.#options = options;
  }

  prepare(plugin: LoadedPlugin, args: JsonObject): Job {
    const argv = fillCommand(plugin.manifest.command, args);
    const stdin = `${JSON.stringify(args)}\n`;
    return { run: (context) => this.#run(plugin, argv, stdin, context) };
  }

  async #run(plugin: LoadedPlugin, argv: readonly string[], stdin: string, context: RunContext): Promise<Outcome> {
    const oomKills: OomKills = this.#options.oomKills ?? (async () => undefined);
    const killsBefore = killsNow(oomKills);
    const leaseId = context.env[leaseMarker];
    const marker = leaseId === undefined ? undefined : `${leaseMarker}=${leaseId}`;
    const started = await startProcessGroup({
      argv,
      cwd: plugin.cwd,
      env: { ...serverEnvOf(this.#options.serverEnv), ...plugin.manifest.env, ...context.env },
      graceMs: this.#options.killGraceMs,
      ...(marker === undefined ? {} : { marker }),
    });
    if (!started.ok) return failed("SPAWN", `Plugin "${plugin.manifest.name}" could not be started. ${started.message}`);
    const { group } = started;
    this.#options.register?.started(group.pid, marker);
    const output = new Output(group, context);
    const end = () => void group.kill();
    context.signal.addEventListener("abort", end, { once: true });
    if (context.signal.aborted) end();
    let refused: { readonly error: unknown } | undefined;
    try {
      context.onStarted(group.pid);
    } catch (error) {
      refused = { error };
      end();
    }
    group.stdin.end(stdin);
    const report = await group.ended;
    if (report.left === 0) this.#options.register?.ended(group.pid);
    context.signal.removeEventListener("abort", end);
    await output.finish();
    if (refused !== undefined) throw refused.error;
    const ranOut = !context.signal.aborted && (await killedByKernel(report, oomKills, killsBefore));
    return outcomeOf(plugin, report, output, context.signal, ranOut);
  }
}

/** Reads both pipes of a group, no faster than the lines can be told. */
class Output {
  readonly result = new ResultCollector();
  readonly tail = new TailBytes(stderrTailBytes);
  readonly #streams: readonly Readable[];
  readonly #context: RunContext;
  readonly #reading: Promise<unknown>;
  readonly #over: Promise<void>;
  #isOver = false;
  #setOver: () => void = () => {};

  constructor(group: ProcessGroup, context: RunContext) {
    this.#context = context;
    this.#streams = [group.stdout, group.stderr];
    this.#over = new Promise((resolve) => {
      this.#setOver = resolve;
    });
    this.#reading = Promise.all([this.#readStdout(group.stdout), this.#readStderr(group.stderr)]);
  }

  /**
   * Reads what is left in the pipes without waiting for slow readers: the processes are gone, so it is little, and nobody's
   * memory waits for it any longer.
   */
  async finish(): Promise<void> {
    this.#isOver = true;
    this.#setOver();
    const timer = setTimeout(() => {
      for (const stream of this.#streams) stream.destroy();
    }, drainMs);
    await this.#reading;
    clearTimeout(timer);
  }

  async #readStdout(stream: Readable): Promise<void> {
    for await (const chunk of chunks(stream)) {
      for (const line of this.result.push(chunk)) await this.#tell(line, false);
    }
    for (const line of this.result.end()) await this.#tell(line, false);
  }

  async #readStderr(stream: Readable): Promise<void> {
    const splitter = new LineSplitter(maxLineBytes, true);
    for await (const chunk of chunks(stream)) {
      this.tail.append(chunk);
      for (const line of splitter.push(chunk)) await this.#tell(firstText(line.bytes, maxLineBytes), true);
    }
    for (const line of splitter.end()) await this.#tell(firstText(line.bytes, maxLineBytes), true);
  }

  async #tell(line: string, stderr: boolean): Promise<void> {
    for (;;) {
      const wait = this.#isOver ? undefined : this.#context.ready();
      if (wait === undefined) break;
      await Promise.race([wait, this.#over]);
    }
    this.#context.onLog(line, stderr);
  }
}

/** The chunks of a pipe; one that breaks or is destroyed just ends. */
async function* chunks(stream: Readable): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of stream) yield chunk as Buffer;
  } catch {
    // What was read until now is what there is.
  }
}

function outcomeOf(plugin: LoadedPlugin, report: ExitReport, output: Output, signal: AbortSignal, ranOut: boolean): Outcome {
  const name = `Plugin "${plugin.manifest.name}"`;
  const stderrTail = output.tail.text();
  const more = {
    ...(report.code === undefined ? {} : { exitCode: report.code }),
    ...(report.signal === undefined ? {} : { signal: report.signal }),
    ...(stderrTail === "" ? {} : { stderrTail }),
  };
  const left = report.left === 0 ? "" : ` ${report.left} of its processes could not be ended and may still hold memory.`;
  if (signal.aborted && report.weKilled) return failed("CANCELLED", `${reasonOf(signal)}${left}`, more);
  if (ranOut) {
    const message = `${name} was ended by the kernel for lack of host memory: raise resources.min_system_ram_mb (now ${plugin.manifest.requirements.ramMb}) in its manifest, or give it less to do.${left}`;
    return failed("OUT_OF_MEMORY", message, more);
  }
  if (report.code !== 0) return failed("EXIT", `${name} ${exitMessage(plugin, report, stderrTail)}${left}`, more);
  const result = output.result.result();
  if ("problem" in result)
    return failed("BAD_RESULT", `${name} answered something that cannot be passed on. ${result.problem}`, more);
  return { ok: true, result: result.value };
}

function reasonOf(signal: AbortSignal): string {
  return signal.reason instanceof Error ? signal.reason.message : "The execution was cancelled.";
}
