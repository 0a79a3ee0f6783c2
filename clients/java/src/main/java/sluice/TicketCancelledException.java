package sluice;

import io.grpc.Status;

/** Somebody took the request out of the queue. */
public final class TicketCancelledException extends SluiceException {
  private static final long serialVersionUID = 1L;

  TicketCancelledException(String message, ErrorDetails details, Status.Code code, Throwable cause) {
    super(message, details, code, cause);
  }
}
