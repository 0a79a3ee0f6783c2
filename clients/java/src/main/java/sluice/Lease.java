package sluice;

import io.grpc.StatusRuntimeException;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicBoolean;
import sluice.v1.Scheduler.AttachProcessRequest;
import sluice.v1.Scheduler.AttachProcessResponse;
import sluice.v1.Scheduler.FinishExecutionRequest;
import sluice.v1.Scheduler.ReleaseLeaseRequest;
import sluice.v1.Scheduler.StartExecutionRequest;
import sluice.v1.SchedulerServiceGrpc;
import sluice.v1.Types;
import sluice.v1.Types.LeasedGpu;

/** A claim on named GPUs and on RAM that is renewed in the background until it is closed. All threads may use it. */
public final class Lease implements AutoCloseable {
  /** Work on a lease, from {@link Lease#executing()} until it is closed. */
  public interface Work extends AutoCloseable {
    /** The work is over. Never throws: at worst it ends with the lease. */
    @Override
    void close();
  }

  private static final System.Logger LOG = System.getLogger("sluice");
  private static final Duration START = Duration.ofSeconds(10);

  /** How long the server may take to hear that work is over. The lease ends by itself when it does not. */
  private static final Duration FAREWELL = Duration.ofSeconds(3);

  private final Line line;
  private final String id;
  private final long token;
  private final Map<String, String> environment;
  private final AtomicBoolean over = new AtomicBoolean();
  private final Keeper keeper;
  private volatile Types.Lease message;
  private volatile String whyLost;
  private volatile EvictionRequest eviction;
  private String execution = "";

  private Lease(Line line, Types.Lease granted, Wishes wishes, long heardAt) {
    this.line = line;
    this.id = granted.getId();
    this.token = granted.getToken();
    this.message = granted;
    // Only the grant tells it, a renewal does not; and by which name the server is reached from here it cannot know.
    Map<String, String> variables = new HashMap<>(granted.getEnvMap());
    variables.put("SLUICE_ADDRESS", line.address);
    this.environment = Map.copyOf(variables);
    this.keeper = new Keeper(this, line, wishes, heardAt);
  }

  /** Begins to hold what was granted a moment ago. */
  static Lease begin(Line line, Types.Lease granted, Wishes wishes) throws InterruptedException {
    Lease lease = new Lease(line, granted, wishes, Clock.now());
    boolean begun = false;
    try {
      lease.tell(wishes);
      lease.keeper.start();
      begun = true;
      return lease;
    } finally {
      if (!begun) {
        Undisturbed.run("sluice-release", () -> giveBack(line, granted));
      }
    }
  }

  private void tell(Wishes wishes) throws InterruptedException {
    // Both calls at a time: whoever has waited should begin soon.
    MessageStream<AttachProcessResponse> attaching = null;
    if (wishes.attach && Address.isLocal(line.address)) {
      int pid = (int) ProcessHandle.current().pid();
      AttachProcessRequest request = AttachProcessRequest.newBuilder().setLeaseId(id).setToken(token).setPid(pid).build();
      attaching = line.begin(SchedulerServiceGrpc.getAttachProcessMethod(), request, FAREWELL.toNanos());
    }
    if (wishes.onEviction == null) {
      // Nobody would hear a request to give it back, so it counts as in use until the end.
      execution = startExecution();
    }
    if (attaching == null) {
      return;
    }
    try {
      Line.answer(attaching);
    } catch (StatusRuntimeException error) {
      // Measured memory is then not credited to the lease; what was promised holds all the same.
      LOG.log(System.Logger.Level.INFO, "this process was not attached to lease {0}: {1}", id, line.failure(error).getMessage());
    }
  }

  /** Identity of the lease. */
  public String id() {
    return id;
  }

  /** Fencing token: rises with every grant of the server and never repeats. */
  public long token() {
    return token;
  }

  /** The GPUs with their UUIDs, indexes and MiB, in ascending index order; empty when no GPU was asked for. */
  public List<LeasedGpu> gpus() {
    return message.getGpusList();
  }

