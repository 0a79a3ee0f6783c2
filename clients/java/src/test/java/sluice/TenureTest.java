package sluice;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.DisplayNameGeneration;
import org.junit.jupiter.api.DisplayNameGenerator;
import org.junit.jupiter.api.Test;

@DisplayNameGeneration(DisplayNameGenerator.ReplaceUnderscores.class)
class TenureTest {
  private static final long MS = 1_000_000;

  @Test
  void the_first_renewal_is_due_at_once_and_then_three_in_each_time_to_live() {
    Tenure tenure = new Tenure(30_000 * MS, 100_000 * MS);
    assertEquals(100_000 * MS, tenure.nextAt());
    tenure.renewed(101_000 * MS);
    assertEquals(111_000 * MS, tenure.nextAt());
  }

  @Test
  void it_is_given_up_before_it_ends_counted_from_before_the_renewal_was_sent() {
    Tenure tenure = new Tenure(30_000 * MS, 100_000 * MS);
    tenure.renewed(101_000 * MS);
    assertEquals((101_000 + 30_000 - 2_000) * MS, tenure.giveUpAt());
    // A renewal that is sent in the last moment cannot outlast it.
    assertEquals(500 * MS, tenure.callLimit(128_500 * MS));
  }

  @Test
  void after_a_failure_it_is_tried_soon_and_never_only_after_the_end() {
    Tenure tenure = new Tenure(2_000 * MS, 100_000 * MS);
    tenure.renewed(100_000 * MS);
    tenure.failed(101_000 * MS);
    assertEquals(101_200 * MS, tenure.nextAt());
    tenure.failed(101_750 * MS);
    assertEquals(tenure.giveUpAt(), tenure.nextAt());
  }

  @Test
  void the_clock_goes_on_as_fast_as_javas_own_while_nobody_sleeps() {
    long before = System.nanoTime();
    long start = Clock.now();
    long end = Clock.now();
    long after = System.nanoTime();
    assertTrue(end >= start);
    assertTrue(end - start <= after - before, "the clock jumped");
  }

  @Test
  void the_clock_counts_a_night_of_sleep_and_not_the_coarseness_of_the_kernels_own() {
    assertEquals(500, Clock.withSleep(500, 20 * MS));
    assertEquals(500, Clock.withSleep(500, -20 * MS));
    assertEquals(500 + 28_800_000 * MS, Clock.withSleep(500, 28_800_000 * MS));
  }
}
