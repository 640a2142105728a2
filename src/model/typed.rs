//! Converts between input and the stored value of a cell.

use std::borrow::Cow;

use serde_json::Value as Json;

use super::fields::{Field, ValueShape};
use crate::error::Problem;
use crate::value::Value;

/// The value of `text` from a command line: `true`, `60`, `200-299,301`, `k1:9092,k2:9092`, `{"a": 1}`.
///
/// Empty text unsets numbers, choices and references. A reference that is not a number stays text: a name. Ranges and
/// choices are not checked here, because they depend on type and release; see
/// [`check_monitor`](super::check::check_monitor).
///
/// # Errors
/// A problem if `text` does not have the field's shape, or only the server writes the field.
pub fn parse(field: &Field, text: &str) -> Result<Value, Problem> {
    normalise(field, Value::Text(text.to_owned()))
}

/// The value of `json` from a fixture; lists may be lists, headers may be a map.
///
/// # Errors
/// As [`parse`].
pub fn from_json(field: &Field, json: &Json) -> Result<Value, Problem> {
    let value = match json {
        Json::Null => Value::Null,
        Json::Bool(yes) => match field.shape {
            ValueShape::Flag => Value::from(*yes),
            ValueShape::Text(_) | ValueShape::LongText => Value::from(yes.to_string()),
            _ => return Err(misshapen(field, "true or false")),
        },
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(n), _) => Value::Int(n),
            (None, Some(x)) => Value::Real(x),
            (None, None) => Value::from(number.to_string()),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(_) | Json::Object(_) => match field.shape {
            ValueShape::StatusCodes | ValueShape::Texts | ValueShape::Array | ValueShape::Object => {
                Value::from(json.to_string())
            }
            // The page indents JSON by four spaces in its text fields.
            ValueShape::LongText => Value::from(laid_out(json)),
            _ if json.is_array() => return Err(misshapen(field, "a list")),
            _ => return Err(misshapen(field, "a map")),
        },
    };
    normalise(field, value)
}

/// `value` as text that [`parse`] reads back as the same value; NULL is empty text.
///
/// Secrets are not redacted here: check `field.secret` first.
pub fn render(field: &Field, value: &Value) -> String {
    match (field.shape, value) {
        (_, Value::Null) => String::new(),
        (ValueShape::Flag, Value::Int(0)) => "false".to_owned(),
        (ValueShape::Flag, Value::Int(1)) => "true".to_owned(),
        (ValueShape::StatusCodes | ValueShape::Texts, Value::Text(text)) => match texts(text) {
            Some(items) if !items.is_empty() && items.iter().all(|item| is_plain_item(item)) => items.join(","),
            _ => text.clone(),
        },
        (_, value) => value.to_string(),
    }
}

/// Whether both values are equal in this field: `1` and `"1"` are, and JSON texts that differ in spaces only.
pub fn same(field: &Field, a: &Value, b: &Value) -> bool {
    if a.same(b) {
        return true;
    }
    let is_json =
        matches!(field.shape, ValueShape::StatusCodes | ValueShape::Texts | ValueShape::Array | ValueShape::Object)
            || matches!(field.column, "headers" | "grpc_metadata");
    match (a.text(), b.text()) {
        (Some(a), Some(b)) if is_json => {
            let [a, b] = [a, b].map(serde_json::from_str::<Json>);
            matches!((a, b), (Ok(a), Ok(b)) if a == b)
        }
        _ => false,
    }
}

/// `value` as the server stores it in this field: flags as 0 and 1, numbers as numbers, JSON as compact text.
///
/// # Errors
/// As [`parse`].
pub fn normalise(field: &Field, value: Value) -> Result<Value, Problem> {
    let value = match value {
        Value::Text(text) if field.trimmed => Value::from(text.trim()),
        Value::Blob(_) => return Err(misshapen(field, "bytes")),
        other => other,
    };
    if let Value::Text(text) = &value
        && text.contains('\0')
    {
        return Err(misshapen(field, "text with a NUL character"));
    }
    match field.shape {
        ValueShape::Server => {
            Err(Problem::new(field.column, "is only written by the server").hint(format!("omit `{}`", field.column)))
        }
        ValueShape::Text(_) | ValueShape::LongText | ValueShape::Kind => Ok(match value {
            Value::Int(_) | Value::Real(_) => Value::from(value.to_string()),
            text_or_null => text_or_null,
        }),
        ValueShape::Whole(..) => whole(field, value, "an integer"),
        ValueShape::Real => match value {
            Value::Int(n) => Ok(Value::Real(n as f64)),
            Value::Text(text) if text.trim().is_empty() => Ok(Value::Null),
            Value::Text(text) => match text.trim().parse::<f64>() {
                Ok(x) if x.is_finite() => Ok(Value::Real(x)),
                _ => Err(desired(field, "a number", &text)),
            },
            other => Ok(other),
        },
        ValueShape::Flag => match &value {
            Value::Int(0 | 1) => Ok(value),
            Value::Text(text) => match text.trim().to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" | "1" => Ok(Value::Int(1)),
                "false" | "no" | "off" | "0" => Ok(Value::Int(0)),
                _ => Err(desired(field, "`true` or `false`", text)),
            },
            other => Err(desired(field, "`true` or `false`", &other.to_string())),
        },
        ValueShape::Choice(picks) => Ok(match value {
            Value::Text(text) if text.trim().is_empty() => Value::Null,
            Value::Null => Value::Null,
            other => {
                let text = other.to_string();
                let known = picks.iter().find(|pick| pick.value.eq_ignore_ascii_case(text.trim()));
                Value::from(known.map_or(text.trim(), |pick| pick.value))
            }
        }),
        ValueShape::Reference(_) => match value {
            Value::Text(text) if text.trim().is_empty() => Ok(Value::Null),
            Value::Text(text) => Ok(text.trim().parse().map_or(Value::Text(text), Value::Int)),
            other => whole(field, other, "a name or a number"),
        },
        ValueShape::StatusCodes | ValueShape::Texts => list(field, value),
        ValueShape::Array => json_of(field, value, "a JSON list", Json::is_array),
        ValueShape::Object => json_of(field, value, "a JSON map", Json::is_object),
    }
}

