package sluice;

import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.util.Map;
import java.util.stream.Collectors;
import sluice.v1.Executor.ExecutionFailed;
import sluice.v1.Executor.ExecutionFailure;
import sluice.v1.Types.Reason;
import sluice.v1.Types.ReasonCode;
import sluice.v1.Types.Refusal;

/** Which exception an error is. The reason decides, and where there is none, the status. */
final class Errors {
  private interface Kind {
    SluiceException of(String message, ErrorDetails details, Status.Code code, Throwable cause);
  }

  private static final Map<String, Kind> BY_REASON =
      Map.of(
          "INVALID_ARGUMENT", InvalidRequestException::new,
          "QUEUE_FULL", QueueFullException::new,
          "TENANT_QUEUE_FULL", QueueFullException::new,
          "DRAINING", DrainingException::new,
          "STATE_UNAVAILABLE", DrainingException::new,
          "TICKET_CANCELLED", TicketCancelledException::new,
          "LEASE_EXPIRED", LeaseGoneException::new,
          "STALE_TOKEN", LeaseGoneException::new);

  private static final Map<Status.Code, Kind> BY_CODE =
      Map.of(
          Status.Code.INVALID_ARGUMENT, InvalidRequestException::new,
          Status.Code.UNAVAILABLE, UnreachableException::new);

  private Errors() {}

  static SluiceException from(StatusRuntimeException error) {
    Status status = error.getStatus();
    Status.Code code = status.getCode();
    String said = status.getDescription();
    String message = said == null || said.isEmpty() ? code.name() : said;
    ErrorDetails details = ErrorDetails.of(error);
    if (details.reason.equals("NOT_ADMITTED") && details.refusal != null) {
      return refused(details.refusal, message, details, code, error);
    }
    if (details.reason.startsWith("EXECUTION_")) {
      return new FailedException(message, details.failure, details, code, error);
    }
    Kind kind = BY_REASON.getOrDefault(details.reason, BY_CODE.getOrDefault(code, SluiceException::new));
    return kind.of(message, details, code, error);
  }

  /** The exception for a no that came as an answer. */
  static RefusedException refused(Refusal refusal) {
    return refused(refusal, "", ErrorDetails.NONE, null, null);
  }

  /** The exception for an execution that failed. */
  static SluiceException failed(ExecutionFailed failed) {
    if (failed.getCode() == ExecutionFailure.EXECUTION_FAILURE_NOT_ADMITTED) {
      return refused(failed.getRefusal(), failed.getMessage(), ErrorDetails.NONE, null, null);
    }
    return new FailedException(failed.getMessage(), failed, ErrorDetails.NONE, null, null);
  }

  private static RefusedException refused(
      Refusal refusal, String message, ErrorDetails details, Status.Code code, Throwable cause) {
    String why = refusal.getReasonsList().stream().map(Reason::getMessage).collect(Collectors.joining("; "));
    String text = !message.isEmpty() ? message : !why.isEmpty() ? why : "it was refused";
    boolean never =
        refusal.getReasonsList().stream().anyMatch(reason -> reason.getCode() == ReasonCode.REASON_CODE_NEVER_FITS);
    return never
        ? new NeverFitsException(text, refusal, details, code, cause)
        : new RefusedException(text, refusal, details, code, cause);
  }
}
