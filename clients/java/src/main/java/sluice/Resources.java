package sluice;

import java.time.Duration;
import java.util.Collection;
import java.util.Map;
import java.util.function.BiConsumer;
import java.util.function.Consumer;
import sluice.v1.Scheduler.AllocateResponse;
import sluice.v1.Scheduler.ExplainRequest;
import sluice.v1.Scheduler.ExplainResponse;
import sluice.v1.SchedulerServiceGrpc;
import sluice.v1.Types.ResourceRequirements;
import sluice.v1.Types.Workload;

/**
 * Resources that are asked for. Say what is needed, then {@link #hold()}. Not for several threads at a time; each hold asks anew.
 *
 * <p>Sizes are MiB. A GPU is asked for as soon as anything about GPUs is said.
 */
public final class Resources {
  private static final System.Logger LOG = System.getLogger("sluice");
  private static final Duration ANSWER = Duration.ofSeconds(10);

  private final Line line;
  private final Workload.Builder workload = Workload.newBuilder();
  private final ResourceRequirements.Builder needs = ResourceRequirements.newBuilder();
  private String policy = "";
  private String requestId = "";
  private Duration timeout;
  private Duration ttl;
  private boolean attach = true;
  private Consumer<Waiting> onProgress = waiting -> LOG.log(System.Logger.Level.DEBUG, waiting::toString);
  private BiConsumer<Lease, EvictionRequest> onEviction;
  private BiConsumer<Lease, String> onLost = (lease, why) -> {};

  Resources(Line line) {
    this.line = line;
  }

  /** A name that people recognise in listings. */
  public Resources name(String name) {
    workload.setName(name);
    return this;
  }

  /** GPU memory needed on each GPU, in MiB. */
  public Resources vramMb(int mib) {
    needs.setMinGpuVramMb(mib);
    return this;
  }

  /** Host memory needed, in MiB. */
  public Resources ramMb(int mib) {
    needs.setMinSystemRamMb(mib);
    return this;
  }

  /** How many GPUs, all or none; 1 unless said. */
  public Resources gpus(int count) {
    needs.setGpuCount(count);
    return this;
  }

  /** Only these GPUs may be used: full UUIDs as nvidia-smi prints them. */
  public Resources gpuUuids(Collection<String> uuids) {
    needs.clearGpuUuids().addAllGpuUuids(uuids);
    return this;
  }

  /** No other lease may share the GPUs. */
  public Resources exclusive(boolean exclusive) {
    needs.setExclusiveGpu(exclusive);
    return this;
  }

  /** Who is asking: a user, a team, a project. */
  public Resources tenant(String tenant) {
    workload.setTenant(tenant);
    return this;
  }

  /** Higher is served first; -1000 to 1000. */
  public Resources priority(int priority) {
    workload.setPriority(priority);
    return this;
  }

  /** How much it matters; -1000 to 1000. An idle lease is evicted only for a request of at least its importance. */
  public Resources importance(int importance) {
    workload.setImportance(importance);
    return this;
  }

  /** How long the work is expected to run. Nothing is ended because of it. */
  public Resources expectedDuration(Duration duration) {
    workload.setExpectedDuration(Times.of(duration));
    return this;
  }

  /** Notes that come back in listings. */
  public Resources labels(Map<String, String> labels) {
    workload.clearLabels().putAllLabels(labels);
    return this;
  }

  /** How long to wait; the server's default (300 s) unless said. Zero: for ever. */
  public Resources timeout(Duration timeout) {
    this.timeout = timeout;
    return this;
  }

  /** How long the lease lives without renewal; the server's default (60 s) unless said. 1 s to 24 h. */
  public Resources ttl(Duration ttl) {
    this.ttl = ttl;
    return this;
  }

  /** Name of the policy for this request; the server's unless said. */
  public Resources policy(String policy) {
    this.policy = policy;
    return this;
  }

  /** Finds the same place or lease again, also after this program was restarted. A fresh one is made for each hold unless said. */
  public Resources requestId(String requestId) {
    this.requestId = requestId;
    return this;
  }

  /** Whether memory of this process is credited to the lease. Switch it off in a container with pids of its own. */
  public Resources attach(boolean attach) {
    this.attach = attach;
    return this;
  }

  /** Called by the thread that waits, whenever place or reasons change. What it throws ends the wait. */
  public Resources onProgress(Consumer<Waiting> listener) {
    this.onProgress = listener;
    return this;
  }

  /** Shows the wait as lines on {@link System#err}: at most one in 5 s, when something has changed. */
  public Resources showProgress() {
    return onProgress(new WaitLines(System.err));
  }

  /** Called from a thread of the client when the lease is lost, with why in words. What runs is not stopped. */
  public Resources onLost(BiConsumer<Lease, String> listener) {
    this.onLost = listener;
    return this;
  }

  /**
   * Lets the lease be asked back while nothing runs between {@link Lease#executing()} and its end. Called from a thread of the
   * client: free the memory and close the lease. Without it the lease counts as in use until the end.
   */
  public Resources onEviction(BiConsumer<Lease, EvictionRequest> listener) {
    this.onEviction = listener;
    return this;
  }

  /**
   * Waits in the queue and answers the lease, which has to be closed. An interruption leaves the queue.
   *
   * @throws NeverFitsException it would not fit on an empty machine either
   * @throws RefusedException the policy does not wait, and it does not fit
   * @throws TimedOutException it waited as long as {@link #timeout}
   * @throws QueueFullException too many wait
   * @throws TicketCancelledException somebody took it out of the queue
   * @throws InvalidRequestException a field is wrong
   * @throws UnreachableException nobody answers: for 5 s at first, for 60 s once the server has answered
   */
  public Lease hold() throws InterruptedException {
    Wishes wishes = wishes();
    return Lease.begin(line, new Wait(line, request(), onProgress, new Patience(Patience.FIRST_ANSWER)).forLease(), wishes);
  }

  /**
   * Decides at once, by the server's policy, which admits everything unless the operator chose one: name {@code
   * policy("safety")} to be refused what does not fit.
   *
   * @throws RefusedException it does not fit now
   * @throws InvalidRequestException a field is wrong
   * @throws UnreachableException nobody answers within 10 s
   */
  public Lease holdNow() throws InterruptedException {
    Wishes wishes = wishes();
    AllocateResponse answer = line.again(SchedulerServiceGrpc.getAllocateMethod(), request().toAllocate(), ANSWER);
    if (!answer.hasLease()) {
      throw Errors.refused(answer.getRefusal());
    }
    return Lease.begin(line, answer.getLease(), wishes);
  }

  /**
   * Whether this would be granted now, and if not, why not and what would be. Changes nothing.
   *
   * @throws InvalidRequestException a field is wrong
   * @throws UnreachableException nobody answers within 10 s
   */
  public ExplainResponse explain() throws InterruptedException {
    ExplainRequest request = ExplainRequest.newBuilder().setWorkload(workload()).setPolicy(policy).build();
    return line.again(SchedulerServiceGrpc.getExplainMethod(), request, ANSWER);
  }

  private Workload workload() {
    boolean wantsGpu =
        needs.getMinGpuVramMb() != 0
            || needs.getGpuCount() != 0
            || needs.getGpuUuidsCount() > 0
            || needs.getExclusiveGpu();
    return workload.setResources(needs.setRequiresGpu(wantsGpu)).build();
  }

  private Request request() {
    return new Request(workload(), requestId, timeout, ttl, policy);
  }

  private Wishes wishes() {
    return new Wishes(onEviction, onLost, attach);
  }
}
