//! A new row of `monitor`, as the server stores it for the same input on its Add page.

use std::collections::BTreeMap;

use super::check::{check_edit, check_monitor, check_names};
use super::defaults::{page_default, template};
use super::fields::{Field, ValueShape, field};
use super::kinds::{MonitorType, kind};
use super::release::*;
use super::typed::{normalise, render};
use super::view::same_cell;
use crate::error::Problem;
use crate::schema::{Column, Release, Table};
use crate::value::{Cells, Row, Value};

/// Values of a new monitor that are not part of the input.
#[derive(Clone, Debug, Default)]
pub struct NewMonitorContext {
    /// The user it belongs to. Without a user no page shows the monitor.
    pub user_id: i64,
    /// A token for a push monitor, [`push_token_length`] letters and digits; used if none is given.
    pub push_token: String,
    /// The proxy that is marked as default: the page sets it for every new monitor.
    pub proxy_id: Option<i64>,
    /// `created_date`, UTC, `2026-01-31 08:00:00`. `None` uses the default of the column, as the server does.
    pub created_date: Option<String>,
}

/// One option of `monitor add TYPE`.
#[derive(Clone, Debug)]
pub struct FieldOption {
    /// The field it sets.
    pub field: &'static Field,
    /// It is required: there is no default.
    pub required: bool,
    /// The default as text; `None` if there is none.
    pub default: Option<String>,
    /// The possible values; empty if any text is valid.
    pub choices: Vec<&'static str>,
}

/// The length of a push token of the page of `release`.
pub fn push_token_length(release: Release) -> usize {
    if release < R2_0 { 10 } else { 32 }
}

/// The options for a new monitor of this type on `release`: required ones first.
pub fn options(kind: &MonitorType, release: Release) -> Vec<FieldOption> {
    let mut options: Vec<FieldOption> = kind
        .fields(release)
        .into_iter()
        .map(|field| {
            let default = page_default(field.column, kind.name, release)
                .filter(|value| {
                    !value.is_null() && (value.text().is_none() || value.text() != template(field.column, kind.name))
                })
                .map(|value| render(field, &value))
                .filter(|text| !text.is_empty() && text != "[]");
            let default = match field.column {
                "active" => Some("true".to_owned()),
                "weight" => Some("2000".to_owned()),
                "retry_interval" => Some("the interval".to_owned()),
                "push_token" => Some("generated".to_owned()),
                _ if field.shape == ValueShape::Flag => default.or_else(|| Some("false".to_owned())),
                _ => default,
            };
            let required = default.is_none() && (kind.is_needed(field.column) || field.column == "name");
            FieldOption { field, required, default, choices: field.picks(kind.name, release) }
        })
        .collect();
    options.sort_by_key(|option| !option.required);
    options
}

/// The row of a new monitor: every column of the live `table` that is known to us, except `id`, in the table's order.
///
/// A typed value comes first, then the default of the page of `release`, then the default of the column. Unknown
/// columns, and those whose default is an expression, are left out: the database's default applies. The keys of `typed`
/// are column names; unknown columns of a newer server are not changed.
///
/// # Errors
/// Every problem of the input at once.
pub fn new_monitor(
    release: Release,
    table: &Table,
    kind: &str,
    typed: &BTreeMap<String, Value>,
    by: &NewMonitorContext,
) -> Result<Cells, Vec<Problem>> {
    TypeDefaults::new(release, table, kind).fill(typed, by)
}

/// The common part of new monitors of one type.
#[derive(Debug)]
pub struct TypeDefaults<'t> {
    release: Release,
    kind: String,
    table: &'t Table,
    /// The default of each column; `None` for the default of the database.
    defaults: Vec<(&'t str, Option<Value>)>,
}

impl<'t> TypeDefaults<'t> {
    /// The page for monitors of type `kind`, also of an unknown type.
    pub fn new(release: Release, table: &'t Table, kind: &str) -> TypeDefaults<'t> {
        let default = |column: &'t Column| {
            let value = page_default(&column.name, kind, release).or_else(|| column_default(column));
            (column.name.as_str(), value)
        };
        let defaults = table.columns.iter().filter(|column| column.name != "id").map(default).collect();
        TypeDefaults { release, kind: kind.to_owned(), table, defaults }
    }

    /// The release of the page.
    pub fn release(&self) -> Release {
        self.release
    }

    /// The row of a new monitor, as [`new_monitor`] makes it.
    ///
    /// # Errors
    /// Every problem of the input at once.
    pub fn fill(&self, typed: &BTreeMap<String, Value>, by: &NewMonitorContext) -> Result<Cells, Vec<Problem>> {
        self.fill_over(typed, by, None)
    }

