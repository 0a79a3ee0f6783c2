package sluice;

import java.time.Duration;

/** Whether to ask again after a broken connection, and when. */
final class Patience {
  /** How long nobody may answer at the very first: a wrong address should be told soon. */
  static final Duration FIRST_ANSWER = Duration.ofSeconds(5);

  /** How long a server may be away that has answered before: a job that has waited all night should not die of a restart. */
  static final Duration AWAY = Duration.ofSeconds(60);

  private static final long FIRST_PAUSE = 100_000_000;
  private static final long LONGEST_PAUSE = 1_000_000_000;

  private final long start;
  private final Duration firstAnswer;
  private boolean answered;
  private long heardAt;
  private long pause = FIRST_PAUSE;

  Patience(Duration firstAnswer) {
    this.start = Clock.now();
    this.heardAt = start;
    this.firstAnswer = firstAnswer;
  }

  /** Since the wait began. */
  Duration passed() {
    return Duration.ofNanos(Clock.now() - start);
  }

  /** The server has said something. */
  void heard() {
    answered = true;
    heardAt = Clock.now();
    pause = FIRST_PAUSE;
  }

  /** Nanoseconds until the next attempt. Throws the failure when there is to be none. */
  long pause(SluiceException failure) {
    Duration limit = answered ? AWAY : firstAnswer;
    if (!(failure instanceof UnreachableException) || Clock.now() - heardAt > limit.toNanos()) {
      throw failure;
    }
    long now = pause;
    pause = Math.min(LONGEST_PAUSE, pause * 2);
    return now;
  }
}
