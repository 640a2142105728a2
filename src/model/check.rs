//! Checks a monitor and reports all its problems.
//!
//! The limits are those of the release: what its page requires, what the server rejects or hangs on, and what MariaDB
//! rejects.

use serde_json::Value as Json;

use super::fields::{FIELDS, Field, ValueShape, field, nearest};
use super::kinds::{MonitorType, kind as kind_of, nearest_kind};
use super::release::*;
use super::rules;
use super::subject::{CheckedRow, RowProblem, grouped};
use super::typed::{shown, texts};
use crate::error::Problem;
use crate::schema::Release;
use crate::text::meant;
use crate::value::{Cells, Value};

/// How many bytes fit in a TEXT of MariaDB.
const LONG_TEXT: usize = 65_535;

/// All problems of a monitor of type `kind` that would be stored as `row` on `release`.
///
/// Unknown columns of a newer server are not checked.
pub fn check_monitor(release: Release, kind: &str, row: &Cells) -> Vec<Problem> {
    match known_kind(release, kind) {
        Err(problem) => vec![problem],
        Ok(kind) => examine(&CheckedRow { release, kind, row }).into_iter().map(|found| found.problem).collect(),
    }
}

/// The problems of a monitor whose columns `touched` were changed, `row` being the row after that change.
///
/// Existing problems of other columns are ignored, unless they affect the whole server. A monitor of an unknown type
/// can be edited; only its touched columns are checked, with the rules that apply to all types.
pub fn check_edit(release: Release, kind: &str, row: &Cells, touched: &[&str]) -> Vec<Problem> {
    let is_new_kind = touched.contains(&"type");
    let Ok(kind) = known_kind(release, kind) else {
        if is_new_kind {
            return known_kind(release, kind).err().into_iter().collect();
        }
        return common(release, row)
            .into_iter()
            .filter(|found| found.breaks_server || found.columns.iter().any(|column| touched.contains(column)))
            .map(|found| found.problem)
            .collect();
    };
    let mut problems = check_names(release, kind.name, touched.iter().copied());
    problems.extend(
        examine(&CheckedRow { release, kind, row })
            .into_iter()
            .filter(|found| {
                is_new_kind || found.breaks_server || found.columns.iter().any(|column| touched.contains(column))
            })
            .map(|found| found.problem),
    );
    problems
}

/// The problems of naming these `columns` for a monitor of type `kind` on `release`: unknown ones, those of other
/// types, of later releases, and of the server.
pub fn check_names<'c>(release: Release, kind: &str, columns: impl IntoIterator<Item = &'c str>) -> Vec<Problem> {
    let kind = known_kind(release, kind).ok();
    columns.into_iter().filter_map(|column| check_name(release, kind, column)).collect()
}

fn check_name(release: Release, kind: Option<&MonitorType>, name: &str) -> Option<Problem> {
    let Some(known) = field(name) else {
        let help = format!("kumadb monitor add {} --help", kind.map_or("TYPE", |kind| kind.name));
        return Some(match nearest(name).and_then(field) {
            Some(near) => Problem::new(name, format!("unknown field{}", meant(near.column))),
            None => Problem::new(name, "unknown field").command(help),
        });
    };
    if known.column == "type" {
        return None;
    }
    if !known.is_typed() {
        let problem = Problem::new(known.column, "is only written by the server");
        return Some(problem.hint(format!("omit `{}`", known.column)));
    }
    if known.since > release {
        let message = format!("is available since release {}; this instance is {release}", known.since);
        return Some(Problem::new(known.column, message).unsupported().hint(format!("omit `{}`", known.column)));
    }
    let kind = kind.filter(|kind| !kind.takes(known, release))?;
    let later = kind.offers.iter().find(|offer| offer.0 == known.column);
    if let Some(offer) = later {
        let message =
            format!("is a field of type `{}` since release {}; this instance is {release}", kind.name, offer.1);
        return Some(Problem::new(known.column, message).unsupported().hint(format!("omit `{}`", known.column)));
    }
    let message = format!("is not a field of type `{}`", kind.name);
    let near = crate::text::nearest(known.column, kind.fields(release).into_iter().map(|field| field.column));
    Some(match near {
        Some(near) => Problem::new(known.column, format!("{message}{}", meant(near))),
        None => Problem::new(known.column, message).command(format!("kumadb monitor add {} --help", kind.name)),
    })
}

/// The type `name`, if `release` has it.
fn known_kind(release: Release, name: &str) -> Result<&'static MonitorType, Problem> {
    match kind_of(name) {
        Some(kind) if kind.since <= release => Ok(kind),
        Some(kind) => {
            let message = format!("`{name}` is available since release {}; this instance is {release}", kind.since);
            Err(Problem::new("type", message).unsupported().hint(format!("upgrade the server to {} first", kind.since)))
        }
        None => {
            let message = if name.is_empty() {
                "is required".to_owned()
            } else {
                format!("release {release} has no type `{name}`")
            };
            Err(match nearest_kind(name, release) {
                Some(near) => Problem::new("type", format!("{message}{}", meant(near))),
                None => Problem::new("type", message).command("kumadb monitor add --help"),
            })
        }
    }
}

fn examine(subject: &CheckedRow) -> Vec<RowProblem> {
    let mut found = common(subject.release, subject.row);
    for known in FIELDS.iter().filter(|known| subject.kind.takes(known, subject.release)) {
        found.extend(check_presence(subject, known));
        found.extend(check_range(subject, known));
        found.extend(check_choice(subject, known));
    }
    rules::check(subject, &mut found);
    found
}

