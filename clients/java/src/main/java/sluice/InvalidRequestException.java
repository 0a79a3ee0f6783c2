package sluice;

import io.grpc.Status;

/** The request is wrong and stays wrong; {@link #violations()} names the fields. */
public final class InvalidRequestException extends SluiceException {
  private static final long serialVersionUID = 1L;

  InvalidRequestException(String message, ErrorDetails details, Status.Code code, Throwable cause) {
    super(message, details, code, cause);
  }
}
