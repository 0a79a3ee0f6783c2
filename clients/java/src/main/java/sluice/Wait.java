package sluice;

import io.grpc.StatusRuntimeException;
import java.time.Duration;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Consumer;
import sluice.v1.Scheduler.CancelTicketRequest;
import sluice.v1.Scheduler.WaitForResourcesResponse;
import sluice.v1.SchedulerServiceGrpc;
import sluice.v1.Types;

/**
 * One wait in the queue. A connection that breaks is made anew, and the place found again by request_id. Whatever ends the wait
 * from here, such as an interruption, takes the request out of the queue.
 */
final class Wait {
  /** How long leaving may take. The place goes away by itself when the server does not hear of it. */
  private static final Duration LEAVING = Duration.ofSeconds(1);

  private final Line line;
  private final Request request;
  private final Consumer<Waiting> progress;
  private final Patience patience;
  private MessageStream<WaitForResourcesResponse> stream;
  private volatile String ticket = "";
  private volatile boolean programEnds;

  Wait(Line line, Request request, Consumer<Waiting> progress, Patience patience) {
    this.line = line;
    this.request = request;
    this.progress = progress;
    this.patience = patience;
  }

  /** Waits for the lease. Throws Refused, TimedOut and the other errors of a wait. */
  Types.Lease forLease() throws InterruptedException {
    boolean settled = false;
    Thread hook = leaveWhenTheProgramEnds();
    try {
      while (true) {
        SluiceException failure = null;
        stream = line.open(SchedulerServiceGrpc.getWaitForResourcesMethod(), request.toWait(patience.passed()));
        try {
          for (WaitForResourcesResponse message = stream.next(); message != null; message = stream.next()) {
            patience.heard();
            ticket = message.getTicketId();
            settled = isLast(message);
            Types.Lease lease = heard(message);
            if (lease != null) {
              return lease;
            }
          }
        } catch (StatusRuntimeException error) {
          failure = line.failure(error);
        }
        failure = failure != null ? failure : new UnreachableException("the server ended the wait without an answer");
        settled = line.isClosed() || !(failure instanceof UnreachableException);
        if (settled) {
          beQuietWhenTheProgramEnds();
          throw failure;
        }
        line.pause(patience.pause(failure));
      }
    } finally {
      forget(hook);
      if (!settled && stream != null) {
        Undisturbed.run("sluice-leave", this::leave);
      }
      if (stream != null) {
        stream.cancel();
      }
    }
  }

  private static boolean isLast(WaitForResourcesResponse message) {
    return message.hasGranted() || message.hasRefused() || message.hasTimedOut();
  }

  /** The lease when it is granted. Null for a place in the queue, and for an event of a newer server, which is passed over. */
  private Types.Lease heard(WaitForResourcesResponse message) {
    switch (message.getEventCase()) {
      case QUEUED:
        progress.accept(new Waiting(message.getQueued()));
        return null;
      case GRANTED:
        return message.getGranted().getLease();
      case REFUSED:
        throw Errors.refused(message.getRefused().getRefusal());
      case TIMED_OUT:
        throw new TimedOutException(message.getTimedOut());
      default:
        return null;
    }
  }

  /** With a request_id the server would keep the place of a client that only went away. */
  private void leave() throws InterruptedException {
    long until = System.nanoTime() + LEAVING.toNanos();
    try {
      if (ticket.isEmpty()) {
        giveBackIfGranted(stream.next(LEAVING.toNanos()));
      }
      cancelTicket();
      // What was granted in the same moment is on its way.
      while (giveBackIfGranted(stream.next(Math.max(0, until - System.nanoTime())))) {
        // Goes on until the stream ends.
      }
    } catch (StatusRuntimeException | TimeoutException over) {
      // As it should be: the stream ends with the ticket.
    }
  }

  /** False when there is nothing more to hear. */
  private boolean giveBackIfGranted(WaitForResourcesResponse message) throws InterruptedException {
    if (message == null) {
      return false;
    }
    ticket = message.getTicketId();
    if (message.hasGranted()) {
      Lease.giveBack(line, message.getGranted().getLease());
    }
    return !isLast(message);
  }

  private void cancelTicket() throws InterruptedException {
    if (ticket.isEmpty()) {
      return;
    }
    CancelTicketRequest cancel = CancelTicketRequest.newBuilder().setTicketId(ticket).build();
    try {
      Line.answer(line.begin(SchedulerServiceGrpc.getCancelTicketMethod(), cancel, LEAVING.toNanos()));
    } catch (StatusRuntimeException gone) {
      // It was granted, or the server is away.
    }
  }

  /** Ctrl-C ends a Java program without unwinding any stack. */
  private Thread leaveWhenTheProgramEnds() {
    Thread hook =
        new Thread(
            () -> {
              programEnds = true;
              try {
                cancelTicket();
              } catch (InterruptedException impatient) {
                Thread.currentThread().interrupt();
              }
            },
            "sluice-leave");
    try {
      Runtime.getRuntime().addShutdownHook(hook);
      return hook;
    } catch (IllegalStateException endsAlready) {
      return null;
    }
  }

  private static void forget(Thread hook) {
    try {
      if (hook != null) {
        Runtime.getRuntime().removeShutdownHook(hook);
      }
    } catch (IllegalStateException endsAlready) {
      // Then it runs.
    }
  }

  /** The last thing to be seen of a program that somebody ended should not be the stack trace of its own cancelled ticket. */
  private void beQuietWhenTheProgramEnds() throws InterruptedException {
    if (programEnds) {
      new CountDownLatch(1).await(LEAVING.toMillis(), TimeUnit.MILLISECONDS);
    }
  }
}
