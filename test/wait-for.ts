import { setTimeout as delay } from "node:timers/promises";

/**
 * Waits until `condition` holds (is truthy), looking every few milliseconds. Answers what it returned.
 * @param what named in the error when it does not hold in time.
 */
export async function waitFor<T>(condition: () => T | Promise<T>, what: string, timeoutMs = 10_000): Promise<NonNullable<T>> {
  const end = performance.now() + timeoutMs;
  let last: unknown;
  for (;;) {
    try {
      const value = await condition();
      if (value) return value as NonNullable<T>;
      last = value;
    } catch (error) {
      last = error;
    }
    if (performance.now() > end) {
      throw new Error(
        `waited ${timeoutMs} ms for: ${what} (last: ${last instanceof Error ? last.message : JSON.stringify(last)})`,
      );
    }
    await delay(10);
  }
}
