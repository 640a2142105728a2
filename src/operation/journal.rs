//! The durable record of an unfinished operation. It is written before the server is stopped, and removed only when the
//! instance is in its final state.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::convert::EngineSwitch;
use super::work::{FixProgress, Mode};
use crate::backup::Changed;
use crate::docker::RunState;
use crate::error::{Error, OperationError, Result};
use crate::files;
use crate::instance::Instance;
use crate::kuma::mark::Watched;
use crate::model::state::Fingerprint;
use crate::schema::Release;
use crate::value::{is_image, local_time};

/// The only format version.
const FORMAT: u32 = 1;

/// Bytes that are reserved for notes: some blocks of any file system.
const SPARE: usize = 32 << 10;

/// The progress of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nothing was done yet.
    Noted,
    /// The server was asked to stop; nothing was written.
    Stopping,
    /// The copy is staged; the transaction may or may not be committed.
    Writing,
    /// The transaction is committed; the server is not verified up yet.
    Committed,
    /// The staged copy is being restored.
    RollingBack,
    /// The staged copy is restored; the server is not verified up yet. What it writes from here on must not be lost.
    PutBack,
    /// The server is verified up (or stays down as it was); the undo snapshot is not stored yet.
    Seen,
}

impl Phase {
    /// The phase in words, for messages.
    pub fn words(self) -> &'static str {
        match self {
            Phase::Noted | Phase::Stopping => "interrupted before anything was written",
            Phase::Writing => "interrupted while writing",
            Phase::Committed => "interrupted after the commit, before the server was verified to be running",
            Phase::RollingBack | Phase::PutBack => "interrupted while rolling back",
            Phase::Seen => "interrupted while the undo snapshot was being stored",
        }
    }
}

/// The upgrade that an open journal belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotedUpgrade {
    /// The release.
    pub release: String,
    /// Id and name of the image of the container before.
    pub image: Option<(String, String)>,
}

impl NotedUpgrade {
    /// What is in it that kumadb does not write: both names are repeated in commands that users are asked to run.
    pub(super) fn find_problem(&self) -> Option<String> {
        if self.release.parse::<Release>().is_err() {
            return Some(format!("`{}` is not a release", self.release));
        }
        let named =
            self.image.iter().flat_map(|(id, name)| [id, name]).find(|name| !name.is_empty() && !is_image(name));
        named.map(|name| format!("`{name}` is not a name of an image"))
    }
}

/// The content of a journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JournalRecord {
    /// Always 1.
    pub format: u32,
    /// The verb: `monitor add`.
    pub verb: String,
    /// When the operation began, UTC.
    pub started: DateTime<Utc>,
    /// The instance: a copy staged for one database must never be loaded into another.
    pub origin: String,
    /// The process id.
    pub pid: u32,
    /// The progress of the operation.
    pub phase: Phase,
    /// The container's id and name, where there is one.
    pub container: Option<(String, String)>,
    /// The state of the container before the operation, to be restored after it.
    pub life: Option<RunState>,
    /// What happens to the server meanwhile.
    pub mode: Mode,
    /// Whether the whole database is replaced, not only the rows of a plan.
    pub loads: bool,
    /// MariaDB: tables are built in a second database and exchanged with the live ones.
    #[serde(default)]
    pub swaps: bool,
    /// The database is moved to another place: from which to which.
    #[serde(default)]
    pub converts: Option<EngineSwitch>,
    /// Whether the statements are durable one by one: there is nothing to roll back.
    #[serde(default)]
    pub lasts: bool,
    /// The release that the database is upgraded to, whose image the server needs then.
    #[serde(default)]
    pub upgrade: Option<NotedUpgrade>,
    /// age recipients of the undo snapshot, if it is encrypted: the user who recovers may not know them.
    #[serde(default)]
    pub recipients: Vec<String>,
    /// The query that shows the change, where the configuration does not show it.
    #[serde(default)]
    pub watched: Option<Watched>,
    /// How much of a `doctor --fix` is done, for messages.
    #[serde(default)]
    pub fixes: Option<FixProgress>,
    /// What the change has changed, once that is known.
    #[serde(default)]
    pub changed: Option<Changed>,
    /// Fingerprint of the configuration, and of what is watched, before the change.
    pub before: Option<Fingerprint>,
    /// The same after the change, known before the commit.
    pub after: Option<Fingerprint>,
    /// Id of the newest heartbeat before the server was started again.
    pub last_beat: i64,
}

impl JournalRecord {
    /// A new record of `verb`.
    pub fn new(verb: &str, instance: &Instance, life: Option<RunState>, mode: Mode, loads: bool) -> JournalRecord {
        JournalRecord {
            format: FORMAT,
            verb: verb.to_owned(),
            started: Utc::now(),
            pid: std::process::id(),
            phase: Phase::Noted,
            origin: instance.origin(),
            container: instance.container_name(),
            life,
            mode,
            loads,
            swaps: false,
            converts: None,
            lasts: false,
            upgrade: None,
            recipients: Vec::new(),
            watched: None,
            fixes: None,
            changed: None,
            before: None,
            after: None,
            last_beat: 0,
        }
    }

