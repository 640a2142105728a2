//! Cells, rows and secrets, on either engine; and times as people read them.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use chrono::{DateTime, Local, NaiveDate, NaiveDateTime, NaiveTime, SecondsFormat, TimeZone, Utc};
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use serde::{Deserialize, Serialize};

/// One cell of a table, as either engine stores it.
///
/// Dates and decimals are text in the engine's own format (`2026-01-31 08:00:00`), so that nothing is lost between reading and
/// writing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// SQL NULL.
    #[default]
    Null,
    /// An integer; booleans are 0 and 1.
    Int(i64),
    /// A floating point number.
    Real(f64),
    /// Text, always valid UTF-8.
    Text(String),
    /// Bytes that are not text.
    Blob(Vec<u8>),
}

impl Value {
    /// The number in this cell; numeric text counts, because SQLite stores values as they were given.
    pub fn int(&self) -> Option<i64> {
        match self {
            Value::Int(n) => Some(*n),
            Value::Real(x) if x.fract() == 0.0 => Some(*x as i64),
            Value::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// The number in this cell, with its fraction.
    pub fn number(&self) -> Option<f64> {
        match self {
            Value::Int(n) => Some(*n as f64),
            Value::Real(x) => Some(*x),
            Value::Text(text) => text.trim().parse().ok().filter(|x: &f64| x.is_finite()),
            _ => None,
        }
    }

    /// The text in this cell, if it is text.
    pub fn text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Whether the server treats this cell as true: a number other than 0.
    pub fn truthy(&self) -> bool {
        self.int().is_some_and(|n| n != 0)
    }

    /// Whether this is SQL NULL.
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// Whether the cell is empty: NULL, or an empty text.
    pub fn is_nothing(&self) -> bool {
        self.is_null() || self.text() == Some("")
    }

    /// Whether both cells are equal for the server: `1` and `1.0` are, and so are `"53"` and `53`, which the two engines store
    /// differently for the same input.
    pub fn same(&self, other: &Value) -> bool {
        self == other
            || match (self, other) {
                (Value::Int(a), Value::Real(b)) | (Value::Real(b), Value::Int(a)) => *a as f64 == *b,
                (Value::Text(a), number @ (Value::Int(_) | Value::Real(_)))
                | (number @ (Value::Int(_) | Value::Real(_)), Value::Text(a)) => *a == number.to_string(),
                _ => false,
            }
    }

    /// This cell as JSON; bytes become base64 text.
    pub fn json(&self) -> serde_json::Value {
        use base64::Engine as _;
        match self {
            Value::Null => serde_json::Value::Null,
            Value::Int(n) => (*n).into(),
            Value::Real(x) => (*x).into(),
            Value::Text(text) => text.as_str().into(),
            Value::Blob(bytes) => base64::engine::general_purpose::STANDARD.encode(bytes).into(),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("NULL"),
            Value::Int(n) => n.fmt(f),
            Value::Real(x) => x.fmt(f),
            Value::Text(text) => f.write_str(text),
            Value::Blob(bytes) => write!(f, "({} bytes)", bytes.len()),
        }
    }
}

impl From<i64> for Value {
    fn from(n: i64) -> Self {
        Value::Int(n)
    }
}

impl From<bool> for Value {
    fn from(yes: bool) -> Self {
        Value::Int(yes.into())
    }
}

impl From<f64> for Value {
    fn from(x: f64) -> Self {
        Value::Real(x)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Text(text)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(cell: Option<T>) -> Self {
        cell.map_or(Value::Null, Into::into)
    }
}

/// One row of a result, with its cells by column name.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    columns: Arc<[String]>,
    cells: Vec<Value>,
}

const NULL: Value = Value::Null;

impl Row {
    /// A row with `cells` for `columns`; both have the same length.
    pub fn new(columns: Arc<[String]>, cells: Vec<Value>) -> Self {
        debug_assert_eq!(columns.len(), cells.len());
        Row { columns, cells }
    }

    /// The cell under `column`; NULL where the release has no such column.
    pub fn cell(&self, column: &str) -> &Value {
        match self.columns.iter().position(|name| name == column) {
            Some(at) => &self.cells[at],
            None => &NULL,
        }
    }

    /// The cell at position `at`, counted from 0.
    pub fn at(&self, at: usize) -> &Value {
        self.cells.get(at).unwrap_or(&NULL)
    }

    /// The number under `column`.
    pub fn int(&self, column: &str) -> Option<i64> {
        self.cell(column).int()
    }

    /// The text under `column`.
    pub fn text(&self, column: &str) -> Option<&str> {
        self.cell(column).text()
    }

    /// Column names, in the order of the statement.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Cells, in the order of the columns.
    pub fn cells(&self) -> &[Value] {
        &self.cells
    }

    /// Cells, in the order of the columns.
    pub fn into_cells(self) -> Vec<Value> {
        self.cells
    }

    /// Pairs of column name and cell, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.columns.iter().map(String::as_str).zip(&self.cells)
    }

    /// The row as a JSON object.
    pub fn json(&self) -> serde_json::Value {
        self.iter().map(|(column, cell)| (column.to_owned(), cell.json())).collect()
    }
}

/// The cells of a row that is made or changed, each with the name of its column.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cells(Vec<(String, Value)>);

impl Cells {
    /// The cell under `column`, if there is one.
    pub fn get(&self, column: &str) -> Option<&Value> {
        self.iter().find(|(name, _)| name == column).map(|(_, cell)| cell)
    }

