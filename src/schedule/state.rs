//! The state of a job between starts, and the lock that only one schedule works on it.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::error::{Error, JobError, OperationError, Result};
use crate::files::{self, Lock};

/// The durable state of one job.
#[derive(Debug)]
pub struct JobState {
    path: PathBuf,
    /// Its content.
    pub note: JobNote,
    _lock: Lock,
}

/// The content of a job's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobNote {
    /// Every run that was due until then is done, UTC.
    pub through: DateTime<Utc>,
    /// How many runs have ended.
    pub runs: u64,
    /// When a run last succeeded.
    pub succeeded: Option<DateTime<Utc>>,
    /// When a good snapshot was last stored in each store: by instance, then by store.
    #[serde(default)]
    pub copied: BTreeMap<String, BTreeMap<String, DateTime<Utc>>>,
}

impl JobState {
    /// Opens the state of `job` in `folder`, exclusively. A new job has missed nothing.
    ///
    /// # Errors
    /// [`OperationError::Locked`](crate::error::OperationError::Locked) while another schedule works on this job.
    pub fn open(folder: &Path, job: &str, now: DateTime<Utc>) -> Result<JobState> {
        files::make_folder(folder)?;
        let lock = Lock::take(&folder.join(format!("{job}.lock")), &format!("job `{job}`, pid {}", std::process::id()))
            .map_err(|error| match error {
                Error::Operation(OperationError::Locked { holder }) => {
                    Error::Job(JobError::Locked { job: job.to_owned(), holder })
                }
                error => error,
            })?;
        let path = folder.join(format!("{job}.json"));
        let note = match files::read_text(&path)? {
            None => None,
            // An unreadable state counts as missing: the next run rewrites it.
            Some(text) => serde_json::from_str(&text).ok(),
        };
        let fresh = note.is_none();
        let note = note.unwrap_or(JobNote { through: now, runs: 0, succeeded: None, copied: BTreeMap::new() });
        let state = JobState { path, note, _lock: lock };
        if fresh {
            state.write()?;
        }
        Ok(state)
    }

    /// Writes it durably.
    pub fn write(&self) -> Result<()> {
        let text = serde_json::to_vec_pretty(&self.note).map_err(|error| {
            Error::Operation(OperationError::Journal { path: self.path.clone(), why: error.to_string() })
        })?;
        files::replace(&self.path, files::PRIVATE, |file| file.write_all(&text))
    }
}
