package sluice;

import io.grpc.StatusRuntimeException;
import java.time.Duration;
import java.util.Map;
import java.util.function.Consumer;
import sluice.v1.Executor.StreamExecutionRequest;
import sluice.v1.Executor.StreamExecutionResponse;
import sluice.v1.ExecutorServiceGrpc;

/** One execution of a plugin. Say how, then {@link #execute()}. Not for several threads at a time. */
public final class PluginRun {
  private final Line line;
  private final StreamExecutionRequest.Builder request;
  private Consumer<StreamExecutionResponse> onEvent = event -> {};

  PluginRun(Line line, String plugin) {
    this.line = line;
    this.request = StreamExecutionRequest.newBuilder().setPlugin(plugin);
  }

  /** The arguments: texts, numbers, truth values, nulls, and lists and maps of them. */
  public PluginRun arguments(Map<String, ?> arguments) {
    request.setArguments(PlainValues.toStruct(arguments));
    return this;
  }

  /** Name of the policy for this execution; the server's unless said. */
  public PluginRun policy(String policy) {
    request.setPolicy(policy);
    return this;
  }

  /** How long to wait for resources under policy queue; the server's default unless said. Zero: for ever. */
  public PluginRun timeout(Duration timeout) {
    request.setTimeout(Times.of(timeout));
    return this;
  }

  /** Who is asking. */
  public PluginRun tenant(String tenant) {
    request.setTenant(tenant);
    return this;
  }

  /** Higher is served first; -1000 to 1000. */
  public PluginRun priority(int priority) {
    request.setPriority(priority);
    return this;
  }

  /** The same id finds the same execution again while it is remembered. A fresh one is made unless said. */
  public PluginRun requestId(String requestId) {
    request.setRequestId(requestId);
    return this;
  }

  /** Called by the thread that waits, with each event: queued, admitted, progress, log and so on. */
  public PluginRun onEvent(Consumer<StreamExecutionResponse> listener) {
    this.onEvent = listener;
    return this;
  }

  /**
   * Runs the plugin and answers its result as plain Java: a Map, List, String, Double, Boolean or null.
   *
   * @throws RefusedException it is not admitted
   * @throws FailedException it fails
   * @throws InvalidRequestException the arguments are not those of the plugin
   * @throws UnreachableException nobody answers
   */
  public Object execute() throws InterruptedException {
    StreamExecutionRequest asked = request.getRequestId().isEmpty() ? withId() : request.build();
    MessageStream<StreamExecutionResponse> stream = line.open(ExecutorServiceGrpc.getStreamExecutionMethod(), asked);
    try {
      for (StreamExecutionResponse event = stream.next(); event != null; event = stream.next()) {
        onEvent.accept(event);
        if (event.hasResult()) {
          return PlainValues.from(event.getResult().getResult());
        }
        if (event.hasFailed()) {
          throw Errors.failed(event.getFailed());
        }
      }
    } catch (StatusRuntimeException error) {
      throw line.failure(error);
    } finally {
      stream.cancel();
    }
    throw new FailedException("the server ended the execution without an answer", null, ErrorDetails.NONE, null, null);
  }

  private StreamExecutionRequest withId() {
    return request.clone().setRequestId(Request.newId()).build();
  }
}
