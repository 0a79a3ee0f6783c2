package sluice;

import io.grpc.Status;

/** The lease has ended, or the token is not its own. */
public final class LeaseGoneException extends SluiceException {
  private static final long serialVersionUID = 1L;

  LeaseGoneException(String message, ErrorDetails details, Status.Code code, Throwable cause) {
    super(message, details, code, cause);
  }
}
