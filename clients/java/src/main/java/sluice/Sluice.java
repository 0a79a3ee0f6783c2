package sluice;

import io.grpc.ManagedChannel;
import java.time.Duration;
import java.util.Map;
import sluice.v1.ExecutorServiceGrpc;
import sluice.v1.ExecutorServiceGrpc.ExecutorServiceBlockingStub;
import sluice.v1.MonitorServiceGrpc;
import sluice.v1.MonitorServiceGrpc.MonitorServiceBlockingStub;
import sluice.v1.SchedulerServiceGrpc;
import sluice.v1.SchedulerServiceGrpc.SchedulerServiceBlockingStub;

/**
 * The connection to a server. All threads may share it; closing it ends the calls that run.
 *
 * <pre>{@code
 * try (Sluice sluice = Sluice.connect(); Lease lease = sluice.resources().vramMb(4096).name("whisper").hold()) {
 *   // the GPUs are ours
 * }
 * }</pre>
 */
public final class Sluice implements AutoCloseable {
  private static final Duration KEEPALIVE = Duration.ofSeconds(10);

  private final Line line;

  private Sluice(String address, Duration keepalive) {
    this.line = new Line(Address.of(address, System.getenv()), keepalive);
  }

  /** A client of the server at SLUICE_ADDRESS, else 127.0.0.1:50051. Nothing is opened before the first call. */
  public static Sluice connect() {
    return connect(null);
  }

  /**
   * A client of the server at an address. Nothing is opened before the first call.
   *
   * @param address {@code host:port} or {@code unix:/path} (Linux); null or empty for SLUICE_ADDRESS, else 127.0.0.1:50051
   */
  public static Sluice connect(String address) {
    return connect(address, KEEPALIVE);
  }

  /**
   * The same with a keepalive of one's own.
   *
   * @param address as above
   * @param keepalive how long a line may be silent before the server is asked for a sign of life, 10 s unless said; a line
   *     without one ends with {@link UnreachableException}. gRPC for Java takes less than 10 s as 10 s
   */
  public static Sluice connect(String address, Duration keepalive) {
    return new Sluice(address, keepalive);
  }

  /** Where the server is, as this client reaches it. */
  public String address() {
    return line.address;
  }

  /** Resources to be asked for: say what is needed, then {@link Resources#hold()}. */
  public Resources resources() {
    return new Resources(line);
  }

  /** An execution of a plugin: say how, then {@link PluginRun#execute()}. */
  public PluginRun plugin(String name) {
    return new PluginRun(line, name);
  }

  /** Runs a plugin and answers its result; the short form of {@link #plugin}, with the same errors. */
  public Object execute(String plugin, Map<String, ?> arguments) throws InterruptedException {
    return plugin(plugin).arguments(arguments).execute();
  }

  /** The generated stub of the scheduler; errors are gRPC's, see {@link SluiceException#from}. */
  public SchedulerServiceBlockingStub scheduler() {
    return SchedulerServiceGrpc.newBlockingStub(line.channel);
  }

  /** The generated stub of the executor. */
  public ExecutorServiceBlockingStub executor() {
    return ExecutorServiceGrpc.newBlockingStub(line.channel);
  }

  /** The generated stub of the monitor. */
  public MonitorServiceBlockingStub monitor() {
    return MonitorServiceGrpc.newBlockingStub(line.channel);
  }

  /** The channel, for stubs of other kinds: {@code SchedulerServiceGrpc.newFutureStub(sluice.channel())}. */
  public ManagedChannel channel() {
    return line.channel;
  }

  Line line() {
    return line;
  }

  /** Ends the connection and the calls that run. Close leases before. */
  @Override
  public void close() {
    line.close();
  }
}
