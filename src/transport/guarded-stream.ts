import { Code, type ConnectError, type HandlerContext } from "@connectrpc/connect";
import type { RpcMetrics } from "../observe/metrics.ts";
import { GrpcContext } from "./grpc-context.ts";

/**
 * One stream of answers on its way out. It is an iterator rather than a generator around a generator: return() reaches the
 * implementation at once, also while an answer is being waited for, and a message costs one promise.
 *
 * OPEN until the implementation is done, throws, or is told to stop; then OVER, for good. OVER is counted once.
 */
export class GuardedStream<T> implements AsyncIterableIterator<T> {
  readonly #responses: AsyncIterator<T>;
  readonly #context: HandlerContext;
  readonly #counters: RpcMetrics;
  readonly #endOf: (thrown: unknown, context: HandlerContext) => ConnectError;
  readonly #started = performance.now();
  readonly #passOn: (result: IteratorResult<T>) => IteratorResult<T>;
  readonly #failed: (thrown: unknown) => never;
  #over = false;

  /**
   * @param open starts the implementation; what it throws is the stream's error. Not kept, and with it what it knows of the request.
   * @param endOf what a caller is told about something that was thrown.
   */
  constructor(
    open: () => AsyncIterator<T>,
    context: HandlerContext,
    counters: RpcMetrics,
    endOf: (thrown: unknown, context: HandlerContext) => ConnectError,
  ) {
    this.#context = context;
    this.#counters = counters;
    this.#endOf = endOf;
    counters.streamOpened();
    this.#passOn = (result) => {
      if (result.done === true) this.#close("OK");
      return result;
    };
    this.#failed = (thrown) => {
      const error = this.#endOf(thrown, this.#context);
      this.#close(codeName(error.code));
      throw error;
    };
    try {
      this.#responses = open();
    } catch (thrown) {
      this.#failed(thrown);
      throw thrown;
    }
    // The gRPC door calls return() when a call is over, and ten thousand who wait there have no signal until then.
    if (context instanceof GrpcContext) return;
    if (context.signal.aborted) this.handleEvent();
    else context.signal.addEventListener("abort", this);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<T>> {
    return this.#responses.next().then(this.#passOn, this.#failed);
  }

  /** Tells the implementation to stop: its `finally` runs, if need be as soon as what it waits for is over. */
  async return(): Promise<IteratorResult<T>> {
    if (!this.#over) this.#close(this.#codeOfEnd());
    await this.#stop();
    return { done: true, value: undefined };
  }

  /** The client has gone, or its deadline has passed. */
  handleEvent(): void {
    this.#close(this.#codeOfEnd());
    void this.#stop();
  }

  #codeOfEnd(): string {
    const { reason } = this.#context.signal;
    return reason instanceof Error && "code" in reason && reason.code === Code.DeadlineExceeded
      ? "DEADLINE_EXCEEDED"
      : "CANCELLED";
  }

  async #stop(): Promise<void> {
    try {
      await this.#responses.return?.();
    } catch (thrown) {
      // Nobody is there any more who could be told what cleaning up threw, but the log is.
      this.#endOf(thrown, this.#context);
    }
  }

  #close(code: string): void {
    if (this.#over) return;
    this.#over = true;
    if (!(this.#context instanceof GrpcContext)) this.#context.signal.removeEventListener("abort", this);
    this.#counters.streamClosed();
    this.#counters.done(code, (performance.now() - this.#started) / 1000);
  }
}

/** A status as gRPC spells it: INVALID_ARGUMENT, CANCELLED. */
export function codeName(code: Code): string {
  if (code === Code.Canceled) return "CANCELLED";
  return Code[code].replace(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase();
}
