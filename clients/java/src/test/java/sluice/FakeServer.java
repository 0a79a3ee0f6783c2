package sluice;

import com.google.protobuf.Any;
import com.google.rpc.ErrorInfo;
import io.grpc.InsecureServerCredentials;
import io.grpc.Server;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import java.util.logging.Logger;
import sluice.v1.Scheduler.*;
import sluice.v1.SchedulerServiceGrpc;
import sluice.v1.Types;

/** A server for unit tests: the real gRPC stack, answers that a test chooses. Grants what it is asked for unless told otherwise. */
final class FakeServer extends SchedulerServiceGrpc.SchedulerServiceImplBase implements AutoCloseable {
  static final String GPU = "GPU-00000000-0000-4000-8000-000000000000";

  interface OnWait {
    void wait(int turn, ServerCallStreamObserver<WaitForResourcesResponse> client);
  }

  interface OnRenew {
    void renew(int turn, StreamObserver<RenewLeaseResponse> client);
  }

  /** Held, because the log manager forgets loggers that nobody holds. */
  static final Logger LOG = Logger.getLogger("sluice");

  static {
    // Tests lose leases on purpose, and a report should not look like an accident.
    LOG.setUseParentHandlers(false);
  }

  final List<WaitForResourcesRequest> waits = new CopyOnWriteArrayList<>();
  final AtomicInteger renewals = new AtomicInteger();
  final List<String> released = new CopyOnWriteArrayList<>();
  final List<String> cancelled = new CopyOnWriteArrayList<>();
  final List<Integer> attached = new CopyOnWriteArrayList<>();
  final List<String> executions = new CopyOnWriteArrayList<>();
  final List<Long> watchTokens = new CopyOnWriteArrayList<>();
  final List<WatchLeaseResponse> watch = new CopyOnWriteArrayList<>();
  final CountDownLatch watching = new CountDownLatch(1);
  final String address;
  volatile Duration ttl = Duration.ofSeconds(60);
  volatile OnWait onWait = (turn, client) -> grant(client);
  volatile OnRenew onRenew = (turn, client) -> renewed(client);
  volatile Consumer<StreamObserver<StartExecutionResponse>> onStart =
      client -> answer(client, StartExecutionResponse.newBuilder().setExecutionId("execution-1").build());
  volatile Runnable onCancel = () -> {};
  volatile Runnable onRelease = () -> {};
  private final Server server;

  FakeServer() {
    this(0);
  }

  FakeServer(int port) {
    try {
      InetSocketAddress loopback = new InetSocketAddress("127.0.0.1", port);
      server = NettyServerBuilder.forAddress(loopback, InsecureServerCredentials.create()).addService(this).build().start();
    } catch (IOException taken) {
      throw new IllegalStateException(taken);
    }
    address = "127.0.0.1:" + server.getPort();
  }

  @Override
  public void close() {
    server.shutdownNow();
    try {
      server.awaitTermination();
    } catch (InterruptedException interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  int port() {
    return server.getPort();
  }

  /** Waits until something holds. */
  static void until(BooleanSupplier condition, String what) throws InterruptedException {
    long end = System.nanoTime() + 10_000_000_000L;
    while (!condition.getAsBoolean()) {
      if (System.nanoTime() > end) {
        throw new AssertionError("waited 10 s in vain for " + what);
      }
      Thread.sleep(2);
    }
  }

  /** The lease that is granted. */
  Types.Lease lease() {
    return Types.Lease.newBuilder()
        .setId("lease-1")
        .setToken(7)
        .addGpus(Types.LeasedGpu.newBuilder().setUuid(GPU).setVramMb(4096))
        .setTtl(Times.of(ttl))
        .putEnv("CUDA_VISIBLE_DEVICES", GPU)
        .putEnv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
        .putEnv("SLUICE_LEASE_ID", "lease-1")
        .build();
  }

  /** A message that tells a place. */
  static WaitForResourcesResponse queued(int position) {
    Types.Reason reason =
        Types.Reason.newBuilder()
            .setCode(Types.ReasonCode.REASON_CODE_INSUFFICIENT_GPU_MEMORY)
            .setMessage("GPU 0 is full")
            .build();
    Queued queued = Queued.newBuilder().setPosition(position).setQueueLength(3).addReasons(reason).build();
    return WaitForResourcesResponse.newBuilder().setTicketId("ticket-1").setQueued(queued).build();
  }

  void grant(StreamObserver<WaitForResourcesResponse> client) {
    Granted granted = Granted.newBuilder().setLease(lease()).build();
    client.onNext(WaitForResourcesResponse.newBuilder().setTicketId("ticket-1").setGranted(granted).build());
    client.onCompleted();
  }

  /** As the real one does: without env. */
  void renewed(StreamObserver<RenewLeaseResponse> client) {
    answer(client, RenewLeaseResponse.newBuilder().setLease(lease().toBuilder().clearEnv()).build());
  }

  /** An error as the real server sends it. */
  static StatusRuntimeException error(com.google.rpc.Code code, String reason, String message, Any... more) {
    ErrorInfo info = ErrorInfo.newBuilder().setReason(reason).setDomain("sluice").putMetadata("limit", "1").build();
    return StatusProto.toStatusRuntimeException(
        com.google.rpc.Status.newBuilder()
            .setCode(code.getNumber())
            .setMessage(message)
            .addDetails(Any.pack(info))
            .addAllDetails(List.of(more))
            .build());
  }

  static <T> void answer(StreamObserver<T> client, T answer) {
    client.onNext(answer);
    client.onCompleted();
  }

  // The calls.

  @Override
  public void waitForResources(WaitForResourcesRequest request, StreamObserver<WaitForResourcesResponse> client) {
    waits.add(request);
    var observer = (ServerCallStreamObserver<WaitForResourcesResponse>) client;
    // Whoever is gone is no error of a test.
    observer.setOnCancelHandler(() -> {});
    onWait.wait(waits.size(), observer);
  }

  @Override
  public void renewLease(RenewLeaseRequest request, StreamObserver<RenewLeaseResponse> client) {
    onRenew.renew(renewals.incrementAndGet(), client);
  }

  @Override
  public void releaseLease(ReleaseLeaseRequest request, StreamObserver<ReleaseLeaseResponse> client) {
    released.add(request.getLeaseId());
    onRelease.run();
    answer(client, ReleaseLeaseResponse.getDefaultInstance());
  }

  @Override
  public void cancelTicket(CancelTicketRequest request, StreamObserver<CancelTicketResponse> client) {
    cancelled.add(request.getTicketId());
    answer(client, CancelTicketResponse.getDefaultInstance());
    onCancel.run();
  }

  @Override
  public void startExecution(StartExecutionRequest request, StreamObserver<StartExecutionResponse> client) {
    executions.add("start");
    onStart.accept(client);
  }

  @Override
  public void finishExecution(FinishExecutionRequest request, StreamObserver<FinishExecutionResponse> client) {
    executions.add("finish");
    answer(client, FinishExecutionResponse.getDefaultInstance());
  }

  @Override
  public void attachProcess(AttachProcessRequest request, StreamObserver<AttachProcessResponse> client) {
    attached.add(request.getPid());
    answer(client, AttachProcessResponse.getDefaultInstance());
  }

  @Override
  public void watchLease(WatchLeaseRequest request, StreamObserver<WatchLeaseResponse> client) {
    ((ServerCallStreamObserver<WatchLeaseResponse>) client).setOnCancelHandler(() -> {});
    watchTokens.add(request.getToken());
    watching.countDown();
    watch.forEach(client::onNext);
    watch.clear();
  }
}
