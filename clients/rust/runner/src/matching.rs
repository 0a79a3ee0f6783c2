//! References and expectations.

use serde_json::{Map, Value};

use crate::{Mismatch, Played};

/// The same with "$name.field.0" replaced by what was saved.
pub fn resolve(value: &Value, saved: &Value) -> Played<Value> {
    match value {
        Value::Object(map) => {
            let resolved = map.iter().map(|(key, inner)| Ok((key.clone(), resolve(inner, saved)?)));
            Ok(Value::Object(resolved.collect::<Played<Map<_, _>>>()?))
        }
        Value::Array(items) => items.iter().map(|inner| resolve(inner, saved)).collect(),
        Value::String(text) if text.starts_with('$') => {
            let mut found = saved;
            for part in text[1..].split('.') {
                let next = match (found, part.parse::<usize>()) {
                    (Value::Array(items), Ok(index)) => items.get(index),
                    _ => found.get(part),
                };
                found = next.ok_or_else(|| Mismatch(format!("{text}: there is no {part}")))?;
            }
            Ok(found.clone())
        }
        _ => Ok(value.clone()),
    }
}

/// Fails unless value is what is wanted. Fields that are not named do not matter.
pub fn matches(wanted: &Value, value: &Value, path: &str) -> Played<()> {
    match wanted {
        Value::Object(map) if map.keys().any(|key| key.starts_with('$')) => {
            for (operator, operand) in map {
                if !holds(operator, operand, value)? {
                    return Err(Mismatch(format!("{path}: wanted {operator} {operand}, got {}", short(value))));
                }
            }
            Ok(())
        }
        Value::Object(map) => {
            if !value.is_object() {
                return Err(Mismatch(format!("{path}: wanted {}, got {}", short(wanted), short(value))));
            }
            map.iter().try_for_each(|(key, inner)| matches(inner, &value[key.as_str()], &format!("{path}.{key}")))
        }
        Value::Array(items) => {
            let found = value.as_array().map_or(&[][..], Vec::as_slice);
            if found.len() != items.len() || !(value.is_array() || value.is_null()) {
                return Err(Mismatch(format!("{path}: wanted {} items, got {}", items.len(), short(value))));
            }
            let mut pairs = items.iter().zip(found).enumerate();
            pairs.try_for_each(|(index, (inner, item))| matches(inner, item, &format!("{path}.{index}")))
        }
        _ if equal(wanted, value) => Ok(()),
        _ => Err(Mismatch(format!("{path}: wanted {wanted}, got {}", short(value)))),
    }
}

fn holds(operator: &str, operand: &Value, value: &Value) -> Played<bool> {
    Ok(match operator {
        "$absent" => value.is_null() == (operand == true),
        "$present" => value.is_null() != (operand == true),
        "$at_least" => number(value)? >= number(operand)?,
        "$at_most" => number(value)? <= number(operand)?,
        "$greater_than" => number(value)? > number(operand)?,
        "$less_than" => number(value)? < number(operand)?,
        "$not" => matches(operand, value, "").is_err(),
        "$length" => value.as_array().map_or(0, Vec::len) == number(operand)? as usize,
        "$contains" => match (operand, value) {
            (Value::String(part), Value::String(text)) => text.contains(part.as_str()),
            (_, Value::Array(items)) => items.iter().any(|item| matches(operand, item, "").is_ok()),
            _ => false,
        },
        _ => return Err(Mismatch(format!("there is no operator {operator}"))),
    })
}

/// A number; 64 bit ones are text in JSON, and 0 is left out.
fn number(value: &Value) -> Played<f64> {
    let number = match value {
        Value::Null => Some(0.0),
        Value::String(text) => text.parse().ok(),
        _ => value.as_f64(),
    };
    number.ok_or_else(|| Mismatch(format!("{} is no number", short(value))))
}

fn equal(wanted: &Value, value: &Value) -> bool {
    match (wanted, value) {
        (_, Value::Null) => {
            matches!(wanted, Value::Null | Value::Bool(false)) || wanted == "" || wanted.as_f64() == Some(0.0)
        }
        (Value::Number(number), Value::String(text)) => number.to_string() == *text,
        (Value::Number(wanted), Value::Number(value)) => wanted.as_f64() == value.as_f64(),
        _ => wanted == value,
    }
}

/// Enough of it to see what is wrong.
pub fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(600) {
        None => text,
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
