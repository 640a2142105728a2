//! Writes HCL, the language of Terraform.

use serde_json::Value as Json;

/// A block: its attributes, aligned as by `terraform fmt`, then the text of the blocks in it.
pub(super) fn block(head: &str, attributes: &[(String, String)], inner: &str) -> String {
    format!("{head} {{\n{}{inner}}}\n", aligned(attributes, 2))
}

/// Lines `key = value`; the equal signs of lines one below the other are aligned.
fn aligned(attributes: &[(String, String)], indent: usize) -> String {
    let mut text = String::new();
    let is_long = |value: &str| value.contains('\n');
    for run in attributes.chunk_by(|(_, one), (_, next)| !is_long(one) && !is_long(next)) {
        let width = run.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
        for (key, value) in run {
            text.push_str(&format!("{:indent$}{key:width$} = {value}\n", ""));
        }
    }
    text
}

/// A call that encodes an object of these expressions.
pub(super) fn json_encode(entries: &[(String, String)]) -> String {
    format!("jsonencode({})", object(entries, 2))
}

fn object(entries: &[(String, String)], indent: usize) -> String {
    if entries.is_empty() {
        return "{}".to_owned();
    }
    let entries: Vec<(String, String)> = entries.iter().map(|(key, value)| (name(key), value.clone())).collect();
    format!("{{\n{}{:indent$}}}", aligned(&entries, indent + 2), "")
}

/// A key of an object: without quotes if possible.
fn name(key: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if key.starts_with(|c: char| c.is_ascii_alphabetic()) && key.chars().all(is_plain) {
        key.to_owned()
    } else {
        quote(key)
    }
}

/// A value, with its lines indented by `indent`.
pub(super) fn literal(json: &Json, indent: usize) -> String {
    match json {
        Json::String(text) => quote(text),
        // Seconds are stored as 48.0.
        Json::Number(number) => match number.as_f64() {
            Some(x) if x.fract() == 0.0 && x.abs() < 9e15 => format!("{x:.0}"),
            _ => number.to_string(),
        },
        Json::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| literal(item, indent)).collect();
            format!("[{}]", items.join(", "))
        }
        Json::Object(map) => {
            let entries = map.iter().map(|(key, value)| (key.clone(), literal(value, indent + 2)));
            object(&entries.collect::<Vec<_>>(), indent)
        }
        other => other.to_string(),
    }
}

/// A text in quotes, in which nothing is a template.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.replace("${", "$${").replace("%{", "%%{").chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
