//! The shape of rows by table: number, types and values of cells.

use crate::schema::{Schema, Table};
use crate::value::Value;

/// The greatest row id that JavaScript can represent.
const LARGEST_ID: i64 = 1 << 53;

/// Columns with JSON (1.23 to 2.5.3). An invalid value breaks the list of monitors.
const JSON: [(&str, &str); 10] = [
    ("monitor", "accepted_statuscodes_json"),
    ("monitor", "kafka_producer_brokers"),
    ("monitor", "kafka_producer_sasl_options"),
    ("monitor", "rabbitmq_nodes"),
    ("monitor", "conditions"),
    ("maintenance", "weekdays"),
    ("maintenance", "days_of_month"),
    ("notification", "config"),
    ("monitor_tls_info", "info_json"),
    ("stat_minutely", "extras"),
];

/// Seconds per row of each table of statistics.
const STEPS: [(&str, i64); 3] = [("stat_minutely", 60), ("stat_hourly", 3600), ("stat_daily", 86400)];

/// How well a row fits a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowFit {
    /// The table cannot have such a row.
    Not,
    /// It is possible, but the server does not write such a value.
    Oddly,
    /// It is as the server writes it.
    Well,
}

/// The values of one column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CellKind {
    /// The row id itself, which is not in the record.
    Key,
    Whole,
    /// 0 or 1.
    Flag,
    Number,
    Text,
    Json,
    Moment,
    /// A time in seconds, a multiple of this number.
    Step(i64),
    /// 0 to 3.
    Status,
    Any,
}

/// A row of one table.
#[derive(Clone, Debug)]
pub struct TableShape {
    /// The table.
    pub table: String,
    /// Its columns, in the order of the cells.
    pub columns: Vec<String>,
    kinds: Vec<CellKind>,
    needed: Vec<bool>,
    /// The minimum number of cells: the other columns were added later, with a default.
    least: usize,
}

impl TableShape {
    /// The shape of `table` with cells in the order of `columns`.
    pub fn new(table: &str, described: &Table, columns: Vec<String>) -> TableShape {
        let column = |name: &String| described.column(name);
        let kinds =
            columns.iter().map(|name| column(name).map_or(CellKind::Any, |column| kind(table, column))).collect();
        let needed: Vec<bool> = columns
            .iter()
            .map(|name| column(name).is_some_and(|column| column.not_null && !column.primary_key))
            .collect();
        let given = |name: &String| column(name).is_none_or(|column| !column.not_null || column.default.is_some());
        let least = columns.iter().rposition(|name| !given(name)).map_or(1, |at| at + 1);
        TableShape { table: table.to_owned(), columns, kinds, needed, least }
    }

    /// How well a row with these cells fits.
    pub fn fit(&self, rowid: i64, cells: &[Value]) -> RowFit {
        if cells.len() > self.columns.len() || cells.len() < self.least {
            return RowFit::Not;
        }
        let mut fit = if (0..=LARGEST_ID).contains(&rowid) { RowFit::Well } else { RowFit::Oddly };
        for (at, cell) in cells.iter().enumerate() {
            let cell = if cell.is_null() && self.needed[at] { RowFit::Not } else { self.kinds[at].fit(cell) };
            fit = fit.min(cell);
            if fit == RowFit::Not {
                break;
            }
        }
        fit
    }

    /// The position of `column`.
    pub fn position(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|name| name == column)
    }

    /// Whether the cell at `at` is the row id.
    pub fn is_key(&self, at: usize) -> bool {
        self.kinds[at] == CellKind::Key
    }

    /// Whether this cell should be JSON and is invalid, which makes the server fail.
    pub fn is_broken_json(&self, at: usize, cell: &Value) -> bool {
        self.kinds[at] == CellKind::Json && CellKind::Json.fit(cell) != RowFit::Well
    }
}

/// The shapes of all tables of `schema`, and of SQLite's own counter.
pub fn shapes(schema: &Schema) -> Vec<TableShape> {
    let names = |table: &Table| table.columns.iter().map(|column| column.name.clone()).collect();
    let mut shapes: Vec<TableShape> =
        schema.tables.iter().map(|(name, table)| TableShape::new(name, table, names(table))).collect();
    shapes.push(TableShape {
        table: "sqlite_sequence".into(),
        columns: vec!["name".into(), "seq".into()],
        kinds: vec![CellKind::Text, CellKind::Whole],
        needed: vec![true, true],
        least: 2,
    });
    shapes
}

