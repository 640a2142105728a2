//! Copies every row of a database into a new, empty one of a recorded release, on either engine.
//!
//! A [`Transform`] defines what feeds each table of the target, and what becomes of a row; by default, a table gets the rows of
//! the table of the same name, and the columns that both have. [`check`] reads all that may not fit, and loads nothing; [`load`]
//! creates the tables, loads the rows with a few batches in memory, reads all of them back, and compares them with what was to be stored.
//! What the target cannot store is refused, unless the transform [resolves](Transform::resolve) it; what becomes less exact,
//! and every table and column without a place in the target, is in the [`TransferReport`].

pub mod convert;
mod report;
mod target;

use std::collections::{BTreeMap, BTreeSet};

pub use self::report::{LeftOutPart, Lossy, Refused, TableCount, TransferReport};
pub use self::target::{NewDatabase, load, publish};

use self::report::Duplicates;
use crate::engine::fit::{ColumnFit, Loss, Misfit};
use crate::engine::mariadb::DumpedTables;
use crate::engine::{EngineKind, Reader, quote};
use crate::error::{Error, OperationError, Result};
use crate::schema::{Recording, Schema};
use crate::value::Value;

/// Receives a row of the target, with one cell for each of [`Transform::columns`].
pub type Put<'p> = &'p mut dyn FnMut(Vec<Value>) -> Result<()>;

/// The schemas of both databases.
#[derive(Clone, Copy)]
pub struct Schemas<'a> {
    /// Of the source, as it is.
    pub source: &'a Schema,
    /// Of the target, as recorded.
    pub target: &'a Schema,
}

/// The database that is read.
pub struct Source<'a> {
    /// A connection to it.
    pub reader: &'a mut dyn Reader,
    /// A dump of it, if one was made of the same rows.
    pub dump: Option<DumpedTables>,
}

impl Source<'_> {
    /// The database of `reader`.
    pub fn of(reader: &mut dyn Reader) -> Source<'_> {
        Source { reader, dump: None }
    }

    /// Calls `each` for all rows of `feed`.
    fn stream(&mut self, feed: &Feed, from: &Schema, each: &mut dyn FnMut(Vec<Value>) -> Result<()>) -> Result<()> {
        let dumped = self.dump.as_ref().filter(|_| feed.is_whole()).zip(from.table(&feed.table));
        match dumped.filter(|(dump, table)| dump.has(&feed.table, table, &feed.columns)) {
            Some((dump, table)) => dump.stream((&feed.table, table), &feed.columns, each),
            None => self.reader.stream(&select(feed, from), &[], &mut |row| each(row.into_cells())),
        }
    }
}

/// Rows of the source that feed a table of the target.
#[derive(Clone, Debug, Default)]
pub struct Feed {
    /// The table of the source.
    pub table: String,
    /// The columns of the source, in the order of the cells that [`Transform::row`] gets.
    pub columns: Vec<String>,
    /// A condition in SQL; all rows without one.
    pub filter: Option<String>,
    /// Columns to sort by; the primary key if there are none.
    pub order: Vec<String>,
}

impl Feed {
    /// Whether it has all rows of its table, in the order of the primary key.
    fn is_whole(&self) -> bool {
        self.filter.is_none() && self.order.is_empty()
    }
}

/// The cell that a column of the target cannot store.
pub struct RefusedCell<'a> {
    /// The table of the target.
    pub table: &'a str,
    /// The column of the target.
    pub column: &'a str,
    /// How the column stores values.
    pub fit: &'a ColumnFit,
    /// The value.
    pub value: &'a Value,
}

/// What becomes of such a cell.
#[derive(Clone, Debug, PartialEq)]
pub enum Resolution {
    /// The target is not loaded.
    Refuse,
    /// Another value, and what it has lost.
    Replace(Value, Loss),
    /// The row is left out.
    LeaveOut,
}

/// How the rows of the source become those of the target. Each method has the default of an unchanged copy.
pub trait Transform {
    /// The columns of `table` of the target for which rows have cells; all others get their default.
    fn columns(&self, table: &str, schemas: Schemas<'_>) -> Vec<String> {
        shared_columns(table, schemas)
    }

    /// The rows of the source that feed `table` of the target, read one feed after the other.
    fn feeds(&self, table: &str, schemas: Schemas<'_>) -> Vec<Feed> {
        match schemas.source.table(table) {
            Some(_) => vec![Feed { table: table.into(), columns: shared_columns(table, schemas), ..Feed::default() }],
            None => Vec::new(),
        }
    }

