//! Converts the rows of another engine to a dump for this database: with its own definitions, and each cell as its
//! column stores it, so that reading back produces the same lines.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufWriter, Write as _};
use std::path::Path;

use chrono::{DateTime, NaiveTime};

use super::dump::{FIRST, LAST, Lines, SETTINGS, table_end};
use super::literal::{quoted, write_text};
use super::tables::text;
use super::{MariaDb, UNFINISHED};
use crate::engine::{Counts, Reader, quote};
use crate::error::{DatabaseError, Error, Result};
use crate::files;
use crate::schema::Table;
use crate::text::counted;
use crate::value::{Value, stored_time};

/// The result of a conversion.
#[derive(Debug, Default)]
pub struct Transferred {
    /// Rows per table.
    pub counts: Counts,
    /// Losses of precision: how many cells of which column, and how.
    pub rounded: Vec<String>,
}

/// A target column.
#[derive(Clone, Debug, Default)]
struct Column {
    name: String,
    /// `varchar(150)`, `int(10) unsigned`.
    kind: String,
    nullable: bool,
    /// Bytes of a text.
    longest: Option<usize>,
    /// Only characters of up to three bytes.
    is_narrow: bool,
}

/// A cell as stored.
#[derive(Clone, Debug, PartialEq)]
enum Kept {
    Null,
    /// A number, as MariaDB prints it.
    Bare(String),
    Text(String),
}

