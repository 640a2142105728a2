//! The manifest of a snapshot.

use std::io::Write as _;
use std::path::{Component, Path};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::engine::{Counts, EngineKind, IntegrityError};
use crate::error::{Error, FileError, Result, SnapshotError};
use crate::files;
use crate::schema::{self, RecognizedRelease, Recording};

/// Files beside the database that may be in a copy.
const FOLDERS: [&str; 3] = ["upload", "docker-tls", "screenshots"];

/// The newest manifest format that this version writes and reads.
pub const FORMAT: u32 = 1;

/// The copy of a database on SQLite.
pub(super) const SQLITE: &str = "kuma.db";
/// The dump of a database on MariaDB.
pub(super) const MARIADB: &str = "dump.sql";

/// The database of either engine as SQL, in a stream.
pub(super) const SQL: &str = "kuma.sql";

/// The file of the server with the location of its database.
const CONFIG: &str = "db-config.json";

/// Its name in a folder and as the first member of an archive.
pub const FILE: &str = "manifest.json";

/// The first member of every snapshot, and a file beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Always [`FORMAT`] when written.
    pub format: u32,
    /// The id: short and unique within a store.
    pub id: String,
    /// The time of the data, UTC.
    pub created: DateTime<Utc>,
    /// The version of kumadb that created it.
    pub made_by: String,
    /// Why it was created: `backup create`, or the verb that it protects.
    pub reason: String,
    /// The name of the instance.
    pub instance: String,
    /// The location of the instance: two may have the same name, but not the same location.
    pub origin: String,
    /// Engine of the database.
    pub engine: EngineKind,
    /// The database could not be read: these are its files as they were, to be examined, not to be restored.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub raw: bool,
    /// A write created it, so that it can be undone: it is an undo snapshot, not a backup. `[undo]` of the config file limits
    /// how many are kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub undo: bool,
    /// What that write changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<Changed>,
    /// The undo snapshot that was restored by that write, where it was a `kumadb undo`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<String>,
    /// When that one was taken: it may be removed before this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes_taken: Option<DateTime<Utc>>,
    /// Where that one was made by an undo, so that this write was a redo: the one that the undo had restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redoes: Option<String>,
    /// Release of the server, as far as its migrations show it: `2.0.2`, or a range.
    pub release: String,
    /// Names in `knex_migrations`; for 1.x the patches.
    pub migrations: Vec<String>,
    /// Rows per table.
    pub counts: Counts,
    /// Tables whose rows are excluded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<String>,
    /// SQLite: pages of the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pages: Option<u64>,
    /// Faults that the database had when it was copied; the copy has them too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<IntegrityError>,
    /// The files.
    pub members: Vec<Member>,
    /// Hash of the whole archive, in hex; only in the file beside it. It detects changed bits that decompression ignores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive_blake3: Option<String>,
    /// Size of the whole archive, in bytes; only in the file beside it, so that a truncated one is detected without reading it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive_size: Option<u64>,
    /// The checks that the copy passed.
    pub verified: Vec<String>,
}

/// What a write changed, and so what an undo of it restores; ordered by how much that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Changed {
    /// No row: only how the tables are stored.
    Nothing,
    /// Rows of the configuration, none of the history.
    Configuration,
    /// Rows of the history were deleted too; missing ones can be restored from the copy.
    History,
    /// All of it: the database was replaced, or rows of the history were updated or inserted.
    All,
}

/// The undo snapshot that a `kumadb undo` restores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undone {
    /// Its id.
    pub id: String,
    /// When it was taken.
    pub taken: DateTime<Utc>,
    /// Where an undo made it, so that restoring it is a redo: the one that the undo had restored.
    pub redoes: Option<String>,
}

impl Undone {
    /// The undo snapshot with this manifest.
    pub fn of(manifest: &Manifest) -> Undone {
        Undone { id: manifest.id.clone(), taken: manifest.created, redoes: manifest.undoes.clone() }
    }
}

/// One file of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its path inside the archive.
    pub name: String,
    /// Size in bytes.
    pub size: u64,
    /// Hash of its content, in hex; empty beside an encrypted archive, because the hash of a short text such as
    /// `db-config.json` makes it possible to guess passwords.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub blake3: String,
}

/// Maximum size of a manifest, in bytes.
pub(in crate::backup) const MOST: u64 = 64 << 20;

