/**
 * Carries news to one reader that may be slow: it is told that something changed, not what, and then looks at the latest
 * state. A last message ends it.
 */
export class Mailbox<Last> {
  #dirty = false;
  #last: Last | undefined;
  #wake: (() => void) | undefined;

  /** Something changed. */
  poke(): void {
    this.#dirty = true;
    this.#wake?.();
  }

  /** The last message. Later ones are ignored. */
  close(last: Last): void {
    this.#last ??= last;
    this.#wake?.();
  }

  get last(): Last | undefined {
    return this.#last;
  }

  /**
   * Waits for a change, the last message, or `idleMs` without either; rejects when the signal aborts. After a change it waits
   * `settleMs` more, so that a burst of changes is told once; a last message is never held back.
   */
  async next(signal: AbortSignal, idleMs: number, settleMs: number): Promise<"changed" | "idle" | "closed"> {
    signal.throwIfAborted();
    if (!this.#dirty && this.#last === undefined) await this.#sleep(signal, idleMs, () => this.#dirty);
    if (this.#last !== undefined) return "closed";
    if (!this.#dirty) return "idle";
    if (settleMs > 0) await this.#sleep(signal, settleMs, () => false);
    this.#dirty = false;
    return this.#last === undefined ? "changed" : "closed";
  }

  /** Until `done`, the last message, the time or the signal. */
  #sleep(signal: AbortSignal, ms: number, done: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const stop = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", aborted);
        this.#wake = undefined;
      };
      const aborted = () => {
        stop();
        reject(signal.reason);
      };
      const timer = setTimeout(() => {
        stop();
        resolve();
      }, ms);
      timer.unref();
      signal.addEventListener("abort", aborted);
      this.#wake = () => {
        if (!done() && this.#last === undefined) return;
        stop();
        resolve();
      };
    });
  }
}
