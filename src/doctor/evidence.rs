//! What was gathered about an instance. The checks decide what is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use chrono::{DateTime, Utc};

use crate::model::state::{ConfigRows, Summary};
use crate::schema::EngineKind;
use crate::text::bytes;
use crate::value::Row;

/// Everything that is known about an instance at one point in time. Parts that could not be gathered are `None`, with
/// the reason in [`unread`](Evidence::unread).
#[derive(Debug)]
pub struct Evidence {
    /// When it was gathered.
    pub now: DateTime<Utc>,
    /// The engine of the database.
    pub engine: Option<EngineKind>,
    /// The content of the database.
    pub database: Option<DatabaseContent>,
    /// The data folder.
    pub folder: Option<Folder>,
    /// The container.
    pub container: Option<Running>,
    /// Parts that could not be gathered.
    pub unread: Vec<Unavailable>,
    /// Why there is no instance to examine: an empty folder, an incomplete db-config.json.
    pub nowhere: Option<String>,
    /// What is wrong with `db-config.json`.
    pub config_problem: Option<String>,
    /// The `kuma.db` beside a configuration for MariaDB: its content, or why it cannot be read.
    pub beside: Option<Result<Summary, String>>,
    /// The content of the database itself, where there is such a `kuma.db`.
    pub summary: Option<Summary>,
    /// Other copies of the database in the data folder, where the database itself is missing or cannot be read.
    pub candidates: Vec<Candidate>,
    /// Number of tables, if the first start of the server was interrupted before all were created.
    pub half_made: Option<usize>,
    /// What `kuma.db` is instead of a SQLite database, and the command that helps.
    pub other_format: Option<(String, String)>,
    /// Pages in the rollback journal of an interrupted transaction.
    pub journal: Option<u64>,
    /// Why the rollback journal does not belong to the database.
    pub foreign_journal: Option<String>,
    /// The damage that the engine reports.
    pub damage: Vec<String>,
    /// A new push token for each push monitor, by its id: the checks have no source of random numbers.
    pub tokens: BTreeMap<i64, String>,
    /// An interrupted operation of kumadb, as text.
    pub unfinished: Option<String>,
}

/// Another copy of the database in the data folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its file name.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Its release and content, or why it cannot be read.
    pub about: String,
    /// The command that restores from it, or makes it readable.
    pub command: String,
}

impl Candidate {
    /// `` `kuma.db.bak0` (310 KB): release 2.0.2, 1 user, 12 monitors, newest heartbeat 2026-11-30 03:14:15 UTC ``.
    pub fn words(&self) -> String {
        format!("`{}` ({}): {}", self.name, bytes(self.size), self.about)
    }
}

/// A part that could not be gathered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable {
    /// `database`, `container`, `journal`.
    pub part: &'static str,
    /// Why not.
    pub why: String,
}

/// The content of a database: the configuration row by row, the history as figures.
#[derive(Debug)]
pub struct DatabaseContent {
    /// The configuration.
    pub config: ConfigRows,
    /// Rows of `knex_migrations_lock`; `None` where the release has no such table (1.x).
    pub lock: Option<Vec<Row>>,
    /// The heartbeats.
    pub beats: BeatFigures,
    /// Rows that refer to rows that do not exist.
    pub orphans: Vec<Orphans>,
    /// Tables whose next id is one that rows refer to already.
    pub reused_ids: Vec<ReusedIds>,
    /// SQLite: tables with rows whose counter of ids is missing: table, highest id.
    pub lost_counters: Vec<(String, i64)>,
    /// Statistics with a timestamp in the future: table, timestamp, rows.
    pub future: Vec<(String, i64, u64)>,
    /// Rows of each table of statistics, by monitor: table, monitor, rows.
    pub statistics: Vec<(String, i64, u64)>,
    /// Monitors whose daily statistics count more heartbeats than there are: the others were deleted once they had been
    /// aggregated.
    pub aggregated: BTreeSet<i64>,
    /// Monitors with heartbeats and without daily statistics, where the upgrade to 2.x was interrupted.
    pub unaggregated: BTreeSet<i64>,
    /// The version that the engine reports.
    pub version: String,
    /// SQLite shrinks the file at every commit (`auto_vacuum` FULL).
    pub eager: bool,
    /// Time zones of maintenance windows that are missing in the time zone database.
    pub unknown_zones: BTreeSet<String>,
}

