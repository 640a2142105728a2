//! What a verb reads and writes on this machine, when it runs on another one.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::files;

/// The inputs and outputs of a remote job on this machine.
#[derive(Default)]
pub struct Inputs {
    /// Files that it reads: remote path, and path on this machine.
    pub files: BTreeMap<PathBuf, PathBuf>,
    /// Options that stand for the config file of this machine.
    pub(super) options: Vec<String>,
    /// Environment variables that it uses.
    pub variables: BTreeSet<String>,
    /// Its standard input.
    pub stdin: Option<Vec<u8>>,
    /// Files that it writes.
    pub(super) back: Vec<PathBuf>,
    /// A new folder that it fills.
    pub(super) filled: Option<PathBuf>,
    /// Folders of this machine for its snapshots.
    pub(super) folders: Vec<PathBuf>,
    /// The archive that it restores, or that it reads old heartbeats from.
    pub(super) snapshot: Option<String>,
}

impl Inputs {
    /// Adds the file at `path`, if there is one.
    pub fn take(&mut self, path: &Path) -> Result<()> {
        if path.is_file() {
            self.files.insert(files::absolute(path)?, path.to_owned());
        }
        Ok(())
    }

    /// Adds an archive or a database with the files that belong to it.
    pub fn take_with_parts(&mut self, path: &Path) -> Result<()> {
        let name = path.to_string_lossy();
        for part in [name.clone(), format!("{name}.json").into(), format!("{name}-wal").into()] {
            self.take(Path::new(&*part))?;
        }
        // The names that 1.x gives to the files of its backups.
        self.take(Path::new(&name.replacen("kuma.db.", "kuma.db-wal.", 1)))
    }

    /// Adds standard input, unless it is a terminal.
    pub fn take_stdin(&mut self) -> Result<()> {
        let mut stdin = std::io::stdin().lock();
        if self.stdin.is_none() && !stdin.is_terminal() {
            let mut bytes = Vec::new();
            stdin.read_to_end(&mut bytes).map_err(Error::file("read", "/dev/stdin"))?;
            self.stdin = Some(bytes);
        }
        Ok(())
    }
}
