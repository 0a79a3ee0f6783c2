package sluice;

/** Work that an interruption must not cut short, such as giving a lease back by a thread that was interrupted. */
final class Undisturbed {
  interface Work {
    void run() throws InterruptedException;
  }

  private Undisturbed() {}

  /** Does the work in a thread that nobody interrupts, and waits for it. An interruption meanwhile is kept for the caller. */
  static void run(String name, Work work) {
    Thread worker =
        new Thread(
            () -> {
              try {
                work.run();
              } catch (InterruptedException nobodyElseKnowsTheThread) {
                throw new IllegalStateException(nobodyElseKnowsTheThread);
              }
            },
            name);
    worker.setDaemon(true);
    worker.start();
    boolean interrupted = false;
    while (true) {
      try {
        worker.join();
        break;
      } catch (InterruptedException later) {
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }
}
