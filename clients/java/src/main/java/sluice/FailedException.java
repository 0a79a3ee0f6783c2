package sluice;

import io.grpc.Status;
import java.util.Optional;
import sluice.v1.Executor.ExecutionFailed;

/** A plugin failed. */
public final class FailedException extends SluiceException {
  private static final long serialVersionUID = 1L;

  private final ExecutionFailed failure;

  FailedException(String message, ExecutionFailed failure, ErrorDetails details, Status.Code code, Throwable cause) {
    super(message, details, code, cause);
    this.failure = failure;
  }

  /** How it failed; empty when nothing is known. */
  public Optional<ExecutionFailed> failure() {
    return Optional.ofNullable(failure);
  }
}
