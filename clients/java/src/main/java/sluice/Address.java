package sluice;

import java.util.Map;

/** Where the server is. */
final class Address {
  static final String DEFAULT = "127.0.0.1:50051";

  private Address() {}

  /** What is given, else SLUICE_ADDRESS, else the default. */
  static String of(String given, Map<String, String> environment) {
    if (given != null && !given.isEmpty()) {
      return given;
    }
    String named = environment.getOrDefault("SLUICE_ADDRESS", "");
    return named.isEmpty() ? DEFAULT : named;
  }

  static boolean isUnix(String address) {
    return address.startsWith("unix:");
  }

  /** True when the server is on this machine, so that it knows this process by its pid. */
  static boolean isLocal(String address) {
    if (isUnix(address)) {
      return true;
    }
    String host = address.substring(0, Math.max(0, address.lastIndexOf(':'))).replaceAll("^\\[|]$", "");
    return host.equals("localhost") || host.equals("::1") || host.startsWith("127.");
  }
}
