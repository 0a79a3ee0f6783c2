import { type CancellationToken, ErrorCodes, ResponseError } from "vscode-jsonrpc/node";
import { openContext, type WorkerContext, type WorkerSetup } from "./context.ts";
import { Cancelled, responseErrorOf } from "./errors.ts";
import type { WorkerProgram } from "./program.ts";
import { resultProblem } from "./result.ts";
import { isFields, setupOf } from "./setup.ts";

/** Longest result, in bytes as JSON: a line may have 4 MiB, and the answer around the result takes some. */
const maxResultBytes = 4 * 1_048_576 - 1_024;

/**
 * Answers the server's requests.
 *
 * new -> loading -> ready; or it stays at loading when `initialize` failed, and the server ends the worker.
 */
export class WorkerSession {
  readonly #program: WorkerProgram;
  readonly #notify: (method: string, params: object) => void;
  #setup: WorkerSetup | undefined;
  #ready = false;
  #running = 0;
  #shutdown: Promise<void> | undefined;

  /** @param notify sends a notification. */
  constructor(program: WorkerProgram, notify: (method: string, params: object) => void) {
    this.#program = program;
    this.#notify = notify;
  }

  /** Answers one request. @throws ResponseError, and nothing else. */
  async handle(method: string, params: unknown, token: CancellationToken): Promise<unknown> {
    if (method === "shutdown") return await this.shutdown();
    if (method !== "initialize" && method !== "execute" && method !== "release") {
      throw new ResponseError(ErrorCodes.MethodNotFound, `There is no method ${JSON.stringify(method.slice(0, 200))}.`);
    }
    const fields = params ?? {};
    if (!isFields(fields)) throw new ResponseError(ErrorCodes.InvalidParams, "The params must be an object.");
    if (method === "initialize") return await this.#initialize(fields, token);
    const setup = this.#setup;
    if (!this.#ready || setup === undefined) {
      throw invalid("The worker is not ready: initialize comes first and has to succeed.");
    }
    return await (method === "execute" ? this.#execute(setup, fields, token) : this.#release(setup, token));
  }

  /** Last words of the program, if it is ready. The second call and later ones wait for the first. @throws ResponseError */
  shutdown(): Promise<void> {
    this.#shutdown ??= this.#lastWords();
    return this.#shutdown;
  }

  async #lastWords(): Promise<void> {
    try {
      if (this.#ready) await this.#program.shutdown?.();
    } catch (error) {
      throw responseErrorOf(error, false, tell);
    }
  }

  async #initialize(params: Readonly<Record<string, unknown>>, token: CancellationToken): Promise<unknown> {
    if (this.#setup !== undefined) throw invalid("initialize comes only once.");
    const setup = setupOf(params);
    if (typeof setup === "string") throw new ResponseError(ErrorCodes.InvalidParams, setup);
    this.#setup = setup;
    return await this.#run(setup, undefined, token, async (ctx) => {
      await this.#program.initialize?.(ctx);
      this.#ready = true;
      return { capabilities: { release: this.#program.release !== undefined } };
    });
  }

  async #execute(setup: WorkerSetup, params: Readonly<Record<string, unknown>>, token: CancellationToken): Promise<unknown> {
    const { execution_id: id } = params;
    if (typeof id !== "string" || !Object.hasOwn(params, "arguments")) {
      throw new ResponseError(ErrorCodes.InvalidParams, "execute needs execution_id (a string) and arguments.");
    }
    const result = await this.#run(setup, id, token, (ctx) => this.#program.execute(params.arguments, ctx));
    const problem = resultProblem(result, maxResultBytes);
    if (problem === undefined) return result;
    throw new ResponseError(
      ErrorCodes.InternalError,
      `The result cannot be sent: ${problem}. Answer objects, lists, texts, finite numbers, booleans or null.`,
    );
  }

  async #release(setup: WorkerSetup, token: CancellationToken): Promise<null> {
    if (this.#running > 0) throw invalid(`release comes only when nothing runs; under way: ${this.#running}.`);
    await this.#run(setup, undefined, token, () => this.#program.release?.());
    return null;
  }

  async #run(
    setup: WorkerSetup,
    executionId: string | undefined,
    token: CancellationToken,
    work: (ctx: WorkerContext) => unknown,
  ): Promise<unknown> {
    const abort = new AbortController();
    const cancel = token.onCancellationRequested(() => abort.abort(new Cancelled()));
    const { ctx, end } = openContext(setup, executionId, abort.signal, this.#notify);
    this.#running += 1;
    try {
      // It may have been given up before its turn came.
      if (token.isCancellationRequested) throw new Cancelled();
      return await work(ctx);
    } catch (error) {
      throw responseErrorOf(error, abort.signal.aborted, tell);
    } finally {
      this.#running -= 1;
      // Before the answer: nothing is said about a call after it.
      end();
      cancel.dispose();
    }
  }
}

function invalid(message: string): ResponseError {
  return new ResponseError(ErrorCodes.InvalidRequest, message);
}

function tell(error: unknown): void {
  process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
}
