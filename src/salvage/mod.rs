//! Reads rows from a damaged `kuma.db`, with an own implementation of SQLite's file format.
//!
//! SQLite stops at the first invalid page; here every page is read. Nothing is written, and the history is not kept in
//! memory: each row is passed on as it is found.
//!
//! A row is *certain* if the path from the root of its table to its page is intact, every byte of that page is
//! accounted for, nothing else claims the page or the rest of the row, the row is complete and as the server writes it,
//! and every intact index agrees. SQLite has no checksums of cells: a changed letter in a text that is in no index
//! cannot be detected. Every other row is *doubtful*.

mod image;
mod master;
mod orphans;
mod record;
mod shape;
mod wal;
mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::mpsc;

use crate::pages::{Page, PageKind};
use crate::schema::{self, EngineKind, Recording, Release};
use crate::value::Value;

pub use crate::pages::Bytes;
pub use image::DatabaseImage;
pub use shape::{RowFit, TableShape};
pub use wal::Frames;

use master::{ReleaseHints, SchemaEntry};
use walk::{Claims, Entries, Leaf, Tree};

/// Rows that are passed to another thread at once, in rows and in bytes of their cells; and how many times as many may wait for it.
const BATCH: (usize, usize) = (256, 1 << 20);
const BATCHES: usize = 2;

fn size_of_cell(cell: &Value) -> usize {
    match cell {
        Value::Text(text) => text.len(),
        Value::Blob(bytes) => bytes.len(),
        _ => 0,
    }
}

/// The tables that indicate the release.
const TELLING: [&str; 5] = ["monitor", "heartbeat", "status_page", "maintenance", "knex_migrations"];

/// The content of the pages of a database.
pub struct Survey<'a> {
    image: DatabaseImage<'a>,
    claims: Claims,
    /// The recording of its release.
    pub recording: &'static Recording,
    /// How the tables and indexes were found.
    pub list: List,
    /// Its tables, those of the recording first.
    pub tables: Vec<DamagedTable>,
    /// Trees of tables that the release does not have.
    pub unknown: Vec<String>,
    /// Damaged indexes.
    pub broken_indexes: Vec<String>,
    /// Pages with rows that could belong to several tables, and those tables.
    pub unplaced: Vec<(u32, Vec<String>)>,
    /// Free pages that still contain deleted rows.
    pub deleted: u64,
}

/// How the list of tables was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// In its normal position, complete.
    Whole,
    /// Incomplete or in another position: tables that are not in it were found by the shape of their rows.
    InPart,
    /// Not at all.
    Lost,
}

/// One table.
pub struct DamagedTable {
    /// The shape of its rows.
    pub shape: TableShape,
    leaves: Vec<Leaf>,
    orphans: Vec<u32>,
    /// Missing pages with rows or references to them.
    pub gaps: u64,
    /// Number of rows in an intact index, if there is one.
    pub counted: Option<u64>,
    /// The tree is intact.
    pub whole: bool,
    checks: Vec<(Vec<usize>, Entries)>,
}

impl DamagedTable {
    /// How many rows are known to be lost if `tally` are found: those that an intact index contains in addition.
    pub fn lost(&self, tally: &RowTally) -> u64 {
        self.counted.map_or(tally.lost, |counted| counted.saturating_sub(tally.certain + tally.doubtful))
    }
}

/// One row.
pub struct FoundRow {
    /// Its row id.
    pub rowid: i64,
    /// Its cells; the last columns may be missing, because they were added to the table later or are lost.
    pub cells: Vec<Value>,
    /// Whether it is certain.
    pub certain: bool,
    /// Cells at its end are missing or truncated.
    pub cut: bool,
}

/// The result of visiting a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowTally {
    /// Rows that are certain.
    pub certain: u64,
    /// Rows that are doubtful.
    pub doubtful: u64,
    /// Rows that are known to have existed.
    pub lost: u64,
}

