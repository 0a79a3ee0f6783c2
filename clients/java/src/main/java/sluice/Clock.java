package sluice;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * A clock that nobody sets, in nanoseconds, which goes on while the machine sleeps: so does the server's. Java's own stands still
 * then, and a lease would seem to live on after a night in which nobody renewed it.
 */
final class Clock {
  /** /proc/uptime counts in 10 ms and is read a moment later; what is less than this is no sleep. */
  private static final long NOISE = 100_000_000;

  private static final Path UPTIME = Path.of("/proc/uptime");
  private static final long DRIFT_AT_START = drift(System.nanoTime());

  private Clock() {}

  /** Nanoseconds. Only differences mean something. */
  static long now() {
    long awake = System.nanoTime();
    return withSleep(awake, drift(awake) - DRIFT_AT_START);
  }

  /** Java's clock, put forward by what the kernel's has gained on it. */
  static long withSleep(long awake, long gained) {
    return gained > NOISE ? awake + gained : awake;
  }

  /** What the kernel's uptime is ahead of Java's clock; always the same where there is no such file. */
  private static long drift(long awake) {
    try {
      String text = Files.readString(UPTIME);
      return (long) (Double.parseDouble(text.substring(0, text.indexOf(' '))) * 1e9) - awake;
    } catch (IOException | RuntimeException unknown) {
      return 0;
    }
  }
}
