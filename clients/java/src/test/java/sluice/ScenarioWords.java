package sluice;

import com.google.gson.Gson;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.protobuf.MessageOrBuilder;
import com.google.protobuf.util.JsonFormat;
import io.grpc.MethodDescriptor;
import io.grpc.StatusRuntimeException;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import sluice.v1.ExecutorServiceGrpc;
import sluice.v1.MonitorServiceGrpc;
import sluice.v1.SchedulerServiceGrpc;
import sluice.v1.Types.Reason;

/** Messages and errors as the scenarios see them. */
final class ScenarioWords {
  private static final Gson GSON = new Gson();

  private ScenarioWords() {}

  /** A message as JSON with the names of the proto. */
  static JsonElement toJson(MessageOrBuilder message) {
    try {
      return JsonParser.parseString(JsonFormat.printer().preservingProtoFieldNames().print(message));
    } catch (InvalidProtocolBufferException unprintable) {
      throw new ScenarioMatch.Mismatch("a message cannot be shown: " + unprintable.getMessage());
    }
  }

  /** The method with a name such as "Allocate" or "ExecutorService.GetPlugin". */
  @SuppressWarnings("unchecked")
  static MethodDescriptor<Message, Message> method(String name) {
    String wanted = name.contains(".") ? name : "." + name;
    return Stream.of(
            SchedulerServiceGrpc.getServiceDescriptor(),
            ExecutorServiceGrpc.getServiceDescriptor(),
            MonitorServiceGrpc.getServiceDescriptor())
        .flatMap(service -> service.getMethods().stream())
        .filter(method -> method.getFullMethodName().replace('/', '.').endsWith(wanted))
        .findFirst()
        .map(method -> (MethodDescriptor<Message, Message>) method)
        .orElseThrow(() -> new ScenarioMatch.Mismatch("there is no method " + name));
  }

  /** The request message of a method. */
  static Message request(MethodDescriptor<Message, Message> method, JsonElement fields) {
    var marshaller = (MethodDescriptor.PrototypeMarshaller<Message>) method.getRequestMarshaller();
    Message.Builder request = marshaller.getMessagePrototype().newBuilderForType();
    try {
      if (fields instanceof JsonObject) {
        JsonFormat.parser().merge(fields.toString(), request);
      }
      return request.build();
    } catch (InvalidProtocolBufferException wrong) {
      throw new ScenarioMatch.Mismatch("the request is wrong: " + wrong.getMessage());
    }
  }

  /** The error of a call as data. */
  static JsonElement callError(StatusRuntimeException error) {
    ErrorDetails details = ErrorDetails.of(error);
    Map<String, Object> data = new HashMap<>();
    data.put("code", error.getStatus().getCode().name());
    data.put("message", error.getStatus().getDescription());
    data.put("reason", details.reason);
    data.put("domain", details.domain);
    data.put("metadata", details.metadata);
    data.put("violations", violations(details.violations));
    data.put("retry_after_ms", details.retryAfter == null ? null : details.retryAfter.toMillis());
    data.put("refusal", details.refusal == null ? null : toJson(details.refusal));
    data.put("failure", details.failure == null ? null : toJson(details.failure));
    return GSON.toJsonTree(data);
  }

  /** The error of the client as data. */
  static JsonElement clientError(SluiceException error) {
    Map<String, Object> data = new HashMap<>();
    data.put("kind", kind(error));
    data.put("message", error.getMessage());
    data.put("reason", error.reason());
    data.put("violations", violations(error.violations()));
    error.retryAfter().ifPresent(time -> data.put("retry_after_ms", time.toMillis()));
    if (error instanceof RefusedException refused) {
      data.put("reasons", reasons(refused.reasons()));
      refused.largestThatFits().ifPresent(largest -> data.put("largest_that_fits", toJson(largest)));
    }
    if (error instanceof TimedOutException timedOut) {
      data.put("reasons", reasons(timedOut.reasons()));
      data.put("waited_ms", timedOut.waited().toMillis());
    }
    if (error instanceof FailedException failed) {
      failed.failure().ifPresent(failure -> data.put("failure", toJson(failure)));
    }
    return GSON.toJsonTree(data);
  }

  static JsonElement waiting(Waiting waiting) {
    Map<String, Object> data = new HashMap<>();
    data.put("position", waiting.position());
    data.put("queue_length", waiting.queueLength());
    data.put("reasons", reasons(waiting.reasons()));
    return GSON.toJsonTree(data);
  }

  static JsonElement json(Object plain) {
    return GSON.toJsonTree(plain);
  }

  private static List<JsonElement> reasons(List<Reason> reasons) {
    return reasons.stream().map(ScenarioWords::toJson).toList();
  }

  private static List<Map<String, String>> violations(List<Violation> violations) {
    return violations.stream().map(v -> Map.of("field", v.field(), "description", v.description())).toList();
  }

  private static String kind(SluiceException error) {
    if (error instanceof NeverFitsException) {
      return "never-fits";
    } else if (error instanceof RefusedException) {
      return "refused";
    } else if (error instanceof TimedOutException) {
      return "timed-out";
    } else if (error instanceof QueueFullException) {
      return "queue-full";
    } else if (error instanceof InvalidRequestException) {
      return "invalid-request";
    } else if (error instanceof TicketCancelledException) {
      return "ticket-cancelled";
    } else if (error instanceof LeaseGoneException) {
      return "lease-gone";
    } else if (error instanceof DrainingException) {
      return "draining";
    } else if (error instanceof UnreachableException) {
      return "unreachable";
    }
    return error instanceof FailedException ? "failed" : "other";
  }
}
