//! Database schemas: tables, columns, defaults, keys; and the release of the server that they belong to.
//!
//! `migrations/` is embedded here: the server's own schema, recorded release by release.

mod definition;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::error::Problem;

/// The engine of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// SQLite, one `kuma.db`.
    Sqlite,
    /// MariaDB, embedded in the container or external.
    MariaDb,
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EngineKind::Sqlite => "SQLite",
            EngineKind::MariaDb => "MariaDB",
        })
    }
}

/// A release of the server, `2.5.3`. Ordered as releases are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Release {
    /// 1 or 2.
    pub major: u16,
    /// The second number.
    pub minor: u16,
    /// The third number.
    pub patch: u16,
}

impl Release {
    /// The release `major.minor.patch`.
    pub const fn new(major: u16, minor: u16, patch: u16) -> Self {
        Release { major, minor, patch }
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl FromStr for Release {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split('.').map(str::parse);
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(Ok(major)), Some(Ok(minor)), Some(Ok(patch)), None) => Ok(Release { major, minor, patch }),
            _ => Err(format!("`{text}` is not a valid release; example: 2.5.3")),
        }
    }
}

impl TryFrom<String> for Release {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Release> for String {
    fn from(release: Release) -> String {
        release.to_string()
    }
}

/// Every table of one database.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Schema {
    /// Tables by name; the engine's own bookkeeping tables are left out.
    pub tables: BTreeMap<String, Table>,
}

/// One table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Columns in their order.
    pub columns: Vec<Column>,
    /// Foreign keys, sorted by column.
    pub foreign_keys: Vec<ForeignKey>,
    /// Indexes, sorted by name; SQLite's automatic ones included when they enforce UNIQUE.
    pub indexes: Vec<Index>,
}

/// One column.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type as the database spells it.
    pub sql_type: String,
    /// NULL is refused.
    pub not_null: bool,
    /// The default expression as the database spells it.
    pub default: Option<String>,
    /// Part of the primary key.
    pub primary_key: bool,
    /// The only values that its ENUM or its CHECK accepts; empty if it accepts others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<String>,
    /// MariaDB: `auto_increment` and the like; empty on SQLite.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub extra: String,
    /// MariaDB: the character set of a text column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charset: Option<String>,
    /// MariaDB: the collation of a text column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collation: Option<String>,
}

/// One foreign key of one column.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ForeignKey {
    /// The constraint's name; SQLite keeps none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The referencing column.
    pub column: String,
    /// The referenced table.
    pub table: String,
    /// The referenced column.
    pub to: String,
    /// What an update of the referenced key does.
    pub on_update: String,
    /// What a delete of the referenced row does.
    pub on_delete: String,
}

/// One index.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Index {
    /// Its name.
    pub name: String,
    /// Whether no two rows have the same values in these columns; not if it is on an expression, or on some rows only.
    pub unique: bool,
    /// Its columns, in order, without expressions.
    pub columns: Vec<String>,
}

impl Schema {
    /// The table `name`.
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.get(name)
    }

    /// Whether `table` has `column`.
    pub fn has(&self, table: &str, column: &str) -> bool {
        self.table(table).is_some_and(|table| table.column(column).is_some())
    }

    /// Every column that refers to a row of `parent` by its id, as (table, column): those with a foreign key, and those that
    /// are named for it, because the server itself declares no key for some (`notification.user_id`,
    /// `group.status_page_id`, `notification_sent_history.monitor_id`, read in 1.23 to 2.5.3) and a conversion loses others.
    pub fn references_to<'s>(&'s self, parent: &str) -> Vec<(&'s str, &'s str)> {
        let by_name = format!("{parent}_id");
        let refers = |table: &str, described: &Table, column: &str| {
            column == by_name
                || UNUSUAL_REFERENCES.contains(&(table, column, parent))
                || described
                    .foreign_keys
                    .iter()
                    .any(|key| key.column == column && key.table == parent && key.to == "id")
        };
        self.tables
            .iter()
            .flat_map(|(table, described)| described.columns.iter().map(move |column| (table, described, column)))
            .filter(|(table, described, column)| refers(table, described, &column.name))
            .map(|(table, _, column)| (table.as_str(), column.name.as_str()))
            .collect()
    }

    /// Names of all tables.
    pub fn names(&self) -> BTreeSet<&str> {
        self.tables.keys().map(String::as_str).collect()
    }
}

impl Table {
    /// The column `name`.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}

/// The highest id that both engines take: `int(10) unsigned` on MariaDB in all releases of 2.x.
pub const HIGHEST_ID: i64 = u32::MAX as i64;

/// References whose column is not named for the table they refer to: table, column, parent.
const UNUSUAL_REFERENCES: [(&str, &str, &str); 3] = [
    ("monitor", "parent", "monitor"),
    ("monitor", "docker_host", "docker_host"),
    ("monitor", "remote_browser", "remote_browser"),
];

/// The schema of one release, recorded from a database of that release.
#[derive(Debug)]
pub struct Recording {
    /// The engine it was recorded on.
    pub engine: EngineKind,
    /// The release it was recorded from.
    pub release: Release,
    /// Statements that create the tables and their initial rows, see [`script`].
    pub sql: &'static str,
    tables: OnceLock<Schema>,
    applied: OnceLock<BTreeSet<String>>,
}

impl Recording {
    /// Its tables, as the engine describes them; on MariaDB without the collation of columns, and with a character set only
    /// where the definition names one: others come from the database.
    pub fn schema(&self) -> &Schema {
        self.tables.get_or_init(|| definition::read(self.engine, script(self.sql)))
    }

