//! What a store needs of the place it is in: files that are put whole, listed, read and removed.

use std::io::Read;
use std::path::Path;

use crate::error::Result;

/// One file in a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// `<folder>/<file>`; what lies deeper or higher is not ours.
    pub name: String,
    /// Bytes.
    pub size: u64,
}

/// Is told how an upload goes.
pub trait Progress {
    /// The place gave the upload an id, under which it can be given up later.
    fn begun(&mut self, upload: &str) -> Result<()>;

    /// So many of the bytes are there.
    fn done(&mut self, bytes: u64);
}

/// A place of files.
pub trait Objects: Send + Sync {
    /// Its address, as it was given.
    fn address(&self) -> String;

    /// Where it is, if it is a folder of this machine: then files are put there by renaming.
    fn folder(&self) -> Option<&Path>;

    /// All files, sorted by name.
    fn list(&self) -> Result<Vec<Object>>;

    /// Addresses beside this one, in the same bucket, that have snapshots: for somebody who mistyped the prefix.
    fn elsewhere(&self) -> Vec<String>;

    /// Bytes of the file `name`, if it is there.
    fn size(&self, name: &str) -> Result<Option<u64>>;

    /// The file `name`, from its first byte on.
    fn open(&self, name: &str) -> Result<Box<dyn Read + Send>>;

    /// The content of all these small files, in their order, each on its own; read at once where each takes its time.
    ///
    /// # Errors
    /// None of them could be read.
    fn read_all(&self, names: &[String]) -> Result<Vec<Result<Vec<u8>>>>;

    /// Puts the file at `from` there as `name`; what was there under that name is replaced.
    fn put(&self, name: &str, from: &Path, progress: &mut dyn Progress) -> Result<()>;

    /// Gives up an upload that somebody began and did not finish.
    fn give_up(&self, name: &str, upload: &str) -> Result<()>;

    /// Removes the file `name`, if it is there.
    fn remove(&self, name: &str) -> Result<()>;

    /// Puts the small file at `content` there as `name`, reads it back, lists it and removes it.
    fn probe(&self, name: &str, content: &Path) -> Result<()>;
}
