package sluice;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static sluice.FakeServer.GPU;
import static sluice.FakeServer.until;

import com.google.rpc.Code;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicLong;
import java.util.logging.Handler;
import java.util.logging.LogRecord;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.DisplayNameGeneration;
import org.junit.jupiter.api.DisplayNameGenerator;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import sluice.v1.Scheduler.Ended;
import sluice.v1.Scheduler.EvictionRequested;
import sluice.v1.Scheduler.LeaseSnapshot;
import sluice.v1.Scheduler.ReleaseLeaseRequest;
import sluice.v1.Scheduler.WatchLeaseResponse;
import sluice.v1.Types.LeaseEnd;
import sluice.v1.Types.LeaseState;

@Timeout(30)
@DisplayNameGeneration(DisplayNameGenerator.ReplaceUnderscores.class)
class HoldingTest {
  private final FakeServer server = new FakeServer();
  private final Sluice sluice = Sluice.connect(server.address);

  @BeforeEach
  void aShortLife() {
    server.ttl = Duration.ofMillis(600);
  }

  @AfterEach
  void end() {
    sluice.close();
    server.close();
  }

  @Test
  void the_lease_is_renewed_three_times_in_its_time_to_live_and_more() throws Exception {
    long start = System.nanoTime();
    try (Lease lease = sluice.resources().vramMb(4096).hold()) {
      until(() -> server.renewals.get() >= 4, "four renewals");
      assertFalse(lease.isLost());
      lease.check();
    }
    // The first is at once, and three more take one time to live.
    assertTrue(System.nanoTime() - start >= 590_000_000L);
  }

  @Test
  void it_is_in_use_until_the_end_and_this_process_is_attached() throws Exception {
    try (Lease lease = sluice.resources().vramMb(4096).hold()) {
      assertEquals(List.of("start"), server.executions);
      assertEquals(List.of((int) ProcessHandle.current().pid()), server.attached);
    }
    assertEquals(List.of("start", "finish"), server.executions);
    assertEquals(List.of("lease-1"), server.released);
  }

  @Test
  void a_child_process_finds_the_lease_in_its_environment_also_after_a_renewal_which_does_not_tell_it() throws Exception {
    try (Lease lease = sluice.resources().vramMb(4096).hold()) {
      until(() -> server.renewals.get() >= 2 && lease.message().getEnvCount() == 0, "two renewals");
      ProcessBuilder child = new ProcessBuilder("sh", "-c", "echo $CUDA_VISIBLE_DEVICES $SLUICE_LEASE_ID $SLUICE_ADDRESS");
      child.environment().putAll(lease.environment());
      String said = new String(child.start().getInputStream().readAllBytes());
      // The server cannot know how it was reached from here.
      assertEquals(GPU + " lease-1 " + server.address + "\n", said);
    }
  }

  @Test
  void closing_twice_is_one_call() throws Exception {
    Lease lease = sluice.resources().vramMb(4096).hold();
    lease.close();
    lease.close();
    assertEquals(List.of("lease-1"), server.released);
  }

  @Test
  void a_thread_that_is_interrupted_gives_its_lease_back_and_stays_interrupted() throws Exception {
    Lease lease = sluice.resources().vramMb(4096).hold();
    Thread.currentThread().interrupt();
    lease.close();
    assertTrue(Thread.interrupted());
    assertEquals(List.of("start", "finish"), server.executions);
    assertEquals(List.of("lease-1"), server.released);
  }

  @Test
  void an_exception_in_the_block_gives_the_lease_back_and_comes_out() {
    assertThrows(
        ArithmeticException.class,
        () -> {
          try (Lease lease = sluice.resources().vramMb(4096).hold()) {
            throw new ArithmeticException("by zero");
          }
        });
    assertEquals(List.of("lease-1"), server.released);
  }

  @Test
  void renewal_gives_up_before_the_time_to_live_is_over_counted_from_before_the_last_good_one_was_sent() throws Exception {
    server.ttl = Duration.ofSeconds(1);
    AtomicLong lastGood = new AtomicLong();
    AtomicLong lost = new AtomicLong();
    server.onRenew =
        (turn, client) -> {
          if (turn == 1) {
            lastGood.set(System.nanoTime());
            server.renewed(client);
          }
          // The others are swallowed, as by a line that is dead.
        };
    List<LogRecord> logged = new CopyOnWriteArrayList<>();
    Handler log = new ListHandler(logged);
    FakeServer.LOG.addHandler(log);
    try (Lease lease = sluice.resources().vramMb(4096).onLost((l, why) -> lost.set(System.nanoTime())).hold()) {
      until(() -> lost.get() != 0, "the loss");
      assertEquals("the server could not be reached in time to renew it", lease.whyLost().orElseThrow());
    } finally {
      FakeServer.LOG.removeHandler(log);
    }
    long after = (lost.get() - lastGood.get()) / 1_000_000;
    assertTrue(after < 1000, after + " ms");
    assertTrue(after > 500, after + " ms");
    assertTrue(logged.stream().anyMatch(record -> record.getMessage().contains("is lost: the server could not be reached")));
  }

