package sluice;

import java.io.PrintStream;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import sluice.v1.Types.Reason;

/** A wait as lines, one whenever place or reasons change, at most one in 5 seconds: logs should stay readable. */
final class WaitLines implements Consumer<Waiting> {
  private static final long BETWEEN = 5_000_000_000L;

  private final PrintStream out;
  private String told = "";
  private long toldAt = System.nanoTime() - BETWEEN;

  WaitLines(PrintStream out) {
    this.out = out;
  }

  @Override
  public void accept(Waiting waiting) {
    String reasons = waiting.reasons().stream().map(Reason::getMessage).collect(Collectors.joining("; "));
    String news = waiting.position() + " " + waiting.queueLength() + " " + reasons;
    if (news.equals(told) || System.nanoTime() - toldAt < BETWEEN) {
      return;
    }
    told = news;
    toldAt = System.nanoTime();
    out.println("sluice: " + waiting);
  }
}