impl MariaDb {
    /// Writes a dump of this database to the new file `to`, with the rows of `from`; the tables `own` keep theirs.
    ///
    /// Dates with a `T` and a `Z`, and milliseconds since 1970, are converted to MariaDB's format in UTC. Fractions of
    /// seconds are removed and numbers rounded if the column cannot store them, which is counted.
    ///
    /// # Errors
    /// [`DatabaseError::CannotConvert`] with the cells that cannot be
    /// stored: texts that are too long, NULL in a column that does not allow it, texts in a unique key that differ only
    /// in case.
    pub fn transfer(
        &mut self,
        from: &mut dyn Reader,
        to: &Path,
        own: &[&str],
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Transferred> {
        let (mut here, there) = (self.read_schema()?, from.schema()?);
        here.tables.remove(UNFINISHED);
        let mut unfit = Vec::new();
        for (table, described) in &there.tables {
            let missing = described.columns.iter().filter(|column| !here.has(table, &column.name));
            unfit.extend(missing.map(|column| format!("`{table}` has no column `{}` in this database", column.name)));
        }
        let file = files::create_private(to)?;
        let mut out = BufWriter::with_capacity(1 << 18, &file);
        let mut put = |line: &[u8]| out.write_all(line).map_err(|error| Error::file("write", to)(error));
        put(format!("{FIRST}{}, MariaDB {}\n{SETTINGS}", quote(&self.address.database), self.version()).as_bytes())?;
        let (mut done, mut transferred) = (0, Transferred::default());
        for (table, described) in &here.tables {
            let create = self.definition(table)?;
            put(format!("DROP TABLE IF EXISTS {};\n{create};\n", quote(table)).as_bytes())?;
            let source = there.tables.get(table).filter(|_| !own.contains(&table.as_str()));
            let count = match source {
                None => self.write_rows(table, "", &mut put, &mut |_| {})?,
                Some(source) => {
                    let mut rows = Rows::of(table, described, self.columns_of(table)?);
                    let mut lines = Lines::of(table, rows.columns.iter().map(|column| quote(&column.name)));
                    let mut literals = Vec::new();
                    from.stream(&rows.select(source), &[], &mut |row| {
                        literals.clear();
                        rows.write(row.cells(), &mut literals, &mut unfit);
                        done += 1;
                        if done % 1_000 == 0 {
                            progress(done, 0);
                        }
                        lines.add(&literals, &mut put)
                    })?;
                    transferred.rounded.extend(rows.told());
                    lines.end(&mut put)?
                }
            };
            put(table_end(table, count).as_bytes())?;
            transferred.counts.insert(table.clone(), count);
        }
        if !unfit.is_empty() {
            return Err(refusal(unfit));
        }
        let all: u64 = transferred.counts.values().sum();
        put(format!("COMMIT;\n{LAST}{} tables, {all} rows\n", transferred.counts.len()).as_bytes())?;
        out.into_inner().map_err(|error| Error::file("write", to)(error.into_error()))?;
        file.sync_all().map_err(Error::file("flush", to))?;
        Ok(transferred)
    }

    fn columns_of(&mut self, table: &str) -> Result<Vec<Column>> {
        let rows = self.all(&format!(
            "SELECT COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, CHARACTER_OCTET_LENGTH, CHARACTER_SET_NAME, EXTRA \
             FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = {} ORDER BY \
             ORDINAL_POSITION",
            quoted(table)
        ))?;
        let kept = rows.iter().filter(|row| !text(row, 5).to_uppercase().contains("GENERATED"));
        let read = |row| Column {
            name: text(row, 0),
            kind: text(row, 1),
            nullable: text(row, 2) == "YES",
            longest: row.at(3).int().and_then(|bytes| usize::try_from(bytes).ok()),
            is_narrow: matches!(row.at(4).text(), Some("utf8mb3" | "utf8")),
        };
        Ok(kept.map(read).collect())
    }
}

fn refusal(mut unfit: Vec<String>) -> Error {
    const SHOWN: usize = 8;
    let more = unfit.len().saturating_sub(SHOWN);
    unfit.truncate(SHOWN);
    unfit.extend((more > 0).then(|| format!("and {} more", counted(more, "value"))));
    Error::Database(DatabaseError::CannotConvert { cells: unfit })
}

/// The conversion of one table.
struct Rows<'a> {
    table: &'a str,
    primary: Vec<&'a str>,
    columns: Vec<Column>,
    /// The columns of each unique key with text, and their values so far, as MariaDB compares them.
    keys: Vec<(Vec<usize>, BTreeSet<Vec<String>>)>,
    rounded: BTreeMap<(usize, &'static str), usize>,
}

impl<'a> Rows<'a> {
    fn of(table: &'a str, described: &'a Table, columns: Vec<Column>) -> Rows<'a> {
        let place = |name: &String| columns.iter().position(|column| column.name == *name);
        let is_text = |at: &usize| columns[*at].longest.is_some();
        let unique = described.indexes.iter().filter(|index| index.unique);
        let keys = unique.filter_map(|index| index.columns.iter().map(place).collect::<Option<Vec<usize>>>());
        let keys = keys.filter(|key| key.iter().any(is_text)).map(|key| (key, BTreeSet::new())).collect();
        let primary = described.columns.iter().filter(|column| column.primary_key);
        let primary = primary.map(|column| column.name.as_str()).collect();
        Rows { table, primary, columns, keys, rounded: BTreeMap::new() }
    }

    /// The query for these columns, in the order of a dump.
    fn select(&self, source: &Table) -> String {
        let cell = |column: &Column| match source.column(&column.name) {
            Some(_) => quote(&column.name),
            None => "NULL".to_owned(),
        };
        let order: Vec<String> = self.primary.iter().map(|name| quote(name)).collect();
        let cells: Vec<String> = self.columns.iter().map(cell).collect();
        let order = if order.is_empty() { String::new() } else { format!(" ORDER BY {}", order.join(", ")) };
        format!("SELECT {} FROM {}{order}", cells.join(", "), quote(self.table))
    }

