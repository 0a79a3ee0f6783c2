package sluice;

import io.grpc.Status;

/** The queue, or the tenant's share of it, is at its limit; {@link #retryAfter()} says when to ask again. */
public final class QueueFullException extends SluiceException {
  private static final long serialVersionUID = 1L;

  QueueFullException(String message, ErrorDetails details, Status.Code code, Throwable cause) {
    super(message, details, code, cause);
  }
}
