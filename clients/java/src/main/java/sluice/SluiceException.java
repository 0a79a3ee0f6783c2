package sluice;

import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** Base of all errors of this client. Unchecked, and always with a message that says why. */
public class SluiceException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  // Details are messages of the contract, which are not for Java's own serialisation.
  private final transient ErrorDetails details;
  private final Status.Code code;

  SluiceException(String message, ErrorDetails details, Status.Code code, Throwable cause) {
    super(message, cause);
    this.details = details;
    this.code = code;
  }

  SluiceException(String message) {
    this(message, ErrorDetails.NONE, null, null);
  }

  /**
   * The typed exception for an error of a generated stub, such as those of {@link Sluice#scheduler()}.
   *
   * @param error what the stub threw
   * @return the exception of this package that says the same, with the error as its cause
   */
  public static SluiceException from(StatusRuntimeException error) {
    return Errors.from(error);
  }

  /** The stable word for what happened, such as {@code QUEUE_FULL}; empty when there is none. */
  public String reason() {
    return details().reason;
  }

  /** Who says so: {@code sluice}; empty when nobody did. */
  public String domain() {
    return details().domain;
  }

  /** The gRPC status; empty when no call failed. */
  public Optional<Status.Code> code() {
    return Optional.ofNullable(code);
  }

  /** Further facts by name, as the server sent them. */
  public Map<String, String> metadata() {
    return details().metadata;
  }

  /** Which fields of the request are wrong, and how. */
  public List<Violation> violations() {
    return details().violations;
  }

  /** After what time to ask again; empty when the server named none. */
  public Optional<Duration> retryAfter() {
    return Optional.ofNullable(details().retryAfter);
  }

  private ErrorDetails details() {
    return details == null ? ErrorDetails.NONE : details;
  }
}
