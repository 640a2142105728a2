//! How a column stores a value of any type: exactly, with a loss, or not at all. Pure: it knows the column, not the
//! database.

mod affinity;
mod outcome;

use chrono::{DateTime, Datelike as _, NaiveTime, Timelike as _};

pub(super) use self::affinity::Affinity;
pub use self::outcome::{Loss, Misfit};
use super::EngineKind;
use crate::schema::Column;
use crate::value::{Value, stored_time};

/// A column as it stores values.
#[derive(Clone, Debug)]
pub struct ColumnFit {
    /// `varchar(150)`, `int(10) unsigned`.
    sql_type: String,
    not_null: bool,
    kind: ColumnKind,
}

#[derive(Clone, Debug, PartialEq)]
enum ColumnKind {
    Integer {
        low: i64,
        high: i64,
    },
    Double,
    Float {
        digits: i32,
        decimals: usize,
    },
    DateTime,
    Time,
    /// The texts of an ENUM, in quotes.
    Choice(String),
    Text {
        longest: usize,
        in_bytes: bool,
        is_narrow: bool,
    },
    Unknown,
    Affinity(Affinity),
}

impl ColumnFit {
    /// The column of a database on `engine`.
    pub fn of(engine: EngineKind, column: &Column) -> ColumnFit {
        let kind = match engine {
            EngineKind::Sqlite => ColumnKind::Affinity(Affinity::of(&column.sql_type)),
            EngineKind::MariaDb => mariadb_kind(column),
        };
        ColumnFit { sql_type: column.sql_type.clone(), not_null: column.not_null, kind }
    }

    /// Whether the column stores text that MariaDB compares without case.
    pub fn is_text(&self) -> bool {
        matches!(self.kind, ColumnKind::Text { .. })
    }

    /// The longest text, in characters or, for `true`, in bytes.
    pub fn longest(&self) -> Option<(usize, bool)> {
        match self.kind {
            ColumnKind::Text { longest, in_bytes, .. } => Some((longest, in_bytes)),
            _ => None,
        }
    }

    /// Whether NULL is refused.
    pub fn is_required(&self) -> bool {
        self.not_null
    }

    /// Whether the column stores every value but, where it is [required](ColumnFit::is_required), NULL, and nothing is lost.
    pub fn fits_all_but_null(&self) -> bool {
        matches!(self.kind, ColumnKind::Affinity(_))
    }

    /// Converts `cell` to what the column stores, so that reading it back gives the same value; returns what is lost.
    ///
    /// # Errors
    /// Why the column cannot store it; `cell` is unchanged.
    pub fn fit(&self, cell: &mut Value) -> Result<Option<Loss>, Misfit> {
        if cell.is_null() {
            return if self.not_null { Err(Misfit::Null) } else { Ok(None) };
        }
        let is_text = matches!(
            self.kind,
            ColumnKind::Text { .. } | ColumnKind::Choice(_) | ColumnKind::Affinity(_) | ColumnKind::Unknown
        );
        if !is_text && !self.not_null && cell.text().is_some_and(|text| text.trim().is_empty()) {
            *cell = Value::Null;
            return Ok(Some(Loss::EmptyText));
        }
        match &self.kind {
            ColumnKind::Integer { low, high } => self.fit_integer(cell, *low, *high),
            ColumnKind::Double => {
                *cell = Value::Real(as_real(cell)?);
                Ok(None)
            }
            ColumnKind::Float { digits, decimals } => self.fit_float(cell, *digits, *decimals),
            ColumnKind::DateTime if !self.not_null && is_invalid_date(cell) => {
                *cell = Value::Null;
                Ok(Some(Loss::InvalidDate))
            }
            ColumnKind::DateTime => fit_datetime(cell),
            ColumnKind::Time => fit_time(cell),
            ColumnKind::Choice(choices) => {
                let text = as_text(cell)?;
                if !choices.contains(&format!("'{}'", text.replace('\'', "''"))) {
                    return Err(Misfit::NotChoice { choices: choices.clone() });
                }
                *cell = Value::Text(text);
                Ok(None)
            }
            ColumnKind::Text { longest, in_bytes, is_narrow } => self.fit_text(cell, *longest, *in_bytes, *is_narrow),
            ColumnKind::Unknown => Err(Misfit::UnknownType { kind: self.sql_type.clone() }),
            ColumnKind::Affinity(affinity) => {
                affinity.apply(cell);
                Ok(None)
            }
        }
    }

