//! What people and programs write for nothing, true and false, times, numbers and status codes.

use super::super::node::{Data, Node};

/// Whether a text stands for no value.
pub(super) fn is_nothing(text: &str) -> bool {
    matches!(
        text.trim().to_ascii_lowercase().as_str(),
        "" | "null" | "none" | "nil" | "n/a" | "undefined" | "nan" | "-"
    )
}

/// Whether a value is a word for false.
pub(super) fn is_off(value: &Node) -> bool {
    match &value.data {
        Data::Bool(yes) => !yes,
        Data::Text(text) => matches!(
            text.trim().to_ascii_lowercase().as_str(),
            "false" | "no" | "off" | "0" | "n" | "f" | "disabled" | "inactive" | "paused"
        ),
        Data::Null => true,
        _ => value.int() == Some(0),
    }
}

/// Whether a value is a word for true.
pub(super) fn is_on(value: &Node) -> bool {
    match &value.data {
        Data::Bool(yes) => *yes,
        Data::Text(text) => matches!(
            text.trim().to_ascii_lowercase().as_str(),
            "true" | "yes" | "on" | "1" | "y" | "t" | "enabled" | "active" | "x"
        ),
        _ => value.int() == Some(1),
    }
}

/// Converts words for true and false; other values are not changed.
pub(super) fn flag(value: &Node) -> Node {
    match (is_on(value), is_off(value) && !value.is_null()) {
        (true, _) => Node::new(value.at.clone(), true),
        (_, true) => Node::new(value.at.clone(), false),
        _ => value.clone(),
    }
}

/// The seconds in a duration with units: `90s`, `1h30m`, `500 ms`, `@every 5m`.
pub(super) fn seconds(text: &str) -> Option<f64> {
    let lower = text.trim().to_ascii_lowercase();
    let mut rest = lower.strip_prefix("@every").unwrap_or(&lower).trim();
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let after = rest[digits..].trim_start();
        let end = after.find(|letter: char| !letter.is_ascii_alphabetic()).unwrap_or(after.len());
        total += number
            * match &after[..end] {
                "ms" | "msec" | "millisecond" | "milliseconds" => 0.001,
                "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
                "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
                "h" | "hr" | "hrs" | "hour" | "hours" => 3600.0,
                "d" | "day" | "days" => 86_400.0,
                "w" | "week" | "weeks" => 604_800.0,
                _ => return None,
            };
        rest = after[end..].trim_start();
    }
    (total > 0.0).then_some(total)
}

/// A number in a text, or the seconds of a duration: `60.0`, `22,0`, `5m`; other values are not changed.
pub(super) fn number(value: &Node) -> Node {
    let at = || value.at.clone();
    if let Some(n) = value.int() {
        return Node::new(at(), n);
    }
    let Some(text) = value.text() else { return value.clone() };
    // A spreadsheet with a decimal comma.
    let decimal = text.trim().strip_suffix(",0").or(text.trim().strip_suffix(",00")).and_then(|text| text.parse().ok());
    let real = text.trim().parse::<f64>().ok().filter(|x| x.is_finite()).or_else(|| seconds(text));
    match (decimal, real) {
        (Some(n), _) => Node::new(at(), Data::Int(n)),
        (None, Some(x)) if x.fract() == 0.0 && x.abs() < 9e15 => Node::new(at(), Data::Int(x as i64)),
        (None, Some(x)) => Node::new(at(), Data::Real(x)),
        _ => value.clone(),
    }
}

/// Status codes as a list of codes and ranges: `2xx`, `200,301`, `[200]`.
pub(super) fn codes(value: &Node) -> Node {
    let value = parsed(value).unwrap_or_else(|| value.clone());
    let mut found = Vec::new();
    for item in parts(&value) {
        match item.scalar() {
            Some(text) => found.extend(parts(&Node::new(item.at.clone(), text)).iter().map(range)),
            None => found.push(as_text(&item)),
        }
    }
    Node::new(value.at, found)
}

/// `2xx` as `200-299`, `2xx-3xx` as `200-399`.
fn range(code: &Node) -> Node {
    let text = code.scalar().unwrap_or_default().trim().to_ascii_lowercase();
    let (first, last) = text.split_once('-').unwrap_or((&text, &text));
    let hundreds = |part: &str| {
        part.trim()
            .strip_suffix("xx")
            .and_then(|digit| digit.parse::<u8>().ok())
            .filter(|digit| (1..=9).contains(digit))
    };
    match (hundreds(first), hundreds(last)) {
        (Some(first), Some(last)) => Node::new(code.at.clone(), format!("{first}00-{last}99")),
        _ => Node::new(code.at.clone(), text),
    }
}

pub(super) fn as_text(item: &Node) -> Node {
    item.scalar().map_or_else(|| item.clone(), |text| Node::new(item.at.clone(), text))
}

/// The JSON in a text.
pub(super) fn parsed(value: &Node) -> Option<Node> {
    let json = serde_json::from_str::<serde_json::Value>(value.text()?).ok()?;
    (json.is_array() || json.is_object()).then(|| Node::from_json(&value.at, &json))
}

/// The parts of a text between `,`, `;` and `|`; a list has its items.
pub(super) fn parts(value: &Node) -> Vec<Node> {
    match &value.data {
        Data::List(items) => items.clone(),
        _ => {
            let text = value.scalar().unwrap_or_default();
            let parts = text.split([',', ';', '|']).map(str::trim).filter(|part| !part.is_empty());
            parts.map(|part| Node::new(value.at.clone(), part)).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::node::At;
    use super::*;

    fn node(text: &str) -> Node {
        Node::new(At::nowhere("-"), text)
    }

    #[test]
    fn a_duration_has_units() {
        for (text, expected) in [
            ("30s", Some(30.0)),
            ("1h30m", Some(5400.0)),
            ("5 minutes", Some(300.0)),
            ("60000ms", Some(60.0)),
            ("@every 5s", Some(5.0)),
            ("60", None),
            ("*/5 * * * *", None),
            ("m", None),
            ("5 parsecs", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }

    #[test]
    fn a_number_may_be_written_as_text() {
        for (text, expected) in
            [("60", "60"), ("60.0", "60"), ("22,0", "22"), ("1.5", "1.5"), ("5m", "300"), ("a", "\"a\"")]
        {
            assert_eq!(number(&node(text)).json().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn status_codes_become_codes_and_ranges() {
        for (text, expected) in [
            ("2xx", r#"["200-299"]"#),
            ("2XX,301", r#"["200-299","301"]"#),
            ("2xx-3xx", r#"["200-399"]"#),
            ("200-299,301,302", r#"["200-299","301","302"]"#),
            ("[200]", r#"["200"]"#),
            (r#"["200-299","404"]"#, r#"["200-299","404"]"#),
            ("teapot", r#"["teapot"]"#),
        ] {
            assert_eq!(codes(&node(text)).json().to_string(), expected, "{text}");
        }
    }
}
