package sluice;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.DisplayNameGeneration;
import org.junit.jupiter.api.DisplayNameGenerator;
import org.junit.jupiter.api.Test;

@DisplayNameGeneration(DisplayNameGenerator.ReplaceUnderscores.class)
class AddressTest {
  @Test
  void it_is_what_is_given_else_the_environments_else_the_default() {
    Map<String, String> environment = Map.of("SLUICE_ADDRESS", "gpu-box:50051");
    assertEquals("here:1", Address.of("here:1", environment));
    assertEquals("gpu-box:50051", Address.of(null, environment));
    assertEquals("127.0.0.1:50051", Address.of(null, Map.of()));
    assertEquals("127.0.0.1:50051", Address.of("", Map.of("SLUICE_ADDRESS", "")));
  }

  @Test
  void a_process_is_attached_only_where_the_server_knows_its_pid() {
    for (String address : List.of("127.0.0.1:1", "localhost:1", "[::1]:1", "unix:/run/sluice")) {
      assertTrue(Address.isLocal(address), address);
    }
    for (String address : List.of("gpu-box:1", "10.0.0.1:1", "[2001:db8::1]:1")) {
      assertFalse(Address.isLocal(address), address);
    }
  }
}
