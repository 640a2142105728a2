//! Converts the rows of another engine to a dump for this database: with its own definitions, and each cell as its
//! column stores it, so that reading back produces the same lines.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufWriter, Write as _};
use std::path::Path;

use super::collation::compared;
use super::dump_text::{FIRST, LAST, SETTINGS, table_end};
use super::literal::write_text;
use super::{MariaDb, UNFINISHED};
use crate::engine::fit::{ColumnFit, Loss};
use crate::engine::insert_lines::InsertLines;
use crate::engine::{Counts, EngineKind, Reader, quote};
use crate::error::{DatabaseError, Error, Result};
use crate::files;
use crate::schema::{Column, Table};
use crate::text::counted;
use crate::value::Value;

/// The result of a conversion.
#[derive(Debug, Default)]
pub struct Transferred {
    /// Rows per table.
    pub counts: Counts,
    /// Losses of precision: how many cells of which column, and how.
    pub rounded: Vec<String>,
}

/// A target column.
struct Target {
    name: String,
    fit: ColumnFit,
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
                None => self.write_rows(&create, "", &mut put, &mut |_| {})?,
                Some(source) => {
                    let mut rows = Rows::of(table, described);
                    let mut lines = InsertLines::of(table, rows.columns.iter().map(|column| quote(&column.name)));
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
                    transferred.rounded.extend(rows.reported());
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
}

fn refusal(mut unfit: Vec<String>) -> Error {
    const SHOWN: usize = 8;
    let (total, more) = (unfit.len(), unfit.len().saturating_sub(SHOWN));
    unfit.truncate(SHOWN);
    unfit.extend((more > 0).then(|| format!("and {} more", counted(more, "value"))));
    Error::Database(DatabaseError::CannotConvert { total, cells: unfit })
}

/// The conversion of one table.
struct Rows<'a> {
    table: &'a str,
    primary: Vec<&'a str>,
    columns: Vec<Target>,
    /// The columns of each unique key with text, and their values so far, as MariaDB compares them.
    keys: Vec<(Vec<usize>, BTreeSet<Vec<String>>)>,
    rounded: BTreeMap<(usize, Loss), usize>,
}

impl<'a> Rows<'a> {
    fn of(table: &'a str, described: &'a Table) -> Rows<'a> {
        let stored = described.columns.iter().filter(|column| !column.extra.to_uppercase().contains("GENERATED"));
        let target =
            |column: &Column| Target { name: column.name.clone(), fit: ColumnFit::of(EngineKind::MariaDb, column) };
        let columns: Vec<Target> = stored.map(target).collect();
        let place = |name: &String| columns.iter().position(|column| column.name == *name);
        let is_text = |at: &usize| columns[*at].fit.is_text();
        let unique = described.indexes.iter().filter(|index| index.unique);
        let keys = unique.filter_map(|index| index.columns.iter().map(place).collect::<Option<Vec<usize>>>());
        let keys = keys.filter(|key| key.iter().any(is_text)).map(|key| (key, BTreeSet::new())).collect();
        let primary = described.columns.iter().filter(|column| column.primary_key);
        let primary = primary.map(|column| column.name.as_str()).collect();
        Rows { table, primary, columns, keys, rounded: BTreeMap::new() }
    }

    /// The query for these columns, in the order of a dump.
    fn select(&self, source: &Table) -> String {
        let cell = |column: &Target| match source.column(&column.name) {
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
        let mut kept = cells.to_vec();
        for (at, (column, cell)) in self.columns.iter().zip(&mut kept).enumerate() {
            match column.fit.fit(cell) {
                Ok(loss) => loss.into_iter().for_each(|loss| *self.rounded.entry((at, loss)).or_default() += 1),
                Err(misfit) => {
                    unfit.push(format!("`{}`.`{}` of row{row} {misfit}", self.table, column.name));
                    *cell = Value::Null;
                }
            }
        }
        for (key, seen) in &mut self.keys {
            if key.iter().any(|at| kept[*at].is_null()) {
                continue;
            }
            if !seen.insert(key.iter().map(|at| compared(&kept[*at].to_string())).collect()) {
                let names: Vec<String> = key.iter().map(|at| quote(&self.columns[*at].name)).collect();
                let names = names.join(", ");
                unfit.push(format!("`{}`.{names} of row{row} is a duplicate: MariaDB ignores case", self.table));
            }
        }
        for (at, (column, cell)) in self.columns.iter().zip(&kept).enumerate() {
            out.push(if at == 0 { b'(' } else { b',' });
            match cell {
                Value::Real(real) => out.extend_from_slice(printed(*real, column.fit.decimals()).as_bytes()),
                Value::Int(number) => out.extend_from_slice(number.to_string().as_bytes()),
                cell => write_text_or_null(cell, out),
            }
        }
        out.push(b')');
    }

    /// The losses of precision.
    fn reported(&self) -> impl Iterator<Item = String> {
        self.rounded.iter().map(|((at, loss), cells)| {
            format!("`{}`.`{}`: {} {loss}", self.table, self.columns[*at].name, counted(*cells, "value"))
        })
    }
}

/// A number as MariaDB prints it: a FLOAT with its decimals, or a DOUBLE.
fn printed(real: f64, decimals: Option<usize>) -> String {
    match (decimals, real.abs()) {
        (Some(decimals), _) => format!("{real:.decimals$}"),
        (None, 0.0) => "0".into(),
        (None, size) if (1e-5..1e15).contains(&size) => real.to_string(),
        (None, _) => format!("{real:e}"),
    }
}

fn write_text_or_null(cell: &Value, out: &mut Vec<u8>) {
    match cell.text() {
        Some(text) => write_text(text.as_bytes(), out),
        None => out.extend_from_slice(b"NULL"),
    }
}
