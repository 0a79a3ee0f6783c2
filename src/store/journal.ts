import { Failure } from "../engine/failure.ts";
import type { JournalAnswer } from "./journal-messages.ts";
import type { JournalThread } from "./journal-thread.ts";
import type { Problem } from "./problem.ts";
import type { Batch, StoredState } from "./state-file.ts";
import type { Change, Everything, Kept, Store } from "./store.ts";

/** So many tokens are set aside at a time: a crash skips what is left of them. */
const tokensAhead = 1_000_000;

/** What the journal needs of the rest of the server. Set before anything is written. */
export interface JournalWorld {
  /** All that has to outlive the server, as it is now. */
  everything(): Everything;
  /** From now on nothing can be written. Called before any write is rejected. */
  failed(failure: Failure): void;
  /** All is on the disk again. */
  recovered(): void;
}

export interface JournalOptions {
  /** Starts the thread that has the file; called again after each failure. */
  start(): Promise<[JournalThread, JournalAnswer]>;
  /** A write that takes longer has failed; a hung disk must not keep everybody waiting without a word. */
  readonly stallMs: number;
  /** How long after a failure it is tried again, each time. */
  readonly retryMs: number;
  /** Told of each write: how long it took. */
  readonly onWritten?: (ms: number) => void;
}

interface PendingBatch {
  readonly changes: Change[];
  readonly learned: Map<string, string>;
  tokenLimit: number | undefined;
  readonly written: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (failure: Failure) => void;
}

/**
 * Writes changes down in the order in which they come, as many at a time as have come while the disk was busy: a fast disk is written
 * to for each, a slow one seldom, and nobody waits for more than two writes.
 *
 * - `open`: writes go to the thread.
 * - `failed`: entered when a write fails, takes too long, or the thread ends. What could not be written is rejected, and so is what
 *   comes. Left when a new thread has written everything that is promised then in place of what the file had.
 * - `closed`: for good.
 */
export class Journal implements Store {
  readonly #options: JournalOptions;
  #thread: JournalThread;
  #world: JournalWorld | undefined;
  #state: "open" | "failed" | "closed" = "open";
  #failure: Failure | undefined;
  /** Collects what comes while the thread is busy. */
  #next: PendingBatch | undefined;
  #busy: PendingBatch | undefined;
  #tokenLimit: number;
  #retry: NodeJS.Timeout | undefined;
  /** The newest value of everything learned, so that a new file has it too. */
  readonly #learned = new Map<string, string>();

  private constructor(thread: JournalThread, options: JournalOptions, tokenLimit: number) {
    this.#thread = thread;
    this.#options = options;
    this.#tokenLimit = tokenLimit;
  }

  /**
   * Opens the file and reads what is in it.
   * @param leastToken the first token, where the file does not know better.
   * @throws Failure STATE_UNAVAILABLE in plain words when it cannot be used.
   */
  static async open(
    options: JournalOptions,
    leastToken: number,
  ): Promise<{ readonly journal: Journal; readonly kept: Kept; readonly boot: string }> {
    const [thread, answer] = await options.start();
    if (!answer.ok) {
      const { what, todo } = answer.problem;
      throw new Failure(
        "STATE_UNAVAILABLE",
        `the state cannot be kept: ${what}; ${todo}, or keep nothing with --state :memory:`,
      );
    }
    const stored = answer.stored as StoredState;
    const firstToken = Math.max(stored.tokenLimit, leastToken);
    const journal = new Journal(thread, options, firstToken);
    for (const [key, value] of stored.learned) journal.#learned.set(key, JSON.stringify(value));
    journal.used(firstToken);
    await journal.pending();
    const { leases, tickets } = stored;
    return { journal, kept: { leases, tickets, learned: new Map(stored.learned), firstToken }, boot: stored.boot };
  }

  attach(world: JournalWorld): void {
    this.#world = world;
  }