    /// Puts what `row` of the feed number `feed` of `table` becomes: nothing, or one or more rows.
    fn row(&mut self, _table: &str, _feed: usize, row: Vec<Value>, put: Put<'_>) -> Result<()> {
        put(row)
    }

    /// Puts the rows of `table` that come after those of its feeds.
    fn end(&mut self, _table: &str, _put: Put<'_>) -> Result<()> {
        Ok(())
    }

    /// Whether each row of the source becomes one row of `table`, with the same cells: [`check`] does not read those that fit in any
    /// case.
    fn copies(&self, _table: &str) -> bool {
        false
    }

    /// Whether `column` of `table` of the source (or, for `None`, the table) has no place in the target on purpose, so that
    /// it is not reported.
    fn drops(&self, _table: &str, _column: Option<&str>) -> bool {
        false
    }

    /// What becomes of a cell that the target cannot store.
    fn resolve(&mut self, _cell: &RefusedCell<'_>, _misfit: &Misfit) -> Resolution {
        Resolution::Refuse
    }
}

/// The columns that both databases have in `table`, in the order of the target.
pub fn shared_columns(table: &str, schemas: Schemas<'_>) -> Vec<String> {
    let columns = schemas.target.table(table).map_or(&[][..], |described| &described.columns);
    columns.iter().map(|column| column.name.clone()).filter(|column| schemas.source.has(table, column)).collect()
}