    /// The same for the monitor in `there`: its unchanged values are not checked, unless they affect the whole server.
    ///
    /// # Errors
    /// As [`fill`](Page::fill).
    pub fn fill_over(
        &self,
        typed: &BTreeMap<String, Value>,
        by: &NewMonitorContext,
        there: Option<&Row>,
    ) -> Result<Cells, Vec<Problem>> {
        let ours = |column: &str| field(column).is_some_and(|known| known.column == column);
        let newer = |column: &str| !ours(column) && self.table.column(column).is_some();
        let names = typed.keys().map(String::as_str).filter(|column| !newer(column));
        let mut problems = check_names(self.release, &self.kind, names);
        let mut given: BTreeMap<&str, Value> = BTreeMap::new();
        for (column, value) in typed {
            match field(column).filter(|known| known.column == column) {
                Some(known) if known.is_typed() => match normalise(known, value.clone()) {
                    Ok(Value::Text(name)) if matches!(known.shape, ValueShape::Reference(_)) => {
                        problems.push(Problem::new(known.column, format!("`{name}` does not exist")));
                    }
                    Ok(value) => {
                        given.insert(column, value);
                    }
                    Err(problem) => problems.push(problem),
                },
                Some(_) => {}
                None => {
                    given.insert(column, value.clone());
                }
            }
        }
        // Otherwise its value would be lost without a word.
        for (column, value) in &given {
            let reported = problems.iter().any(|problem| problem.subject == *column);
            problems.extend(check_column(self.release, self.table, &self.kind, column, value).filter(|_| !reported));
        }
        let row = self.row(given, by);

        // A column whose value was rejected already would be reported again as missing.
        let reported: Vec<String> = problems.iter().map(|problem| problem.subject.clone()).collect();
        let touched = there.map(|there| self.touched(&row, there));
        let mut found = match &touched {
            Some(touched) => check_edit(self.release, &self.kind, &row, touched),
            None => check_monitor(self.release, &self.kind, &row),
        };
        // So would the interval, whose value is the default of the retry interval.
        if !typed.contains_key("retry_interval") && found.iter().any(|problem| problem.subject == "interval") {
            found.retain(|problem| problem.subject != "retry_interval");
        }
        problems.extend(found.into_iter().filter(|found| !reported.contains(&found.subject)));
        let is_new = |column: &str| touched.as_ref().is_none_or(|touched| touched.contains(&column));
        let written = || row.iter().filter(|(column, _)| is_new(column));
        problems.extend(written().filter_map(|(column, value)| too_long(self.table, column, value)));
        let unreported = |problem: &Problem| !problems.iter().any(|told| told.subject == problem.subject);
        let refused: Vec<Problem> = written()
            .filter_map(|(column, value)| check_accepted(self.table, column, value))
            .filter(unreported)
            .collect();
        problems.extend(refused);
        if problems.is_empty() { Ok(row) } else { Err(problems) }
    }

    /// The fields of this type in which `row` differs from the monitor that is `there`.
    fn touched<'r>(&self, row: &'r Cells, there: &Row) -> Vec<&'r str> {
        let is_same_kind = there.text("type") == Some(self.kind.as_str());
        row.iter()
            .filter(|(column, value)| match (column.as_str(), field(column)) {
                ("type", _) => !is_same_kind,
                (_, Some(known)) if known.column == column => {
                    kind(&self.kind).is_some_and(|kind| kind.has(column, self.release))
                        && !(is_same_kind && same_cell(known, there.cell(column), value))
                }
                _ => false,
            })
            .map(|(column, _)| column.as_str())
            .collect()
    }

    /// The row that the page sends for the input `given`, valid or not.
    pub fn row(&self, mut given: BTreeMap<&str, Value>, by: &NewMonitorContext) -> Cells {
        complete(self.release, &self.kind, &mut given, by);
        self.defaults
            .iter()
            .filter_map(|(name, default)| {
                let value = match *name {
                    "type" => Value::from(self.kind.as_str()),
                    "user_id" => Value::Int(by.user_id),
                    "created_date" => Value::from(by.created_date.as_deref()?),
                    name => given.remove(name).or_else(|| default.clone())?,
                };
                Some(((*name).to_owned(), value))
            })
            .collect()
    }
}

