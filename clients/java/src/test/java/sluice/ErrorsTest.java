package sluice;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.Any;
import com.google.protobuf.ByteString;
import com.google.rpc.BadRequest;
import com.google.rpc.Code;
import com.google.rpc.RetryInfo;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.time.Duration;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.DisplayNameGeneration;
import org.junit.jupiter.api.DisplayNameGenerator;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import sluice.v1.Executor.ExecutionFailed;
import sluice.v1.Executor.ExecutionFailure;
import sluice.v1.Scheduler.Refused;
import sluice.v1.Scheduler.TimedOut;
import sluice.v1.Scheduler.WaitForResourcesRequest;
import sluice.v1.Scheduler.WaitForResourcesResponse;
import sluice.v1.Types.Reason;
import sluice.v1.Types.ReasonCode;
import sluice.v1.Types.Refusal;
import sluice.v1.Types.ResourceRequirements;

@Timeout(30)
@DisplayNameGeneration(DisplayNameGenerator.ReplaceUnderscores.class)
class ErrorsTest {
  private static final RetryInfo RETRY = RetryInfo.newBuilder().setRetryDelay(Times.of(Duration.ofMillis(5500))).build();
  private static final BadRequest WRONG =
      BadRequest.newBuilder()
          .addFieldViolations(
              BadRequest.FieldViolation.newBuilder().setField("workload.priority").setDescription("too high"))
          .build();

  @Test
  void details_are_read_and_unknown_or_broken_ones_passed_over() {
    Any unknown = Any.newBuilder().setTypeUrl("type.googleapis.com/example.Unknown").setValue(ByteString.copyFromUtf8("?")).build();
    Any broken = Any.newBuilder().setTypeUrl("type.googleapis.com/sluice.v1.Refusal").setValue(ByteString.copyFromUtf8("?")).build();
    SluiceException error =
        SluiceException.from(
            FakeServer.error(
                Code.RESOURCE_EXHAUSTED, "QUEUE_FULL", "the queue is full", unknown, broken, Any.pack(RETRY), Any.pack(WRONG)));
    assertInstanceOf(QueueFullException.class, error);
    assertEquals("the queue is full", error.getMessage());
    assertEquals("QUEUE_FULL", error.reason());
    assertEquals("sluice", error.domain());
    assertEquals(Map.of("limit", "1"), error.metadata());
    assertEquals(Optional.of(Duration.ofMillis(5500)), error.retryAfter());
    assertEquals(Optional.of(Status.Code.RESOURCE_EXHAUSTED), error.code());
    assertEquals("workload.priority: too high", error.violations().get(0).toString());
  }

  @Test
  void the_reason_decides_which_exception_it_is() {
    Map<String, Class<?>> kinds =
        Map.of(
            "INVALID_ARGUMENT", InvalidRequestException.class,
            "TENANT_QUEUE_FULL", QueueFullException.class,
            "DRAINING", DrainingException.class,
            "STATE_UNAVAILABLE", DrainingException.class,
            "TICKET_CANCELLED", TicketCancelledException.class,
            "LEASE_EXPIRED", LeaseGoneException.class,
            "STALE_TOKEN", LeaseGoneException.class);
    kinds.forEach(
        (reason, kind) -> assertEquals(kind, SluiceException.from(FakeServer.error(Code.UNKNOWN, reason, "x")).getClass()));
  }

  @Test
  void without_details_the_status_has_to_do() {
    assertEquals(UnreachableException.class, SluiceException.from(Status.UNAVAILABLE.asRuntimeException()).getClass());
    assertEquals(InvalidRequestException.class, SluiceException.from(Status.INVALID_ARGUMENT.asRuntimeException()).getClass());
    SluiceException other = SluiceException.from(Status.INTERNAL.asRuntimeException());
    assertEquals(SluiceException.class, other.getClass());
    // Never without a message.
    assertEquals("INTERNAL", other.getMessage());
  }

  @Test
  void a_refusal_and_a_failure_of_a_plugin_come_with_what_was_said_about_them() {
    Refusal refusal = Refusal.newBuilder().addReasons(reason(ReasonCode.REASON_CODE_QUOTA, "too many GPUs")).build();
    StatusRuntimeException no = FakeServer.error(Code.FAILED_PRECONDITION, "NOT_ADMITTED", "not admitted", Any.pack(refusal));
    RefusedException refused = assertInstanceOf(RefusedException.class, SluiceException.from(no));
    assertEquals("too many GPUs", refused.reasons().get(0).getMessage());

    ExecutionFailed failed = ExecutionFailed.newBuilder().setCode(ExecutionFailure.EXECUTION_FAILURE_EXIT).build();
    StatusRuntimeException bad = FakeServer.error(Code.ABORTED, "EXECUTION_FAILED", "exit 3", Any.pack(failed));
    FailedException failure = assertInstanceOf(FailedException.class, SluiceException.from(bad));
    assertEquals(Optional.of(failed), failure.failure());
  }

  @Test
  void a_wait_that_is_refused_or_in_vain_says_why_in_its_message() throws Exception {
    Reason never = reason(ReasonCode.REASON_CODE_NEVER_FITS, "30,000 MiB can never fit here");
    Refusal refusal =
        Refusal.newBuilder()
            .addReasons(never)
            .setLargestThatFits(ResourceRequirements.newBuilder().setMinGpuVramMb(24084))
            .build();
    TimedOut timedOut =
        TimedOut.newBuilder()
            .setWaited(Times.of(Duration.ofMillis(1500)))
            .addReasons(reason(ReasonCode.REASON_CODE_INSUFFICIENT_GPU_MEMORY, "GPU 0 is full"))
            .build();
    try (FakeServer server = new FakeServer();
        Sluice sluice = Sluice.connect(server.address)) {
      server.onWait =
          (turn, client) ->
              FakeServer.answer(
                  client,
                  turn == 1
                      ? last().setRefused(Refused.newBuilder().setRefusal(refusal)).build()
                      : last().setTimedOut(timedOut).build());
      NeverFitsException no = assertThrows(NeverFitsException.class, () -> sluice.resources().vramMb(30_000).hold());
      assertEquals("30,000 MiB can never fit here", no.getMessage());
      assertEquals(24084, no.largestThatFits().orElseThrow().getMinGpuVramMb());
      TimedOutException vain = assertThrows(TimedOutException.class, () -> sluice.resources().vramMb(1).hold());
      assertEquals("waited 1.5 s in vain: GPU 0 is full", vain.getMessage());
      assertEquals(Duration.ofMillis(1500), vain.waited());
      // Both are final: nobody has to be told.
      assertTrue(server.cancelled.isEmpty());
    }
  }

  @Test
  void errors_of_the_generated_stubs_can_be_typed_too() {
    try (FakeServer server = new FakeServer();
        Sluice sluice = Sluice.connect(server.address)) {
      server.onWait = (turn, client) -> client.onError(FakeServer.error(Code.INVALID_ARGUMENT, "INVALID_ARGUMENT", "no"));
      StatusRuntimeException raw =
          assertThrows(
              StatusRuntimeException.class,
              () -> sluice.scheduler().waitForResources(WaitForResourcesRequest.getDefaultInstance()).next());
      assertInstanceOf(InvalidRequestException.class, SluiceException.from(raw));
    }
  }

  private static WaitForResourcesResponse.Builder last() {
    return WaitForResourcesResponse.newBuilder().setTicketId("ticket-1");
  }

  private static Reason reason(ReasonCode code, String message) {
    return Reason.newBuilder().setCode(code).setMessage(message).build();
  }
}
