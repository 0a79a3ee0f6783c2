package sluice;

import io.grpc.StatusRuntimeException;
import java.time.Duration;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.BiConsumer;
import sluice.v1.Scheduler.RenewLeaseRequest;
import sluice.v1.Scheduler.WatchLeaseRequest;
import sluice.v1.Scheduler.WatchLeaseResponse;
import sluice.v1.SchedulerServiceGrpc;
import sluice.v1.Types.LeaseEnd;
import sluice.v1.Types.LeaseState;

/** Keeps a lease alive, in two threads: one renews three times in each time to live, one listens to what the server says. */
final class Keeper {
  private static final System.Logger LOG = System.getLogger("sluice");

  /** Until a watch that broke is opened again: only a holder that listens can be asked to give memory back. */
  private static final long LISTEN_AGAIN_MS = 500;

  /** A callback of the program may take its time; the lease is given back all the same. */
  private static final Duration CALLBACK = Duration.ofSeconds(2);

  private final Lease lease;
  private final Line line;
  private final Wishes wishes;
  private final long ttl;
  private final Tenure tenure;
  private final CountDownLatch stopped = new CountDownLatch(1);
  private final Set<MessageStream<?>> calls = new HashSet<>();
  private final List<Thread> threads;

  Keeper(Lease lease, Line line, Wishes wishes, long heardAt) {
    this.lease = lease;
    this.line = line;
    this.wishes = wishes;
    long told = Times.from(lease.message().getTtl()).toNanos();
    this.ttl = told == 0 ? Tenure.DEFAULT_TTL : told;
    this.tenure = new Tenure(ttl, heardAt);
    this.threads = List.of(thread("sluice-renew", this::renew), thread("sluice-watch", this::watch));
  }

  void start() {
    threads.forEach(Thread::start);
  }

  /** Ends both threads, and whatever call they are in. Waits for them, except for the caller's own. */
  void stop(Thread caller) throws InterruptedException {
    stopCalls();
    for (Thread thread : threads) {
      if (thread != caller) {
        thread.join(CALLBACK.toMillis());
      }
    }
  }

  private void renew() throws InterruptedException {
    RenewLeaseRequest request =
        RenewLeaseRequest.newBuilder()
            .setLeaseId(lease.id())
            .setToken(lease.token())
            .setTtl(Times.of(Duration.ofNanos(ttl)))
            .build();
    boolean troubled = false;
    while (!stopped.await(tenure.nextAt() - Clock.now(), TimeUnit.NANOSECONDS)) {
      long sentAt = Clock.now();
      if (line.isClosed()) {
        lose("its client was closed, so nobody renews it");
        return;
      }
      if (sentAt >= tenure.giveUpAt()) {
        lose("the server could not be reached in time to renew it");
        return;
      }
      var call = begun(line.begin(SchedulerServiceGrpc.getRenewLeaseMethod(), request, tenure.callLimit(sentAt)));
      try {
        lease.renewed(Line.answer(call).getLease());
        tenure.renewed(sentAt);
        troubled = false;
      } catch (StatusRuntimeException error) {
        SluiceException failure = line.failure(error);
        if (failure instanceof LeaseGoneException || failure instanceof InvalidRequestException) {
          lose(failure.getMessage());
          return;
        }
        tenure.failed(Clock.now());
        line.makeAnew();
        if (!troubled && stopped.getCount() > 0 && !line.isClosed()) {
          warn("the lease " + lease.id() + " could not be renewed (" + failure.getMessage() + "); trying again");
        }
        troubled = true;
      } finally {
        ended(call);
      }
    }
  }

  private void watch() throws InterruptedException {
    // Whoever gives the token can be asked to give the memory back; without it one only looks on.
    long token = wishes.onEviction == null ? 0 : lease.token();
    WatchLeaseRequest request = WatchLeaseRequest.newBuilder().setLeaseId(lease.id()).setToken(token).build();
    do {
      var call = begun(line.open(SchedulerServiceGrpc.getWatchLeaseMethod(), request));
      try {
        for (WatchLeaseResponse message = call.next(); message != null; message = call.next()) {
          if (heard(message)) {
            return;
          }
        }
      } catch (StatusRuntimeException error) {
        SluiceException failure = line.failure(error);
        // The renewal tells the program of a lease that is gone, and of a client that was closed.
        if (failure instanceof LeaseGoneException || failure instanceof InvalidRequestException || line.isClosed()) {
          return;
        }
      } finally {
        ended(call);
      }
    } while (!stopped.await(LISTEN_AGAIN_MS, TimeUnit.MILLISECONDS));
  }

  /** True when there is nothing more to hear. Events of a newer server are passed over. */
  private boolean heard(WatchLeaseResponse message) {
    switch (message.getEventCase()) {
      case EVICTION_REQUESTED:
        EvictionRequest asked = new EvictionRequest(message.getEvictionRequested());
        lease.evictionRequested(asked);
        tell(wishes.onEviction, asked);
        return false;
      case SNAPSHOT:
        if (message.getSnapshot().getLease().getState() != LeaseState.LEASE_STATE_EVICTING) {
          lease.evictionRequested((EvictionRequest) null);
        }
        return false;
      case ENDED:
        lose(whyEnded(message.getEnded().getWhy()));
        return true;
      default:
        return false;
    }
  }

  private void lose(String why) {
    synchronized (this) {
      if (stopped.getCount() == 0) {
        return;
      }
      lease.lost(why);
      stopCalls();
    }
    warn("the lease " + lease.id() + " is lost: " + why
        + ". The program goes on, but its memory is no longer reserved; others may be admitted to it");
    tell(wishes.onLost, why);
  }

  private <T> void tell(BiConsumer<Lease, T> listener, T news) {
    if (listener == null || lease.isOver()) {
      return;
    }
    try {
      listener.accept(lease, news);
    } catch (RuntimeException | Error failure) {
      // It must not end the thread that keeps the lease.
      LOG.log(System.Logger.Level.ERROR, "a callback of the program failed", failure);
    }
  }

  private synchronized <T> MessageStream<T> begun(MessageStream<T> call) {
    calls.add(call);
    // The end may have come between the question and this.
    if (stopped.getCount() == 0) {
      call.cancel();
    }
    return call;
  }

  private synchronized void ended(MessageStream<?> call) {
    call.cancel();
    calls.remove(call);
  }

  private synchronized void stopCalls() {
    stopped.countDown();
    calls.forEach(MessageStream::cancel);
  }

  private static void warn(String text) {
    LOG.log(System.Logger.Level.WARNING, text);
  }

  private static Thread thread(String name, Undisturbed.Work work) {
    Thread thread =
        new Thread(
            () -> {
              try {
                work.run();
              } catch (InterruptedException bySomebodyElse) {
                Thread.currentThread().interrupt();
              }
            },
            name);
    thread.setDaemon(true);
    return thread;
  }

  private static String whyEnded(LeaseEnd end) {
    switch (end) {
      case LEASE_END_RELEASED:
        return "somebody gave it back";
      case LEASE_END_EXPIRED:
        return "it was not renewed in time";
      case LEASE_END_EVICTED:
        return "it was taken for somebody who waited";
      case LEASE_END_PROCESS_EXITED:
        return "every process attached to it has ended";
      default:
        return "the server ended it";
    }
  }
}