    fn fit_integer(&self, cell: &mut Value, low: i64, high: i64) -> Result<Option<Loss>, Misfit> {
        let (number, loss) = match number(cell)? {
            Number::Integer(number) => (number, None),
            Number::Real(real) if real.abs() < 9e15 => {
                #[allow(clippy::cast_possible_truncation, reason = "it is below 2^53")]
                let whole = real.round() as i64;
                (whole, (real.fract() != 0.0).then_some(Loss::Fraction))
            }
            Number::Real(_) => return Err(self.too_large()),
        };
        if !(low..=high).contains(&number) {
            return Err(self.too_large());
        }
        *cell = Value::Int(number);
        Ok(loss)
    }

    fn fit_float(&self, cell: &mut Value, digits: i32, decimals: usize) -> Result<Option<Loss>, Misfit> {
        let exact = as_real(cell)?;
        let places = i32::try_from(decimals).unwrap_or(0);
        let scale = 10f64.powi(places);
        let rounded = (exact * scale).round_ties_even() / scale;
        if rounded.abs() >= 10f64.powi(digits - places) || !rounded.is_finite() {
            return Err(self.too_large());
        }
        #[allow(clippy::cast_possible_truncation, reason = "the column stores a float")]
        let kept = f64::from(rounded as f32);
        // As MariaDB prints it.
        let kept = format!("{kept:.decimals$}").parse().unwrap_or(kept);
        *cell = Value::Real(kept);
        #[allow(clippy::float_cmp, reason = "what is read back must be exactly the same")]
        let is_same = kept == exact;
        Ok((!is_same).then_some(Loss::Precision))
    }

    fn fit_text(
        &self,
        cell: &mut Value,
        longest: usize,
        in_bytes: bool,
        is_narrow: bool,
    ) -> Result<Option<Loss>, Misfit> {
        if cell.text().is_none() {
            *cell = Value::Text(as_text(cell)?);
        }
        let text = cell.text().unwrap_or_default();
        // Counting bytes first is enough for nearly all.
        let length = if in_bytes || text.len() <= longest { text.len() } else { text.chars().count() };
        if length > longest {
            return Err(Misfit::TooLong { length, longest, kind: self.sql_type.clone() });
        }
        if is_narrow && text.chars().any(|letter| letter > '\u{ffff}') { Err(Misfit::WideCharacter) } else { Ok(None) }
    }

    fn too_large(&self) -> Misfit {
        Misfit::TooLarge { kind: self.sql_type.clone() }
    }

    /// The decimals of a FLOAT that has a fixed number of them.
    pub fn decimals(&self) -> Option<usize> {
        match self.kind {
            ColumnKind::Float { decimals, .. } => Some(decimals),
            _ => None,
        }
    }
}

