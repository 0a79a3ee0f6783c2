import type { Millis } from "../engine/sample.ts";
import type { LeaseView } from "../engine/types.ts";
import type { QueuePlace } from "./admission.ts";
import { EventFeed, type ExecutionEvent } from "./event-feed.ts";
import type { JsonValue } from "./json.ts";
import type { ExecutionFailure, Outcome } from "./outcome.ts";

/**
 * - queued: from the start; waits for its turn or for a lease.
 * - running: once it has a lease; its process is there or about to be.
 * - succeeded, failed, cancelled: from any of the two, when nothing of it is left; stays so.
 */
export type ExecutionState = "queued" | "running" | "succeeded" | "failed" | "cancelled";

/** An execution as the outside sees it: a copy, true at the moment it was made. */
export interface ExecutionView {
  readonly id: string;
  readonly plugin: string;
  readonly state: ExecutionState;
  /** Empty while it waits. */
  readonly leaseId: string;
  readonly createdAt: Millis;
  readonly startedAt?: Millis;
  readonly finishedAt?: Millis;
  readonly result?: JsonValue;
  readonly failure?: ExecutionFailure;
  readonly tenant: string;
  readonly requestId: string;
  /** 0 when none runs. */
  readonly pid: number;
}

export interface ExecutionIdentity {
  readonly id: string;
  readonly plugin: string;
  readonly tenant: string;
  /** Empty: nobody else can find it, so it ends with its reader. */
  readonly requestId: string;
}

/** How an execution is over: with an outcome, or with an error that its caller is told instead of one. */
export type Ending = { readonly outcome: Outcome; readonly error?: unknown };

/** One run of a plugin: its state, and those who watch it. */
export class Execution {
  readonly identity: ExecutionIdentity;
  /** Resolves when it is over; never rejects. */
  readonly done: Promise<Ending>;
  readonly #now: () => Millis;
  readonly #createdAt: Millis;
  readonly #controller = new AbortController();
  readonly #feeds = new Set<EventFeed>();
  #setDone: (ending: Ending) => void = () => {};
  #place: QueuePlace | undefined;
  #admitted: { readonly lease: LeaseView; readonly env: Readonly<Record<string, string>> } | undefined;
  #leaseId = "";
  #pid = 0;
  #startedAt: Millis | undefined;
  #finishedAt: Millis | undefined;
  #ending: Ending | undefined;
  #room: { readonly promise: Promise<void>; readonly resolve: () => void } | undefined;

  constructor(identity: ExecutionIdentity, now: () => Millis) {
    this.identity = identity;
    this.#now = now;
    this.#createdAt = now();
    this.done = new Promise((resolve) => {
      this.#setDone = resolve;
    });
  }

  /** Aborted, with an Error as reason, when it shall end. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get state(): ExecutionState {
    if (this.#ending === undefined) return this.#admitted === undefined ? "queued" : "running";
    const { outcome } = this.#ending;
    if (outcome.ok) return "succeeded";
    return outcome.failure.code === "CANCELLED" ? "cancelled" : "failed";
  }

  get ending(): Ending | undefined {
    return this.#ending;
  }

  /** Asks it to end; `done` tells when it has. @param reason what is told about it. */
  cancel(reason: Error): void {
    if (this.#ending === undefined) this.#controller.abort(reason);
  }

  queued(place: QueuePlace): void {
    if (this.#ending !== undefined || this.#admitted !== undefined) return;
    this.#place = place;
    this.#tell({ kind: "queued", place });
  }

  /** Its worker did not come about, and it waits again. */
  waitsAgain(): void {
    this.#admitted = undefined;
    this.#pid = 0;
  }

  admitted(lease: LeaseView, env: Readonly<Record<string, string>>): void {
    if (this.#ending !== undefined || this.#admitted?.lease.id === lease.id) return;
    this.#admitted = { lease, env };
    this.#leaseId = lease.id;
    this.#tell({ kind: "admitted", lease, env });
  }

  started(pid: number): void {
    this.#pid = pid;
    this.#startedAt = this.#now();
    this.#tell({ kind: "started", pid });
  }

  log(line: string, stderr: boolean): void {
    this.#tell({ kind: "log", line, stderr });
  }

  progress(message: string, fraction: number | undefined): void {
    this.#tell({ kind: "progress", message, fraction });
  }

  loading(message: string): void {
    this.#tell({ kind: "loading", message });
  }

  /** It is over. Tells every reader and lets go of what only a running one needs. */
  finish(ending: Ending): void {
    if (this.#ending !== undefined) return;
    this.#ending = ending;
    this.#finishedAt = this.#now();
    this.#pid = 0;
    this.#place = undefined;
    this.#admitted = undefined;
    for (const feed of this.#feeds) endFeed(feed, ending);
    this.#setDone(ending);
  }

  /**
   * A reader from now on: told how it stands, then what happens. Ends after the last event, or when the signal is aborted.
   * @param onGone the last reader went away before it was over.
   */
  watch(signal: AbortSignal, onGone: () => void): AsyncGenerator<ExecutionEvent, void> {
    const gone = () => feed.close();
    const feed = new EventFeed({
      room: () => this.#hasRoom(),
      close: () => {
        signal.removeEventListener("abort", gone);
        this.#feeds.delete(feed);
        this.#hasRoom();
        if (this.#ending === undefined && this.#feeds.size === 0) onGone();
      },
    });
    this.#feeds.add(feed);
    if (this.#ending !== undefined) endFeed(feed, this.#ending);
    else if (this.#admitted !== undefined) {
      feed.push({ kind: "admitted", ...this.#admitted });
      if (this.#pid !== 0) feed.push({ kind: "started", pid: this.#pid });
    } else if (this.#place !== undefined) feed.push({ kind: "queued", place: this.#place });
    signal.addEventListener("abort", gone, { once: true });
    if (signal.aborted) gone();
    return feed.events();
  }

  /** Undefined when every reader can take more; else a promise of when. */
  ready(): Promise<void> | undefined {
    if (![...this.#feeds].some((f) => f.full)) return undefined;
    if (this.#room === undefined) {
      let resolve = () => {};
      const promise = new Promise<void>((r) => {
        resolve = r;
      });
      this.#room = { promise, resolve };
    }
    return this.#room.promise;
  }

  view(): ExecutionView {
    const outcome = this.#ending?.outcome;
    return {
      ...this.identity,
      state: this.state,
      leaseId: this.#leaseId,
      createdAt: this.#createdAt,
      ...(this.#startedAt === undefined ? {} : { startedAt: this.#startedAt }),
      ...(this.#finishedAt === undefined ? {} : { finishedAt: this.#finishedAt }),
      ...(outcome?.ok === true ? { result: outcome.result } : {}),
      ...(outcome?.ok === false ? { failure: outcome.failure } : {}),
      pid: this.#pid,
    };
  }

  #tell(event: ExecutionEvent): void {
    for (const feed of this.#feeds) feed.push(event);
  }

  #hasRoom(): void {
    this.#room?.resolve();
    this.#room = undefined;
  }
}

function endFeed(feed: EventFeed, { outcome, error }: Ending): void {
  if (error === undefined) {
    feed.push(outcome.ok ? { kind: "result", result: outcome.result } : { kind: "failed", failure: outcome.failure });
  }
  feed.end(error);
}
