package sluice;

import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import sluice.v1.Scheduler.Queued;
import sluice.v1.Types.Reason;

/** Where a request stands in the queue. */
public final class Waiting {
  private final Queued message;
  private final Duration expectedIn;

  Waiting(Queued message) {
    this.message = message;
    this.expectedIn =
        message.hasExpectedStart() ? Duration.between(Instant.now(), Times.from(message.getExpectedStart())) : null;
  }

  /** The place in the queue; 1 is next. */
  public int position() {
    return message.getPosition();
  }

  /** How many wait, this request included. */
  public int queueLength() {
    return Math.max(message.getQueueLength(), message.getPosition());
  }

  /** How long it has waited. */
  public Duration waited() {
    return Times.from(message.getWaited());
  }

  /** Why it waits now, with the numbers behind each reason (MiB). */
  public List<Reason> reasons() {
    return message.getReasonsList();
  }

  /** Until it is thought to start; empty where nothing is known that it could rest on. */
  public Optional<Duration> expectedIn() {
    return Optional.ofNullable(expectedIn);
  }

  /** The message as the server sent it. */
  public Queued message() {
    return message;
  }

  /** One line for people. */
  @Override
  public String toString() {
    String start = "";
    if (expectedIn != null) {
      boolean soon = expectedIn.compareTo(Duration.ofSeconds(1)) < 0;
      start = soon ? " (starts any moment)" : " (starts in ~ " + age(expectedIn) + ")";
    }
    String why = reasons().stream().map(Reason::getMessage).collect(Collectors.joining("; "));
    return "waiting " + age(waited()) + ", place " + position() + " of " + queueLength() + start + ": " + why;
  }

  private static String age(Duration time) {
    long seconds = Math.max(0, time.getSeconds());
    if (seconds < 60) {
      return seconds + "s";
    }
    if (seconds < 3600) {
      return seconds / 60 + "m " + seconds % 60 + "s";
    }
    return seconds / 3600 + "h " + seconds % 3600 / 60 + "m";
  }
}
