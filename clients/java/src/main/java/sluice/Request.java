package sluice;

import java.time.Duration;
import java.util.UUID;
import sluice.v1.Scheduler.AllocateRequest;
import sluice.v1.Scheduler.WaitForResourcesRequest;
import sluice.v1.Types.Hold;
import sluice.v1.Types.Workload;

/** One request for resources, as the contract's messages. */
final class Request {
  private final Workload workload;
  private final String requestId;
  private final Duration timeout;
  private final Duration ttl;
  private final String policy;

  /**
   * @param requestId the caller's own, or empty for a fresh one: without any, a broken connection would cost the place
   * @param timeout null for the server's default, zero for ever
   * @param ttl null for the server's default
   */
  Request(Workload workload, String requestId, Duration timeout, Duration ttl, String policy) {
    this.workload = workload;
    this.requestId = requestId.isEmpty() ? newId() : requestId;
    this.timeout = timeout;
    this.ttl = ttl;
    this.policy = policy;
  }

  static String newId() {
    return "java-" + UUID.randomUUID();
  }

  /** The message that queues, after so much of the timeout has passed. */
  WaitForResourcesRequest toWait(Duration passed) {
    WaitForResourcesRequest.Builder message =
        WaitForResourcesRequest.newBuilder()
            .setWorkload(workload)
            .setRequestId(requestId)
            .setPolicy(policy)
            .setHold(Hold.HOLD_TTL)
            // The place is kept for as long as this client tries to come back.
            .setGraceTime(Times.of(Patience.AWAY));
    if (timeout != null) {
      message.setTimeout(Times.of(left(passed)));
    }
    if (ttl != null) {
      message.setLeaseTtl(Times.of(ttl));
    }
    return message.build();
  }

  /** The message that decides now. */
  AllocateRequest toAllocate() {
    AllocateRequest.Builder message =
        AllocateRequest.newBuilder().setWorkload(workload).setRequestId(requestId).setPolicy(policy);
    if (ttl != null) {
      message.setLeaseTtl(Times.of(ttl));
    }
    return message.build();
  }

  private Duration left(Duration passed) {
    if (timeout.isZero()) {
      return timeout;
    }
    Duration left = timeout.minus(passed);
    // 0 would mean for ever.
    return left.compareTo(Duration.ofMillis(1)) < 0 ? Duration.ofMillis(1) : left;
  }
}