fn kind(table: &str, column: &crate::schema::Column) -> CellKind {
    let sql = column.sql_type.to_uppercase();
    let step = STEPS.iter().find(|(name, _)| *name == table).filter(|_| column.name == "timestamp");
    let has = |words: &[&str]| words.iter().any(|word| sql.contains(word));
    if column.primary_key && sql == "INTEGER" {
        CellKind::Key
    } else if JSON.contains(&(table, column.name.as_str())) || table.starts_with("stat_") && column.name == "extras" {
        CellKind::Json
    } else if let Some((_, step)) = step {
        CellKind::Step(*step)
    } else if (table, column.name.as_str()) == ("heartbeat", "status") {
        CellKind::Status
    } else if has(&["CHAR", "TEXT", "CLOB"]) {
        CellKind::Text
    } else if has(&["DATE"]) || sql == "TIME" {
        CellKind::Moment
    } else if has(&["BOOL"]) && column.name != "weight" {
        CellKind::Flag
    } else if has(&["INT"]) {
        CellKind::Whole
    } else if has(&["DOUB", "FLOA", "REAL", "NUMERIC", "DECIMAL", "BOOL"]) {
        CellKind::Number
    } else {
        CellKind::Any
    }
}

impl CellKind {
    fn fit(self, cell: &Value) -> RowFit {
        let oddly = |well: bool| if well { RowFit::Well } else { RowFit::Oddly };
        match (self, cell) {
            (CellKind::Key, cell) => match cell {
                Value::Null => RowFit::Well,
                _ => RowFit::Not,
            },
            (_, Value::Null) => RowFit::Well,
            (CellKind::Any, _) => RowFit::Well,
            // A text column converts every number to text.
            (CellKind::Text | CellKind::Json, Value::Int(_) | Value::Real(_)) => RowFit::Not,
            (CellKind::Text, Value::Text(text)) => oddly(is_plain(text)),
            (CellKind::Json, Value::Text(text)) => oddly(serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()),
            (CellKind::Flag, Value::Int(n)) => oddly((0..=1).contains(n)),
            (CellKind::Status, Value::Int(n)) => oddly((0..=3).contains(n)),
            (CellKind::Step(step), Value::Int(n)) => oddly(*n > 0 && n % step == 0),
            (CellKind::Step(_) | CellKind::Status | CellKind::Flag, Value::Real(_)) => RowFit::Oddly,
            (CellKind::Whole | CellKind::Number | CellKind::Moment, Value::Int(_)) => RowFit::Well,
            (CellKind::Whole | CellKind::Number, Value::Real(_)) => RowFit::Well,
            (CellKind::Moment, Value::Text(text)) => oddly(is_datetime(text)),
            (_, Value::Text(_) | Value::Real(_)) => RowFit::Oddly,
            (_, Value::Blob(_)) => RowFit::Not,
        }
    }
}

/// Whether a text has no characters that indicate damage: control characters except line ends, tabs and escapes.
fn is_plain(text: &str) -> bool {
    !text.contains(|c: char| (c < ' ' && !"\t\n\r\u{1b}".contains(c)) || c == '\u{fffd}')
}

/// `2026-11-24 18:30:00.123`, with or without parts, or a time of day.
fn is_datetime(text: &str) -> bool {
    let is_time = |text: &str| {
        let mut parts = text.trim_end_matches('Z').split(':');
        let two =
            |part: Option<&str>| part.is_some_and(|part| part.len() == 2 && part.bytes().all(|c| c.is_ascii_digit()));
        two(parts.next())
            && two(parts.next())
            && parts.all(|part| part.len() >= 2 && part.bytes().all(|c| c.is_ascii_digit() || c == b'.'))
    };
    // The server itself writes these words (2.5.3).
    if text == "Invalid Date" {
        return true;
    }
    let Some((date, time)) = text.split_once([' ', 'T']) else { return is_time(text) || is_date(text) };
    is_date(date) && is_time(time)
}

fn is_date(text: &str) -> bool {
    let is_part = |(at, c): (usize, u8)| if matches!(at, 4 | 7) { c == b'-' } else { c.is_ascii_digit() };
    text.len() == 10 && text.bytes().enumerate().all(is_part)
}
