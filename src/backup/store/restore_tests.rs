//! Records of restore tests beside a snapshot: the manifest is written once, tests come later.

use std::io::Write as _;
use std::path::Path;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::objects::UploadProgress;
use super::{Snapshot, Store, unusable};
use crate::error::{Error, FileError, Result};
use crate::files;

/// Extension of the file beside an archive.
const DRILLS: &str = ".restore-tests.json";

/// One restore test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RestoreTestRecord {
    /// When it ended, UTC.
    pub at: DateTime<Utc>,
    /// Duration, from reading the archive on.
    pub seconds: f64,
    /// Tables that match.
    pub tables: usize,
    /// Rows in them.
    pub rows: u64,
    /// Why it failed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Store {
    /// The records of these copies in this store, for each in turn.
    pub fn restore_tests(&self, copies: &[&Snapshot]) -> Result<Vec<Vec<RestoreTestRecord>>> {
        let there = self.objects.list()?;
        let names: Vec<String> = copies.iter().map(|copy| copy.restore_tests_of()).collect();
        let (noted, desired): (Vec<usize>, Vec<String>) =
            names.into_iter().enumerate().filter(|(_, name)| there.iter().any(|object| object.name == *name)).unzip();
        let mut all = vec![Vec::new(); copies.len()];
        for ((at, name), text) in noted.into_iter().zip(&desired).zip(self.objects.read_all(&desired)?) {
            all[at] =
                serde_json::from_slice(&text?).map_err(|error| unusable(&self.locate(name), &error.to_string()))?;
        }
        Ok(all)
    }
}

impl Snapshot {
    /// The records of this copy, oldest first.
    pub fn restore_tests(&self) -> Result<Vec<RestoreTestRecord>> {
        let name = self.restore_tests_of();
        let place = self.store.locate(&name);
        let text = match self.store.folder() {
            Some(_) => files::read_text(Path::new(&place))?.map(String::into_bytes),
            None if !self.store.objects.list()?.iter().any(|object| object.name == name) => None,
            None => {
                let mut file = self.store.objects.open(&name)?;
                Some(files::read_most(&mut file, files::SMALL).map_err(Error::file("read", &place))?)
            }
        };
        text.map_or(Ok(Vec::new()), |text| {
            serde_json::from_slice(&text).map_err(|error| unusable(&place, &error.to_string()))
        })
    }

    /// Adds a record; `scratch` is a private folder.
    ///
    /// # Errors
    /// The store cannot be written to.
    pub(in crate::backup) fn note_restore_test(&self, restore_test: RestoreTestRecord, scratch: &Path) -> Result<()> {
        let mut all = self.restore_tests()?;
        all.push(restore_test);
        let text = serde_json::to_vec_pretty(&all)
            .map_err(|error| Error::File(FileError::Encode { what: "the restore tests", why: error.to_string() }))?;
        let path = scratch.join("drills.json");
        files::replace(&path, files::PRIVATE, |file| file.write_all(&text))?;
        self.store.objects.put(&self.restore_tests_of(), &path, &mut Unwatched)
    }

    pub(super) fn restore_tests_of(&self) -> String {
        format!("{}{DRILLS}", self.name)
    }
}

/// A small file is uploaded in one request.
struct Unwatched;

impl UploadProgress for Unwatched {
    fn begun(&mut self, _upload: &str) -> Result<()> {
        Ok(())
    }

    fn done(&mut self, _bytes: u64) {}
}
