import type { WorkerCall } from "./worker-call.ts";

/** Who hears a worker: a call, or, without an id, whoever waits for it to load. */
export type Hearer = Omit<WorkerCall, "executionId" | "ready"> & { readonly executionId?: string; ready?: WorkerCall["ready"] };

type Say = (to: Hearer) => void;

/**
 * Those who are served by a worker, and what is told to them. Nothing is lost and nothing is kept: what cannot be told yet gives
 * a promise, and whoever reads from the worker waits for it.
 *
 * A hearer is
 * - listening: from the start. It is waited for.
 * - slow: from listening, when it took nothing for `slowMs`. What is for it is dropped.
 * - leaving: from listening, when its call was cancelled. It is told what it has room for, and the rest is dropped: the answer
 *   to the cancellation comes behind what it does not take.
 * - gone: from all. The last thing it hears is how much was dropped.
 */
export class Audience {
  readonly #hearers = new Set<Place>();
  readonly #slowMs: number;
  readonly #onError: (error: unknown) => void;
  #over = false;

  /**
   * @param slowMs how long one hearer may hold up the worker without taking anything.
   * @param onError a hearer threw.
   */
  constructor(slowMs: number, onError: (error: unknown) => void) {
    this.#slowMs = slowMs;
    this.#onError = onError;
  }

  /** Throws when this execution is being served already. */
  add(hearer: Hearer): Place {
    const id = hearer.executionId;
    if (id !== undefined && [...this.#hearers].some((place) => place.hearer.executionId === id))
      throw new Error(`execution ${id} is being served by this worker already`);
    const place = new Place(hearer, {
      slowMs: this.#slowMs,
      onError: this.#onError,
      onGone: () => this.#hearers.delete(place),
    });
    if (this.#over) place.over();
    this.#hearers.add(place);
    return place;
  }

  /** True while reading waits for somebody. */
  get waiting(): boolean {
    return [...this.#hearers].some((place) => place.waited);
  }

  /** From now on nobody is waited for: the worker is gone, and what is still to be read is little. */
  over(): void {
    this.#over = true;
    for (const place of this.#hearers) place.over();
  }

  /**
   * Tells one execution, or all when none is named.
   * @param whom.stderr it comes from stderr, which those whose answer is there already still have to hear to its end.
   * @returns how many there are to hear it, and a promise when it could not be told at once.
   */
  tell(
    whom: { readonly executionId: string | undefined; readonly stderr: boolean },
    say: Say,
  ): { readonly hearers: number; readonly later?: Promise<void> } {
    const { executionId, stderr } = whom;
    const to = [...this.#hearers].filter(
      (place) => (stderr || !place.answered) && (executionId === undefined || place.hearer.executionId === executionId),
    );
    const waits = waitsOf(to);
    if (waits.length > 0) return { hearers: to.length, later: tellLater(to, waits, say) };
    for (const place of to) place.take(say);
    return { hearers: to.length };
  }
}

async function tellLater(to: readonly Place[], first: readonly Promise<void>[], say: Say): Promise<void> {
  for (let waits = first; waits.length > 0; waits = waitsOf(to)) await Promise.all(waits);
  for (const place of to) place.take(say);
}

function waitsOf(to: readonly Place[]): Promise<void>[] {
  return to.map((place) => place.wait()).filter((wait) => wait !== undefined);
}

interface PlaceOptions {
  readonly slowMs: number;
  readonly onError: (error: unknown) => void;
  readonly onGone: () => void;
}

/** One hearer's place in the audience. */
export class Place {
  readonly hearer: Hearer;
  /** Its answer is there. What comes on stdout after that is not about it. */
  answered = false;
  readonly #options: PlaceOptions;
  readonly #wakers = new Set<() => void>();
  #state: "listening" | "slow" | "leaving" | "gone" = "listening";
  #over = false;
  #dropped = 0;

  constructor(hearer: Hearer, options: PlaceOptions) {
    this.hearer = hearer;
    this.#options = options;
  }

  get waited(): boolean {
    return this.#wakers.size > 0;
  }

  /** Undefined when it can be told something, or does not have to be waited for. */
  wait(): Promise<void> | undefined {
    if (this.#state !== "listening" || this.#over) return undefined;
    const ready = this.#ready();
    if (ready === undefined) return undefined;
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        this.#wakers.delete(wake);
        resolve();
      };
      const timer = setTimeout(() => this.#slow(), this.#options.slowMs);
      timer.unref();
      this.#wakers.add(wake);
      ready.then(wake, wake);
    });
  }

  take(say: Say): void {
    if (this.#state === "gone") return;
    const full = this.#state === "leaving" && this.#ready() !== undefined;
    if (full || this.#state === "slow") this.#dropped += 1;
    else this.#say(say);
  }

  /** Its call was cancelled. */
  leave(): void {
    if (this.#state === "listening") this.#state = "leaving";
    this.#wake();
  }

  over(): void {
    this.#over = true;
    this.#wake();
  }

  /** Its call is over. Idempotent. */
  gone(): void {
    if (this.#state === "gone") return;
    this.#state = "gone";
    this.#options.onGone();
    if (this.#dropped > 0) {
      const many = this.#dropped === 1 ? "1 message was" : `${this.#dropped} messages were`;
      this.#say((hearer) => hearer.onLog(`sluice: ${many} dropped here, because nobody took them in time.`, true));
    }
    this.#wake();
  }

  #slow(): void {
    if (this.#state !== "listening") return;
    this.#state = "slow";
    this.#wake();
    this.#say((hearer) => hearer.tooSlow?.());
  }

  #say(say: Say): void {
    this.#try(() => say(this.hearer));
  }

  #ready(): Promise<void> | undefined {
    return this.#try(() => this.hearer.ready?.());
  }

  /** One hearer that throws must not keep the others from hearing. */
  #try<T>(what: () => T): T | undefined {
    try {
      return what();
    } catch (error) {
      this.#options.onError(error);
      return undefined;
    }
  }

  #wake(): void {
    for (const wake of [...this.#wakers]) wake();
  }
}