/// The texts of a JSON array of texts; `None` when it is something else.
pub(super) fn texts(json: &str) -> Option<Vec<String>> {
    serde_json::from_str(json).ok()
}

/// `json` over several lines, indented by four spaces.
fn laid_out(json: &Json) -> String {
    use serde::Serialize as _;
    let mut bytes = Vec::new();
    let layout = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut writer = serde_json::Serializer::with_formatter(&mut bytes, layout);
    match json.serialize(&mut writer) {
        Ok(()) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => json.to_string(),
    }
}

fn whole(field: &Field, value: Value, what: &str) -> Result<Value, Problem> {
    match value {
        Value::Text(text) if text.trim().is_empty() => Ok(Value::Null),
        Value::Text(text) => match text.trim().parse() {
            Ok(n) => Ok(Value::Int(n)),
            Err(_) => Err(desired(field, what, &text)),
        },
        Value::Real(x) if x.fract() == 0.0 && x.abs() < 9e15 => Ok(Value::Int(x as i64)),
        Value::Real(x) => Err(desired(field, what, &x.to_string())),
        other => Ok(other),
    }
}

/// A list of texts, from JSON or text with commas; numbers in it become text, as the server requires.
fn list(field: &Field, value: Value) -> Result<Value, Problem> {
    let text = match value {
        Value::Null => return Ok(Value::from("[]")),
        other => other.to_string(),
    };
    let items = if text.trim_start().starts_with('[') {
        match serde_json::from_str::<Vec<Json>>(&text) {
            Ok(items) => items
                .iter()
                .map(|item| match item {
                    Json::String(text) => Some(text.clone()),
                    Json::Number(number) => Some(number.to_string()),
                    _ => None,
                })
                .collect::<Option<Vec<String>>>()
                .ok_or_else(|| desired(field, "a list of texts", &text))?,
            Err(_) => return Err(desired(field, "a list, separated by commas", &text)),
        }
    } else {
        text.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()
    };
    Ok(Value::from(Json::from(items).to_string()))
}

fn json_of(field: &Field, value: Value, what: &str, fits: fn(&Json) -> bool) -> Result<Value, Problem> {
    match value {
        Value::Text(text) => match serde_json::from_str::<Json>(&text) {
            Ok(json) if fits(&json) => Ok(Value::from(json.to_string())),
            _ => Err(desired(field, what, &text)),
        },
        other => Err(desired(field, what, &other.to_string())),
    }
}

/// Whether `item` is unchanged after being joined with commas and split again.
fn is_plain_item(item: &str) -> bool {
    !item.is_empty() && item.trim() == item && !item.contains(',') && !item.starts_with('[')
}

fn desired(field: &Field, what: &str, typed: &str) -> Problem {
    let problem = Problem::new(field.column, format!("must be {what}, not {}", shown(field, typed)));
    if field.example.is_empty() { problem } else { problem.command(format!("--{} {}", field.option(), field.example)) }
}

fn misshapen(field: &Field, what: &str) -> Problem {
    Problem::new(field.column, format!("cannot be {what}"))
}

/// `typed` as shown in a message: secrets are redacted, long text is cut.
pub(super) fn shown<'t>(field: &Field, typed: &'t str) -> Cow<'t, str> {
    const LONGEST: usize = 60;
    if field.secret {
        return "this value".into();
    }
    match typed.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("`{}…`", &typed[..end]).into(),
        None if typed.is_empty() => "nothing".into(),
        None => format!("`{typed}`").into(),
    }
}
