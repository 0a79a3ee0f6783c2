package sluice;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static sluice.FakeServer.queued;
import static sluice.FakeServer.until;

import io.grpc.Status;
import io.grpc.stub.StreamObserver;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.DisplayNameGeneration;
import org.junit.jupiter.api.DisplayNameGenerator;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import sluice.v1.Scheduler.WaitForResourcesRequest;
import sluice.v1.Scheduler.WaitForResourcesResponse;
import sluice.v1.Types.Workload;

@Timeout(30)
@DisplayNameGeneration(DisplayNameGenerator.ReplaceUnderscores.class)
class WaitingTest {
  private FakeServer server = new FakeServer();
  private final Sluice sluice = Sluice.connect(server.address);

  @AfterEach
  void end() {
    sluice.close();
    server.close();
  }

  @Test
  void a_broken_stream_is_opened_again_with_the_same_request_id_and_what_is_left_of_the_time() throws Exception {
    server.onWait =
        (turn, client) -> {
          client.onNext(queued(1));
          if (turn == 1) {
            client.onError(Status.UNAVAILABLE.asRuntimeException());
          } else {
            server.grant(client);
          }
        };
    sluice.resources().vramMb(4096).timeout(Duration.ofSeconds(50)).hold().close();
    WaitForResourcesRequest first = server.waits.get(0);
    WaitForResourcesRequest second = server.waits.get(1);
    assertNotEquals("", first.getRequestId());
    assertEquals(first.getRequestId(), second.getRequestId());
    // The pause before asking again is 0.1 s.
    Duration less = Times.from(first.getTimeout()).minus(Times.from(second.getTimeout()));
    assertTrue(less.toMillis() >= 90, less.toString());
  }

  @Test
  void a_server_that_was_away_is_found_again_without_any_other_call() throws Exception {
    server.onWait = (turn, client) -> client.onNext(queued(1));
    AtomicReference<Lease> held = new AtomicReference<>();
    AtomicReference<Throwable> thrown = new AtomicReference<>();
    Thread waiter = start(() -> held.set(sluice.resources().vramMb(4096).hold()), thrown);
    until(() -> server.waits.size() == 1, "the wait");
    int port = server.port();
    String asked = server.waits.get(0).getRequestId();
    server.close();
    // Several attempts fail, so that gRPC's own pause between two grows.
    try (ServerSocket nobody = new ServerSocket(port, 50, InetAddress.getByName("127.0.0.1"))) {
      nobody.setSoTimeout(10_000);
      for (int attempt = 0; attempt < 4; attempt++) {
        nobody.accept().close();
      }
    }
    server = new FakeServer(port);
    long back = System.nanoTime();
    waiter.join();
    assertNull(thrown.get());
    assertTrue(System.nanoTime() - back < 5_000_000_000L);
    assertEquals(asked, server.waits.get(0).getRequestId());
    held.get().close();
  }

  @Test
  void each_wait_has_a_request_id_of_its_own() throws Exception {
    Resources resources = sluice.resources().vramMb(4096);
    resources.hold().close();
    resources.hold().close();
    assertNotEquals(server.waits.get(0).getRequestId(), server.waits.get(1).getRequestId());
  }

  @Test
  void events_of_a_newer_server_are_passed_over() throws Exception {
    server.onWait =
        (turn, client) -> {
          client.onNext(WaitForResourcesResponse.newBuilder().setTicketId("ticket-1").build());
          server.grant(client);
        };
    try (Lease lease = sluice.resources().vramMb(4096).hold()) {
      assertEquals(7, lease.token());
    }
  }

  @Test
  void nobody_at_the_address_is_told_after_a_while_and_not_never() {
    Line line = new Line("127.0.0.1:1", Duration.ofSeconds(10));
    Request request = new Request(Workload.getDefaultInstance(), "", null, null, "");
    Wait wait = new Wait(line, request, place -> {}, new Patience(Duration.ofMillis(300)));
    UnreachableException nobody = assertThrows(UnreachableException.class, wait::forLease);
    assertFalse(nobody.getMessage().isEmpty());
    line.close();
  }

