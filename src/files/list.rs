//! Lists that are too long to be kept in memory.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::create_private;
use crate::error::{Error, Result};

/// A JSON array in a private file, one entry per line. The file is created with its first entry.
pub struct JsonList {
    path: PathBuf,
    file: Option<BufWriter<File>>,
}

impl JsonList {
    /// An empty list, to be written to `path`.
    pub fn new(path: &Path) -> JsonList {
        JsonList { path: path.to_owned(), file: None }
    }

    /// Adds an entry.
    pub fn add(&mut self, entry: &Json) -> Result<()> {
        let (file, separator) = match &mut self.file {
            Some(file) => (file, ",\n"),
            none => (none.insert(BufWriter::new(create_private(&self.path)?)), "[\n"),
        };
        write!(file, "{separator}{entry}").map_err(Error::file("write", &self.path))
    }

    /// Completes and flushes it; returns its path, if it has entries.
    pub fn finish(self) -> Result<Option<PathBuf>> {
        let Some(mut file) = self.file else { return Ok(None) };
        file.write_all(b"\n]\n")
            .and_then(|()| file.flush())
            .and_then(|()| file.get_ref().sync_all())
            .map_err(Error::file("write", &self.path))?;
        Ok(Some(self.path))
    }
}
