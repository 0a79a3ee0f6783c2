package sluice;

import java.time.Instant;
import sluice.v1.Scheduler.EvictionRequested;

/** Somebody waits for this memory: give it back before the deadline, or the server takes it. */
public final class EvictionRequest {
  private final EvictionRequested message;

  EvictionRequest(EvictionRequested message) {
    this.message = message;
  }

  /** When the lease ends if it is not released before; by the server's clock. */
  public Instant deadline() {
    return Times.from(message.getDeadline());
  }

  /** Who waits, and for how much. */
  public String reason() {
    return message.getReason();
  }
}
