import { setImmediate as nextTurn } from "node:timers/promises";
import { CancellationToken, CancellationTokenSource } from "vscode-jsonrpc/node";
import type { JsonObject } from "./json.ts";
import { type ExitReport, type ProcessGroup, startProcessGroup } from "./process-group.ts";
import {
  type CallEnd,
  callEndOf,
  type InitEnd,
  initEndOf,
  type LoadEnd,
  type WorkerCall,
  type WorkerLost,
} from "./worker-call.ts";
import { LoadWatch, memoryGrew } from "./worker-load.ts";
import type { InitializeOptions, WorkerCommand, WorkerOptions } from "./worker-options.ts";
import { WorkerOutput } from "./worker-output.ts";
import { type Answer, WorkerWire } from "./worker-wire.ts";

export type WorkerStart =
  | { readonly ok: true; readonly worker: WorkerProcess }
  | { readonly ok: false; readonly message: string };

const defaultCancelGraceMs = 10_000;
const defaultShutdownMs = 5_000;
const defaultSlowReaderMs = 30_000;
/** A process that ends closes its pipes a moment before its exit is seen: time for that, in ms. */
const brokenGraceMs = 2_000;
/** Once nothing of the group is left, its pipes hold no more than the kernel's buffers; only a stranger keeps them open. */
const drainMs = 5_000;

/**
 * One worker: its process group, the messages to and from it, and those whom it serves.
 *
 * - starting: from `start`. Asked for nothing yet.
 * - loading: from `initialize`, until it has answered.
 * - serving: answers calls of `execute`; `release` when there are none.
 * - ending: from all, when `shutdown` or `kill` was called, when it cannot be talked to any more, when it did not answer to a
 *   cancellation and nothing else ran, or when it failed to load. Calls that are under way may still be answered.
 * - gone: its first process has exited and nothing of the group is left. Every call is over by then.
 *
 * It knows nothing of leases and memory; whoever keeps it decides what it is asked for, and in which order.
 */
export class WorkerProcess {
  readonly pid: number;
  /** Resolves when nothing of it is left and every call is over. Never rejects. */
  readonly ended: Promise<ExitReport>;
  readonly #group: ProcessGroup;
  readonly #options: WorkerOptions;
  readonly #slowReaderMs: number;
  readonly #output: WorkerOutput;
  readonly #wire: WorkerWire;
  readonly #waiting = new Set<(gone: WorkerLost) => void>();
  #watch: LoadWatch | undefined;
  /** Calls of `execute` that are not over. */
  #calls = 0;
  #initialized = false;
  #shutDown = false;
  #ending = false;
  #brokenTimer: NodeJS.Timeout | undefined;
  #problem: string | undefined;
  #gone: WorkerLost | undefined;

  /** Never throws: why it did not start is in plain words. */
  static async start(command: WorkerCommand, options: WorkerOptions = {}): Promise<WorkerStart> {
    const { argv, cwd, env, marker, killGraceMs } = command;
    const started = await startProcessGroup({
      argv,
      cwd,
      env,
      graceMs: killGraceMs,
      ...(marker === undefined ? {} : { marker }),
    });
    if (!started.ok) return started;
    options.register?.started(started.group.pid, marker);
    return { ok: true, worker: new WorkerProcess(started.group, options) };
  }