/// Checks of every column of all types: the size, and the JSON that the server reads at every login.
fn common(release: Release, row: &Cells) -> Vec<RowProblem> {
    let mut found = Vec::new();
    for (column, value) in row {
        let Some(known) = field(column).filter(|known| known.column == column && known.since <= release) else {
            continue;
        };
        let Some(text) = value.text() else { continue };
        let length = text.chars().count();
        let room = match known.shape {
            ValueShape::Text(room) if length > room => Some(format!("has {length} characters; the maximum is {room}")),
            ValueShape::Text(_) | ValueShape::Choice(_) | ValueShape::Server | ValueShape::Kind => None,
            _ if text.len() > LONG_TEXT => {
                Some(format!("has {} bytes; the maximum is {}", grouped(text.len() as i64), grouped(LONG_TEXT as i64)))
            }
            _ => None,
        };
        found.extend(room.map(|message| RowProblem::new(known, message)));
        found.extend(check_json(known, text));
    }
    found
}

/// Invalid JSON, or JSON of another type, makes the login of all users hang (2.5.3).
fn check_json(known: &'static Field, text: &str) -> Option<RowProblem> {
    let (what, fits): (_, fn(&Json) -> bool) = match known.shape {
        ValueShape::StatusCodes => ("a list of texts", |json| texts(&json.to_string()).is_some()),
        ValueShape::Texts => ("a list of texts", |json| texts(&json.to_string()).is_some()),
        ValueShape::Array => ("a list", Json::is_array),
        ValueShape::Object => ("a map", Json::is_object),
        _ => return None,
    };
    let message = match serde_json::from_str::<Json>(text) {
        Ok(json) if fits(&json) => return None,
        Ok(_) => format!("is JSON, but not {what}"),
        Err(_) => format!("is not valid JSON; must be {what}"),
    };
    let example = match known.shape {
        ValueShape::StatusCodes => "'[\"200-299\"]'",
        ValueShape::Object => "'{\"mechanism\":\"None\"}'",
        _ => "'[]'",
    };
    let mut found = RowProblem::new(known, message).typed(example);
    found.breaks_server = true;
    Some(found)
}

fn check_presence(subject: &CheckedRow, known: &'static Field) -> Option<RowProblem> {
    let is_needed = subject.kind.is_needed(known.column) || known.column == "name";
    if is_needed && subject.is_empty(known.column) {
        return Some(subject.missing(known.column, ""));
    }
    let must_be_number =
        matches!(known.column, "interval" | "retry_interval" | "maxretries" | "resend_interval" | "timeout");
    let is_null = subject.value(known.column).is_some_and(Value::is_null);
    (must_be_number && is_null).then(|| RowProblem::new(known, "cannot be unset".to_owned()).typed(known.example))
}

fn check_range(subject: &CheckedRow, known: &'static Field) -> Option<RowProblem> {
    let value = subject.value(known.column).filter(|value| !value.is_null())?;
    match known.shape {
        ValueShape::Whole(least, most) => {
            let (least, most) = match known.column {
                "interval" | "retry_interval" => interval_range(subject.release),
                _ => (least, most),
            };
            let Some(n) = value.int() else {
                return Some(RowProblem::new(
                    known,
                    format!("must be an integer, not {}", shown(known, &value.to_string())),
                ));
            };
            if (least..=most).contains(&n) {
                return None;
            }
            let limits = match most == i64::from(i32::MAX) {
                true if n < least => format!("at least {}", grouped(least)),
                true => format!("at most {}", grouped(most)),
                false => format!("{} to {}", grouped(least), grouped(most)),
            };
            let message = match known.column {
                "interval" | "retry_interval" => {
                    format!("invalid value {} s; must be {limits} s in release {}", grouped(n), subject.release)
                }
                _ => format!("invalid value {}; must be {limits}", grouped(n)),
            };
            Some(RowProblem::new(known, message).typed(&n.clamp(least, most).to_string()))
        }
        ValueShape::Real => match value {
            Value::Int(n) if *n >= 0 => None,
            Value::Real(x) if *x >= 0.0 => None,
            other => Some(
                RowProblem::new(
                    known,
                    format!(
                        "invalid value {other}; must not be \
                                                     negative"
                    ),
                )
                .typed(known.example),
            ),
        },
        _ => None,
    }
}

/// The range of `interval` and `retry_interval` in seconds.
///
/// Up to 2.0 only the page limits the retry interval.
pub(super) fn interval_range(release: Release) -> (i64, i64) {
    match release {
        release if release < R2_1 => (20, 2_073_600),
        release if release < R2_5 => (1, 2_073_600),
        // The page permits 1,000 times as much, and with more than its timer can wait the server does not wait at all.
        _ => (1, i64::from(i32::MAX / 1000)),
    }
}

fn check_choice(subject: &CheckedRow, known: &'static Field) -> Option<RowProblem> {
    let ValueShape::Choice(all) = known.shape else { return None };
    let text = subject.text(known.column)?;
    let picks = known.picks(subject.kind.name, subject.release);
    if picks.contains(&text) {
        return None;
    }
    let later = all.iter().find(|pick| pick.value == text && pick.since > subject.release);
    let message = match later {
        Some(later) => {
            format!("`{text}` is available since release {}; this instance is {}", later.since, subject.release)
        }
        None => {
            let picks: Vec<String> = picks.iter().map(|pick| format!("`{pick}`")).collect();
            format!("invalid value {}; must be one of {}", shown(known, text), picks.join(", "))
        }
    };
    let near = crate::text::nearest(text, picks.iter().copied()).or(picks.first().copied()).unwrap_or_default();
    let mut found = RowProblem::new(known, message).typed(near);
    found.problem.unsupported = later.is_some();
    Some(found)
}
