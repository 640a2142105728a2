//! How SQLite converts values for a column, by its rules of type affinity.

use crate::value::Value;

/// The affinity of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Affinity {
    Text,
    /// INTEGER and NUMERIC, which differ only in CAST.
    Numeric,
    Real,
    None,
}

impl Affinity {
    /// The affinity of a declared type.
    pub(in crate::engine) fn of(declared: &str) -> Affinity {
        let declared = declared.to_ascii_uppercase();
        let has = |part: &str| declared.contains(part);
        match () {
            () if has("INT") => Affinity::Numeric,
            () if has("CHAR") || has("CLOB") || has("TEXT") => Affinity::Text,
            () if has("BLOB") || declared.is_empty() => Affinity::None,
            () if has("REAL") || has("FLOA") || has("DOUB") => Affinity::Real,
            () => Affinity::Numeric,
        }
    }

    /// Converts `cell` as SQLite does when it stores it.
    pub(super) fn apply(self, cell: &mut Value) {
        let converted = match (self, &*cell) {
            (Affinity::Text, Value::Int(number)) => Value::Text(number.to_string()),
            (Affinity::Text, Value::Real(real)) => Value::Text(format!("{real:?}")),
            (Affinity::Numeric, Value::Real(real)) => exact_integer(*real),
            (Affinity::Numeric, Value::Text(text)) => match literal(text) {
                Some(Value::Real(real)) => exact_integer(real),
                Some(number) => number,
                None => return,
            },
            (Affinity::Real, Value::Int(number)) => as_f64(*number),
            (Affinity::Real, Value::Text(text)) => match literal(text) {
                Some(Value::Int(number)) => as_f64(number),
                Some(real) => real,
                None => return,
            },
            _ => return,
        };
        *cell = converted;
    }
}

/// The number that `text` spells, if it is nothing else.
fn literal(text: &str) -> Option<Value> {
    let text = text.trim_matches(|letter: char| letter.is_ascii_whitespace());
    let is_spelled = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    let real = || text.parse().ok().map(Value::Real);
    is_spelled.then(|| text.parse().ok().map(Value::Int).or_else(real)).flatten()
}

#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "compared with the original")]
fn exact_integer(real: f64) -> Value {
    let whole = real as i64;
    let is_exact = whole as f64 == real && whole > i64::MIN && whole < i64::MAX;
    if is_exact { Value::Int(whole) } else { Value::Real(real) }
}

#[allow(clippy::cast_precision_loss, reason = "SQLite stores the nearest number too")]
fn as_f64(number: i64) -> Value {
    Value::Real(number as f64)
}
