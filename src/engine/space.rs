//! The disk space of a database, by table, and how much of it is free.

use std::collections::BTreeMap;

use super::{EngineKind, Reader};
use crate::error::Result;
use crate::value::Row;

/// The disk space of a database, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// Total, including free space.
    pub total: u64,
    /// Free space in it.
    pub free: u64,
    /// Each table.
    pub tables: BTreeMap<String, TableSpace>,
    /// SQLite: the pages of the file.
    pub layout: Option<Layout>,
}

/// The disk space of one table, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableSpace {
    /// Its rows.
    pub rows: u64,
    /// Its indexes.
    pub indexes: u64,
    /// MariaDB: free space in the file of the table. SQLite has one file for all tables.
    pub free: u64,
}

/// How the pages of a SQLite file are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Bytes of a page.
    pub page_size: u64,
    /// Pages of the file.
    pub pages: u64,
    /// Pages without content.
    pub free_pages: u64,
    /// How free pages are handled.
    pub auto_vacuum: AutoVacuum,
}

/// How SQLite handles free pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoVacuum {
    /// Kept in the file and reused.
    None,
    /// Truncated at each commit.
    Full,
    /// Truncated on request, as the server does every five minutes (2.5.3: 200 pages).
    Incremental,
}

impl AutoVacuum {
    /// SQLite's name for it.
    pub fn word(self) -> &'static str {
        match self {
            AutoVacuum::None => "none",
            AutoVacuum::Full => "full",
            AutoVacuum::Incremental => "incremental",
        }
    }
}

impl Layout {
    /// Reads it without reading pages of content.
    pub fn read(reader: &mut dyn Reader) -> Result<Layout> {
        let mut number = |name: &str| -> Result<u64> {
            let rows = reader.query(&format!("PRAGMA {name}"), &[])?;
            Ok(rows.first().and_then(|row| row.at(0).int()).unwrap_or(0).unsigned_abs())
        };
        Ok(Layout {
            page_size: number("page_size")?,
            pages: number("page_count")?,
            free_pages: number("freelist_count")?,
            auto_vacuum: match number("auto_vacuum")? {
                1 => AutoVacuum::Full,
                2 => AutoVacuum::Incremental,
                _ => AutoVacuum::None,
            },
        })
    }
}

/// Measures it. SQLite reads the header of each page; MariaDB returns its statistics, which are accurate enough.
pub fn read_space(reader: &mut dyn Reader) -> Result<Space> {
    match reader.kind() {
        EngineKind::Sqlite => read_pages(reader),
        EngineKind::MariaDb => read_tablespaces(reader),
    }
}

fn read_pages(reader: &mut dyn Reader) -> Result<Space> {
    let layout = Layout::read(reader)?;
    let sql = "SELECT o.tbl_name AS of, o.type AS kind, s.bytes AS bytes FROM \
               (SELECT name, sum(pgsize) AS bytes FROM dbstat WHERE aggregate = TRUE GROUP BY name) s \
               JOIN sqlite_schema o ON o.name = s.name";
    let mut tables: BTreeMap<String, TableSpace> = BTreeMap::new();
    for row in reader.query(sql, &[])? {
        let space = tables.entry(text(&row, "of")).or_default();
        match row.text("kind") {
            Some("index") => space.indexes += number(&row, "bytes"),
            _ => space.rows += number(&row, "bytes"),
        }
    }
    let (total, free) = (layout.pages * layout.page_size, layout.free_pages * layout.page_size);
    Ok(Space { total, free, tables, layout: Some(layout) })
}

fn read_tablespaces(reader: &mut dyn Reader) -> Result<Space> {
    let sql = "SELECT TABLE_NAME AS of, DATA_LENGTH AS bytes, INDEX_LENGTH AS indexes, DATA_FREE AS free \
               FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE = 'BASE TABLE'";
    let rows = reader.query(sql, &[])?;
    let tables: BTreeMap<String, TableSpace> = rows
        .iter()
        .map(|row| {
            let (rows, indexes, free) = (number(row, "bytes"), number(row, "indexes"), number(row, "free"));
            (text(row, "of"), TableSpace { rows, indexes, free })
        })
        .collect();
    let free = tables.values().map(|table| table.free).sum();
    let used: u64 = tables.values().map(|table| table.rows + table.indexes).sum();
    Ok(Space { total: used + free, free, tables, layout: None })
}

fn text(row: &Row, column: &str) -> String {
    row.text(column).unwrap_or_default().to_owned()
}

fn number(row: &Row, column: &str) -> u64 {
    row.int(column).unwrap_or(0).unsigned_abs()
}
