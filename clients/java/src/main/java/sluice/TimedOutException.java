package sluice;

import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;
import sluice.v1.Scheduler.TimedOut;
import sluice.v1.Types.Reason;

/** It waited as long as it was allowed to. */
public final class TimedOutException extends SluiceException {
  private static final long serialVersionUID = 1L;

  private final TimedOut event;

  TimedOutException(TimedOut event) {
    super(text(event));
    this.event = event;
  }

  /** How long it waited. */
  public Duration waited() {
    return Times.from(event.getWaited());
  }

  /** Why it waited until the end, with the numbers behind each reason (MiB). */
  public List<Reason> reasons() {
    return event.getReasonsList();
  }

  private static String text(TimedOut event) {
    double seconds = Times.from(event.getWaited()).toMillis() / 1000.0;
    String why = event.getReasonsList().stream().map(Reason::getMessage).collect(Collectors.joining("; "));
    return String.format(Locale.ROOT, "waited %.1f s in vain: %s", seconds, why);
  }
}