  @Test
  void a_wait_that_is_interrupted_leaves_the_queue() throws Exception {
    server.onWait =
        (turn, client) -> {
          client.onNext(queued(1));
          server.onCancel = () -> client.onError(FakeServer.error(com.google.rpc.Code.CANCELLED, "TICKET_CANCELLED", "gone"));
        };
    List<Waiting> places = new CopyOnWriteArrayList<>();
    AtomicReference<Throwable> thrown = new AtomicReference<>();
    Thread waiter = start(() -> sluice.resources().vramMb(4096).onProgress(places::add).hold(), thrown);
    until(() -> !places.isEmpty(), "a place");
    waiter.interrupt();
    waiter.join();
    assertEquals(InterruptedException.class, thrown.get().getClass());
    assertEquals(List.of("ticket-1"), server.cancelled);
  }

  @Test
  void a_wait_that_is_interrupted_before_it_has_heard_anything_leaves_the_queue_too() throws Exception {
    AtomicReference<StreamObserver<WaitForResourcesResponse>> late = new AtomicReference<>();
    server.onWait = (turn, client) -> late.set(client);
    AtomicReference<Throwable> thrown = new AtomicReference<>();
    Thread waiter = start(() -> sluice.resources().vramMb(4096).hold(), thrown);
    until(() -> late.get() != null, "the wait");
    waiter.interrupt();
    until(() -> ownThreads("sluice-leave"), "the client to leave");
    server.onCancel = () -> late.get().onCompleted();
    late.get().onNext(queued(1));
    waiter.join();
    assertEquals(InterruptedException.class, thrown.get().getClass());
    assertEquals(List.of("ticket-1"), server.cancelled);
  }

  @Test
  void a_grant_that_arrives_after_the_interruption_is_given_back() throws Exception {
    server.onWait =
        (turn, client) -> {
          client.onNext(queued(1));
          // The grant was decided before the ticket could be cancelled.
          server.onCancel = () -> server.grant(client);
        };
    List<Waiting> places = new CopyOnWriteArrayList<>();
    AtomicReference<Throwable> thrown = new AtomicReference<>();
    Thread waiter = start(() -> sluice.resources().vramMb(4096).onProgress(places::add).hold(), thrown);
    until(() -> !places.isEmpty(), "a place");
    waiter.interrupt();
    waiter.join();
    assertEquals(InterruptedException.class, thrown.get().getClass());
    assertEquals(List.of("lease-1"), server.released);
  }

  @Test
  void an_interruption_between_the_grant_and_the_lease_gives_it_back() throws Exception {
    List<Waiting> places = new CopyOnWriteArrayList<>();
    server.onWait =
        (turn, client) -> {
          client.onNext(queued(1));
          server.grant(client);
        };
    assertThrows(
        InterruptedException.class,
        () -> sluice.resources().vramMb(4096).onProgress(place -> Thread.currentThread().interrupt()).hold());
    assertEquals(List.of("lease-1"), server.released);
  }

  @Test
  void what_a_progress_callback_throws_ends_the_wait_and_leaves_the_queue() {
    server.onWait =
        (turn, client) -> {
          server.onCancel = client::onCompleted;
          client.onNext(queued(1));
        };
    IllegalStateException own = new IllegalStateException("the program's own");
    Resources resources =
        sluice
            .resources()
            .vramMb(4096)
            .onProgress(
                place -> {
                  throw own;
                });
    assertEquals(own, assertThrows(IllegalStateException.class, resources::hold));
    assertEquals(List.of("ticket-1"), server.cancelled);
  }

  @Test
  void a_client_that_is_closed_ends_its_waits() throws Exception {
    server.onWait = (turn, client) -> client.onNext(queued(1));
    List<Waiting> places = new CopyOnWriteArrayList<>();
    AtomicReference<Throwable> thrown = new AtomicReference<>();
    Thread waiter = start(() -> sluice.resources().vramMb(4096).onProgress(places::add).hold(), thrown);
    until(() -> !places.isEmpty(), "a place");
    sluice.close();
    waiter.join();
    assertEquals(UnreachableException.class, thrown.get().getClass());
    assertEquals("the client is closed", thrown.get().getMessage());
  }

