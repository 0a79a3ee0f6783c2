/** A signal that follows others. `AbortSignal.any` would do, but keeps something for each call as long as the longest-lived of them. */
export interface AbortLink {
  readonly signal: AbortSignal;
  /** Aborts this one alone. */
  abort(reason?: unknown): void;
  /** Lets go of the others. No `using`: not every browser has Symbol.dispose. */
  letGo(): void;
}

/** A signal that is aborted when one of `signals` is, or by itself. */
export function linkAborts(...signals: readonly (AbortSignal | undefined)[]): AbortLink {
  const own = new AbortController();
  const followed = signals.filter((signal) => signal !== undefined);
  const follow = (event: Event) => own.abort((event.target as AbortSignal).reason);
  for (const signal of followed) {
    if (signal.aborted) own.abort(signal.reason);
    else signal.addEventListener("abort", follow);
  }
  return {
    signal: own.signal,
    abort: (reason) => own.abort(reason),
    letGo() {
      for (const signal of followed) signal.removeEventListener("abort", follow);
    },
  };
}