impl<'a> Survey<'a> {
    /// Surveys `image`. `release` overrides the release that the rows indicate.
    ///
    /// Returns `None` if the release is unknown or not recorded.
    pub fn take(image: DatabaseImage<'a>, release: Option<Release>) -> Option<Survey<'a>> {
        let mut claims = Claims::new(&image);
        let (entries, list) = read_list(&image, &mut claims);
        let mut trees = BTreeMap::new();
        let mut indexes = Vec::new();
        for entry in entries.iter().filter(|entry| entry.index) {
            let columns = index_columns(entry);
            let mut kept = Entries::new();
            let keep = (!columns.is_empty()).then_some((&mut kept, columns.len()));
            let tree = claims.walk(&image, entry.root, false, keep);
            indexes.push((entry, columns, tree, kept));
        }
        for entry in entries.iter().filter(|entry| !entry.index) {
            let tree = claims.walk(&image, entry.root, true, None);
            trees.insert(entry.name.clone(), (entry.columns(), tree));
        }
        let strays = orphans::look(&image, &mut claims);
        let clues = read_clues(&image, &trees, &strays);
        let release = release.or_else(|| clues.release())?;
        let recording = schema::recording(EngineKind::Sqlite, release)?;
        let mut survey = Survey {
            tables: Vec::new(),
            unknown: Vec::new(),
            broken_indexes: indexes
                .iter()
                .filter(|(_, _, tree, _)| !tree.whole)
                .map(|(entry, ..)| entry.name.clone())
                .collect(),
            unplaced: Vec::new(),
            deleted: strays.deleted,
            image,
            claims,
            recording,
            list,
        };
        survey.place_trees(trees, indexes);
        orphans::place(&mut survey, &strays);
        Some(survey)
    }

    /// Assigns each tree to its table.
    fn place_trees(
        &mut self,
        mut trees: BTreeMap<String, (Vec<String>, Tree)>,
        indexes: Vec<(&SchemaEntry, Vec<String>, Tree, Entries)>,
    ) {
        let schema = self.recording.schema();
        for mut shape in shape::shapes(schema) {
            let (columns, tree) = trees.remove(&shape.table).unwrap_or_else(|| {
                // Without an entry in the list it has no root.
                (Vec::new(), Tree { gaps: 1, ..Tree::default() })
            });
            // A definition without a column of the release is ignored: it may be damaged.
            let complete =
                |described: &&schema::Table| described.columns.iter().all(|column| columns.contains(&column.name));
            if let Some(described) = schema.table(&shape.table).filter(complete) {
                shape = TableShape::new(&shape.table, described, columns);
            }
            let of_table = || indexes.iter().filter(|(entry, ..)| entry.table == shape.table);
            let counted = of_table()
                .filter(|(_, columns, tree, _)| tree.whole && !columns.is_empty())
                .map(|(_, _, tree, _)| tree.entries)
                .next();
            self.tables.push(DamagedTable {
                leaves: tree.leaves,
                orphans: Vec::new(),
                gaps: tree.gaps,
                counted,
                whole: tree.whole,
                checks: Vec::new(),
                shape,
            });
        }
        for (entry, columns, _, kept) in indexes {
            let Some(table) = self.tables.iter_mut().find(|table| table.shape.table == entry.table) else { continue };
            let places: Vec<usize> = columns.iter().filter_map(|column| table.shape.position(column)).collect();
            if !kept.is_empty() && places.len() == columns.len() {
                table.checks.push((places, kept));
            }
        }
        self.unknown = trees.into_keys().filter(|name| !name.starts_with("sqlite_")).collect();
    }

    /// The table `name`.
    pub fn table(&self, name: &str) -> Option<&DamagedTable> {
        self.tables.iter().find(|table| table.shape.table == name)
    }

    /// Calls `each` for every row of `table`: first for certain rows, then for doubtful ones.
    pub fn visit<E>(
        &self,
        table: &DamagedTable,
        each: &mut dyn FnMut(FoundRow) -> Result<(), E>,
    ) -> Result<RowTally, E> {
        let mut tally = RowTally::default();
        let mut again = Vec::new();
        for leaf in &table.leaves {
            let mut doubtful = false;
            self.rows(table, *leaf, &mut tally.lost, &mut |row| {
                doubtful |= !row.certain;
                if !row.certain {
                    return Ok(());
                }
                tally.certain += 1;
                each(row)
            })?;
            if doubtful {
                again.push(*leaf);
            }
        }
        again.extend(table.orphans.iter().map(|page| Leaf { page: *page, sure: false }));
        for leaf in again {
            // Unreadable cells of an orphan page may never have existed.
            self.rows(table, leaf, &mut 0, &mut |row| {
                if row.certain {
                    Ok(())
                } else {
                    tally.doubtful += 1;
                    each(row)
                }
            })?;
        }
        tally.lost = table.lost(&tally);
        Ok(tally)
    }

    /// The same for some rows at once, while another thread reads the next ones.
    pub fn visit_batches<E>(
        &self,
        table: &DamagedTable,
        each: &mut dyn FnMut(Vec<FoundRow>) -> Result<(), E>,
    ) -> Result<RowTally, E> {
        let (send, batches) = mpsc::sync_channel(BATCHES);
        let read = move || {
            let (mut batch, mut bytes) = (Vec::with_capacity(BATCH.0), 0);
            let tally = self.visit(table, &mut |row| {
                bytes += row.cells.iter().map(size_of_cell).sum::<usize>();
                batch.push(row);
                if batch.len() < BATCH.0 && bytes < BATCH.1 {
                    return Ok(());
                }
                bytes = 0;
                send.send(std::mem::replace(&mut batch, Vec::with_capacity(BATCH.0)))
            })?;
            send.send(batch).map(|()| tally)
        };
        std::thread::scope(|scope| {
            let reading = scope.spawn(read);
            batches.into_iter().try_for_each(each)?;
            let read = reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            // Every batch was received, so none was refused.
            Ok(read.unwrap_or_default())
        })
    }

    /// The last row of `table` that is certain.
    pub fn newest(&self, table: &DamagedTable) -> Option<FoundRow> {
        table.leaves.iter().rev().find_map(|leaf| {
            let mut newest = None;
            let Ok(()) = self.rows::<Infallible>(table, *leaf, &mut 0, &mut |row| {
                if row.certain {
                    newest = Some(row);
                }
                Ok(())
            });
            newest
        })
    }

    /// Calls `each` for the rows of one page; counts unreadable cells.
    fn rows<E>(
        &self,
        table: &DamagedTable,
        leaf: Leaf,
        lost: &mut u64,
        each: &mut dyn FnMut(FoundRow) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(page) = self.image.page(leaf.page).filter(|page| page.kind == PageKind::TableLeaf) else {
            return Ok(());
        };
        let sure = leaf.sure && !self.claims.is_shared(leaf.page);
        for cell in page.cells() {
            let Some(cell) = cell else {
                *lost += 1;
                continue;
            };
            let record = record::read(&self.image, &page, &cell);
            let fit = table.shape.fit(cell.rowid, &record.cells);
            let is_row = !record.cells.is_empty() && (fit != RowFit::Not || !record.whole && leaf.sure);
            if !is_row {
                *lost += 1;
                continue;
            }
            let own = cell.overflow == 0 || self.claims.is_own_chain(&self.image, page.number, &cell);
            let certain = sure && own && record.whole && fit == RowFit::Well && table.agrees(cell.rowid, &record.cells);
            each(FoundRow { rowid: cell.rowid, cells: record.cells, certain, cut: !record.whole })?;
        }
        Ok(())
    }

    /// The rows of a page that could belong to several tables.
    pub fn unplaced_rows(&self, page: u32) -> Vec<(i64, Vec<Value>)> {
        self.image.page(page).map(|page| orphans::rows(&self.image, &page)).unwrap_or_default()
    }

    /// Whether all tables are intact, so that only indexes can be damaged.
    pub fn has_whole_tables(&self) -> bool {
        self.list == List::Whole && self.tables.iter().all(|table| table.whole)
    }
}

impl DamagedTable {
    /// Whether the indexes agree with a row.
    fn agrees(&self, rowid: i64, cells: &[Value]) -> bool {
        self.checks.iter().all(|(places, entries)| {
            match places.iter().map(|at| cells.get(*at)).collect::<Option<Vec<_>>>() {
                Some(cells) => entries.get(&rowid) == Some(&walk::digest(cells.into_iter())),
                // A cell of a column that was added later is not in the row.
                None => true,
            }
        })
    }

