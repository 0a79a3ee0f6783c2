package sluice;

import io.grpc.CallOptions;
import io.grpc.ManagedChannel;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.time.Duration;
import java.util.concurrent.TimeUnit;

/** The connection to a server, and how calls are made over it. */
final class Line {
  private static final long FIRST_PAUSE = TimeUnit.MILLISECONDS.toNanos(100);
  private static final long LONGEST_PAUSE = TimeUnit.SECONDS.toNanos(1);

  final String address;
  final ManagedChannel channel;

  Line(String address, Duration keepalive) {
    this.address = address;
    this.channel = Channels.to(address, keepalive);
  }

  boolean isClosed() {
    return channel.isShutdown();
  }

  void close() {
    channel.shutdownNow();
  }

  /** Begins a stream. */
  <Q, A> MessageStream<A> open(MethodDescriptor<Q, A> method, Q request) {
    return MessageStream.open(channel, method, request, CallOptions.DEFAULT, 1);
  }

  /** Begins a call with one answer, which has to come within so many nanoseconds. */
  <Q, A> MessageStream<A> begin(MethodDescriptor<Q, A> method, Q request, long limit) {
    CallOptions options = CallOptions.DEFAULT.withDeadlineAfter(limit, TimeUnit.NANOSECONDS);
    // The second is the end.
    return MessageStream.open(channel, method, request, options, 2);
  }

  /** The answer of a call that has begun. */
  static <A> A answer(MessageStream<A> call) throws InterruptedException {
    try {
      A answer = call.next();
      if (answer == null || call.next() != null) {
        throw Status.INTERNAL.withDescription("the server did not give one answer").asRuntimeException();
      }
      return answer;
    } catch (InterruptedException interrupted) {
      call.cancel();
      throw interrupted;
    }
  }

  /** Makes a call, and makes it again while the server is away. What is called must bear being called twice for one effect. */
  <Q, A> A again(MethodDescriptor<Q, A> method, Q request, Duration limit) throws InterruptedException {
    long start = System.nanoTime();
    long pause = FIRST_PAUSE;
    while (true) {
      long left = limit.toNanos() - (System.nanoTime() - start);
      try {
        return answer(begin(method, request, Math.max(FIRST_PAUSE, left)));
      } catch (StatusRuntimeException error) {
        SluiceException failure = failure(error);
        if (!(failure instanceof UnreachableException) || isClosed()
            || System.nanoTime() - start + pause > limit.toNanos()) {
          throw failure;
        }
      }
      pause(pause);
      pause = Math.min(LONGEST_PAUSE, pause * 2);
    }
  }

  /** The exception for a call of this layer that failed. */
  SluiceException failure(StatusRuntimeException error) {
    if (isClosed()) {
      // gRPC's own words for it name its methods.
      return new UnreachableException("the client is closed");
    }
    SluiceException failure = Errors.from(error);
    boolean reset = error.getStatus().getCode() == Status.Code.CANCELLED && failure.reason().isEmpty();
    // Nobody here cancels a call that somebody still listens to: a server or proxy that was stopped has reset its streams.
    return reset
        ? new UnreachableException(failure.getMessage(), ErrorDetails.NONE, Status.Code.CANCELLED, error)
        : failure;
  }

  /** Sleeps for so many nanoseconds, and then has a line that is down made anew. */
  void pause(long nanos) throws InterruptedException {
    TimeUnit.NANOSECONDS.sleep(nanos);
    makeAnew();
  }

  /**
   * Has a line that is down made anew now. gRPC's own pauses between attempts grow to two minutes, and cannot be set in Java: a
   * server that is back would be found long after that.
   */
  void makeAnew() {
    channel.resetConnectBackoff();
  }
}
