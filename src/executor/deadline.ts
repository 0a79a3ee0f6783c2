/** Longest delay that a timer of Node takes; a longer one would fire at once. */
const longestTimerMs = 2_147_483_647;

/** A wait that ends by itself. */
export interface Deadline {
  /** Aborted when the time is over, or with the signal that it was made of and its reason. */
  readonly signal: AbortSignal;
  /** Time since it was made, in ms. */
  waitedMs(): number;
  /** Lets go of its timer. */
  stop(): void;
}

/** @param timeoutMs 0: no limit. */
export function deadline(signal: AbortSignal, timeoutMs: number): Deadline {
  const from = performance.now();
  const waitedMs = () => performance.now() - from;
  if (timeoutMs === 0) return { signal, waitedMs, stop: () => {} };
  // AbortSignal.any would do the same, and keep books about both signals; one of these is made for each execution.
  const over = new AbortController();
  const follow = () => over.abort(signal.reason);
  if (signal.aborted) follow();
  else signal.addEventListener("abort", follow);
  let timer: NodeJS.Timeout | undefined;
  const arm = () => {
    const left = timeoutMs - waitedMs();
    if (left <= 0) over.abort();
    else timer = setTimeout(arm, Math.min(left, longestTimerMs));
  };
  arm();
  const stop = () => {
    clearTimeout(timer);
    signal.removeEventListener("abort", follow);
  };
  return { signal: over.signal, waitedMs, stop };
}