    /// The number under `column`.
    pub fn int(&self, column: &str) -> Option<i64> {
        self.get(column).and_then(Value::int)
    }

    /// The text under `column`.
    pub fn text(&self, column: &str) -> Option<&str> {
        self.get(column).and_then(Value::text)
    }

    /// Replaces the cell under `column`; `false` if there is none.
    pub fn set(&mut self, column: &str, value: Value) -> bool {
        let cell = self.0.iter_mut().find(|(name, _)| name == column);
        cell.map(|cell| cell.1 = value).is_some()
    }

    /// Adds a cell under `column`, which has none.
    pub fn push(&mut self, column: impl Into<String>, value: Value) {
        self.0.push((column.into(), value));
    }
}

impl Deref for Cells {
    type Target = [(String, Value)];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl FromIterator<(String, Value)> for Cells {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(cells: I) -> Self {
        Cells(cells.into_iter().collect())
    }
}

impl<'a> FromIterator<(&'a str, &'a Value)> for Cells {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a Value)>>(cells: I) -> Self {
        cells.into_iter().map(|(column, cell)| (column.to_owned(), cell.clone())).collect()
    }
}

impl IntoIterator for Cells {
    type Item = (String, Value);
    type IntoIter = std::vec::IntoIter<(String, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Cells {
    type Item = &'a (String, Value);
    type IntoIter = std::slice::Iter<'a, (String, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// A point in time as people read it: local time with the offset of the zone.
pub fn local_time(at: DateTime<Utc>) -> String {
    at.with_timezone(&Local).format("%Y-%m-%d %H:%M:%S %Z").to_string()
}

/// A time as the server stores it (`2026-01-31 08:00:00.123`, UTC); `None` for text that is not a time.
pub fn server_time(text: &str) -> Option<DateTime<Utc>> {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").ok().map(|at| at.and_utc())
}

/// `at` in its own time zone, as the server stores a time; a fraction of a second is cut off.
pub fn server_text<Z: TimeZone>(at: &DateTime<Z>) -> String {
    at.naive_local().format("%Y-%m-%d %H:%M:%S").to_string()
}

/// A cron expression as the server reads it (croner, in 2.5.3): five fields, or six with the seconds first.
///
/// # Errors
/// What is wrong with it, in words.
pub fn parse_cron(text: &str) -> Result<Cron, String> {
    let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
    parser.parse(text).map_err(|error| format!("`{text}` is not a valid cron expression: {error}"))
}

/// A time in one of the formats that the server, its database libraries and people have stored, in UTC: with a blank or `T`,
/// with or without seconds, time and zone.
pub fn stored_time(text: &str) -> Option<NaiveDateTime> {
    const FORMATS: [&str; 4] = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M"];
    let text = text.trim();
    let zoned = DateTime::parse_from_rfc3339(&text.replacen(' ', "T", 1)).ok().map(|at| at.naive_utc());
    zoned
        .or_else(|| FORMATS.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok()))
        .or_else(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().map(|day| day.and_time(NaiveTime::MIN)))
}

/// A point in time for programs: UTC, in RFC 3339.
pub fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// A time as the server stores it, in RFC 3339; text that is not a time stays as it is.
pub fn utc_time(text: &str) -> String {
    server_time(text).map_or_else(|| text.to_owned(), rfc3339)
}

/// A time as the server stores it, as people read it; text that is not a time stays as it is.
pub fn shown_time(text: &str) -> String {
    server_time(text).map_or_else(|| text.to_owned(), local_time)
}

/// Repository and tag of the image name `image`; a digest after `@` is ignored.
pub fn image_parts(image: &str) -> (&str, Option<&str>) {
    let image = image.split('@').next().unwrap_or(image);
    match image.rsplit_once(':') {
        // A colon before a slash is a registry's port.
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
        _ => (image, None),
    }
}

/// Whether `text` can name an image: it is repeated in commands that users are asked to run.
pub fn is_image(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ':' | '@');
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(is_part)
}

/// Text that must not be shown: it prints as `(secret)`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// Reveals the text, for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}