/// The kind of a MariaDB column, from its type.
fn mariadb_kind(column: &Column) -> ColumnKind {
    let whole = column.sql_type.to_ascii_lowercase();
    let name = whole.split(['(', ' ']).next().unwrap_or_default();
    let sizes: Vec<usize> = whole
        .split_once('(')
        .and_then(|(_, sizes)| sizes.split_once(')'))
        .map(|(sizes, _)| sizes.split(',').filter_map(|size| size.trim().parse().ok()).collect())
        .unwrap_or_default();
    let is_narrow = matches!(column.charset.as_deref(), Some("utf8mb3" | "utf8"));
    let bytes = |longest| ColumnKind::Text { longest, in_bytes: true, is_narrow };
    let integer = |bits: u32| match whole.contains("unsigned") {
        true if bits == 64 => ColumnKind::Integer { low: 0, high: i64::MAX },
        true => ColumnKind::Integer { low: 0, high: (1 << bits) - 1 },
        false if bits == 64 => ColumnKind::Integer { low: i64::MIN, high: i64::MAX },
        false => ColumnKind::Integer { low: -(1 << (bits - 1)), high: (1 << (bits - 1)) - 1 },
    };
    match (name, sizes.as_slice()) {
        ("tinyint", _) => integer(8),
        ("smallint", _) => integer(16),
        ("mediumint", _) => integer(24),
        ("int", _) => integer(32),
        ("bigint", _) => integer(64),
        ("double", _) => ColumnKind::Double,
        ("float", [digits, decimals]) => {
            ColumnKind::Float { digits: i32::try_from(*digits).unwrap_or(0), decimals: *decimals }
        }
        ("datetime" | "timestamp", _) => ColumnKind::DateTime,
        ("time", _) => ColumnKind::Time,
        ("enum", _) => ColumnKind::Choice(column.sql_type["enum".len()..].to_owned()),
        ("char" | "varchar", [longest]) => ColumnKind::Text { longest: *longest, in_bytes: false, is_narrow },
        ("tinytext", _) => bytes(255),
        ("text", _) => bytes(65_535),
        ("mediumtext", _) => bytes(16_777_215),
        ("longtext", _) => bytes(usize::try_from(u32::MAX).unwrap_or(usize::MAX)),
        _ => ColumnKind::Unknown,
    }
}

enum Number {
    Integer(i64),
    Real(f64),
}

fn number(cell: &Value) -> Result<Number, Misfit> {
    let parse = |text: &str| text.parse().map(Number::Integer).or_else(|_| text.parse().map(Number::Real)).ok();
    let found = match cell {
        Value::Int(number) => Some(Number::Integer(*number)),
        Value::Real(real) => Some(Number::Real(*real)),
        Value::Text(text) => match text.trim() {
            "true" => Some(Number::Integer(1)),
            "false" => Some(Number::Integer(0)),
            text => parse(text),
        },
        _ => None,
    };
    found.filter(|found| !matches!(found, Number::Real(real) if !real.is_finite())).ok_or(Misfit::NotNumber)
}

#[allow(clippy::cast_precision_loss, reason = "detected and reported where it matters")]
fn as_real(cell: &Value) -> Result<f64, Misfit> {
    Ok(match number(cell)? {
        Number::Integer(number) => number as f64,
        Number::Real(real) => real,
    })
}

fn as_text(cell: &Value) -> Result<String, Misfit> {
    match cell {
        Value::Text(text) => Ok(text.clone()),
        Value::Int(number) => Ok(number.to_string()),
        Value::Real(real) => Ok(real.to_string()),
        Value::Blob(bytes) => String::from_utf8(bytes.clone()).map_err(|_| Misfit::NotText),
        Value::Null => Err(Misfit::Null),
    }
}

fn is_invalid_date(cell: &Value) -> bool {
    cell.text().is_some_and(|text| text.trim().eq_ignore_ascii_case("invalid date"))
}

/// A date and time in one of the formats that the server and its database library have used in SQLite.
fn fit_datetime(cell: &mut Value) -> Result<Option<Loss>, Misfit> {
    let datetime = match &*cell {
        Value::Int(milliseconds) => DateTime::from_timestamp_millis(*milliseconds).map(|datetime| datetime.naive_utc()),
        Value::Text(text) => {
            if let Some(loss) = plain_datetime(text) {
                if let (true, Value::Text(text)) = (loss, cell) {
                    text.truncate(SECONDS);
                }
                return Ok(loss.then_some(Loss::SecondFraction));
            }
            stored_time(text)
        }
        _ => None,
    };
    let datetime = datetime.filter(|datetime| (1000..=9999).contains(&datetime.year())).ok_or(Misfit::NotDate)?;
    let loss = (datetime.nanosecond() != 0).then_some(Loss::SecondFraction);
    *cell = Value::Text(datetime.format("%Y-%m-%d %H:%M:%S").to_string());
    Ok(loss)
}

