import { setTimeout as delay } from "node:timers/promises";
import { Code, ConnectError } from "@connectrpc/connect";

/** How long a server may be away before whoever needs it gives up. */
export const awayMs = 60_000;

/** True when nobody answers, or the server says that it will be back. */
export function isAway(error: unknown): boolean {
  return error instanceof ConnectError && error.code === Code.Unavailable;
}

/**
 * Calls, and again for a minute while the server is away: a job that has waited all night should not die of a restart. What is
 * called may be called twice for one effect, so it must bear that.
 */
export async function whileAway<T>(call: () => Promise<T>, interrupt: AbortSignal): Promise<T> {
  const until = performance.now() + awayMs;
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (!isAway(error) || interrupt.aborted || performance.now() > until) throw error;
      await delay(500, undefined, { signal: interrupt }).catch(() => {});
    }
  }
}
