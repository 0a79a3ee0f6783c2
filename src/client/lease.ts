import { durationMs } from "@bufbuild/protobuf/wkt";
import type { LeasedGpu, Lease as LeaseMessage } from "#gen/sluice/v1/types_pb.js";
import { again, answerMs, farewellMs, within } from "./calls.ts";
import { setEnvironment } from "./environment.ts";
import { LeaseLost } from "./errors.ts";
import type { Ground } from "./ground.ts";
import { type Holder, Keeper } from "./keeper.ts";
import type { EvictionRequest } from "./told.ts";

/** What to do with a lease while it is held. */
export interface HoldOptions {
  /**
   * Called when somebody waits for this memory: free it and call `lease.release()`. With it the lease counts as idle while no
   * `lease.executing()` runs, and can be asked back then; without it, it counts as in use until the end.
   */
  readonly onEviction?: ((lease: Lease, request: EvictionRequest) => unknown) | undefined;
  /** Called once when the lease is lost, after `lease.signal` was aborted. */
  readonly onLost?: ((lease: Lease, why: string) => unknown) | undefined;
  /**
   * True: CUDA_VISIBLE_DEVICES and its companions are set in this process until the lease is given back, for libraries in it that use
   * CUDA. They are the whole process's. Not in browsers.
   */
  readonly setEnvironment?: boolean | undefined;
  /**
   * False: memory of this process is not credited to the lease. For containers with pids of their own. It never is where the server is
   * on another machine.
   */
  readonly attach?: boolean | undefined;
}

/** A claim on named GPUs and on RAM, renewed in the background until it is given back. `await using` gives it back. */
export class Lease implements AsyncDisposable {
  /** What a child process should find in its environment, besides this process's own: `{ ...process.env, ...lease.env }`. */
  readonly env: Readonly<Record<string, string>>;
  /** Aborted, with a LeaseLost, when the lease is lost. Not when it is given back. */
  readonly signal: AbortSignal;

  readonly #ground: Ground;
  readonly #wishes: HoldOptions;
  readonly #keeper: Keeper;
  readonly #loss = new AbortController();
  #message: LeaseMessage;
  #whyLost: string | undefined;
  #evictionRequested: EvictionRequest | undefined;
  #execution = "";
  #restore: () => void = () => {};
  #released: Promise<void> | undefined;

  /**
   * Not for programs: `client.resources()` makes leases.
   * @param heardAt when the grant arrived, by the clock of `ground`.
   */
  constructor(ground: Ground, message: LeaseMessage, wishes: HoldOptions, heardAt: number) {
    this.#ground = ground;
    this.#message = message;
    this.#wishes = wishes;
    // Only the grant tells it, a renewal does not; and by which name the server is reached from here it cannot know.
    const { childAddress } = ground.door;
    this.env = Object.freeze({ ...message.env, ...(childAddress === undefined ? {} : { SLUICE_ADDRESS: childAddress }) });
    this.signal = this.#loss.signal;
    const ttlMs = message.ttl === undefined ? undefined : durationMs(message.ttl);
    this.#keeper = new Keeper(ground, this.#holder(), ttlMs, heardAt);
  }

  /** Identity of the lease. */
  get id(): string {
    return this.#message.id;
  }

  /** Fencing token: rises with every grant of the server and never repeats. */
  get token(): bigint {
    return this.#message.token;
  }

  /** The GPUs with their UUIDs, indexes and MiB; empty when no GPU was asked for. */
  get gpus(): readonly LeasedGpu[] {
    return this.#message.gpus;
  }

  /** The lease as it was granted or last renewed (sluice.v1.Lease). */
  get message(): LeaseMessage {
    return this.#message;
  }

  /** True once the lease is known to have ended although nobody here gave it back: its memory is no longer reserved. */
  get lost(): boolean {
    return this.#whyLost !== undefined;
  }

  /** Why it was lost, in words; empty while it is held. */
  get whyLost(): string {
    return this.#whyLost ?? "";
  }

  /** Set while somebody waits for this memory. */
  get evictionRequested(): EvictionRequest | undefined {
    return this.#evictionRequested;
  }