  @Test
  void progress_tells_place_and_reasons_and_reads_well() throws Exception {
    server.onWait =
        (turn, client) -> {
          client.onNext(queued(2));
          client.onNext(queued(1));
          server.grant(client);
        };
    List<Waiting> places = new CopyOnWriteArrayList<>();
    sluice.resources().vramMb(4096).onProgress(places::add).hold().close();
    assertEquals(List.of(2, 1), places.stream().map(Waiting::position).toList());
    assertEquals("GPU 0 is full", places.get(0).reasons().get(0).getMessage());
    assertEquals("waiting 0s, place 2 of 3: GPU 0 is full", places.get(0).toString());
  }

  @Test
  void progress_as_lines_tells_the_same_news_once_and_others_not_sooner_than_after_5_s() {
    ByteArrayOutputStream written = new ByteArrayOutputStream();
    AtomicLong seconds = new AtomicLong();
    WaitLines lines = new WaitLines(new PrintStream(written), () -> seconds.get() * 1_000_000_000);
    long[][] news = {{0, 3}, {2, 2}, {6, 3}, {7, 1}};
    for (long[] secondAndPlace : news) {
      seconds.set(secondAndPlace[0]);
      lines.accept(new Waiting(queued((int) secondAndPlace[1]).getQueued()));
    }
    assertEquals(
        List.of("sluice: waiting 0s, place 3 of 3: GPU 0 is full", "sluice: waiting 0s, place 1 of 3: GPU 0 is full"),
        written.toString().lines().toList());
  }

  @Test
  void what_is_asked_for_is_the_contracts_message() throws Exception {
    sluice
        .resources()
        .name("a")
        .vramMb(5)
        .ramMb(6)
        .gpus(2)
        .tenant("t")
        .priority(3)
        .labels(Map.of("k", "v"))
        .ttl(Duration.ofMillis(2500))
        .hold()
        .close();
    WaitForResourcesRequest asked = server.waits.get(0);
    Workload workload = asked.getWorkload();
    assertEquals(List.of("a", "t", 3), List.of(workload.getName(), workload.getTenant(), workload.getPriority()));
    assertTrue(workload.getResources().getRequiresGpu());
    assertEquals(2, workload.getResources().getGpuCount());
    assertEquals(6, workload.getResources().getMinSystemRamMb());
    assertEquals(Map.of("k", "v"), workload.getLabelsMap());
    assertEquals(Duration.ofMillis(2500), Times.from(asked.getLeaseTtl()));
    // The place is kept as long as the client tries to come back.
    assertEquals(Duration.ofSeconds(60), Times.from(asked.getGraceTime()));
    // Not set is not 0, which would mean for ever.
    assertFalse(asked.hasTimeout());
  }

  @Test
  void a_program_that_is_ended_from_outside_leaves_the_queue() throws Exception {
    server.onWait = (turn, client) -> client.onNext(queued(1));
    Process program = TestPrograms.start(server.address, "sluice.WaitingProgram");
    try (var said = program.inputReader()) {
      assertEquals("waiting 0s, place 1 of 3: GPU 0 is full", said.readLine());
      program.destroy();
      program.waitFor();
    } finally {
      program.destroyForcibly();
    }
    assertEquals(List.of("ticket-1"), server.cancelled);
  }

  private static boolean ownThreads(String name) {
    return Thread.getAllStackTraces().keySet().stream().anyMatch(thread -> thread.getName().equals(name));
  }

  private interface Action {
    void run() throws Exception;
  }

  private static Thread start(Action action, AtomicReference<Throwable> thrown) {
    Thread thread =
        new Thread(
            () -> {
              try {
                action.run();
              } catch (Exception error) {
                thrown.set(error);
              }
            });
    thread.start();
    return thread;
  }
}
