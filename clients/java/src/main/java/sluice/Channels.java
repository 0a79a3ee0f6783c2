package sluice;

import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import io.grpc.netty.shaded.io.netty.channel.ChannelOption;
import java.time.Duration;
import java.util.concurrent.TimeUnit;
import java.util.logging.Logger;

/** How a connection to a server is set up. */
final class Channels {
  private static final int MAX_MESSAGE_BYTES = 64 * 1024 * 1024;
  private static final int MAX_METADATA_BYTES = 64 * 1024;
  private static final int CONNECT_MS = 5_000;

  /** Held here, because the log manager forgets loggers that nobody holds, and their filters with them. */
  private static final Logger NETTY = Logger.getLogger("io.grpc.netty.shaded.io.netty.bootstrap.Bootstrap");

  private Channels() {}

  static ManagedChannel to(String address, Duration keepalive) {
    ManagedChannelBuilder<?> builder = Address.isUnix(address) ? unix(address) : tcp(address);
    if (Address.isLocal(address)) {
      // A proxy of the environment cannot reach this machine's own loopback.
      builder.proxyDetector(target -> null);
    }
    // The peer is given half of it, at least a second, to answer.
    long answerMs = Math.max(1_000, keepalive.toMillis() / 2);
    return builder
        .keepAliveTime(keepalive.toMillis(), TimeUnit.MILLISECONDS)
        .keepAliveTimeout(answerMs, TimeUnit.MILLISECONDS)
        // The default of 4 MiB is less than a long queue with long labels.
        .maxInboundMessageSize(MAX_MESSAGE_BYTES)
        // The default of 8 KiB is less than a refusal with many reasons, which comes in the trailers of an error.
        .maxInboundMetadataSize(MAX_METADATA_BYTES)
        .build();
  }

  private static ManagedChannelBuilder<?> tcp(String address) {
    return NettyChannelBuilder.forTarget(address, InsecureChannelCredentials.create())
        // Less than gRPC's 20 s, so that a wrong address is told soon.
        .withOption(ChannelOption.CONNECT_TIMEOUT_MILLIS, CONNECT_MS);
  }

  private static ManagedChannelBuilder<?> unix(String address) {
    // gRPC sets this option on every kind of socket, and Netty warns of it with each connection.
    NETTY.setFilter(record -> !String.valueOf(record.getMessage()).contains("SO_KEEPALIVE"));
    return Grpc.newChannelBuilder(address, InsecureChannelCredentials.create())
        // By default it is the path, which servers that look at it refuse.
        .overrideAuthority("localhost");
  }
}