/// Whether `text` is an id of a snapshot: 8 hex digits.
pub fn is_id(text: &str) -> bool {
    text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

impl Manifest {
    /// Fails when its id or the name of a member could lead out of its folder.
    pub(super) fn check(&self, name: &str) -> Result<()> {
        let unusable = |why: String| Err(Error::Snapshot(SnapshotError::Invalid { name: name.to_owned(), why }));
        if !is_id(&self.id) {
            return unusable(format!("`{}` is not a valid snapshot id", self.id));
        }
        match self.members.iter().find(|member| !is_plain(&member.name)) {
            None => Ok(()),
            Some(member) => unusable(format!("`{}` is not a valid name of a member", member.name)),
        }
    }

    /// Reads the manifest of the copy in `folder`, which may belong to another user; `None` where there is none.
    ///
    /// # Errors
    /// [`SnapshotError::Invalid`]: a newer kumadb created it, or it has an unexpected member.
    pub fn read(folder: &Path) -> Result<Option<Manifest>> {
        let Some(text) = files::read_below(folder, FILE, MOST)? else { return Ok(None) };
        let path = folder.join(FILE);
        let manifest = super::archive::parse(&path.to_string_lossy(), text.as_bytes())?;
        match manifest.members.iter().find(|member| !is_known(&member.name)) {
            None => Ok(Some(manifest)),
            Some(member) => Err(Error::Snapshot(SnapshotError::Invalid {
                name: path.display().to_string(),
                why: format!("unexpected member `{}`", member.name),
            })),
        }
    }

    /// The member with the database.
    pub fn database(&self) -> &'static str {
        match self.engine {
            EngineKind::Sqlite => SQLITE,
            EngineKind::MariaDb => MARIADB,
        }
    }

    /// The manifest that is stored unencrypted beside an encrypted archive.
    pub(super) fn redacted(&self) -> Manifest {
        let mut redacted = self.clone();
        redacted.members.iter_mut().for_each(|member| member.blake3.clear());
        redacted
    }

    /// The manifest as JSON text.
    pub(super) fn render(&self) -> Result<Vec<u8>> {
        serde_json::to_vec_pretty(self).map_err(|error| {
            Error::File(FileError::Encode { what: "the manifest of a snapshot", why: error.to_string() })
        })
    }

    /// Writes it into `folder`, beside its members.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let text = self.render()?;
        files::replace(&folder.join(FILE), files::PRIVATE, |file| file.write_all(&text))
    }

    /// Total size of the members, in bytes.
    pub fn size(&self) -> u64 {
        self.members.iter().map(|member| member.size).sum()
    }

    /// Whether the engine checked everything when it was created, not only structure and references.
    pub fn is_fully_checked(&self) -> bool {
        self.verified.iter().any(|check| ["integrity_check", "CHECK TABLE EXTENDED"].contains(&check.as_str()))
    }

    /// Whether it contains the full database, readable.
    pub fn is_whole(&self) -> bool {
        self.without.is_empty() && !self.raw
    }

    /// Its class: `backup`, or `undo` where a write created it.
    pub fn class(&self) -> &'static str {
        if self.undo { "undo" } else { "backup" }
    }

    /// The release of the server, as far as its migrations show it.
    pub fn recognise(&self) -> RecognizedRelease {
        schema::recognise_applied(&self.migrations.iter().cloned().collect())
    }

    /// The recorded schema of this release on `engine`, where there is one.
    pub fn recording(&self, engine: EngineKind) -> Option<&'static Recording> {
        let found = self.recognise();
        if found.exact { schema::recording(engine, found.release) } else { None }
    }

    /// The same for a database that will have been upgraded to the release of `target`, on SQLite.
    pub fn become_release(&mut self, target: &Recording) {
        let migrations: Vec<String> = target.migrations().map(str::to_owned).collect();
        self.migrations = if migrations.is_empty() { target.patches().into_iter().collect() } else { migrations };
        (self.release, self.engine) = (target.release.to_string(), EngineKind::Sqlite);
    }

    /// Rows of `table`.
    pub fn rows(&self, table: &str) -> u64 {
        self.counts.get(table).copied().unwrap_or(0)
    }
}

/// Whether `name` stays below its folder.
fn is_plain(name: &str) -> bool {
    let path = Path::new(name);
    !name.is_empty() && path.components().all(|part| matches!(part, Component::Normal(_)))
}

/// Whether a copy may have a member called `name`.
fn is_known(name: &str) -> bool {
    let sides = ["", "-wal", "-shm", "-journal"];
    let is_database = name.strip_prefix(SQLITE).is_some_and(|side| sides.contains(&side)) || name == MARIADB;
    is_database || name == CONFIG || name.split_once('/').is_some_and(|(folder, _)| FOLDERS.contains(&folder))
}