  /**
   * Work on the lease. While there is any, the lease is not evicted; with onEviction it is idle between such works.
   * @throws LeaseGone when the lease has ended; Unreachable; what `work` throws.
   */
  async executing<T>(work: () => T | Promise<T>): Promise<T> {
    const execution = await this.#startExecution();
    try {
      return await work();
    } finally {
      await this.#finishExecution(execution);
    }
  }

  /** Gives the lease back. Does nothing more the second time, and never throws: at worst the lease ends by itself. */
  release(): Promise<void> {
    this.#released ??= this.#release();
    return this.#released;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.release();
  }

  /**
   * Attaches this process, counts an execution where that is wished, and begins to renew. Not for programs.
   * @throws SluiceError when the lease cannot be used; it is then to be given back.
   */
  async begin(stop: AbortSignal | undefined): Promise<this> {
    const { pid, environment } = this.#ground;
    // Both calls at a time: whoever has waited should begin soon.
    const attaching = pid === undefined || this.#wishes.attach === false ? undefined : this.#attach(pid);
    if (this.#wishes.onEviction === undefined) {
      // Nobody would hear a request to give it back, so it counts as in use until the end.
      this.#execution = await this.#startExecution(stop);
    }
    await attaching;
    stop?.throwIfAborted();
    if (this.#wishes.setEnvironment && environment !== undefined) this.#restore = setEnvironment(environment, this.env);
    this.#keeper.start();
    return this;
  }

  #holder(): Holder {
    return {
      id: this.id,
      token: this.token,
      canBeAsked: this.#wishes.onEviction !== undefined,
      renewed: (message) => {
        this.#message = message;
      },
      asked: (request) => {
        this.#evictionRequested = request;
        if (request !== undefined) this.#tell(() => this.#wishes.onEviction?.(this, request));
      },
      lost: (why) => this.#lose(why),
    };
  }

  #lose(why: string): void {
    if (this.#released !== undefined) return;
    this.#whyLost = why;
    const sentence = `the lease ${this.id} is lost: ${why}`;
    this.#ground.warn(`${sentence}. The program goes on, but its memory is no longer reserved; others may be admitted to it`);
    this.#loss.abort(new LeaseLost(sentence));
    this.#tell(() => this.#wishes.onLost?.(this, why));
  }

  async #release(): Promise<void> {
    const { scheduler, warn } = this.#ground;
    this.#keeper.stop();
    this.#restore();
    if (this.lost) return;
    if (this.#execution !== "") await this.#finishExecution(this.#execution);
    const request = { leaseId: this.id, token: this.token };
    try {
      await again(this.#ground, farewellMs, (signal) => scheduler.releaseLease(request, { signal }));
    } catch (error) {
      warn(`the lease ${this.id} could not be given back (${text(error)}); it ends by itself when it is not renewed`);
    }
  }

  async #startExecution(stop?: AbortSignal): Promise<string> {
    const { scheduler } = this.#ground;
    const request = { leaseId: this.id, token: this.token };
    // One that was counted twice ends with the lease all the same.
    const answer = await again(this.#ground, answerMs, (signal) => scheduler.startExecution(request, { signal }), stop);
    return answer.executionId;
  }

  async #finishExecution(executionId: string): Promise<void> {
    const { scheduler } = this.#ground;
    const request = { leaseId: this.id, executionId };
    // The lease, and with it the execution, ends in any case.
    await again(this.#ground, farewellMs, (signal) => scheduler.finishExecution(request, { signal })).catch(() => {});
  }

  async #attach(pid: number): Promise<void> {
    const { scheduler } = this.#ground;
    const request = { leaseId: this.id, token: this.token, pid };
    // Measured memory is then not credited to the lease; what was promised holds all the same.
    await within(this.#ground, farewellMs, (signal) => scheduler.attachProcess(request, { signal })).catch(() => {});
  }

  /** What a callback throws must not end what keeps the lease. */
  #tell(call: () => unknown): void {
    if (this.#released !== undefined) return;
    const failed = (error: unknown) => this.#ground.warn(`a callback of the program failed: ${text(error)}`);
    try {
      Promise.resolve(call()).catch(failed);
    } catch (error) {
      failed(error);
    }
  }
}

function text(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