  /**
   * What a child process has to find in its environment: {@code builder.environment().putAll(lease.environment())}. A JVM cannot
   * set its own.
   */
  public Map<String, String> environment() {
    return environment;
  }

  /** The lease as it was granted or last renewed. */
  public Types.Lease message() {
    return message;
  }

  /** True once the lease is known to have ended although nobody here gave it back: its memory is no longer reserved. */
  public boolean isLost() {
    return whyLost != null;
  }

  /** Why it was lost, in words; empty while it is held. */
  public Optional<String> whyLost() {
    return Optional.ofNullable(whyLost);
  }

  /** Set while somebody waits for this memory; empty when nobody does, or no longer. */
  public Optional<EvictionRequest> evictionRequested() {
    return Optional.ofNullable(eviction);
  }

  /**
   * Does nothing while the lease is held. Cheap: ask in every step of a loop.
   *
   * @throws LeaseLostException the lease is lost
   */
  public void check() {
    if (whyLost != null) {
      throw new LeaseLostException("the lease " + id + " is lost: " + whyLost);
    }
  }

  /**
   * Says that work on the lease begins; close what is answered when it is over. While there is any, the lease is not evicted.
   *
   * @throws LeaseGoneException the lease has ended
   * @throws UnreachableException nobody answers within 10 s
   */
  public Work executing() throws InterruptedException {
    String started = startExecution();
    AtomicBoolean finished = new AtomicBoolean();
    return () -> {
      if (!finished.getAndSet(true)) {
        Undisturbed.run("sluice-finish", () -> finishExecution(started));
      }
    };
  }

  /**
   * Gives the lease back. Does nothing the second time, and never throws: at worst the lease ends by itself. Takes at most some
   * seconds, also in a thread that is interrupted.
   */
  @Override
  public void close() {
    if (over.getAndSet(true)) {
      return;
    }
    Thread caller = Thread.currentThread();
    Undisturbed.run(
        "sluice-release",
        () -> {
          keeper.stop(caller);
          if (isLost()) {
            return;
          }
          if (!execution.isEmpty()) {
            finishExecution(execution);
          }
          giveBack(line, message);
        });
  }

  /** Releases a lease; what goes wrong is logged. */
  static void giveBack(Line line, Types.Lease lease) throws InterruptedException {
    ReleaseLeaseRequest request = ReleaseLeaseRequest.newBuilder().setLeaseId(lease.getId()).setToken(lease.getToken()).build();
    try {
      line.again(SchedulerServiceGrpc.getReleaseLeaseMethod(), request, FAREWELL);
    } catch (SluiceException error) {
      LOG.log(
          System.Logger.Level.WARNING,
          "lease {0} could not be given back ({1}); it ends by itself when it is not renewed",
          lease.getId(),
          error.getMessage());
    }
  }

  // What the keeper says.

  boolean isOver() {
    return over.get();
  }

  void renewed(Types.Lease lease) {
    message = lease;
  }

  void lost(String why) {
    whyLost = why;
  }

  void evictionRequested(EvictionRequest request) {
    eviction = request;
  }

  private String startExecution() throws InterruptedException {
    StartExecutionRequest request = StartExecutionRequest.newBuilder().setLeaseId(id).setToken(token).build();
    // One that was counted twice ends with the lease all the same.
    return line.again(SchedulerServiceGrpc.getStartExecutionMethod(), request, START).getExecutionId();
  }

  private void finishExecution(String execution) throws InterruptedException {
    FinishExecutionRequest request = FinishExecutionRequest.newBuilder().setLeaseId(id).setExecutionId(execution).build();
    try {
      line.again(SchedulerServiceGrpc.getFinishExecutionMethod(), request, FAREWELL);
    } catch (SluiceException error) {
      LOG.log(System.Logger.Level.DEBUG, "the end of execution {0} was not told: {1}", execution, error.getMessage());
    }
  }
}
