//! What is remembered of a job from one start to the next, and that only one schedule works on it.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::files::{self, Lock};

/// The durable note of one job.
#[derive(Debug)]
pub struct State {
    path: PathBuf,
    /// What it says.
    pub note: Note,
    _lock: Lock,
}

/// What is noted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Everything that was due until then is done, UTC.
    pub through: DateTime<Utc>,
    /// How many runs have ended.
    pub runs: u64,
    /// When a run last ended well.
    pub succeeded: Option<DateTime<Utc>>,
    /// When a good snapshot last went into each store: by instance, then by store.
    #[serde(default)]
    pub copied: BTreeMap<String, BTreeMap<String, DateTime<Utc>>>,
}

impl State {
    /// Opens the note of `job` in `folder`, for ourselves alone. A job that was never seen before has missed nothing.
    ///
    /// # Errors
    /// [`Error::Locked`] while another schedule works on this job.
    pub fn open(folder: &Path, job: &str, now: DateTime<Utc>) -> Result<State> {
        files::make_folder(folder)?;
        let lock = Lock::take(&folder.join(format!("{job}.lock")), &format!("job `{job}`, pid {}", std::process::id()))
            .map_err(|error| match error {
                Error::Locked { holder } => Error::JobLocked { job: job.to_owned(), holder },
                error => error,
            })?;
        let path = folder.join(format!("{job}.json"));
        let note = match files::read_text(&path)? {
            None => None,
            // A note that cannot be read is worth no more than none: the next run writes it anew.
            Some(text) => serde_json::from_str(&text).ok(),
        };
        let fresh = note.is_none();
        let note = note.unwrap_or(Note { through: now, runs: 0, succeeded: None, copied: BTreeMap::new() });
        let state = State { path, note, _lock: lock };
        if fresh {
            state.write()?;
        }
        Ok(state)
    }

    /// Writes it down, durably.
    pub fn write(&self) -> Result<()> {
        let text = serde_json::to_vec_pretty(&self.note)
            .map_err(|error| Error::Journal { path: self.path.clone(), why: error.to_string() })?;
        files::replace(&self.path, files::PRIVATE, |file| file.write_all(&text))
    }
}
