package sluice;

import java.time.Duration;
import java.util.Arrays;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import sluice.v1.Scheduler.ReleaseLeaseRequest;
import sluice.v1.Scheduler.WaitForResourcesResponse;
import sluice.v1.SchedulerServiceGrpc.SchedulerServiceBlockingStub;
import sluice.v1.Types.Lease;
import sluice.v1.Types.ResourceRequirements;
import sluice.v1.Types.Workload;

/**
 * How long after a lease is given back whoever waits has it: by the generated stub, by the layer's wait, and by hold(), which also
 * attaches the process and counts the execution. Each round waits for the memory of a lease of the same kind, so that the server does
 * the same work for all.
 *
 * <p>As a program: {@code GrantLatency ADDRESS MIB [ROUNDS]}, where two of MIB do not fit.
 */
final class GrantLatency {
  private interface Waiter {
    /** Waits for the lease; says when it is in the queue. */
    Held waitFor(Runnable queued) throws InterruptedException;
  }

  private record Held(Runnable release) {}

  private final Sluice sluice;
  private final int vramMb;
  private Held held;

  GrantLatency(Sluice sluice, int vramMb) {
    this.sluice = sluice;
    this.vramMb = vramMb;
  }

  public static void main(String[] arguments) throws Exception {
    int rounds = arguments.length > 2 ? Integer.parseInt(arguments[2]) : 200;
    try (Sluice sluice = Sluice.connect(arguments[0])) {
      GrantLatency latency = new GrantLatency(sluice, Integer.parseInt(arguments[1]));
      latency.measure(rounds / 4);
      System.out.println(latency.measure(rounds));
      latency.finish();
    }
  }

  /** Medians in microseconds. */
  record Medians(long stub, long layer, long hold) {
    /** What the wait of the layer adds to the stub's. */
    long added() {
      return layer - stub;
    }

    @Override
    public String toString() {
      return "release to granted, median of each: stub %,d µs, wait %,d µs (%+,d), hold %,d µs (%+,d)"
          .formatted(stub, layer, added(), hold, hold - stub);
    }
  }

  Medians measure(int rounds) throws Exception {
    if (held == null) {
      held = byStub(() -> {});
    }
    long[][] micros = new long[3][rounds];
    Waiter[] waiters = {this::byStub, this::byWait, this::byHold};
    for (int round = 0; round < rounds; round++) {
      for (int kind = 0; kind < waiters.length; kind++) {
        micros[kind][round] = round(waiters[kind]) / 1_000;
      }
    }
    long[] medians = Arrays.stream(micros).mapToLong(GrantLatency::median).toArray();
    return new Medians(medians[0], medians[1], medians[2]);
  }

  /** Gives back what the last round has. */
  void finish() {
    held.release.run();
    held = null;
  }

  private long round(Waiter waiter) throws Exception {
    CountDownLatch queued = new CountDownLatch(1);
    AtomicReference<Held> next = new AtomicReference<>();
    CompletableFuture<Long> granted = new CompletableFuture<>();
    Thread thread =
        new Thread(
            () -> {
              try {
                next.set(waiter.waitFor(queued::countDown));
                granted.complete(System.nanoTime());
              } catch (InterruptedException | RuntimeException error) {
                granted.completeExceptionally(error);
              }
            });
    thread.start();
    if (!queued.await(10, TimeUnit.SECONDS)) {
      granted.get(1, TimeUnit.SECONDS);
      throw new IllegalStateException("it did not have to wait");
    }
    long start = System.nanoTime();
    held.release.run();
    long took = granted.get(10, TimeUnit.SECONDS) - start;
    next.get().release.run();
    held = byStub(() -> {});
    return took;
  }

  private SchedulerServiceBlockingStub scheduler() {
    return sluice.scheduler().withDeadlineAfter(10, TimeUnit.SECONDS);
  }

  private Held byStub(Runnable queued) {
    var messages = scheduler().waitForResources(request().toWait(Duration.ZERO));
    while (true) {
      WaitForResourcesResponse message = messages.next();
      if (message.hasGranted()) {
        return held(message.getGranted().getLease());
      }
      queued.run();
    }
  }

  private Held byWait(Runnable queued) throws InterruptedException {
    Line line = sluice.line();
    return held(new Wait(line, request(), place -> queued.run(), new Patience(Patience.FIRST_ANSWER)).forLease());
  }

  private Held byHold(Runnable queued) throws InterruptedException {
    var lease = sluice.resources().vramMb(vramMb).onProgress(place -> queued.run()).hold();
    return new Held(lease::close);
  }

  private Request request() {
    ResourceRequirements needs = ResourceRequirements.newBuilder().setRequiresGpu(true).setMinGpuVramMb(vramMb).build();
    return new Request(Workload.newBuilder().setResources(needs).build(), "", null, null, "");
  }

  private Held held(Lease lease) {
    var request = ReleaseLeaseRequest.newBuilder().setLeaseId(lease.getId()).setToken(lease.getToken()).build();
    return new Held(() -> scheduler().releaseLease(request));
  }

  private static long median(long[] values) {
    long[] sorted = values.clone();
    Arrays.sort(sorted);
    return sorted[sorted.length / 2];
  }
}
