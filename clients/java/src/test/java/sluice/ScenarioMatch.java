package sluice;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import java.util.Map;

/** References and expectations of test/clients/scenarios.yaml. A missing value is JsonNull. */
final class ScenarioMatch {
  /** Something is not as the scenario says. */
  static final class Mismatch extends RuntimeException {
    private static final long serialVersionUID = 1L;

    Mismatch(String message) {
      super(message);
    }
  }

  private ScenarioMatch() {}

  /** The same with "$name.field.0" replaced by what was saved. */
  static JsonElement resolve(JsonElement value, JsonObject saved) {
    if (value instanceof JsonObject object) {
      JsonObject resolved = new JsonObject();
      object.entrySet().forEach(entry -> resolved.add(entry.getKey(), resolve(entry.getValue(), saved)));
      return resolved;
    }
    if (value instanceof JsonArray list) {
      JsonArray resolved = new JsonArray();
      list.forEach(item -> resolved.add(resolve(item, saved)));
      return resolved;
    }
    if (!isText(value) || !value.getAsString().startsWith("$")) {
      return value;
    }
    JsonElement found = saved;
    for (String part : value.getAsString().substring(1).split("\\.")) {
      JsonElement next = null;
      if (found instanceof JsonObject object) {
        next = object.get(part);
      } else if (found instanceof JsonArray list && part.matches("\\d+") && Integer.parseInt(part) < list.size()) {
        next = list.get(Integer.parseInt(part));
      }
      if (next == null) {
        throw new Mismatch(value.getAsString() + ": there is no " + part);
      }
      found = next;
    }
    return found;
  }

  /** Throws Mismatch unless value is what is wanted. Fields that are not named do not matter. */
  static void match(JsonElement wanted, JsonElement value, String path) {
    if (wanted instanceof JsonObject object && object.keySet().stream().anyMatch(key -> key.startsWith("$"))) {
      for (Map.Entry<String, JsonElement> operator : object.entrySet()) {
        if (!holds(operator.getKey(), operator.getValue(), value)) {
          throw new Mismatch(path + ": wanted " + operator.getKey() + " " + operator.getValue() + ", got " + brief(value));
        }
      }
    } else if (wanted instanceof JsonObject object) {
      if (!(value instanceof JsonObject got)) {
        throw new Mismatch(path + ": wanted " + brief(wanted) + ", got " + brief(value));
      }
      object.entrySet().forEach(e -> match(e.getValue(), field(got, e.getKey()), path + "." + e.getKey()));
    } else if (wanted instanceof JsonArray list) {
      JsonArray items = value.isJsonNull() ? new JsonArray() : value instanceof JsonArray got ? got : null;
      if (items == null || items.size() != list.size()) {
        throw new Mismatch(path + ": wanted " + list.size() + " items, got " + brief(value));
      }
      for (int index = 0; index < list.size(); index++) {
        match(list.get(index), items.get(index), path + "." + index);
      }
    } else if (!equal(wanted, value)) {
      throw new Mismatch(path + ": wanted " + wanted + ", got " + brief(value));
    }
  }

  static boolean matches(JsonElement wanted, JsonElement value) {
    try {
      match(wanted, value, "");
      return true;
    } catch (Mismatch mismatch) {
      return false;
    }
  }

  static JsonElement field(JsonObject object, String name) {
    JsonElement found = object.get(name);
    return found == null ? JsonNull.INSTANCE : found;
  }

  static String brief(JsonElement value) {
    String text = value.toString();
    return text.length() < 600 ? text : text.substring(0, 600) + "…";
  }

  private static boolean holds(String operator, JsonElement wanted, JsonElement value) {
    return switch (operator) {
      case "$absent" -> value.isJsonNull() == wanted.getAsBoolean();
      case "$present" -> value.isJsonNull() != wanted.getAsBoolean();
      case "$at_least" -> number(value) >= number(wanted);
      case "$at_most" -> number(value) <= number(wanted);
      case "$greater_than" -> number(value) > number(wanted);
      case "$less_than" -> number(value) < number(wanted);
      case "$not" -> !matches(wanted, value);
      case "$length" -> (value.isJsonNull() ? 0 : value.getAsJsonArray().size()) == wanted.getAsInt();
      case "$contains" -> contains(wanted, value);
      default -> throw new Mismatch("there is no operator " + operator);
    };
  }

  private static boolean contains(JsonElement wanted, JsonElement value) {
    if (isText(wanted) && isText(value)) {
      return value.getAsString().contains(wanted.getAsString());
    }
    if (value instanceof JsonArray list) {
      for (JsonElement item : list) {
        if (matches(wanted, item)) {
          return true;
        }
      }
    }
    return false;
  }

  private static boolean equal(JsonElement wanted, JsonElement value) {
    if (value.isJsonNull()) {
      return wanted.isJsonNull() || wanted instanceof JsonPrimitive primitive && isDefault(primitive);
    }
    if (!(wanted instanceof JsonPrimitive one) || !(value instanceof JsonPrimitive other)) {
      return wanted.equals(value);
    }
    if (one.isNumber() && !other.isBoolean()) {
      try {
        return one.getAsBigDecimal().compareTo(other.getAsBigDecimal()) == 0;
      } catch (NumberFormatException text) {
        return false;
      }
    }
    return one.equals(other);
  }

  private static boolean isDefault(JsonPrimitive value) {
    if (value.isBoolean()) {
      return !value.getAsBoolean();
    }
    return value.isNumber() ? value.getAsDouble() == 0 : value.getAsString().isEmpty();
  }

  private static boolean isText(JsonElement value) {
    return value instanceof JsonPrimitive primitive && primitive.isString();
  }

  /** A number; 64 bit ones are text in JSON, and 0 is left out. */
  private static double number(JsonElement value) {
    return value.isJsonNull() ? 0 : value.getAsDouble();
  }
}
