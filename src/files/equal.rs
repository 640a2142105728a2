//! A copy that is made equal to a file: once while other processes write the file, and again when none does, which then takes no
//! more than reading both.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::copy::{lasting, reflink};
use super::read::{self, read_block};
use super::{create_private, hash_written, look, parent, require_space};
use crate::cancel::Cancel;
use crate::error::{Error, Result, SnapshotError};

/// Bytes that are read at once, and read back from the disk if any of them were written: a system drops pages from its cache only in
/// units of up to 2 MB.
const BLOCK: usize = 2 << 20;

/// Bytes that are written at once where the files differ.
const PAGE: usize = 4096;

/// A private file that is made equal to another one. It stays open, so that another file that someone puts at its path is not
/// written.
#[derive(Debug)]
pub struct EqualCopy {
    file: File,
    path: PathBuf,
    /// Its blocks are those of the source, which need space when either is written.
    is_shared: bool,
}

impl EqualCopy {
    /// Creates it at `path`, empty.
    pub fn create(path: &Path) -> Result<EqualCopy> {
        Ok(EqualCopy { file: create_private(path)?, path: path.to_owned(), is_shared: false })
    }

    /// The bytes that it has for itself.
    pub fn own_size(&self) -> Result<u64> {
        if self.is_shared { Ok(0) } else { self.size() }
    }

    fn size(&self) -> Result<u64> {
        Ok(self.file.metadata().map_err(Error::file("read", &self.path))?.len())
    }

    /// Writes what differs from `source`, and reads back from the disk what was written; the rest was read from there by the update
    /// that wrote it, and is compared with `source`. Returns the hash of `source`, in hex, and its size. Shares the blocks where the
    /// file system can. `progress` is called with (done, total) in bytes.
    ///
    /// # Errors
    /// [`SnapshotError::Changed`]: the file at its path does not have the bytes of `source`.
    pub fn update(
        &mut self,
        source: &File,
        progress: &mut dyn FnMut(u64, u64),
        cancel: &Cancel,
    ) -> Result<(String, u64)> {
        // No more than its present size: a file that grows could fill the disk.
        let total = source.metadata().map_err(Error::file("read", &self.path))?.len();
        self.is_shared = reflink(source, &self.file);
        let size = self.size()?;
        require_space(lasting(parent(&self.path)), total.saturating_sub(size))?;
        let is_new = self.is_shared || size == 0;
        let (mut block, mut there, mut hasher) = (vec![0; BLOCK], vec![0; BLOCK], blake3::Hasher::new());
        let (mut at, mut written) = (0, Vec::new());
        while at < total {
            cancel.check()?;
            let room = BLOCK.min((total - at) as usize);
            let count = read_block(source, at, &mut block[..room]).map_err(Error::file("read", &self.path))?;
            if count == 0 {
                break;
            }
            hasher.update(&block[..count]);
            let changed = !self.is_shared
                && self.write_changed(at, &block[..count], &mut there).map_err(Error::file("write", &self.path))?;
            if changed && !is_new {
                written.push((at, blake3::hash(&block[..count])));
            }
            at += count as u64;
            progress(at, total);
        }
        let flushed = self.file.set_len(at).and_then(|()| self.file.sync_all());
        flushed.map_err(Error::file("flush", &self.path))?;
        let hashed = (hasher.finalize().to_hex().to_string(), at);
        let is_equal = if is_new {
            read::drop_cached(&self.file);
            hash_written(&self.path, cancel)? == hashed
        } else {
            self.is_at_its_path()? && self.has(&written, &mut there)?
        };
        if is_equal { Ok(hashed) } else { Err(Error::Snapshot(SnapshotError::Changed { path: self.path.clone() })) }
    }

    /// Whether the disk has the blocks with these hashes at these places.
    fn has(&self, blocks: &[(u64, blake3::Hash)], block: &mut [u8]) -> Result<bool> {
        for (at, hash) in blocks {
            read::drop_cached_part(&self.file, *at, BLOCK as u64);
            let count = read_block(&self.file, *at, block).map_err(Error::file("read", &self.path))?;
            if blake3::hash(&block[..count]) != *hash {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether no other file was put at its path.
    fn is_at_its_path(&self) -> Result<bool> {
        let own = look::identity_of(&self.file).map_err(Error::file("read", &self.path))?;
        Ok(look::identity(&self.path)? == own)
    }

    /// Writes the pages of `block` that differ from those at `at`; returns whether there are any.
    fn write_changed(&self, at: u64, block: &[u8], there: &mut [u8]) -> io::Result<bool> {
        let count = read_block(&self.file, at, &mut there[..block.len()])?;
        if there[..count] == *block {
            return Ok(false);
        }
        if count == 0 {
            return self.file.write_all_at(block, at).map(|()| true);
        }
        let old = there[..count].chunks(PAGE).map(Some).chain(std::iter::repeat(None));
        for (number, (new, old)) in block.chunks(PAGE).zip(old).enumerate() {
            if Some(new) != old {
                self.file.write_all_at(new, at + (number * PAGE) as u64)?;
            }
        }
        Ok(true)
    }
}
