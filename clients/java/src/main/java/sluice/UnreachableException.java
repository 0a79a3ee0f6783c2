package sluice;

import io.grpc.Status;

/** No server answers. */
public class UnreachableException extends SluiceException {
  private static final long serialVersionUID = 1L;

  UnreachableException(String message, ErrorDetails details, Status.Code code, Throwable cause) {
    super(message, details, code, cause);
  }

  UnreachableException(String message) {
    super(message);
  }
}
