package sluice;

import io.grpc.Status;

/** The server is shutting down, or cannot promise anything now; {@link #retryAfter()} says when to ask again. */
public final class DrainingException extends UnreachableException {
  private static final long serialVersionUID = 1L;

  DrainingException(String message, ErrorDetails details, Status.Code code, Throwable cause) {
    super(message, details, code, cause);
  }
}