    /// Fails where a name in it is none that kumadb writes: its folder may belong to an attacker, and names are repeated in
    /// commands that users are asked to run.
    fn check(&self) -> Result<(), String> {
        let is_name = |text: &str| {
            let rest = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
            text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(rest)
        };
        if !self.verb.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, ' ' | '-' | '_')) {
            return Err(format!("`verb`: `{}` is not a command of kumadb", self.verb));
        }
        if let Some(why) = self.upgrade.as_ref().and_then(NotedUpgrade::find_problem) {
            return Err(format!("`upgrade`: {why}"));
        }
        match self.container.iter().flat_map(|(id, name)| [id, name]).find(|name| !is_name(name)) {
            Some(name) => Err(format!("`container`: `{name}` is not a name of a container")),
            None => Ok(()),
        }
    }

    /// Whether the server was running before the operation.
    pub fn was_running(&self) -> bool {
        self.life.is_some_and(|life| life != RunState::Stopped)
    }

    /// Whether the server keeps running while the change is written.
    pub fn live(&self) -> bool {
        self.mode != Mode::Stopped
    }

    /// Whether the database itself shows that the change was committed: the change is one transaction of rows. Of an exchange of
    /// tables, only a part may be made.
    pub(super) fn shows_commit(&self) -> bool {
        !(self.loads || self.lasts || self.swaps)
    }

    /// The error that every other verb returns while this journal is open.
    pub fn unfinished(&self) -> Error {
        Error::Operation(OperationError::Unfinished {
            verb: self.verb.clone(),
            started: local_time(self.started),
            phase: self.phase.words().to_owned(),
        })
    }
}

/// An open journal on disk.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    /// Its content.
    pub record: JournalRecord,
}

impl Journal {
    /// Writes the first record into the folder `work`.
    ///
    /// # Errors
    /// [`OperationError::Journal`]: it could not be read again.
    pub fn open(work: &Path, record: JournalRecord) -> Result<Journal> {
        let journal = Journal { path: path_in(work), record };
        let unreadable = |why| Error::Operation(OperationError::Journal { path: journal.path.clone(), why });
        journal.record.check().map_err(unreadable)?;
        journal.reserve()?;
        journal.write()?;
        Ok(journal)
    }

    /// Reserves disk space for notes, so that a rollback can be noted although the disk is full by then.
    fn reserve(&self) -> Result<()> {
        let mut bytes = [0; SPARE];
        // A file system may compress what is not random.
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        files::replace(&self.spare(), files::PRIVATE, |file| file.write_all(&bytes))
    }

    fn spare(&self) -> PathBuf {
        self.path.with_file_name("journal.spare")
    }

    /// Records that the operation reached `phase`.
    pub fn advance(&mut self, phase: Phase) -> Result<()> {
        self.record.phase = phase;
        self.write()
    }

    /// Removes the journal: the instance is in its final state.
    pub fn close(&self) -> Result<()> {
        files::remove(&self.path)?;
        files::sync_folder(files::parent(&self.path))
    }

    /// Reads the open journal in the folder `work`, if there is one.
    ///
    /// # Errors
    /// [`OperationError::Journal`] when it cannot be parsed; it is never
    /// discarded.
    pub fn read(work: &Path) -> Result<Option<Journal>> {
        let path = path_in(work);
        let Some(text) = files::read_text(&path)? else { return Ok(None) };
        let broken = |why: String| Error::Operation(OperationError::Journal { path: path.clone(), why });
        let written: serde_json::Value = serde_json::from_str(&text).map_err(|error| broken(error.to_string()))?;
        // The format first: a newer one may not have fields that this version expects.
        if let Some(n) = written["format"].as_u64().filter(|n| *n != u64::from(FORMAT)) {
            return Err(broken(format!("format {n} is not supported; this kumadb supports format {FORMAT}")));
        }
        let record: JournalRecord = serde_json::from_value(written).map_err(|error| broken(error.to_string()))?;
        record.check().map_err(broken)?;
        Ok(Some(Journal { path, record }))
    }

    /// As root, gives a journal that an earlier run as root left to the owner of its folder. Returns whether it did.
    pub(super) fn give(&self) -> Result<bool> {
        let is_root = matches!(files::look(&self.path), Ok(Some(found)) if found.uid == 0);
        // A rewritten file belongs to the owner of the folder.
        if is_root { self.write().map(|()| true) } else { Ok(false) }
    }

    fn write(&self) -> Result<()> {
        let text = serde_json::to_string_pretty(&self.record).map_err(|error| {
            Error::Operation(OperationError::Journal { path: self.path.clone(), why: error.to_string() })
        })?;
        let write = || files::replace(&self.path, files::PRIVATE, |file| file.write_all(text.as_bytes()));
        match write() {
            Err(error) if error.is_full() => files::remove(&self.spare()).and_then(|()| write()),
            written => written,
        }
    }
}

fn path_in(work: &Path) -> PathBuf {
    work.join("journal.json")
}