    /// What identifies it: the applied migrations, or in 1.x the applied patches.
    fn signature(&self) -> &BTreeSet<String> {
        self.applied.get_or_init(|| {
            let names: BTreeSet<String> = self.migrations().map(str::to_owned).collect();
            if names.is_empty() { self.patches() } else { names }
        })
    }

    /// Names in `knex_migrations`, in the order they are applied; empty in 1.x.
    pub fn migrations(&self) -> impl Iterator<Item = &'static str> {
        self.rows("knex_migrations").filter_map(|row| row.split('\'').nth(1))
    }

    /// Names in the setting `databasePatchedFiles`; only on SQLite, and 2.x no longer adds to it.
    pub fn patches(&self) -> BTreeSet<String> {
        self.patches_in_order().into_iter().collect()
    }

    /// The same in the order in which the server applies them.
    pub fn patches_in_order(&self) -> Vec<String> {
        let list = self.settings().find(|(key, _)| *key == "databasePatchedFiles").map_or("{}", |(_, value)| value);
        let list: serde_json::Map<String, serde_json::Value> = serde_json::from_str(list).unwrap_or_default();
        list.into_iter().map(|(name, _)| name).collect()
    }

    /// The settings of a new database of this release, without `jwtSecret`.
    pub fn settings(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.rows("setting").filter_map(|row| row.strip_prefix("('")?.strip_suffix("')")?.split_once("', '"))
    }

    /// The rows of `table`, as written, without the comma.
    fn rows(&self, table: &str) -> impl Iterator<Item = &'static str> {
        let head = format!("INSERT INTO `{table}` ");
        let insert = script(self.sql).find(|statement| statement.starts_with(&head)).unwrap_or_default();
        insert.lines().skip(1).map(|line| line.trim().trim_end_matches([',', ';']))
    }
}

macro_rules! recordings {
    ($engine:expr, $folder:literal: $($major:literal $minor:literal $patch:literal,)+) => {
        [$(Recording {
            engine: $engine,
            release: Release::new($major, $minor, $patch),
            sql: include_str!(concat!("../migrations/", $folder, "/", $major, ".", $minor, ".", $patch, ".sql")),
            tables: OnceLock::new(),
            applied: OnceLock::new(),
        }),+]
    };
}

/// Oldest first. All migration sets are the same on MariaDB.
static SQLITE: [Recording; 12] = recordings! { EngineKind::Sqlite, "sqlite":
    1 23 0, 1 23 17, 2 0 0, 2 0 2, 2 1 0, 2 1 3, 2 2 1, 2 3 2, 2 4 0, 2 5 0, 2 5 1, 2 5 3,
};

/// Oldest first. 1.x does not support MariaDB.
static MARIADB: [Recording; 10] = recordings! { EngineKind::MariaDb, "mariadb":
    2 0 0, 2 0 2, 2 1 0, 2 1 3, 2 2 1, 2 3 2, 2 4 0, 2 5 0, 2 5 1, 2 5 3,
};

/// Every recorded release on `engine`, oldest first.
pub fn recorded(engine: EngineKind) -> &'static [Recording] {
    match engine {
        EngineKind::Sqlite => &SQLITE,
        EngineKind::MariaDb => &MARIADB,
    }
}

/// The newest recorded release.
pub fn newest() -> Release {
    SQLITE[SQLITE.len() - 1].release
}

/// The recording for `release`: its own, or that of an older release if the next newer recorded one has the same schema
/// (2.5.2 is between 2.5.1 and 2.5.3, which are the same).
pub fn recording(engine: EngineKind, release: Release) -> Option<&'static Recording> {
    let all = recorded(engine);
    let at = all.iter().rposition(|recording| recording.release <= release)?;
    let found = &all[at];
    let next = all.get(at + 1);
    let same = |next: &Recording| found.signature() == next.signature();
    (found.release == release || next.is_some_and(same)).then_some(found)
}

/// The problem of a `release` without a [`recording`].
pub fn not_recorded(engine: EngineKind, release: Release) -> Problem {
    let known: Vec<String> = recorded(engine).iter().map(|known| known.release.to_string()).collect();
    Problem::new("release", format!("kumadb does not know the schema of release {release} on {engine}"))
        .hint(format!("use one of {}", known.join(", ")))
}

/// Whether a release has a table called `name` on `engine`.
pub fn is_of_server(engine: EngineKind, name: &str) -> bool {
    recorded(engine)
        .iter()
        .any(|recording| recording.schema().tables.keys().any(|table| table.eq_ignore_ascii_case(name)))
}

