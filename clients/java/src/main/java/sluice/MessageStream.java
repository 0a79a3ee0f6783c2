package sluice;

import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * A call whose messages are taken one by one, by a thread that can be interrupted and that can stop waiting.
 *
 * <p>The blocking stubs of gRPC can do neither without losing the call; here an interruption leaves it as it is, so that whoever
 * was interrupted can still hear what the server has to say.
 */
final class MessageStream<A> {
  private static final long FOR_EVER = Long.MAX_VALUE;

  private final ClientCall<?, A> call;
  private final BlockingQueue<Object> heard = new LinkedBlockingQueue<>();
  private End end;

  private MessageStream(ClientCall<?, A> call) {
    this.call = call;
  }

  /** Begins a call. At most {@code ahead} messages are read before somebody takes them. */
  static <Q, A> MessageStream<A> open(
      Channel channel, MethodDescriptor<Q, A> method, Q request, CallOptions options, int ahead) {
    // What is done with a message here is quick, so that the line's own thread can do it: each hand-over costs some 50 µs.
    ClientCall<Q, A> call = channel.newCall(method, options.withExecutor(Runnable::run));
    MessageStream<A> stream = new MessageStream<>(call);
    call.start(stream.new Listener(), new Metadata());
    call.request(ahead);
    call.sendMessage(request);
    call.halfClose();
    return stream;
  }

  /** The next message, or null when the stream has ended well. Throws what it ended with otherwise. */
  A next() throws InterruptedException {
    try {
      return next(FOR_EVER);
    } catch (TimeoutException never) {
      throw new AssertionError(never);
    }
  }

  /** The same, but waits only for so many nanoseconds. */
  A next(long nanos) throws InterruptedException, TimeoutException {
    if (end == null) {
      Object news = nanos == FOR_EVER ? heard.take() : heard.poll(nanos, TimeUnit.NANOSECONDS);
      if (news == null) {
        throw new TimeoutException();
      }
      if (!(news instanceof End)) {
        call.request(1);
        @SuppressWarnings("unchecked")
        A message = (A) news;
        return message;
      }
      end = (End) news;
    }
    if (end.status.isOk()) {
      return null;
    }
    throw new StatusRuntimeException(end.status, end.trailers);
  }

  /** Ends the call. Whoever waits for a message hears of it. */
  void cancel() {
    call.cancel("the client does not need it any more", null);
  }

  private static final class End {
    final Status status;
    final Metadata trailers;

    End(Status status, Metadata trailers) {
      this.status = status;
      this.trailers = trailers;
    }
  }

  private final class Listener extends ClientCall.Listener<A> {
    @Override
    public void onMessage(A message) {
      heard.add(message);
    }

    @Override
    public void onClose(Status status, Metadata trailers) {
      heard.add(new End(status, trailers));
    }
  }
}
