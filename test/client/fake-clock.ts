import type { Clock } from "../../src/client/clock.ts";

/** A clock that stands still until a test moves it. */
export class FakeClock implements Clock {
  #now = 1_000_000;
  readonly #sleepers = new Set<{ readonly at: number; readonly wake: () => void }>();

  now(): number {
    return this.#now;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<boolean> {
    return new Promise((resolve) => {
      if (signal?.aborted) return resolve(false);
      const end = (whole: boolean) => {
        this.#sleepers.delete(sleeper);
        signal?.removeEventListener("abort", cut);
        resolve(whole);
      };
      const cut = () => end(false);
      const sleeper = { at: this.#now + Math.max(0, ms), wake: () => end(true) };
      this.#sleepers.add(sleeper);
      signal?.addEventListener("abort", cut);
      if (ms <= 0) end(true);
    });
  }

  /** In how many ms each sleeper wakes, the soonest first. */
  pending(): number[] {
    return [...this.#sleepers].map(({ at }) => at - this.#now).sort((a, b) => a - b);
  }

  /** Lets so many ms pass, from sleeper to sleeper, with everything that follows from each. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      await settled();
      const next = [...this.#sleepers].sort((a, b) => a.at - b.at)[0];
      if (next === undefined || next.at > end) break;
      this.#now = Math.max(this.#now, next.at);
      next.wake();
    }
    this.#now = end;
    await settled();
  }
}

/** Until what is under way in this process has come to rest: calls of a transport in memory are some turns of the event loop. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}
