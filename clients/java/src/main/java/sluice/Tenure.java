package sluice;

/**
 * When to renew a lease, and when to give it up. All times are nanoseconds of {@link Clock}.
 *
 * <p>A renewal counts from before it was sent, so the server's own count is never shorter. The first renewal is due at once: the
 * grant says how long the lease lives, but not how long ago that began.
 */
final class Tenure {
  static final long DEFAULT_TTL = 60_000_000_000L;
  private static final long SECOND = 1_000_000_000L;

  private final long ttl;
  private final long margin;
  private long nextAt;
  private long giveUpAt;

  Tenure(long ttl, long heardAt) {
    this.ttl = ttl;
    // Time to tell the program before the server takes the memory back.
    this.margin = Math.min(ttl / 10, 2 * SECOND);
    this.nextAt = heardAt;
    this.giveUpAt = heardAt + ttl - margin;
  }

  /** When the next renewal is due. */
  long nextAt() {
    return nextAt;
  }

  /** When the lease is to be taken for lost. */
  long giveUpAt() {
    return giveUpAt;
  }

  /** A renewal that was sent then has succeeded. */
  void renewed(long sentAt) {
    nextAt = sentAt + ttl / 3;
    giveUpAt = sentAt + ttl - margin;
  }

  /** A renewal has failed; the next is due soon, and never only after the lease would be given up. */
  void failed(long at) {
    nextAt = Math.min(at + Math.min(SECOND, ttl / 10), giveUpAt);
  }

  /** How long one renewal may take: a line that swallows a call should not cost the lease. */
  long callLimit(long at) {
    return Math.max(1_000_000, Math.min(Math.min(5 * SECOND, ttl / 3), giveUpAt - at));
  }
}
