package sluice;

import java.io.PrintStream;
import java.util.function.Consumer;
import java.util.function.LongSupplier;
import java.util.stream.Collectors;
import sluice.v1.Types.Reason;

/** A wait as lines, one whenever place or reasons change, at most one in 5 seconds: logs should stay readable. */
final class WaitLines implements Consumer<Waiting> {
  private static final long BETWEEN = 5_000_000_000L;

  private final PrintStream out;
  private final LongSupplier clock;
  private String told = "";
  private long toldAt;

  WaitLines(PrintStream out) {
    this(out, System::nanoTime);
  }

  WaitLines(PrintStream out, LongSupplier clock) {
    this.out = out;
    this.clock = clock;
    this.toldAt = clock.getAsLong() - BETWEEN;
  }

  @Override
  public void accept(Waiting waiting) {
    String reasons = waiting.reasons().stream().map(Reason::getMessage).collect(Collectors.joining("; "));
    String news = waiting.position() + " " + waiting.queueLength() + " " + reasons;
    if (news.equals(told) || clock.getAsLong() - toldAt < BETWEEN) {
      return;
    }
    told = news;
    toldAt = clock.getAsLong();
    out.println("sluice: " + waiting);
  }
}