    /// Appends one row in the format of a dump; values that do not fit are added to `unfit`.
    fn write(&mut self, cells: &[Value], out: &mut Vec<u8>, unfit: &mut Vec<String>) {
        // The id of a row, never its content.
        let row = cells.first().and_then(Value::int).map_or(String::new(), |id| format!(" {id}"));
        let mut kept = Vec::with_capacity(cells.len());
        for (at, (column, cell)) in self.columns.iter().zip(cells).enumerate() {
            kept.push(match column.keep(cell) {
                Ok((cell, loss)) => {
                    loss.into_iter().for_each(|loss| *self.rounded.entry((at, loss)).or_default() += 1);
                    cell
                }
                Err(why) => {
                    unfit.push(format!("`{}`.`{}` of row{row} {why}", self.table, column.name));
                    Kept::Null
                }
            });
        }
        for (key, seen) in &mut self.keys {
            if key.iter().any(|at| kept[*at] == Kept::Null) {
                continue;
            }
            if !seen.insert(key.iter().map(|at| kept[*at].compared()).collect()) {
                let names: Vec<String> = key.iter().map(|at| quote(&self.columns[*at].name)).collect();
                let names = names.join(", ");
                unfit.push(format!("`{}`.{names} of row{row} is a duplicate: MariaDB ignores case", self.table));
            }
        }
        for (at, cell) in kept.iter().enumerate() {
            out.push(if at == 0 { b'(' } else { b',' });
            match cell {
                Kept::Null => out.extend_from_slice(b"NULL"),
                Kept::Bare(number) => out.extend_from_slice(number.as_bytes()),
                Kept::Text(text) => write_text(text.as_bytes(), out),
            }
        }
        out.push(b')');
    }

    /// The losses of precision.
    fn told(&self) -> impl Iterator<Item = String> {
        self.rounded.iter().map(|((at, loss), cells)| {
            format!("`{}`.`{}`: {} {loss}", self.table, self.columns[*at].name, counted(*cells, "value"))
        })
    }
}

impl Kept {
    /// The same text for all texts that MariaDB treats as equal, ignoring case and trailing spaces.
    fn compared(&self) -> String {
        match self {
            Kept::Text(text) => text.trim_end_matches(' ').to_lowercase(),
            Kept::Bare(number) => number.clone(),
            Kept::Null => String::new(),
        }
    }
}

