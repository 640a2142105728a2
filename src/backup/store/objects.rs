//! The operations that a store needs: files are written as a whole, listed, read and removed.

use std::io::Read;
use std::path::Path;

use crate::error::Result;

/// One file in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// `<folder>/<file>`; other depths are ignored.
    pub name: String,
    /// Size in bytes.
    pub size: u64,
    /// What changes with the content, in a remote store that has such: the ETag and the time of the upload.
    pub version: Option<String>,
}

/// Receives the progress of an upload.
pub trait UploadProgress {
    /// The upload got an id, under which it can be aborted later.
    fn begun(&mut self, upload: &str) -> Result<()>;

    /// Bytes transferred so far.
    fn done(&mut self, bytes: u64);
}

/// The file operations of a store.
pub trait Objects: Send + Sync {
    /// Its address, as given.
    fn address(&self) -> String;

    /// Its path, if it is a local folder: then files are stored by renaming.
    fn folder(&self) -> Option<&Path>;

    /// All files, sorted by name.
    fn list(&self) -> Result<Vec<Object>>;

    /// Addresses in the same bucket that have snapshots: hints for a mistyped prefix.
    fn elsewhere(&self) -> Vec<String>;

    /// Size of the file `name` in bytes, if it exists.
    fn size(&self, name: &str) -> Result<Option<u64>>;

    /// The file `name`, from its beginning.
    fn open(&self, name: &str) -> Result<Box<dyn Read + Send>>;

    /// The contents of all these small files, in order, each with its own result; read in parallel where requests are slow.
    ///
    /// # Errors
    /// None of them could be read.
    fn read_all(&self, names: &[String]) -> Result<Vec<Result<Vec<u8>>>>;

    /// Stores the file at `from` as `name`, replacing an existing one.
    fn put(&self, name: &str, from: &Path, progress: &mut dyn UploadProgress) -> Result<()>;

    /// Aborts an upload that was started and not finished.
    fn give_up(&self, name: &str, upload: &str) -> Result<()>;

    /// Removes the file `name`, if it exists.
    fn remove(&self, name: &str) -> Result<()>;

    /// Stores the small file at `content` as `name`, reads it back, lists it and removes it.
    fn probe(&self, name: &str, content: &Path) -> Result<()>;
}