/// Adds what the page computes from the other fields.
fn complete(release: Release, kind: &str, given: &mut BTreeMap<&str, Value>, by: &NewMonitorContext) {
    let whole = |given: &BTreeMap<&str, Value>, column: &str| {
        let value = given.get(column).cloned().or_else(|| page_default(column, kind, release));
        value.as_ref().and_then(Value::int)
    };
    let is_ping = kind == "ping" && release >= R2_0;

    if given.get("name").is_none_or(|name| name.text().is_none_or(|name| name.trim().is_empty()))
        && let Some(name) = name_of(given)
    {
        given.insert("name", Value::from(name));
    }
    if is_ping && let Some(Value::Real(timeout)) = given.get_mut("timeout") {
        *timeout = timeout.round();
    }
    // If a ping takes longer than the interval, the page extends the interval.
    if is_ping && !given.contains_key("interval") {
        let timeout = given.get("timeout").and_then(Value::int).unwrap_or(10);
        let [count, each] = ["ping_count", "ping_per_request_timeout"].map(|column| whole(given, column).unwrap_or(1));
        let needed = (timeout.min(count.saturating_mul(each)) as f64 * 1.1).ceil() as i64;
        if whole(given, "interval").is_some_and(|interval| interval < needed) {
            given.insert("interval", Value::Int(needed));
        }
    }
    let interval = whole(given, "interval").unwrap_or(60);
    if !given.contains_key("retry_interval") {
        given.insert("retry_interval", Value::Int(interval));
    }
    // The page limits the timeout to 80 % of the interval, rounded down to a tenth of a second; it never raises it.
    if !is_ping
        && !given.contains_key("timeout")
        && let Some(Value::Real(usual)) = page_default("timeout", kind, release)
    {
        let longest = interval.saturating_mul(8) as f64 / 10.0;
        given.insert("timeout", Value::Real(usual.min(longest)));
    }
    if kind == "push" && !given.contains_key("push_token") {
        given.insert("push_token", Value::from(by.push_token.as_str()));
    }
    if let Some(proxy) = by.proxy_id
        && !given.contains_key("proxy_id")
    {
        given.insert("proxy_id", Value::Int(proxy));
    }
    if kind == "globalping" {
        let (protocol, port) = match given.get("subtype").and_then(Value::text) {
            Some("http") => (Value::Null, None),
            Some("dns") => (Value::from("UDP"), Some(Value::Int(53))),
            _ => return,
        };
        given.entry("protocol").or_insert(protocol);
        if let Some(port) = port {
            given.entry("port").or_insert(port);
        }
    }
}

/// The default name on the page of 2.x: the host, the service, or the host of the URL.
fn name_of(given: &BTreeMap<&str, Value>) -> Option<String> {
    let text = |column: &str| given.get(column).and_then(Value::text).filter(|text| !text.is_empty());
    let name = text("hostname").or_else(|| text("system_service_name")).map(str::to_owned).or_else(|| {
        let (_, rest) = text("url")?.split_once("://")?;
        let authority = rest.split(['/', '?', '#']).next()?;
        let host = authority.rsplit('@').next()?;
        let host = match host.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => host,
            _ => host,
        };
        Some(host.to_owned())
    })?;
    (!name.is_empty()).then_some(name)
}

/// The default of a known column as a value; `None` if it is an expression.
fn column_default(column: &Column) -> Option<Value> {
    let known = field(&column.name).filter(|known| known.column == column.name)?;
    let default = column.default.as_deref().map(str::trim);
    let text = match default {
        None => return Some(Value::Null),
        Some(null) if null.eq_ignore_ascii_case("null") => return Some(Value::Null),
        Some(default) => match default.strip_prefix(['\'', '"']).and_then(|rest| rest.strip_suffix(['\'', '"'])) {
            Some(quoted) => quoted.replace("''", "'"),
            None if default.parse::<f64>().is_ok() => default.to_owned(),
            None => return None,
        },
    };
    match known.shape {
        ValueShape::Server => Some(Value::from(text)),
        _ => normalise(known, Value::from(text)).ok(),
    }
}

/// The problem of a value for a column that the release has and this database has not. The default is what the server
/// does without the column.
pub fn check_column(release: Release, table: &Table, kind: &str, column: &str, value: &Value) -> Option<Problem> {
    let known = field(column).filter(|known| known.column == column && table.column(column).is_none())?;
    if value.is_null() || page_default(column, kind, release).is_some_and(|default| same_cell(known, &default, value)) {
        return None;
    }
    let message = format!("this database has no column `{column}`, which belongs to release {}", known.since);
    Some(Problem::new(column, message).unsupported().hint(format!("omit `{column}`")))
}

/// The problem of a value that a column of this database does not accept: an empty one where it requires a value, or one that its
/// ENUM or CHECK does not list.
pub fn check_accepted(table: &Table, column: &str, value: &Value) -> Option<Problem> {
    let live = table.column(column)?;
    let problem = |message: String| Some(Problem::new(live.name.as_str(), message));
    match value.text() {
        _ if live.not_null && value.is_null() => problem("requires a value; it cannot be null".into()),
        Some(text) if !live.choices.is_empty() && live.choices.iter().all(|choice| choice != text) => {
            let choices: Vec<String> = live.choices.iter().map(|choice| format!("`{choice}`")).collect();
            problem(format!("invalid value `{text}`; in this database, the column only accepts {}", choices.join(", ")))
        }
        _ => None,
    }
}

/// MariaDB rejects values that do not fit; SQLite accepts them.
fn too_long(table: &Table, column: &str, value: &Value) -> Option<Problem> {
    // Only MariaDB's catalogue has such extras.
    table.column("id").filter(|id| id.extra.contains("auto_increment"))?;
    let live = table.column(column)?;
    let room: usize = live.sql_type.strip_prefix("varchar(")?.strip_suffix(')')?.parse().ok()?;
    // The limits of text are checked without the table, for both engines.
    let is_choice = field(column).is_some_and(|known| matches!(known.shape, ValueShape::Choice(_)));
    let length = value.text()?.chars().count();
    (is_choice && length > room).then(|| {
        Problem::new(column, format!("has {length} characters; the maximum in this MariaDB database is {room}"))
    })
}
