/** Time, as the client sees it. Tests have one of their own that does not wait. */
export interface Clock {
  /** Milliseconds on a clock that nobody sets; only differences mean anything. */
  now(): number;
  /** Waits for so many ms. False when `signal` cut it short. */
  sleep(ms: number, signal?: AbortSignal): Promise<boolean>;
}

/** Why a sleep is cut short that nobody needs any more. Without a reason each abort makes an exception with its stack, 0.1 ms. */
export const notNeeded = "not needed any more";

/** Timers cannot count further than this (24.8 days); they would fire at once. */
const timerLimitMs = 2 ** 31 - 1;

/**
 * The clock of this process.
 * @param now the monotonic clock to read, in ms.
 */
export function monotonicClock(now: () => number = () => performance.now()): Clock {
  return {
    now,
    sleep: (ms, signal) =>
      new Promise((resolve) => {
        if (signal?.aborted) return resolve(false);
        const end = (whole: boolean) => {
          clearTimeout(timer);
          signal?.removeEventListener("abort", cut);
          resolve(whole);
        };
        const cut = () => end(false);
        const timer = setTimeout(() => end(true), Math.min(timerLimitMs, Math.max(0, ms)));
        signal?.addEventListener("abort", cut);
      }),
  };
}