/// Makes the report of [`load`] without a target: it has all that would be refused, and what would be lost.
pub fn check(
    source: Source<'_>,
    recording: &Recording,
    transform: &mut dyn Transform,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<TransferReport> {
    let mut pipe = Pipe::new(source, recording, transform, progress)?;
    for table in pipe.tables() {
        if !pipe.count_fitting(&table)? {
            pipe.pump(&table, &mut |_| Ok(()))?;
        }
    }
    pipe.finish()
}

/// Reads, transforms and fits rows.
struct Pipe<'s, 'a> {
    source: Source<'s>,
    transform: &'a mut dyn Transform,
    progress: &'a mut dyn FnMut(u64, u64),
    engine: EngineKind,
    from: Schema,
    to: Schema,
    report: TransferReport,
    done: u64,
    total: u64,
    /// What was counted, by query.
    counts: BTreeMap<String, u64>,
}

impl<'s, 'a> Pipe<'s, 'a> {
    fn new(
        source: Source<'s>,
        recording: &Recording,
        transform: &'a mut dyn Transform,
        progress: &'a mut dyn FnMut(u64, u64),
    ) -> Result<Pipe<'s, 'a>> {
        let (from, to) = (source.reader.schema()?, recording.schema());
        let report = TransferReport::default();
        let mut pipe = Pipe {
            source,
            transform,
            progress,
            engine: recording.engine,
            from,
            to: to.clone(),
            report,
            done: 0,
            total: 0,
            counts: BTreeMap::new(),
        };
        for table in pipe.tables() {
            pipe.total += pipe.source_rows(&table)?;
        }
        Ok(pipe)
    }

    fn schemas(&self) -> Schemas<'_> {
        Schemas { source: &self.from, target: &self.to }
    }

    fn tables(&self) -> Vec<String> {
        self.to.tables.keys().cloned().collect()
    }

    fn columns(&self, table: &str) -> Vec<String> {
        self.transform.columns(table, self.schemas())
    }

    /// Number of rows of the source that are read for `table` of the target.
    fn source_rows(&mut self, table: &str) -> Result<u64> {
        let feeds = self.transform.feeds(table, self.schemas());
        feeds.iter().try_fold(0, |rows, feed| Ok(rows + self.count(&feed.table, None)?))
    }

    /// Number of rows of `table` of the source, or of its rows in which `column` is not NULL.
    fn count(&mut self, table: &str, column: Option<&str>) -> Result<u64> {
        let what = column.map_or("*".into(), quote);
        let sql = format!("SELECT count({what}) AS n FROM {}", quote(table));
        // A large table takes long to count.
        if let Some(count) = self.counts.get(&sql) {
            return Ok(*count);
        }
        let rows = self.source.reader.query(&sql, &[])?;
        let count = rows.first().and_then(|row| row.int("n")).unwrap_or(0).unsigned_abs();
        self.counts.insert(sql, count);
        Ok(count)
    }

    /// Counts the rows for `table` instead of reading them; `false` if a value may not fit.
    fn count_fitting(&mut self, table: &str) -> Result<bool> {
        let columns = self.columns(table);
        let fitter = Fitter::new(self.engine, table, &columns, &self.to);
        if !self.transform.copies(table) || !fitter.fits_all_but_null() {
            return Ok(false);
        }
        let rows = self.source_rows(table)?;
        let may_be_null = |name: &str| self.from.table(table)?.column(name).map(|column| !column.not_null);
        let required: Vec<&String> = columns
            .iter()
            .zip(&fitter.fits)
            .filter(|(name, fit)| fit.is_required() && may_be_null(name).unwrap_or(true))
            .map(|(name, _)| name)
            .collect();
        for column in required {
            if self.count(table, Some(column))? < rows {
                return Ok(false);
            }
        }
        self.done += rows;
        (self.progress)(self.done, self.total);
        self.report.tables.push(TableCount { table: table.into(), read: rows, written: rows });
        Ok(true)
    }

    /// Passes each row for `table` to `each`, as the target stores it.
    fn pump(&mut self, table: &str, each: Put<'_>) -> Result<()> {
        let columns = self.columns(table);
        let feeds = self.transform.feeds(table, self.schemas());
        let expected = if self.source.dump.is_some() && feeds.iter().all(Feed::is_whole) {
            Some(self.source_rows(table)?)
        } else {
            None
        };
        let mut fitter = Fitter::new(self.engine, table, &columns, &self.to);
        let (mut read, mut written) = (0, 0);
        let Pipe { source, transform, progress, from, report, done, total, .. } = self;
        // What resolves a cell is the transform, which also makes the rows: they are fitted when it has returned.
        let mut made = Vec::new();
        let mut settle = |transform: &mut dyn Transform, made: &mut Vec<Vec<Value>>| -> Result<()> {
            for mut row in made.drain(..) {
                if fitter.fit(&mut row, transform, report) {
                    written += 1;
                    each(row)?;
                }
            }
            Ok(())
        };
        for (at, feed) in feeds.iter().enumerate() {
            source.stream(feed, from, &mut |row| {
                read += 1;
                *done += 1;
                if *done % 1_000 == 0 {
                    progress(*done, *total);
                }
                transform.row(table, at, row, &mut |row| {
                    made.push(row);
                    Ok(())
                })?;
                settle(&mut **transform, &mut made)
            })?;
        }
        transform.end(table, &mut |row| {
            made.push(row);
            Ok(())
        })?;
        settle(&mut **transform, &mut made)?;
        if expected.is_some_and(|expected| expected != read) {
            let why = format!("{} has another number of rows than its staged copy", quote(table));
            return Err(Error::Operation(OperationError::ChecksFailed(vec![why])));
        }
        self.report.tables.push(TableCount { table: table.into(), read, written });
        Ok(())
    }

    /// Adds what of the source has no place in the target, and returns the report.
    fn finish(mut self) -> Result<TransferReport> {
        let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for table in self.tables() {
            for feed in self.transform.feeds(&table, self.schemas()) {
                used.entry(feed.table).or_default().extend(feed.columns);
            }
        }
        let from = std::mem::take(&mut self.from);
        for (table, described) in &from.tables {
            let Some(used) = used.get(table) else {
                if !self.transform.drops(table, None) && !self.to.tables.contains_key(table) {
                    let values = self.count(table, None)?;
                    self.report.left_out.push(LeftOutPart { table: table.clone(), column: None, values });
                }
                continue;
            };
            for column in described.columns.iter().map(|column| &column.name).filter(|name| !used.contains(*name)) {
                if !self.transform.drops(table, Some(column)) {
                    let values = self.count(table, Some(column))?;
                    self.report.left_out.push(LeftOutPart {
                        table: table.clone(),
                        column: Some(column.clone()),
                        values,
                    });
                }
            }
        }
        let key = |loss: &Lossy| (loss.table.clone(), loss.column.clone(), loss.loss);
        self.report.losses.sort_by_key(key);
        Ok(self.report)
    }
}