  private constructor(group: ProcessGroup, options: WorkerOptions) {
    this.pid = group.pid;
    this.#group = group;
    this.#options = options;
    this.#slowReaderMs = options.slowReaderMs ?? defaultSlowReaderMs;
    this.#output = new WorkerOutput(group.stderr, {
      slowReaderMs: this.#slowReaderMs,
      onHeard: (what) => this.#watch?.heard(what),
      onError: (error) => options.onError?.(error),
    });
    this.#wire = new WorkerWire(group.stdin, group.stdout, {
      onNotification: (method, params) => this.#output.notification(method, params),
      onStray: (line) => this.#output.stray(line),
      onBroken: (problem) => this.#broken(problem),
    });
    this.ended = this.#end();
  }

  /** The last of its stderr, at most 4 KiB, with lines for the log that nobody was there to hear. */
  stderrTail(): string {
    return this.#output.stderrTail();
  }

  /** Somebody measured that its memory grew: loading goes on. */
  memoryGrew(): void {
    this.#watch?.heard(memoryGrew);
  }

  /**
   * Loads it. After any other end than `ready` it is being ended. Throws when it is called twice.
   * @param params of the request, as docs/workers.md says.
   */
  async initialize(params: object, options: InitializeOptions): Promise<InitEnd> {
    if (this.#initialized) throw new Error("this worker was initialized already");
    this.#initialized = true;
    const from = performance.now();
    const end = await this.#load(params, options);
    if (end.kind !== "ready") void this.kill();
    return end.kind === "ready" ? { ...end, tookMs: performance.now() - from } : end;
  }

  /** Runs one call. Never rejects. Throws when the same execution is under way here already. */
  async execute(args: JsonObject, call: WorkerCall, signal: AbortSignal): Promise<CallEnd> {
    if (this.#gone !== undefined) return this.#gone;
    if (signal.aborted) return { kind: "cancelled" };
    const place = this.#output.audience.add(call);
    const source = new CancellationTokenSource();
    this.#calls += 1;
    let stopWaiting = () => {};
    let giveUp = () => {};
    const stuck = new Promise<{ readonly kind: "stuck" }>((resolve) => {
      giveUp = () => resolve({ kind: "stuck" });
    });
    const cancel = () => {
      place.leave();
      if (place.answered) return;
      // A wire that is down takes no cancellation; what is left of the worker is being ended.
      if (this.#wire.open) source.cancel();
      stopWaiting = this.#awaitCancelled(call.executionId, giveUp);
    };
    signal.addEventListener("abort", cancel, { once: true });
    const asked = this.#ask("execute", { execution_id: call.executionId, arguments: args }, source.token);
    const answer = await Promise.race([asked, stuck]);
    this.#calls -= 1;
    const aborted = signal.aborted;
    stopWaiting();
    place.answered = true;
    if (answer.kind !== "stuck") await this.#output.caughtUp();
    signal.removeEventListener("abort", cancel);
    place.gone();
    if (answer.kind === "stuck") return { kind: "cancelled" };
    if (answer.kind === "lost") return aborted ? { kind: "cancelled" } : answer;
    return callEndOf(answer, aborted);
  }

  /**
   * Asks it to give its memory back. Call it only when nothing runs.
   * @returns false when it said no, did not answer in time or is gone: it then holds what it held.
   */
  async release(timeoutMs: number): Promise<boolean> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<false>((resolve) => {
      timer = setTimeout(() => resolve(false), timeoutMs);
      timer.unref();
    });
    const asked = this.#ask("release", {}, CancellationToken.None).then((answer) => answer.kind === "result");
    const released = await Promise.race([asked, late]);
    clearTimeout(timer);
    return released;
  }

  /** Asks it to exit, and ends it when it does not. Idempotent. */
  shutdown(): Promise<ExitReport> {
    if (this.#shutDown) return this.ended;
    this.#shutDown = true;
    void this.#ask("shutdown", {}, CancellationToken.None);
    const timer = setTimeout(() => void this.kill(), this.#options.shutdownMs ?? defaultShutdownMs);
    timer.unref();
    void this.ended.then(() => clearTimeout(timer));
    return this.ended;
  }

  /** Ends it: SIGTERM to its process group, the grace, SIGKILL. Idempotent. */
  kill(): Promise<ExitReport> {
    this.#ending = true;
    void this.#group.kill();
    return this.ended;
  }

  async #load(params: object, options: InitializeOptions): Promise<LoadEnd> {
    const { signal } = options;
    if (signal.aborted) return { kind: "cancelled" };
    const place = this.#output.audience.add({
      onLog: (line, stderr) => options.onLog(line, stderr),
      onProgress: (message, fraction) => options.onProgress(message, fraction),
      ready: () => options.ready?.(),
      tooSlow: () => options.tooSlow?.(),
    });
    let cancel = () => {};
    const without = new Promise<LoadEnd>((resolve) => {
      cancel = () => resolve({ kind: "cancelled" });
      signal.addEventListener("abort", cancel, { once: true });
      this.#watch = new LoadWatch({
        stallMs: options.stallMs,
        memoryMb: () => options.memoryMb?.(),
        deaf: () => this.#output.audience.waiting,
        onStall: (lastHeard) => resolve({ kind: "stalled", lastHeard, stderrTail: this.stderrTail() }),
      });
    });
    const answered = this.#ask("initialize", params, CancellationToken.None).then((answer) => {
      place.answered = true;
      return initEndOf(answer);
    });
    const end = await Promise.race([answered, without]);
    signal.removeEventListener("abort", cancel);
    this.#watch?.stop();
    this.#watch = undefined;
    if (place.answered) await this.#output.caughtUp();
    place.gone();
    return end;
  }

  /** Asks, and waits for the answer or for the end of the worker. */
  #ask(method: string, params: object, token: CancellationToken): Promise<Answer | WorkerLost> {
    return new Promise((resolve) => {
      if (this.#gone !== undefined) return resolve(this.#gone);
      this.#waiting.add(resolve);
      const answered = (answer: Answer) => {
        this.#waiting.delete(resolve);
        resolve(answer);
      };
      this.#wire.request(method, params, token).then(answered, () => this.#broken("It could not be asked."));
    });
  }

  /**
   * A worker that does not answer to a cancellation is ended: at once when nothing else runs on it, else by whoever keeps it, when the
   * others are over. One whose answer may lie unread, because somebody else takes nothing,
   * gets as much time more as that can last.
   * @returns stops waiting.
   */
  #awaitCancelled(executionId: string, giveUp: () => void): () => void {
    const { onStuck } = this.#options;
    const end = () => {
      onStuck?.();
      if (this.#calls > 1 && onStuck !== undefined) giveUp();
      else this.#endFor(`It did not answer when execution ${executionId} was cancelled.`);
    };
    let timer = setTimeout(() => {
      if (!this.#output.audience.waiting) return end();
      timer = setTimeout(end, this.#slowReaderMs);
      timer.unref();
    }, this.#options.cancelGraceMs ?? defaultCancelGraceMs);
    timer.unref();
    return () => clearTimeout(timer);
  }

  /** It cannot be talked to: it has just ended, or is of no use any more. */
  #broken(problem: string): void {
    if (this.#brokenTimer !== undefined || this.#gone !== undefined) return;
    this.#brokenTimer = setTimeout(() => this.#endFor(problem), brokenGraceMs);
    this.#brokenTimer.unref();
  }

  #endFor(problem: string): void {
    if (!this.#ending) this.#problem = problem;
    void this.kill();
  }

  async #end(): Promise<ExitReport> {
    const report = await this.#group.ended;
    this.#options.register?.ended(this.pid);
    this.#output.audience.over();
    const cut = setTimeout(() => {
      this.#group.stdout.destroy();
      this.#group.stderr.destroy();
    }, drainMs);
    await Promise.all([this.#wire.closed, this.#output.stderrRead]);
    clearTimeout(cut);
    clearTimeout(this.#brokenTimer);
    // That it could not be talked to may have come of its end; it explains the end only when we brought that about.
    const problem = report.weKilled && this.#problem !== undefined ? { problem: this.#problem } : {};
    this.#gone = { kind: "lost", report, stderrTail: this.stderrTail(), ...problem };
    for (const resolve of this.#waiting) resolve(this.#gone);
    this.#waiting.clear();
    this.#wire.dispose();
    await nextTurn();
    return report;
  }
}
