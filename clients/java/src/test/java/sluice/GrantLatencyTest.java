package sluice;

import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.stub.StreamObserver;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.DisplayNameGeneration;
import org.junit.jupiter.api.DisplayNameGenerator;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import sluice.v1.Scheduler.WaitForResourcesResponse;

@Timeout(60)
@DisplayNameGeneration(DisplayNameGenerator.ReplaceUnderscores.class)
class GrantLatencyTest {
  @Test
  void the_client_adds_less_than_a_millisecond_to_a_grant() throws Exception {
    try (FakeServer server = new FakeServer();
        Sluice sluice = Sluice.connect(server.address)) {
      // Room for one lease: whoever comes next waits until it is given back.
      AtomicBoolean free = new AtomicBoolean(true);
      AtomicReference<StreamObserver<WaitForResourcesResponse>> waiter = new AtomicReference<>();
      server.onWait =
          (turn, client) -> {
            if (free.getAndSet(false)) {
              server.grant(client);
              return;
            }
            waiter.set(client);
            client.onNext(FakeServer.queued(1));
          };
      server.onRelease =
          () -> {
            StreamObserver<WaitForResourcesResponse> next = waiter.getAndSet(null);
            if (next == null) {
              free.set(true);
            } else {
              server.grant(next);
            }
          };
      GrantLatency latency = new GrantLatency(sluice, 4096);
      latency.measure(100);
      GrantLatency.Medians medians = latency.measure(200);
      System.err.println(medians);
      // On a machine that is busy one run may be spoilt by others.
      for (int again = 0; again < 2 && medians.added() >= 1_000; again++) {
        medians = latency.measure(200);
      }
      assertTrue(medians.added() < 1_000, medians.toString());
    }
  }
}
