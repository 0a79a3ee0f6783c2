package sluice;

import java.time.Duration;
import java.time.Instant;

/** Times of Java and of the contract. */
final class Times {
  private Times() {}

  static com.google.protobuf.Duration of(Duration time) {
    return com.google.protobuf.Duration.newBuilder().setSeconds(time.getSeconds()).setNanos(time.getNano()).build();
  }

  static Duration from(com.google.protobuf.Duration time) {
    return Duration.ofSeconds(time.getSeconds(), time.getNanos());
  }

  static Instant from(com.google.protobuf.Timestamp time) {
    return Instant.ofEpochSecond(time.getSeconds(), time.getNanos());
  }
}
