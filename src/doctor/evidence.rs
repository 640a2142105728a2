//! What was gathered of an instance, for the checks to judge. Nothing here says what is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use chrono::{DateTime, Utc};

use crate::model::state::Config;
use crate::schema::EngineKind;
use crate::value::Row;

/// Everything that is known of one instance at one moment. What could not be gathered is `None`, and
/// [`unread`](Evidence::unread) says why.
#[derive(Debug)]
pub struct Evidence {
    /// When it was gathered.
    pub now: DateTime<Utc>,
    /// Which engine keeps the database.
    pub engine: Option<EngineKind>,
    /// What the database holds.
    pub database: Option<Content>,
    /// The data folder.
    pub folder: Option<Folder>,
    /// The container.
    pub container: Option<Running>,
    /// Parts that could not be gathered.
    pub unread: Vec<Unread>,
    /// Why there is no instance to look into: an empty folder, a db-config.json that says nothing.
    pub nowhere: Option<String>,
    /// Tables of a server whose first start was cut off before all were made: how many there are.
    pub half_made: Option<usize>,
    /// What the engine says is damaged in the file.
    pub damage: Vec<String>,
    /// An operation of kumadb that was cut off, in words.
    pub unfinished: Option<String>,
}

/// A part that could not be gathered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// `database`, `container`, `journal`.
    pub part: &'static str,
    /// Why not.
    pub why: String,
}

/// What a database holds: the configuration row by row, everything that grows as figures.
#[derive(Debug)]
pub struct Content {
    /// The configuration.
    pub config: Config,
    /// Rows of `knex_migrations_lock`; `None` where the release has no such table (1.x).
    pub lock: Option<Vec<Row>>,
    /// The beats.
    pub beats: Beats,
    /// Rows that point to rows that are not there.
    pub orphans: Vec<Orphans>,
    /// Statistics that lie in the future: table, timestamp, rows.
    pub future: Vec<(String, i64, u64)>,
    /// Rows of each table of statistics, by monitor: table, monitor, rows.
    pub statistics: Vec<(String, i64, u64)>,
    /// What the engine says of itself.
    pub version: String,
    /// SQLite gives room back to the disk at every commit (`auto_vacuum` FULL).
    pub eager: bool,
    /// Time zones of maintenance windows that the zone database of this machine does not have.
    pub unknown_zones: BTreeSet<String>,
}

/// What there is to say of all beats.
#[derive(Debug, Default)]
pub struct Beats {
    /// How many.
    pub rows: u64,
    /// How many say that the server waited in vain for its own database.
    pub timeouts: u64,
    /// Statuses that are numbers, but none of 0 to 3, each with its rows.
    pub odd_statuses: BTreeMap<i64, u64>,
    /// Ids of those whose status is no number at all, the first of them.
    pub odd: Vec<i64>,
    /// Ids of those that lie in the future, the first of them.
    pub future: Vec<i64>,
}

/// Beats that are named one by one.
pub(crate) const NAMED: usize = 10_000;

impl Beats {
    /// Takes in what there is to say of other, later ones.
    pub fn add(&mut self, later: Beats) {
        self.rows += later.rows;
        self.timeouts += later.timeouts;
        for (status, rows) in later.odd_statuses {
            *self.odd_statuses.entry(status).or_insert(0) += rows;
        }
        self.odd.extend(later.odd);
        self.odd.truncate(NAMED);
        self.future.extend(later.future);
        self.future.truncate(NAMED);
    }
}

/// Rows of one table that point to one thing that is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphans {
    /// Their table.
    pub table: String,
    /// The column that points.
    pub column: String,
    /// Where to.
    pub parent: String,
    /// The id that is not there.
    pub value: i64,
    /// How many rows.
    pub rows: u64,
}

/// The data folder as the file system has it.
#[derive(Debug)]
pub struct Folder {
    /// Where it is.
    pub path: PathBuf,
    /// Which engine the server will open, as far as that can be told.
    pub engine: Option<EngineKind>,
    /// It is the MariaDB inside the container.
    pub embedded: bool,
    /// Bytes that can still be written there.
    pub free: u64,
    /// Bytes of the database.
    pub size: u64,
    /// Files and folders directly in it, and the data folder itself under an empty name.
    pub files: Vec<Seen>,
    /// Files in `upload/`.
    pub uploads: Vec<Seen>,
    /// How many files `screenshots/` holds.
    pub screenshots: usize,
    /// The user id the server runs as, as far as that can be told, and its group.
    pub server: Option<(u32, u32)>,
    /// Files and folders of the embedded MariaDB, named from the data folder on: `mariadb/kuma`.
    pub mariadb: Vec<Seen>,
    /// The folder `mariadb/` has what a finished installation has.
    pub mariadb_installed: Option<bool>,
    /// The container cannot write there.
    pub read_only: bool,
    /// Processes that hold the database open.
    pub holders: Vec<String>,
    /// What holds on the file system that it is on, where that is one of a network.
    pub network: Option<String>,
}

/// One file or folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its name; empty for the data folder itself.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
    /// It is a folder.
    pub folder: bool,
}

/// The container as the engine has it.
#[derive(Clone, Debug)]
pub struct Running {
    /// Its name.
    pub name: String,
    /// Its image.
    pub image: String,
    /// It runs, or is being started again and again.
    pub up: bool,
    /// It ends again and again.
    pub looping: bool,
    /// Other running servers on the same data folder.
    pub others: Vec<String>,
    /// Its image has a MariaDB inside; `None` where that cannot be told.
    pub has_mariadb: Option<bool>,
    /// The last lines of its log.
    pub log: Vec<String>,
}

impl Evidence {
    /// Nothing gathered yet.
    pub fn none(now: DateTime<Utc>) -> Evidence {
        Evidence {
            now,
            engine: None,
            database: None,
            folder: None,
            container: None,
            unread: Vec::new(),
            nowhere: None,
            half_made: None,
            damage: Vec::new(),
            unfinished: None,
        }
    }
}

impl Folder {
    /// The file called `name`.
    pub fn file(&self, name: &str) -> Option<&Seen> {
        self.files.iter().find(|seen| seen.name == name)
    }
}
