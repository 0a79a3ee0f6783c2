package sluice;

import io.grpc.Status;
import sluice.v1.Types.Refusal;

/** It would not fit on an empty machine either. */
public final class NeverFitsException extends RefusedException {
  private static final long serialVersionUID = 1L;

  NeverFitsException(String message, Refusal refusal, ErrorDetails details, Status.Code code, Throwable cause) {
    super(message, refusal, details, code, cause);
  }
}