  @Test
  void a_renewal_that_is_told_the_lease_is_gone_is_a_loss_at_once_and_told_to_the_program() throws Exception {
    server.ttl = Duration.ofSeconds(20);
    server.onRenew = (turn, client) -> client.onError(FakeServer.error(Code.NOT_FOUND, "LEASE_EXPIRED", "it has ended"));
    List<String> told = new CopyOnWriteArrayList<>();
    try (Lease lease = sluice.resources().vramMb(4096).onLost((l, why) -> told.add(why)).hold()) {
      until(() -> !told.isEmpty(), "the loss");
      LeaseLostException lost = assertThrows(LeaseLostException.class, lease::check);
      assertEquals("the lease lease-1 is lost: it has ended", lost.getMessage());
    }
    assertEquals(List.of("it has ended"), told);
    // What is lost is not ours to give back.
    assertEquals(List.of(), server.released);
  }

  @Test
  void an_error_that_says_nothing_about_the_lease_is_tried_again() throws Exception {
    server.onRenew =
        (turn, client) -> {
          if (turn <= 2) {
            client.onError(FakeServer.error(Code.INTERNAL, "INTERNAL", "id 17"));
          } else {
            server.renewed(client);
          }
        };
    try (Lease lease = sluice.resources().vramMb(4096).hold()) {
      until(() -> server.renewals.get() >= 5, "renewals to go on");
      assertFalse(lease.isLost());
    }
  }

  @Test
  void the_end_that_the_server_tells_is_a_loss_at_once() throws Exception {
    server.ttl = Duration.ofSeconds(60);
    server.watch.add(WatchLeaseResponse.getDefaultInstance()); // an event of a newer server
    Ended ended = Ended.newBuilder().setWhy(LeaseEnd.LEASE_END_EVICTED).build();
    server.watch.add(WatchLeaseResponse.newBuilder().setEnded(ended).build());
    try (Lease lease = sluice.resources().vramMb(4096).hold()) {
      until(lease::isLost, "the loss");
      assertEquals("it was taken for somebody who waited", lease.whyLost().orElseThrow());
    }
  }

  @Test
  void a_client_that_is_closed_too_early_is_a_lost_lease_and_no_exception() throws Exception {
    Lease lease = sluice.resources().vramMb(4096).hold();
    sluice.close();
    until(lease::isLost, "the loss");
    assertTrue(lease.whyLost().orElseThrow().contains("closed"));
    lease.close();
  }

  @Test
  void a_request_to_give_back_calls_the_program_which_may_close_the_lease_from_there() throws Exception {
    EvictionRequested asked = EvictionRequested.newBuilder().setReason("somebody needs 8,000 MiB").build();
    server.watch.add(WatchLeaseResponse.newBuilder().setEvictionRequested(asked).build());
    // Comes too late to be told.
    server.watch.add(WatchLeaseResponse.newBuilder().setEvictionRequested(asked).build());
    List<String> heard = new CopyOnWriteArrayList<>();
    AtomicLong took = new AtomicLong();
    Lease lease =
        sluice
            .resources()
            .vramMb(4096)
            .onEviction(
                (held, request) -> {
                  heard.add(request.reason());
                  // After an answer, what was sent before it is here too.
                  sluice.scheduler().releaseLease(ReleaseLeaseRequest.getDefaultInstance());
                  long start = System.nanoTime();
                  held.close();
                  took.set(System.nanoTime() - start);
                })
            .hold();
    until(() -> took.get() != 0, "the lease to be given back");
    assertFalse(lease.isLost());
    sluice.scheduler().releaseLease(ReleaseLeaseRequest.getDefaultInstance());
    assertEquals(List.of("somebody needs 8,000 MiB"), heard);
    assertEquals(List.of("", "lease-1", ""), server.released);
    // It listens with its token, and is idle until it says that it works.
    assertEquals(7L, server.watchTokens.get(0));
    assertEquals(List.of(), server.executions);
    // It did not wait for its own thread.
    assertTrue(took.get() < 1_900_000_000L);
  }