/// Figures about all heartbeats.
#[derive(Debug, Default)]
pub struct BeatFigures {
    /// How many.
    pub rows: u64,
    /// How many report a timeout of the server's own database.
    pub timeouts: u64,
    /// Numeric statuses other than 0 to 3, each with its number of rows.
    pub odd_statuses: BTreeMap<i64, u64>,
    /// Ids of the first heartbeats whose status is not a number.
    pub odd: Vec<i64>,
    /// Ids of the first heartbeats in the future.
    pub future: Vec<i64>,
}

/// The most heartbeats that are listed by id.
pub(crate) const NAMED: usize = 10_000;

impl BeatFigures {
    /// Adds the figures of later heartbeats.
    pub fn add(&mut self, later: BeatFigures) {
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

/// Rows of one table that refer to one row that does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphans {
    /// Their table.
    pub table: String,
    /// The column that refers.
    pub column: String,
    /// The table it refers to.
    pub parent: String,
    /// The id that does not exist.
    pub value: i64,
    /// How many rows.
    pub rows: u64,
}

/// Rows that refer to ids of a table that it has not given out yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReusedIds {
    /// The table whose ids they are.
    pub parent: String,
    /// The last id that it gave out.
    pub last: i64,
    /// The highest id that is referred to.
    pub highest: i64,
    /// How many rows refer to ids above `last`, by table.
    pub rows: BTreeMap<String, u64>,
}

/// The data folder as the file system has it.
#[derive(Debug)]
pub struct Folder {
    /// Where it is.
    pub path: PathBuf,
    /// The engine that the server will use, if known.
    pub engine: Option<EngineKind>,
    /// The database is the MariaDB inside the container.
    pub embedded: bool,
    /// Bytes that can still be written there.
    pub free: u64,
    /// Bytes of the database.
    pub size: u64,
    /// Files and folders directly in it, and the data folder itself under an empty name.
    pub files: Vec<FileEvidence>,
    /// Files in `upload/`.
    pub uploads: Vec<FileEvidence>,
    /// The number of files in `screenshots/`.
    pub screenshots: usize,
    /// The user id of the server process and its group, if known.
    pub server: Option<(u32, u32)>,
    /// Files and folders of the embedded MariaDB, relative to the data folder: `mariadb/kuma`.
    pub mariadb: Vec<FileEvidence>,
    /// The folder `mariadb/` contains a complete installation.
    pub mariadb_installed: Option<bool>,
    /// The container cannot write there, because of how it is mounted.
    pub read_only: bool,
    /// Its file system is mounted read-only on the host.
    pub read_only_file_system: bool,
    /// Processes that have the database open.
    pub holders: Vec<String>,
    /// What to know about its file system, if that is a network file system.
    pub network: Option<String>,
}

/// One file or folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEvidence {
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
    /// It runs, or is in a restart loop.
    pub up: bool,
    /// It is in a restart loop.
    pub looping: bool,
    /// It ended by itself, with an error.
    pub failed: bool,
    /// Other running servers on the same data folder.
    pub others: Vec<String>,
    /// Its image contains MariaDB; `None` if unknown.
    pub has_mariadb: Option<bool>,
    /// The release of its image, according to its files.
    pub release: Option<String>,
    /// Migrations of the database that its image does not have; `None` if its files cannot be read.
    pub lacking: Option<Vec<String>>,
    /// The last lines of its log.
    pub log: Vec<String>,
}

impl Evidence {
    /// Whether the database has migrations that no known release has.
    pub fn has_unknown_migrations(&self) -> bool {
        self.database.as_ref().is_some_and(|content| !content.config.database.unknown_migrations().is_empty())
    }

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
            config_problem: None,
            beside: None,
            summary: None,
            candidates: Vec::new(),
            half_made: None,
            other_format: None,
            journal: None,
            foreign_journal: None,
            damage: Vec::new(),
            tokens: BTreeMap::new(),
            unfinished: None,
        }
    }
}

impl Folder {
    /// The file called `name`.
    pub fn file(&self, name: &str) -> Option<&FileEvidence> {
        self.files.iter().find(|seen| seen.name == name)
    }
}
