//! The durable note of an unfinished operation. It is written before the server is stopped, and goes only when the
//! instance is as it should be.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Mode;
use crate::backup::Changed;
use crate::docker::Life;
use crate::error::{Error, Result};
use crate::files;
use crate::instance::Instance;
use crate::kuma::mark::Watched;
use crate::model::state::Fingerprint;
use crate::value::local_time;

/// The only format there is.
const FORMAT: u32 = 1;

/// How far an operation came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nothing was done yet.
    Noted,
    /// The server was told to stop; nothing was written.
    Stopping,
    /// The copy is held; the transaction may or may not have been committed.
    Writing,
    /// The transaction was committed; the server was not seen working yet.
    Committed,
    /// The copy is being put back.
    RollingBack,
    /// The copy was put back; the server was not seen working yet. What it writes from here on is not to be lost.
    PutBack,
    /// The server was seen working (or stays down as it was); the copy is not packed yet.
    Seen,
}

impl Phase {
    /// What a message says of it.
    pub fn words(self) -> &'static str {
        match self {
            Phase::Noted | Phase::Stopping => "interrupted before anything was written",
            Phase::Writing => "interrupted while writing",
            Phase::Committed => "interrupted after the commit, before the server was verified up",
            Phase::RollingBack | Phase::PutBack => "interrupted while rolling back",
            Phase::Seen => "interrupted while the undo snapshot was being stored",
        }
    }
}

/// What is noted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Always 1.
    pub format: u32,
    /// The verb: `monitor add`.
    pub verb: String,
    /// When it began, UTC.
    pub started: DateTime<Utc>,
    /// The instance it is about: a copy held for one database must never be put into another.
    pub origin: String,
    /// The process.
    pub pid: u32,
    /// How far it came.
    pub phase: Phase,
    /// The container's id and name, where there is one.
    pub container: Option<(String, String)>,
    /// What the container did before us, and shall do after us.
    pub life: Option<Life>,
    /// What happens to the server meanwhile.
    pub mode: Mode,
    /// The whole database is replaced, not only what a plan names.
    pub loads: bool,
    /// MariaDB: tables are made ready in a database beside, and exchanged with those that are there.
    #[serde(default)]
    pub swaps: bool,
    /// What is written lasts, statement by statement: there is nothing to put back.
    #[serde(default)]
    pub lasts: bool,
    /// Recipients of age that the snapshot is encrypted to, if it is: whoever resumes may not know.
    #[serde(default)]
    pub recipients: Vec<String>,
    /// What the change shows in, where it does not show in the configuration.
    #[serde(default)]
    pub watched: Option<Watched>,
    /// What the change has changed, once that is known.
    #[serde(default)]
    pub changed: Option<Changed>,
    /// The configuration, and what is watched, before the change.
    pub before: Option<Fingerprint>,
    /// The same after the change, known before it is committed.
    pub after: Option<Fingerprint>,
    /// The newest beat before the server was started again.
    pub last_beat: i64,
}

impl Record {
    /// A fresh note of `verb`.
    pub fn new(verb: &str, instance: &Instance, life: Option<Life>, mode: Mode, loads: bool) -> Record {
        Record {
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
            lasts: false,
            recipients: Vec::new(),
            watched: None,
            changed: None,
            before: None,
            after: None,
            last_beat: 0,
        }
    }

    /// Whether the server was up before us.
    pub fn was_running(&self) -> bool {
        self.life.is_some_and(|life| life != Life::Stopped)
    }

    /// Whether the server goes on while the change is written.
    pub fn live(&self) -> bool {
        self.mode != Mode::Stopped
    }

    /// The error that every other verb answers with while this is open.
    pub fn unfinished(&self) -> Error {
        Error::Unfinished {
            verb: self.verb.clone(),
            started: local_time(self.started),
            phase: self.phase.words().to_owned(),
        }
    }
}

/// An open note on disk.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    /// What it says.
    pub record: Record,
}

impl Journal {
    /// Writes the first note into the folder `work`.
    pub fn open(work: &Path, record: Record) -> Result<Journal> {
        let journal = Journal { path: path_in(work), record };
        journal.write()?;
        Ok(journal)
    }

    /// Notes that the operation came to `phase`.
    pub fn advance(&mut self, phase: Phase) -> Result<()> {
        self.record.phase = phase;
        self.write()
    }

    /// Ends the note: the instance is as it should be.
    pub fn close(&self) -> Result<()> {
        files::remove(&self.path)?;
        files::sync_folder(self.path.parent().unwrap_or(Path::new(".")))
    }

    /// The open note in the folder `work`, if there is one.
    ///
    /// # Errors
    /// [`Error::Journal`] when it cannot be understood; it is never thrown away unread.
    pub fn read(work: &Path) -> Result<Option<Journal>> {
        let path = path_in(work);
        let Some(text) = files::read_text(&path)? else { return Ok(None) };
        let broken = |why: String| Error::Journal { path: path.clone(), why };
        let written: serde_json::Value = serde_json::from_str(&text).map_err(|error| broken(error.to_string()))?;
        // The format first: a newer one may lack what this kumadb looks for.
        if let Some(n) = written["format"].as_u64().filter(|n| *n != u64::from(FORMAT)) {
            return Err(broken(format!("format {n} is not supported; this kumadb supports format {FORMAT}")));
        }
        let record: Record = serde_json::from_value(written).map_err(|error| broken(error.to_string()))?;
        Ok(Some(Journal { path, record }))
    }

    /// As root, gives the note that an earlier run as root left to the owner of its folder. Says whether it did.
    pub(super) fn give(&self) -> Result<bool> {
        let is_root = std::fs::symlink_metadata(&self.path).is_ok_and(|found| found.uid() == 0);
        // Written again, it belongs to the owner of the folder.
        if is_root { self.write().map(|()| true) } else { Ok(false) }
    }

    fn write(&self) -> Result<()> {
        let text = serde_json::to_string_pretty(&self.record)
            .map_err(|error| Error::Journal { path: self.path.clone(), why: error.to_string() })?;
        files::replace(&self.path, files::PRIVATE, |file| file.write_all(text.as_bytes()))
    }
}

fn path_in(work: &Path) -> PathBuf {
    work.join("journal.json")
}