/// The length of a time without a fraction.
const SECONDS: usize = "2026-01-31 08:00:00".len();

/// Whether a text in the usual format, `2026-01-31 08:00:00.123`, has a fraction of a second that is not 0; `None` for
/// every other text. Nearly all cells of the history have this format, and parsing them takes most of the time.
fn plain_datetime(text: &str) -> Option<bool> {
    let bytes = text.as_bytes();
    let digits = |from: usize, to: usize| bytes[from..to].iter().all(u8::is_ascii_digit);
    let number = |at: usize| (bytes[at] - b'0') * 10 + (bytes[at + 1] - b'0');
    let has_shape = bytes.len() >= SECONDS
        && (bytes[4], bytes[7], bytes[10], bytes[13], bytes[16]) == (b'-', b'-', b' ', b':', b':')
        && [(0, 4), (5, 7), (8, 10), (11, 13), (14, 16), (17, 19)].iter().all(|(from, to)| digits(*from, *to));
    // Days 29 to 31 do not exist in every month.
    let is_sure = has_shape
        && bytes[0] != b'0'
        && (1..=12).contains(&number(5))
        && (1..=28).contains(&number(8))
        && number(11) < 24
        && number(14) < 60
        && number(17) < 60;
    match (is_sure, bytes.get(SECONDS..)?) {
        (true, []) => Some(false),
        (true, [b'.', fraction @ ..]) if (1..=9).contains(&fraction.len()) && digits(SECONDS + 1, bytes.len()) => {
            // A fraction of zeros would be text that differs although nothing is lost.
            fraction.iter().any(|digit| *digit != b'0').then_some(true)
        }
        _ => None,
    }
}