/// A converted cell, and its loss of precision, if any.
type Fit = std::result::Result<(Kept, Option<&'static str>), String>;

impl Column {
    /// Converts `cell` of any type; in SQLite every cell can have any type.
    fn keep(&self, cell: &Value) -> Fit {
        let kind = self.kind.split(['(', ' ']).next().unwrap_or_default();
        if matches!(cell, Value::Null) {
            return if self.nullable { Ok((Kept::Null, None)) } else { Err("is NULL, which is not allowed".into()) };
        }
        match kind {
            "tinyint" | "smallint" | "mediumint" | "int" | "bigint" => self.keep_whole(kind, cell),
            "float" | "double" => self.keep_float(kind, cell),
            "datetime" | "timestamp" if self.nullable && is_no_moment(cell) => {
                Ok((Kept::Null, Some("set to NULL, because `Invalid Date` is not a date")))
            }
            "datetime" | "timestamp" => keep_moment(cell),
            "time" => keep_time(cell),
            "enum" => {
                let text = as_text(cell)?;
                match self.kind.contains(&quoted(&text)) {
                    true => Ok((Kept::Text(text), None)),
                    false => Err(format!("is not one of {}", &self.kind["enum".len()..])),
                }
            }
            _ => self.keep_text(cell),
        }
    }

    fn keep_whole(&self, kind: &str, cell: &Value) -> Fit {
        let (number, loss) = match number(cell)? {
            Number::Whole(number) => (number, None),
            Number::Real(real) if real.abs() < 9e15 => {
                // Truncation was checked.
                #[allow(clippy::cast_possible_truncation, reason = "it is below 2^53")]
                let whole = real.round() as i64;
                (whole, (real.fract() != 0.0).then_some("rounded to an integer"))
            }
            Number::Real(_) => return Err(format!("is not a number for {}", self.kind)),
        };
        let bits = match kind {
            "tinyint" => 8,
            "smallint" => 16,
            "mediumint" => 24,
            "int" => 32,
            _ => 63,
        };
        let (low, high) = match (self.kind.contains("unsigned"), bits) {
            (true, 63) => (0, i64::MAX),
            (true, bits) => (0, (1 << bits) - 1),
            (false, 63) => (i64::MIN, i64::MAX),
            (false, bits) => (-(1 << (bits - 1)), (1 << (bits - 1)) - 1),
        };
        match (low..=high).contains(&number) {
            true => Ok((Kept::Bare(number.to_string()), loss)),
            false => Err(format!("is out of the range of {}", self.kind)),
        }
    }

    fn keep_float(&self, kind: &str, cell: &Value) -> Fit {
        #[allow(clippy::cast_precision_loss, reason = "detected and reported below")]
        let exact = match number(cell)? {
            Number::Whole(number) => number as f64,
            Number::Real(real) => real,
        };
        if kind == "double" {
            return Ok((Kept::Bare(printed(exact)), None));
        }
        let sizes = self.kind.split_once('(').and_then(|(_, sizes)| sizes.split_once(')')?.0.split_once(','));
        let (Some(decimals), Some(digits)) = (
            sizes.and_then(|(_, decimals)| decimals.parse::<usize>().ok()),
            sizes.and_then(|(digits, _)| digits.parse::<i32>().ok()),
        ) else {
            return Err(format!("has the unsupported column type {}", self.kind));
        };
        let places = i32::try_from(decimals).unwrap_or(0);
        let scale = 10f64.powi(places);
        let rounded = (exact * scale).round_ties_even() / scale;
        if rounded.abs() >= 10f64.powi(digits - places) || !rounded.is_finite() {
            return Err(format!("is out of the range of {}", self.kind));
        }
        #[allow(clippy::cast_possible_truncation, reason = "the column stores a float")]
        let kept = f64::from(rounded as f32);
        let loss = (kept - exact).abs() > exact.abs() * f64::from(f32::EPSILON);
        Ok((Kept::Bare(format!("{kept:.decimals$}")), loss.then_some("rounded to the precision of the column")))
    }

    fn keep_text(&self, cell: &Value) -> Fit {
        let text = as_text(cell)?;
        let characters = self.kind.split_once('(').and_then(|(_, size)| size.trim_end_matches(')').parse().ok());
        let (length, longest) = match (characters, self.longest) {
            (Some(characters), _) => (text.chars().count(), characters),
            (None, Some(bytes)) => (text.len(), bytes),
            (None, None) => {
                return Err(format!("has the unsupported column type {}", self.kind));
            }
        };
        if length > longest {
            return Err(format!("has length {length}, but {} allows {longest}", self.kind));
        }
        if self.is_narrow && text.chars().any(|letter| letter > '\u{ffff}') {
            return Err("has a character that the column cannot store".into());
        }
        Ok((Kept::Text(text), None))
    }
}

enum Number {
    Whole(i64),
    Real(f64),
}

fn number(cell: &Value) -> std::result::Result<Number, String> {
    let parse = |text: &str| text.parse().map(Number::Whole).or_else(|_| text.parse().map(Number::Real)).ok();
    let found = match cell {
        Value::Int(number) => Some(Number::Whole(*number)),
        Value::Real(real) => Some(Number::Real(*real)),
        Value::Text(text) => match text.trim() {
            "true" => Some(Number::Whole(1)),
            "false" => Some(Number::Whole(0)),
            text => parse(text),
        },
        _ => None,
    };
    found.filter(|found| !matches!(found, Number::Real(real) if !real.is_finite())).ok_or("is not a number".into())
}

fn as_text(cell: &Value) -> std::result::Result<String, String> {
    match cell {
        Value::Text(text) => Ok(text.clone()),
        Value::Int(number) => Ok(number.to_string()),
        Value::Real(real) => Ok(real.to_string()),
        Value::Blob(bytes) => String::from_utf8(bytes.clone()).map_err(|_| "is binary data, not text".into()),
        Value::Null => Err("is NULL".into()),
    }
}

/// A double as MariaDB prints it.
fn printed(real: f64) -> String {
    match real.abs() {
        0.0 => "0".into(),
        size if (1e-5..1e15).contains(&size) => real.to_string(),
        _ => format!("{real:e}"),
    }
}

/// A date and time in one of the formats that the server and its database library have used in SQLite.
fn keep_moment(cell: &Value) -> Fit {
    let moment = match cell {
        Value::Int(milliseconds) => DateTime::from_timestamp_millis(*milliseconds).map(|moment| moment.naive_utc()),
        Value::Text(text) => stored_time(text),
        _ => None,
    };
    use chrono::{Datelike as _, Timelike as _};
    let moment =
        moment.filter(|moment| (1000..=9999).contains(&moment.year())).ok_or("is not a valid date and time")?;
    let loss = (moment.nanosecond() != 0).then_some("without fractions of a second");
    Ok((Kept::Text(moment.format("%Y-%m-%d %H:%M:%S").to_string()), loss))
}

/// What JavaScript writes for a date that it could not read; it has no other meaning than NULL.
fn is_no_moment(cell: &Value) -> bool {
    cell.text().is_some_and(|text| text.trim().eq_ignore_ascii_case("invalid date"))
}

fn keep_time(cell: &Value) -> Fit {
    let text = as_text(cell)?;
    let time = ["%H:%M:%S%.f", "%H:%M"].iter().find_map(|form| NaiveTime::parse_from_str(text.trim(), form).ok());
    let time = time.ok_or("is not a valid time of day")?;
    Ok((Kept::Text(time.format("%H:%M:%S").to_string()), None))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(kind: &str) -> Column {
        let longest = if kind == "text" { Some(65_535) } else { kind.contains("char").then_some(600) };
        Column { name: "c".into(), kind: kind.into(), longest, ..Column::default() }
    }

    #[test]
    fn keeps_what_a_column_has_room_for() {
        let bare = |number: &str| Kept::Bare(number.into());
        let text = |text: &str| Kept::Text(text.into());
        for (kind, cell, kept) in [
            ("int(10) unsigned", Value::from(0), bare("0")),
            ("tinyint(1)", "true".into(), bare("1")),
            ("smallint(6)", "-32768".into(), bare("-32768")),
            ("bigint(20)", 12.0.into(), bare("12")),
            ("float(20,2)", 0.125.into(), bare("0.12")),
            ("float(20,2)", 16_777_217.into(), bare("16777216.00")),
            ("double", 0.8.into(), bare("0.8")),
            ("double", 48.into(), bare("48")),
            ("varchar(3)", "äöü".into(), text("äöü")),
            ("varchar(3)", 123.into(), text("123")),
            ("text", Value::Blob(b"ab".to_vec()), text("ab")),
            ("enum('1','2c','3')", "2c".into(), text("2c")),
            ("enum('1','2c','3')", 3.into(), text("3")),
            ("datetime", "2024-01-02T03:04:05.678Z".into(), text("2024-01-02 03:04:05")),
            ("datetime", "2024-01-02 03:04:05+02:00".into(), text("2024-01-02 01:04:05")),
            ("datetime", "2024-01-02 03:04:05.678".into(), text("2024-01-02 03:04:05")),
            ("datetime", "2024-01-02".into(), text("2024-01-02 00:00:00")),
            ("datetime", 1_704_164_645_678i64.into(), text("2024-01-02 03:04:05")),
            ("time", "09:30".into(), text("09:30:00")),
        ] {
            assert_eq!(column(kind).keep(&cell).map(|(kept, _)| kept), Ok(kept), "{kind} {cell:?}");
        }
    }

    #[test]
    fn an_invalid_date_of_javascript_is_null() {
        let nullable = Column { nullable: true, ..column("datetime") };
        for text in ["Invalid Date", "Invalid date"] {
            let (kept, loss) = nullable.keep(&text.into()).expect("it fits");
            assert_eq!(kept, Kept::Null);
            assert!(loss.is_some());
            assert!(column("datetime").keep(&text.into()).is_err());
        }
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
            ("time", "25:00".into(), "is not a valid time"),
            ("varchar(3)", Value::Null, "NULL"),
            ("text", Value::Blob(vec![0xff]), "not text"),
        ] {
            let refused = column(kind).keep(&cell).expect_err("it must be refused");
            assert!(refused.contains(why), "{kind} {cell:?}: {refused}");
        }
    }
}
