package sluice;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.DisplayNameGeneration;
import org.junit.jupiter.api.DisplayNameGenerator;
import org.junit.jupiter.api.Test;

@DisplayNameGeneration(DisplayNameGenerator.ReplaceUnderscores.class)
class PlainValuesTest {
  @Test
  void what_goes_in_comes_out_and_numbers_are_doubles() {
    Map<String, Object> inner = new LinkedHashMap<>();
    inner.put("nothing", null);
    inner.put("yes", true);
    Object plain = Map.of("list", Arrays.asList("straße 😀", 2.5, inner));
    assertEquals(plain, PlainValues.from(PlainValues.toValue(plain)));
    assertEquals(List.of(7.0), PlainValues.from(PlainValues.toValue(List.of(7))));
  }

  @Test
  void what_is_no_json_is_refused_with_its_type() {
    var error = assertThrows(IllegalArgumentException.class, () -> PlainValues.toStruct(Map.of("when", java.time.Instant.EPOCH)));
    assertEquals("an argument of a plugin cannot be a java.time.Instant", error.getMessage());
  }
}
