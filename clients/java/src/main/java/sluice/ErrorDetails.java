package sluice;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import sluice.v1.Executor.ExecutionFailed;
import sluice.v1.Types.Refusal;

/** What an error says besides its status: google.rpc.ErrorInfo and its companions. Empty where the server said nothing. */
final class ErrorDetails {
  static final ErrorDetails NONE = new ErrorDetails();

  String reason = "";
  String domain = "";
  Map<String, String> metadata = Map.of();
  List<Violation> violations = List.of();
  Duration retryAfter;
  Refusal refusal;
  ExecutionFailed failure;

  private ErrorDetails() {}

  static ErrorDetails of(StatusRuntimeException error) {
    com.google.rpc.Status status;
    try {
      status = StatusProto.fromThrowable(error);
    } catch (IllegalArgumentException unreadable) {
      return NONE;
    }
    if (status == null) {
      return NONE;
    }
    ErrorDetails found = new ErrorDetails();
    for (Any detail : status.getDetailsList()) {
      try {
        found.read(detail);
      } catch (InvalidProtocolBufferException unreadable) {
        // The status and the other details still say what happened.
      }
    }
    return found;
  }

  private void read(Any detail) throws InvalidProtocolBufferException {
    if (detail.is(ErrorInfo.class)) {
      ErrorInfo info = detail.unpack(ErrorInfo.class);
      reason = info.getReason();
      domain = info.getDomain();
      metadata = info.getMetadataMap();
    } else if (detail.is(BadRequest.class)) {
      violations =
          detail.unpack(BadRequest.class).getFieldViolationsList().stream()
              .map(violation -> new Violation(violation.getField(), violation.getDescription()))
              .collect(Collectors.toUnmodifiableList());
    } else if (detail.is(RetryInfo.class)) {
      retryAfter = Times.from(detail.unpack(RetryInfo.class).getRetryDelay());
    } else if (detail.is(Refusal.class)) {
      refusal = detail.unpack(Refusal.class);
    } else if (detail.is(ExecutionFailed.class)) {
      failure = detail.unpack(ExecutionFailed.class);
    }
  }
}
