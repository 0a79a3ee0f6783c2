package sluice;

import com.google.protobuf.ListValue;
import com.google.protobuf.NullValue;
import com.google.protobuf.Struct;
import com.google.protobuf.Value;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** JSON as the contract's messages and as plain values of Java: maps, lists, texts, numbers, truth values and null. */
final class PlainValues {
  private PlainValues() {}

  static Struct toStruct(Map<String, ?> fields) {
    Struct.Builder struct = Struct.newBuilder();
    fields.forEach((name, value) -> struct.putFields(name, toValue(value)));
    return struct.build();
  }

  static Value toValue(Object plain) {
    Value.Builder value = Value.newBuilder();
    if (plain == null) {
      return value.setNullValue(NullValue.NULL_VALUE).build();
    }
    if (plain instanceof Boolean) {
      return value.setBoolValue((Boolean) plain).build();
    }
    if (plain instanceof Number) {
      return value.setNumberValue(((Number) plain).doubleValue()).build();
    }
    if (plain instanceof CharSequence) {
      return value.setStringValue(plain.toString()).build();
    }
    if (plain instanceof Iterable) {
      ListValue.Builder list = ListValue.newBuilder();
      ((Iterable<?>) plain).forEach(item -> list.addValues(toValue(item)));
      return value.setListValue(list).build();
    }
    if (plain instanceof Map) {
      Struct.Builder struct = Struct.newBuilder();
      ((Map<?, ?>) plain).forEach((name, item) -> struct.putFields(String.valueOf(name), toValue(item)));
      return value.setStructValue(struct).build();
    }
    throw new IllegalArgumentException("an argument of a plugin cannot be a " + plain.getClass().getName());
  }

  static Object from(Value value) {
    switch (value.getKindCase()) {
      case BOOL_VALUE:
        return value.getBoolValue();
      case NUMBER_VALUE:
        return value.getNumberValue();
      case STRING_VALUE:
        return value.getStringValue();
      case LIST_VALUE:
        List<Object> list = new ArrayList<>();
        value.getListValue().getValuesList().forEach(item -> list.add(from(item)));
        return list;
      case STRUCT_VALUE:
        Map<String, Object> map = new LinkedHashMap<>();
        value.getStructValue().getFieldsMap().forEach((name, item) -> map.put(name, from(item)));
        return map;
      default:
        return null;
    }
  }
}
