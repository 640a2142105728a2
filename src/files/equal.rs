//! A copy that is made equal to a file: once while other processes write the file, and again when none does, which then takes no
//! more than reading both.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::copy::{lasting, reflink};
use super::{create_private, hash_written, parent, read, require_space};
use crate::cancel::Cancel;
use crate::error::{Error, Result, SnapshotError};

/// Bytes that are read at once.
const BLOCK: usize = 1 << 20;

/// Bytes that are written at once where the files differ.
const PAGE: usize = 4096;

/// A private file that is made equal to another one. It stays open, so that another file that someone puts at its path is not
/// written.
#[derive(Debug)]
pub struct EqualCopy {
    file: File,
    path: PathBuf,
}

impl EqualCopy {
    /// Creates it at `path`, empty.
    pub fn create(path: &Path) -> Result<EqualCopy> {
        Ok(EqualCopy { file: create_private(path)?, path: path.to_owned() })
    }

    /// Its size in bytes.
    pub fn size(&self) -> Result<u64> {
        Ok(self.file.metadata().map_err(Error::file("read", &self.path))?.len())
    }

    /// Writes what differs from `source`, and reads back from the disk what was written; the rest was read from there by the update
    /// that wrote it. Returns the hash of `source`, in hex, and its size. Shares the blocks where the file system can.
    /// `progress` is called with (done, total) in bytes.
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
        let is_shared = reflink(source, &self.file);
        require_space(lasting(parent(&self.path)), total.saturating_sub(self.size()?))?;
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
            if !is_shared {
                self.write_changed(at, &block[..count], &mut there, &mut written)
                    .map_err(Error::file("write", &self.path))?;
            }
            at += count as u64;
            progress(at, total);
        }
        let flushed = self.file.set_len(at).and_then(|()| self.file.sync_all());
        flushed.map_err(Error::file("flush", &self.path))?;
        if is_shared {
            read::drop_cached(&self.file);
        }
        written.iter().for_each(|(from, to)| read::drop_cached_part(&self.file, *from, to - from));
        let hashed = (hasher.finalize().to_hex().to_string(), at);
        if hash_written(&self.path, cancel)? == hashed {
            Ok(hashed)
        } else {
            Err(Error::Snapshot(SnapshotError::Changed { path: self.path.clone() }))
        }
    }

    /// Writes the pages of `block` that differ from those at `at`, and adds where they are to `written`.
    fn write_changed(&self, at: u64, block: &[u8], there: &mut [u8], written: &mut Vec<(u64, u64)>) -> io::Result<()> {
        let count = read_block(&self.file, at, &mut there[..block.len()])?;
        if there[..count] == *block {
            return Ok(());
        }
        let old = there[..count].chunks(PAGE).map(Some).chain(std::iter::repeat(None));
        for (number, (new, old)) in block.chunks(PAGE).zip(old).enumerate() {
            if Some(new) == old {
                continue;
            }
            let from = at + (number * PAGE) as u64;
            self.file.write_all_at(new, from)?;
            match written.last_mut() {
                Some((_, to)) if *to == from => *to += new.len() as u64,
                _ => written.push((from, from + new.len() as u64)),
            }
        }
        Ok(())
    }
}

/// Fills `block` from `at` on; returns how many bytes there are, fewer at the end.
fn read_block(file: &File, at: u64, block: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < block.len() {
        match file.read_at(&mut block[done..], at + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}
