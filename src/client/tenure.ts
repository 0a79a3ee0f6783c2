/** Time to live of a lease that does not say it, in ms. */
export const defaultTtlMs = 60_000;

/**
 * When to renew a lease, and when to give it up. All times are of the client's own monotonic clock, in ms.
 *
 * A renewal counts from before it was sent, so the server's own count is never shorter. The first renewal is due at once: the grant
 * says how long the lease lives, but not how long ago that began.
 */
export class Tenure {
  readonly #ttlMs: number;
  /** Time to tell the program before the server takes the memory back. */
  readonly #marginMs: number;
  /** When the next renewal is due. */
  nextAt: number;
  /** When the lease is given up unless a renewal has succeeded. Always before the server would end it. */
  giveUpAt: number;

  constructor(ttlMs: number, heardAt: number) {
    this.#ttlMs = ttlMs;
    this.#marginMs = Math.min(ttlMs / 10, 2_000);
    this.nextAt = heardAt;
    this.giveUpAt = heardAt + ttlMs - this.#marginMs;
  }

  /** A renewal that was sent then has succeeded. */
  renewed(sentAt: number): void {
    this.nextAt = sentAt + this.#ttlMs / 3;
    this.giveUpAt = sentAt + this.#ttlMs - this.#marginMs;
  }

  /** A renewal has failed; the next is due soon, and never only after the lease would be given up. */
  failed(at: number): void {
    this.nextAt = Math.min(at + Math.min(1_000, this.#ttlMs / 10), this.giveUpAt);
  }

  /** How long one renewal may take. A line that swallows a call should not cost the lease. */
  callLimitMs(at: number): number {
    return Math.max(1, Math.min(5_000, this.#ttlMs / 3, this.giveUpAt - at));
  }
}