fn fit_time(cell: &mut Value) -> Result<Option<Loss>, Misfit> {
    let text = as_text(cell)?;
    let time = ["%H:%M:%S%.f", "%H:%M"].iter().find_map(|form| NaiveTime::parse_from_str(text.trim(), form).ok());
    let time = time.ok_or(Misfit::NotTime)?;
    *cell = Value::Text(time.format("%H:%M:%S").to_string());
    Ok((time.nanosecond() != 0).then_some(Loss::SecondFraction))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(kind: &str) -> ColumnFit {
        let column = Column { sql_type: kind.into(), not_null: true, ..Column::default() };
        ColumnFit::of(EngineKind::MariaDb, &column)
    }

    fn fit(column: &ColumnFit, cell: impl Into<Value>) -> Result<(Value, Option<Loss>), String> {
        let mut cell = cell.into();
        column.fit(&mut cell).map(|loss| (cell, loss)).map_err(|misfit| misfit.to_string())
    }

    #[test]
    fn keeps_what_a_column_has_room_for() {
        for (kind, cell, kept) in [
            ("int(10) unsigned", Value::from(0), Value::from(0)),
            ("tinyint(1)", "true".into(), 1.into()),
            ("smallint(6)", "-32768".into(), (-32768).into()),
            ("bigint(20)", 12.0.into(), 12.into()),
            ("float(20,2)", 0.125.into(), 0.12.into()),
            ("float(20,2)", 16_777_217.into(), 16_777_216.0.into()),
            ("float(20,2)", 200_000_000_001.4.into(), 199_999_995_904.0.into()),
            ("double", 0.8.into(), 0.8.into()),
            ("double", 48.into(), 48.0.into()),
            ("varchar(3)", "äöü".into(), "äöü".into()),
            ("varchar(3)", 123.into(), "123".into()),
            ("text", Value::Blob(b"ab".to_vec()), "ab".into()),
            ("enum('1','2c','3')", "2c".into(), "2c".into()),
            ("enum('1','2c','3')", 3.into(), "3".into()),
            ("datetime", "2024-01-02T03:04:05.678Z".into(), "2024-01-02 03:04:05".into()),
            ("datetime", "2024-01-02 03:04:05+02:00".into(), "2024-01-02 01:04:05".into()),
            ("datetime", "2024-01-02 03:04:05.678".into(), "2024-01-02 03:04:05".into()),
            ("datetime", "2024-02-29 23:59:59.000".into(), "2024-02-29 23:59:59".into()),
            ("datetime", "2024-01-02".into(), "2024-01-02 00:00:00".into()),
            ("datetime", 1_704_164_645_678i64.into(), "2024-01-02 03:04:05".into()),
            ("time", "09:30".into(), "09:30:00".into()),
        ] {
            assert_eq!(fit(&column(kind), cell.clone()).map(|(kept, _)| kept), Ok(kept), "{kind} {cell:?}");
        }
    }

    #[test]
    fn reports_what_is_lost() {
        for (kind, cell, loss) in [
            ("bigint(20)", Value::from(0.5), Some(Loss::Fraction)),
            ("bigint(20)", 3.0.into(), None),
            ("float(20,2)", 44.3574.into(), Some(Loss::Precision)),
            ("float(20,2)", 44.36.into(), None),
            ("datetime", "2024-01-02 03:04:05.999".into(), Some(Loss::SecondFraction)),
            ("datetime", "2024-01-02 03:04:05.000".into(), None),
            ("datetime", "2024-01-31 03:04:05.1".into(), Some(Loss::SecondFraction)),
        ] {
            assert_eq!(fit(&column(kind), cell.clone()).map(|(_, loss)| loss), Ok(loss), "{kind} {cell:?}");
        }
        let nullable = ColumnFit { not_null: false, ..column("datetime") };
        assert_eq!(fit(&nullable, "Invalid date"), Ok((Value::Null, Some(Loss::InvalidDate))));
        assert_eq!(fit(&nullable, ""), Ok((Value::Null, Some(Loss::EmptyText))));
        assert!(fit(&column("datetime"), "Invalid Date").is_err());
    }

    #[test]
    fn refuses_what_would_be_lost() {
        for (kind, cell, why) in [
            ("int(10) unsigned", Value::from(-1), "out of the range"),
            ("tinyint(1)", 128.into(), "out of the range"),
            ("int(11)", "many".into(), "is not a number"),
            ("int(11)", Value::Real(f64::NAN), "is not a number"),
            ("float(8,2)", 1_000_000.into(), "out of the range"),
            ("varchar(3)", "äöüß".into(), "has length 4"),
            ("text", "x".repeat(65_536).into(), "allows 65535"),
            ("enum('1','2c','3')", "2".into(), "is not one of"),
            ("datetime", "soon".into(), "is not a valid date"),
            ("datetime", "2024-02-30 03:04:05".into(), "is not a valid date"),
            ("time", "25:00".into(), "is not a valid time"),
            ("varchar(3)", Value::Null, "NULL"),
            ("text", Value::Blob(vec![0xff]), "not text"),
            ("point", 1.into(), "unsupported column type"),
        ] {
            let refused = fit(&column(kind), cell.clone()).expect_err("it must be refused");
            assert!(refused.contains(why), "{kind} {cell:?}: {refused}");
        }
    }

    #[test]
    fn converts_as_sqlite_stores() {
        let sqlite =
            |kind: &str| ColumnFit::of(EngineKind::Sqlite, &Column { sql_type: kind.into(), ..Column::default() });
        for (kind, cell, stored) in [
            ("BOOLEAN", Value::from("1"), Value::from(1)),
            ("INTEGER", 3.0.into(), 3.into()),
            ("bigint", 3.5.into(), 3.5.into()),
            ("DATETIME", "2024-01-02".into(), "2024-01-02".into()),
            ("VARCHAR(20)", 53.into(), "53".into()),
            ("float", 2.into(), 2.0.into()),
            ("DOUBLE", " 1e2 ".into(), 100.0.into()),
            ("INTEGER", "inf".into(), "inf".into()),
            ("", "5".into(), "5".into()),
        ] {
            assert_eq!(fit(&sqlite(kind), cell.clone()), Ok((stored, None)), "{kind} {cell:?}");
        }
    }
}