    /// Whether no page of it is missing, so that rows on other pages are old copies.
    fn is_complete(&self) -> bool {
        self.gaps == 0
    }
}

/// The list of tables and indexes: from page 1, or from its orphan pages.
fn read_list(image: &DatabaseImage<'_>, claims: &mut Claims) -> (Vec<SchemaEntry>, List) {
    let tree = claims.walk(image, 1, true, None);
    let pages = tree.leaves.iter().map(|leaf| leaf.page);
    let mut found: Vec<SchemaEntry> = pages.flat_map(|page| entries_on(image, page)).collect();
    let whole = tree.whole && !found.is_empty();
    if !whole {
        found.extend(
            (1..=image.pages()).filter(|page| claims.is_orphan(*page)).flat_map(|page| entries_on(image, page)),
        );
    }
    // Two entries with the same name or page: one of them is old, but it is unknown which.
    let mut roots: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
    let mut names: BTreeMap<u32, BTreeSet<&str>> = BTreeMap::new();
    for entry in &found {
        roots.entry(&entry.name).or_default().insert(entry.root);
        names.entry(entry.root).or_default().insert(&entry.name);
    }
    let single = |entry: &&SchemaEntry| roots[entry.name.as_str()].len() == 1 && names[&entry.root].len() == 1;
    let mut kept: Vec<SchemaEntry> = found.iter().filter(single).cloned().collect();
    kept.sort_by(|a, b| (a.root, &a.name).cmp(&(b.root, &b.name)));
    kept.dedup_by_key(|entry| entry.root);
    let list = match (whole, kept.is_empty()) {
        (true, _) => List::Whole,
        (false, false) => List::InPart,
        (false, true) => List::Lost,
    };
    (kept, list)
}

fn entries_on(image: &DatabaseImage<'_>, page: u32) -> Vec<SchemaEntry> {
    let Some(page) = image.page(page).filter(|page| page.kind == PageKind::TableLeaf) else { return Vec::new() };
    let read = |cell| Some(record::read(image, &page, &cell)).filter(|record| record.whole);
    page.cells().flatten().filter_map(read).filter_map(|record| SchemaEntry::read(&record.cells)).collect()
}

/// The columns of an index; for a constraint, from the recording.
fn index_columns(entry: &SchemaEntry) -> Vec<String> {
    if !entry.sql.is_empty() {
        return entry.columns();
    }
    let recorded = schema::recorded(EngineKind::Sqlite).iter().rev().map(Recording::schema);
    let mut found = recorded.filter_map(|schema| {
        let index = schema.table(&entry.table)?.indexes.iter().find(|index| index.name == entry.name)?;
        Some(index.columns.clone())
    });
    found.next().unwrap_or_default()
}

fn read_clues(
    image: &DatabaseImage<'_>,
    trees: &BTreeMap<String, (Vec<String>, Tree)>,
    strays: &orphans::OrphanPages,
) -> ReleaseHints {
    let mut clues = ReleaseHints::default();
    for table in TELLING {
        if let Some((columns, _)) = trees.get(table).filter(|(columns, _)| !columns.is_empty()) {
            clues.columns.insert(table.to_owned(), columns.len());
        }
    }
    let leaves = |table: &str| trees.get(table).map(|(_, tree)| tree.leaves.iter().map(|leaf| leaf.page));
    let telling = ["monitor", "knex_migrations", "setting"].into_iter().filter_map(leaves).flatten();
    for page in telling.chain(strays.leaves.iter().copied()) {
        let Some(page) = image.page(page) else { continue };
        read_clue(image, &page, &mut clues);
    }
    clues
}

/// Hints of one page of rows to the release.
fn read_clue(image: &DatabaseImage<'_>, page: &Page, clues: &mut ReleaseHints) {
    // The smallest recorded `monitor`; no other table has half as many columns.
    const WIDE: usize = 60;
    for cell in page.cells().flatten() {
        let record = record::read(image, page, &cell);
        match record.cells.as_slice() {
            [Value::Null, Value::Text(name), Value::Int(_), _] if name.ends_with(".js") && name.starts_with("20") => {
                clues.migrations.insert(name.clone());
            }
            [Value::Null, Value::Text(key), Value::Text(value), ..] if key == "databasePatchedFiles" => {
                let patches: BTreeMap<String, bool> = serde_json::from_str(value).unwrap_or_default();
                clues.patches.extend(patches.into_keys());
            }
            cells if cells.len() > WIDE && record.whole => {
                let most = clues.cells.entry("monitor".into()).or_default();
                *most = cells.len().max(*most);
            }
            _ if page.count() > 0 && record.cells.len() > 4 => break,
            _ => {}
        }
    }
}