  write(change: Change): Promise<void> {
    if (this.#failure !== undefined) return rejected(this.#failure);
    const batch = this.#collect();
    batch.changes.push(change);
    this.#send();
    return batch.written;
  }

  pending(): Promise<void> | undefined {
    return (this.#next ?? this.#busy)?.written;
  }

  used(token: number): void {
    if (token < this.#tokenLimit - tokensAhead / 2) return;
    this.#tokenLimit = token + tokensAhead;
    if (this.#failure !== undefined) return;
    this.#collect().tokenLimit = this.#tokenLimit;
    this.#send();
  }

  learn(key: string, value: unknown): void {
    const json = JSON.stringify(value);
    this.#learned.set(key, json);
    if (this.#failure !== undefined) return;
    this.#collect().learned.set(key, json);
    this.#send();
  }

  async close(): Promise<void> {
    await this.pending()?.catch(() => {});
    if (this.#state === "open") {
      this.#state = "closed";
      await this.#ask({ type: "close" });
    }
    this.#state = "closed";
    this.#failure ??= new Failure("STATE_UNAVAILABLE", "the server has ended");
    clearTimeout(this.#retry);
    this.#thread.kill();
  }

  #collect(): PendingBatch {
    this.#next ??= emptyBatch();
    return this.#next;
  }

  #send(): void {
    if (this.#busy !== undefined || this.#next === undefined || this.#state !== "open") return;
    const batch = this.#next;
    this.#next = undefined;
    this.#busy = batch;
    const began = performance.now();
    void this.#ask({ type: "apply", batch: wire(batch) }).then((answer) => {
      if (answer.ok) this.#options.onWritten?.(performance.now() - began);
      this.#done(batch, answer);
    });
  }

  #done(batch: PendingBatch, answer: JournalAnswer): void {
    if (this.#busy !== batch) return;
    if (!answer.ok) {
      this.#fail(answer.problem);
      return;
    }
    this.#busy = undefined;
    batch.resolve();
    this.#send();
  }

  #fail(problem: Problem): void {
    if (this.#state === "closed") return;
    this.#state = "failed";
    this.#failure = failureOf(problem);
    const lost = [this.#busy, this.#next];
    this.#busy = undefined;
    this.#next = undefined;
    this.#world?.failed(this.#failure);
    for (const batch of lost) batch?.reject(this.#failure);
    // One that hangs cannot be ended; it closes the file when it comes back, and until then the file is in use.
    void this.#thread.ask({ type: "close" });
    this.#retryLater();
  }

  #retryLater(): void {
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => void this.#recover(), this.#options.retryMs);
    this.#retry.unref();
  }

  /** What was promised meanwhile is nothing new, but leases have ended and work has begun: the file is written anew. */
  async #recover(): Promise<void> {
    const started = await this.#options.start().catch((error: Error) => error);
    if (started instanceof Error) {
      this.#stillFailed({ what: started.message, todo: "it is tried again every few seconds" });
      return;
    }
    const [thread, answer] = started;
    if (this.#state === "closed") {
      thread.kill();
      return;
    }
    if (!answer.ok) {
      thread.kill();
      this.#stillFailed(answer.problem);
      return;
    }
    this.#thread = thread;
    const all = this.#world?.everything() ?? { leases: [], tickets: [] };
    // From here on changes are collected again: they are newer than what is being written.
    this.#failure = undefined;
    const batch = emptyBatch();
    this.#busy = batch;
    const written = await this.#ask({
      type: "replace",
      all,
      batch: { changes: [], learned: [...this.#learned], tokenLimit: this.#tokenLimit },
    });
    if (this.#busy !== batch) return;
    if (!written.ok) {
      this.#fail(written.problem);
      return;
    }
    this.#state = "open";
    this.#busy = undefined;
    batch.resolve();
    this.#world?.recovered();
    this.#send();
  }

  #stillFailed(problem: Problem): void {
    if (this.#state === "closed") return;
    this.#failure = failureOf(problem);
    this.#world?.failed(this.#failure);
    this.#retryLater();
  }

  /** @returns the answer, or that there was none in time. */
  async #ask(request: Parameters<JournalThread["ask"]>[0]): Promise<JournalAnswer> {
    const { stallMs } = this.#options;
    let timer: NodeJS.Timeout | undefined;
    const stalled = new Promise<JournalAnswer>((resolve) => {
      timer = setTimeout(() => {
        const what = `the disk has not answered for ${stallMs / 1000} s`;
        resolve({ ok: false, problem: { what, todo: "see the kernel's log; it is tried again every few seconds" } });
      }, stallMs);
      timer.unref();
    });
    const answer = await Promise.race([this.#thread.ask(request), stalled]);
    clearTimeout(timer);
    return answer;
  }
}

function wire({ changes, learned, tokenLimit }: PendingBatch): Batch {
  return { changes, learned: [...learned], ...(tokenLimit === undefined ? {} : { tokenLimit }) };
}

function emptyBatch(): PendingBatch {
  let resolve = () => {};
  let reject: (failure: Failure) => void = () => {};
  const written = new Promise<void>((done, failed) => {
    resolve = done;
    reject = failed;
  });
  // Not everybody who writes waits for it.
  written.catch(() => {});
  return { changes: [], learned: new Map(), tokenLimit: undefined, written, resolve, reject };
}

function rejected(failure: Failure): Promise<void> {
  const promise = Promise.reject(failure);
  promise.catch(() => {});
  return promise;
}

function failureOf({ what, todo }: Problem): Failure {
  return new Failure("STATE_UNAVAILABLE", `the state cannot be kept, so nothing new is promised: ${what}; ${todo}`);
}