/// The foreign keys in the statement that creates a table, as `SHOW CREATE TABLE` of MariaDB returns it.
pub fn foreign_keys(create: &str) -> Vec<ForeignKey> {
    let schema = definition::read(EngineKind::MariaDb, std::iter::once(create));
    schema.tables.into_values().flat_map(|table| table.foreign_keys).collect()
}

/// Columns and the only values that a `CHECK (column in ('a', 'b'))` in the statement `create` of SQLite accepts.
pub fn checked_choices(create: &str) -> Vec<(String, Vec<String>)> {
    definition::checked_choices(create)
}

/// The values of the type `enum('a','b')` of MariaDB; empty for other types.
pub fn enum_choices(sql_type: &str) -> Vec<String> {
    definition::enum_choices(sql_type)
}

/// `name` between backticks, which both engines accept.
pub fn quote(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// The statements of a recorded file, without its comments and without the closing semicolon.
pub fn script(sql: &str) -> impl Iterator<Item = &str> {
    sql.split(";\n")
        .map(|statement| {
            let mut rest = statement.trim();
            while let Some(comment) = rest.strip_prefix("--") {
                rest = comment.split_once('\n').map_or("", |(_, after)| after.trim_start());
            }
            rest
        })
        .filter(|statement| !statement.is_empty())
}

/// The release of a database, according to its migrations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecognizedRelease {
    /// The newest recorded release with the same migrations; if there is none, the newest whose migrations are all
    /// applied.
    pub release: Release,
    /// The oldest recorded release with the same migrations as `release`.
    pub oldest: Release,
    /// The database has the migrations of `release` and no others.
    pub exact: bool,
    /// Applied, but not part of `release`: the database belongs to a newer or another server.
    pub unknown: Vec<String>,
    /// Not applied: the database is older than every recorded release, or its upgrade is incomplete.
    pub missing: Vec<String>,
    /// The oldest recorded release that has all that was applied, if no release has exactly that: an upgrade was
    /// interrupted, or records were lost.
    pub within: Option<Release>,
}

impl fmt::Display for RecognizedRelease {
    /// `2.5.1 to 2.5.3`, `2.4.0`, `newer than 2.5.3`, `older than 2.0.0`, `between 2.0.0 and 2.1.0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.missing.is_empty(), self.unknown.is_empty(), self.within) {
            (true, false, Some(within)) => write!(f, "between {} and {within}", self.release),
            (true, false, None) => write!(f, "newer than {}", self.release),
            (false, true, _) => write!(f, "older than {}", self.oldest),
            (false, false, Some(within)) => write!(f, "incomplete {within}"),
            (false, false, None) => write!(f, "unlike {}", self.release),
            _ if self.oldest == self.release => self.release.fmt(f),
            _ => write!(f, "{} to {}", self.oldest, self.release),
        }
    }
}

/// Identifies the release of a database by the names of everything that was applied to it: migrations, or patches of 1.x,
/// which are SQL files.
pub fn recognise_applied(applied: &BTreeSet<String>) -> RecognizedRelease {
    if applied.iter().all(|name| name.ends_with(".sql")) {
        recognise(&BTreeSet::new(), applied)
    } else {
        recognise(applied, &BTreeSet::new())
    }
}

/// Identifies the release of a database by the names in its `knex_migrations` or, for 1.x, by the names in its setting
/// `databasePatchedFiles`.
pub fn recognise(migrations: &BTreeSet<String>, patched_1x: &BTreeSet<String>) -> RecognizedRelease {
    let (old, new) = SQLITE.split_at(first_2x());
    if migrations.is_empty() { among(old, patched_1x) } else { among(new, migrations) }
}

/// A database of 2.x in which no migration is recorded as applied.
pub fn without_migrations() -> RecognizedRelease {
    among(&SQLITE[first_2x()..], &BTreeSet::new())
}

fn first_2x() -> usize {
    SQLITE.partition_point(|recording| recording.release.major < 2)
}

fn among(known: &[Recording], applied: &BTreeSet<String>) -> RecognizedRelease {
    // Mostly it is one of the newest: the others are not read then.
    let same_as = |names: &BTreeSet<String>| known.iter().rposition(|recording| recording.signature() == names);
    let (at, exact) = match same_as(applied) {
        Some(at) => (at, true),
        None => {
            let older = known.iter().rposition(|recording| recording.signature().is_subset(applied)).unwrap_or(0);
            (same_as(known[older].signature()).unwrap_or(older), false)
        }
    };
    let names = known[at].signature();
    let oldest = known[..at].iter().rev().take_while(|recording| recording.signature() == names).last();
    let within = || known.iter().find(|recording| applied.is_subset(recording.signature()));
    let release = known[at].release;
    let oldest = oldest.map_or(release, |recording| recording.release);
    RecognizedRelease {
        release,
        oldest,
        exact,
        unknown: applied.difference(names).cloned().collect(),
        missing: names.difference(applied).cloned().collect(),
        within: if exact { None } else { within().map(|recording| recording.release) },
    }
}