/// The query of a feed.
fn select(feed: &Feed, from: &Schema) -> String {
    let names = |columns: &[String]| columns.iter().map(|column| quote(column)).collect::<Vec<_>>().join(", ");
    let key: Vec<String> = from
        .table(&feed.table)
        .map(|table| {
            table.columns.iter().filter(|column| column.primary_key).map(|column| column.name.clone()).collect()
        })
        .unwrap_or_default();
    let order = if feed.order.is_empty() { &key } else { &feed.order };
    let mut sql = format!("SELECT {} FROM {}", names(&feed.columns), quote(&feed.table));
    if let Some(filter) = &feed.filter {
        sql.push_str(&format!(" WHERE {filter}"));
    }
    if !order.is_empty() {
        sql.push_str(&format!(" ORDER BY {}", names(order)));
    }
    sql
}

/// Fits the rows of one table.
struct Fitter<'a> {
    table: &'a str,
    columns: &'a [String],
    fits: Vec<ColumnFit>,
    duplicates: Duplicates,
}

impl<'a> Fitter<'a> {
    fn new(engine: EngineKind, table: &'a str, columns: &'a [String], to: &Schema) -> Fitter<'a> {
        let described = to.table(table);
        let column = |name: &String| described.and_then(|table| table.column(name)).cloned().unwrap_or_default();
        let fits: Vec<ColumnFit> = columns.iter().map(|name| ColumnFit::of(engine, &column(name))).collect();
        // SQLite compares texts byte by byte, as whatever database they come from does at least.
        let keys = match (engine, described) {
            (EngineKind::MariaDb, Some(described)) => {
                let unique = described.indexes.iter().filter(|index| index.unique);
                let place = |name: &String| columns.iter().position(|column| column == name);
                let keys = unique.filter_map(|index| index.columns.iter().map(place).collect::<Option<Vec<usize>>>());
                keys.filter(|key| key.iter().any(|at| fits[*at].is_text())).collect()
            }
            _ => Vec::new(),
        };
        Fitter { table, columns, fits, duplicates: Duplicates::of(keys) }
    }

    /// Whether nothing but NULL can be refused, and nothing is lost.
    fn fits_all_but_null(&self) -> bool {
        self.fits.iter().all(ColumnFit::fits_all_but_null) && self.duplicates.is_empty()
    }

    /// Fits `row`; `false` if it is left out or refused, which is in the report.
    fn fit(&mut self, row: &mut [Value], transform: &mut dyn Transform, report: &mut TransferReport) -> bool {
        let refused = report.refused_total;
        for at in 0..row.len() {
            match self.fits[at].fit(&mut row[at]) {
                Ok(None) => {}
                Ok(Some(loss)) => report.lost(self.table, &self.columns[at], loss, row),
                Err(misfit) => {
                    // All cells of a row that are refused are named.
                    if !self.settle(row, UnfitCell { at, misfit: &misfit }, transform, report)
                        && report.refused_total == refused
                    {
                        return false;
                    }
                }
            }
        }
        if report.refused_total > refused {
            return false;
        }
        // A new name may be taken too.
        for _ in 0..MOST_NAMES {
            let Some(at) = self.duplicates.find(row) else {
                self.duplicates.add(row);
                return true;
            };
            if !self.settle(row, UnfitCell { at, misfit: &Misfit::Duplicate }, transform, report) {
                return false;
            }
        }
        let at = self.duplicates.find(row).unwrap_or(0);
        report.refused(self.table, &self.columns[at], &Misfit::Duplicate, row);
        false
    }

    /// Resolves a cell of `row`; `false` if the row is not stored.
    fn settle(
        &self,
        row: &mut [Value],
        UnfitCell { at, misfit }: UnfitCell<'_>,
        transform: &mut dyn Transform,
        report: &mut TransferReport,
    ) -> bool {
        let (table, column, fit) = (self.table, &self.columns[at], &self.fits[at]);
        match transform.resolve(&RefusedCell { table, column, fit, value: &row[at] }, misfit) {
            Resolution::Replace(value, loss) => {
                row[at] = value;
                match fit.fit(&mut row[at]) {
                    Ok(_) => {
                        report.lost(table, column, loss, row);
                        return true;
                    }
                    Err(misfit) => report.refused(table, column, &misfit, row),
                }
            }
            Resolution::LeaveOut => report.row_left_out(table, column, misfit, row),
            Resolution::Refuse => report.refused(table, column, misfit, row),
        }
        false
    }
}

/// A cell that its column cannot store.
struct UnfitCell<'m> {
    /// Its position in the row.
    at: usize,
    misfit: &'m Misfit,
}

/// How many new names are tried for one that is taken.
const MOST_NAMES: usize = 100;
