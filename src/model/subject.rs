//! A row that is checked, and what is found in it.

use std::borrow::Cow;

use super::fields::{Field, field};
use super::kinds::MonitorType;
use crate::error::{Hint, Problem};
use crate::schema::Release;
use crate::text::quoted;
use crate::value::{Cells, Value};

/// A row that is checked.
pub(super) struct CheckedRow<'r> {
    pub release: Release,
    pub kind: &'static MonitorType,
    pub(super) row: &'r Cells,
}

impl<'r> CheckedRow<'r> {
    /// The value in `column`; `None` if the row does not have it.
    pub fn value(&self, column: &str) -> Option<&'r Value> {
        self.row.get(column)
    }

    /// The text in `column`, if any.
    pub fn text(&self, column: &str) -> Option<&'r str> {
        self.value(column).and_then(Value::text).filter(|text| !text.is_empty())
    }

    /// The number in `column`.
    pub fn number(&self, column: &str) -> Option<f64> {
        match self.value(column)? {
            Value::Int(n) => Some(*n as f64),
            Value::Real(x) => Some(*x),
            Value::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// Whether `column` is empty or a placeholder.
    pub fn is_empty(&self, column: &str) -> bool {
        match self.value(column) {
            None | Some(Value::Null) => true,
            Some(Value::Text(text)) => match column {
                "url" => matches!(text.trim(), "" | "http://" | "https://" | "ws://" | "wss://"),
                _ => text.trim().is_empty() || text == "[]",
            },
            Some(_) => false,
        }
    }

    /// Reports that `column` is missing; `when` is the condition under which it is required, or empty.
    pub fn missing(&self, column: &'static str, when: &str) -> RowProblem {
        let example = match (column, self.kind.name) {
            ("url", "websocket-upgrade") => "wss://example.com/ws",
            ("port", "mqtt") => "1883",
            ("port", "radius") => "1812",
            ("port", "dns") => "53",
            ("port", "snmp") => "161",
            ("port", "ntp") => "123",
            ("port", "smtp") => "25",
            ("port", "sip-options") => "5060",
            ("port", "steam" | "gamedig") => "27015",
            ("hostname", "mqtt") => "mqtt.example.com",
            ("json_path", "snmp") => "'$'",
            ("location", _) => "world",
            ("subtype", _) => "ping",
            ("radius_password", "snmp") => "public",
            ("system_service_name", "pm2") => "api",
            ("database_connection_string", "sqlserver") => {
                "'Server=db,1433;Database=app;User Id=kuma;Password=…;Encrypt=true'"
            }
            ("database_connection_string", "postgres") => "postgres://kuma:…@db:5432/app",
            ("database_connection_string", "mysql") => "mysql://kuma:…@db:3306/app",
            ("database_connection_string", "mongodb") => "mongodb://kuma:…@db:27017/admin",
            ("database_connection_string", "oracledb") => "db:1521/FREEPDB1",
            ("database_connection_string", "redis") => "redis://kuma:…@cache:6379",
            _ => field(column).map_or("", |known| known.example),
        };
        let by = if when.is_empty() {
            format!("is required by type `{}`", self.kind.name)
        } else {
            format!("is required {when}")
        };
        let by = if column == "name" { "is required".to_owned() } else { by };
        let example = if example.is_empty() { "…" } else { example };
        RowProblem::about(&[column], by).typed(example)
    }
}

/// A problem, the columns that cause it, and whether it affects more than its own monitor.
pub(super) struct RowProblem {
    pub(super) columns: Vec<&'static str>,
    pub(super) breaks_server: bool,
    pub(super) problem: Problem,
}

impl RowProblem {
    pub(super) fn new(field: &'static Field, message: String) -> RowProblem {
        RowProblem::about(&[field.column], message)
    }

    /// A problem of the first of these columns, caused by all of them.
    pub fn about(columns: &[&'static str], message: impl Into<String>) -> RowProblem {
        let problem = Problem::new(columns[0], message);
        RowProblem { columns: columns.to_vec(), breaks_server: false, problem }
    }

    /// Adds a column that causes it.
    pub fn also(&mut self, column: &'static str) {
        self.columns.push(column);
    }

    /// With the option and an example value as the hint.
    pub fn typed(mut self, example: &str) -> RowProblem {
        let option = field(&self.problem.subject).map_or_else(|| self.problem.subject.clone(), Field::option);
        let example = shell_word(if example.is_empty() { "…" } else { example });
        self.problem.hint = Some(Hint::command(format!("--{option} {example}")));
        self
    }

    /// With a sentence to follow.
    pub fn hint(self, text: impl Into<String>) -> RowProblem {
        RowProblem { problem: self.problem.hint(text), ..self }
    }

    /// With options to type.
    pub fn command(self, options: impl Into<String>) -> RowProblem {
        RowProblem { problem: self.problem.command(options), ..self }
    }
}

/// `2073600` as `2,073,600`.
pub(super) fn grouped(n: i64) -> String {
    let digits = n.unsigned_abs().to_string();
    let mut text = if n < 0 { "-".to_owned() } else { String::new() };
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `text` quoted for a shell; quoted text is not changed.
pub(super) fn shell_word(text: &str) -> Cow<'_, str> {
    if text.starts_with(['\'', '"']) { text.into() } else { quoted(text).into() }
}