  @Test
  void a_lease_that_cannot_be_begun_is_given_back() {
    server.onStart = client -> client.onError(FakeServer.error(Code.NOT_FOUND, "LEASE_EXPIRED", "it has ended"));
    assertThrows(LeaseGoneException.class, () -> sluice.resources().vramMb(4096).hold());
    assertEquals(List.of("lease-1"), server.released);
  }

  @Test
  void an_interruption_while_the_lease_begins_gives_it_back() throws Exception {
    Thread holder = Thread.currentThread();
    server.onStart = client -> holder.interrupt();
    assertThrows(InterruptedException.class, () -> sluice.resources().vramMb(4096).hold());
    assertEquals(List.of("lease-1"), server.released);
  }

  @Test
  void work_on_a_lease_that_can_be_asked_back_is_counted() throws Exception {
    try (Lease lease = sluice.resources().vramMb(4096).onEviction((l, request) -> {}).hold()) {
      try (Lease.Work work = lease.executing()) {
        assertEquals(List.of("start"), server.executions);
      }
      assertEquals(List.of("start", "finish"), server.executions);
    }
    assertEquals(List.of("start", "finish"), server.executions);
  }

  @Test
  void a_callback_that_fails_is_logged_and_does_not_end_the_thread_that_keeps_the_lease() throws Exception {
    EvictionRequested asked = EvictionRequested.newBuilder().setReason("x").build();
    server.watch.add(WatchLeaseResponse.newBuilder().setEvictionRequested(asked).build());
    Ended ended = Ended.newBuilder().setWhy(LeaseEnd.LEASE_END_EVICTED).build();
    server.watch.add(WatchLeaseResponse.newBuilder().setEnded(ended).build());
    List<LogRecord> logged = new CopyOnWriteArrayList<>();
    Handler log = new ListHandler(logged);
    FakeServer.LOG.addHandler(log);
    IllegalStateException own = new IllegalStateException("the program's own");
    Resources resources =
        sluice
            .resources()
            .vramMb(4096)
            .onEviction(
                (l, request) -> {
                  throw own;
                });
    try (Lease lease = resources.hold()) {
      // It hears what comes after.
      until(lease::isLost, "the loss");
    } finally {
      FakeServer.LOG.removeHandler(log);
    }
    assertTrue(logged.stream().anyMatch(record -> record.getThrown() == own));
  }

  @Test
  void a_request_to_give_back_that_is_withdrawn_is_forgotten() throws Exception {
    EvictionRequested asked = EvictionRequested.newBuilder().setReason("x").build();
    server.watch.add(WatchLeaseResponse.newBuilder().setEvictionRequested(asked).build());
    LeaseSnapshot idle =
        LeaseSnapshot.newBuilder().setLease(server.lease().toBuilder().setState(LeaseState.LEASE_STATE_IDLE)).build();
    server.watch.add(WatchLeaseResponse.newBuilder().setSnapshot(idle).build());
    List<Boolean> set = new CopyOnWriteArrayList<>();
    Resources resources =
        sluice.resources().vramMb(4096).onEviction((held, request) -> set.add(held.evictionRequested().isPresent()));
    try (Lease lease = resources.hold()) {
      until(() -> !set.isEmpty() && lease.evictionRequested().isEmpty(), "the request to be withdrawn");
      assertEquals(List.of(true), set);
    }
  }

  @Test
  void nothing_is_left_running_after_the_block() throws Exception {
    try (Lease lease = sluice.resources().vramMb(4096).hold()) {
      server.watching.await();
      assertEquals(List.of("sluice-renew", "sluice-watch"), ownThreads());
    }
    assertEquals(List.of(), ownThreads());
  }

  private static List<String> ownThreads() {
    List<String> names = new ArrayList<>();
    Thread.getAllStackTraces().keySet().forEach(thread -> names.add(thread.getName()));
    return names.stream().filter(name -> name.startsWith("sluice-")).sorted().toList();
  }

  private static final class ListHandler extends Handler {
    private final List<LogRecord> records;

    ListHandler(List<LogRecord> records) {
      this.records = records;
    }

    @Override
    public void publish(LogRecord record) {
      records.add(record);
    }

    @Override
    public void flush() {}

    @Override
    public void close() {}
  }
}
