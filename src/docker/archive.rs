//! Files of a container: inspected, uploaded and downloaded; whether it runs or not.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bollard::query_parameters::{
    ContainerArchiveInfoOptionsBuilder, DownloadFromContainerOptionsBuilder, UploadToContainerOptionsBuilder,
};
use bytes::Bytes;
use chrono::DateTime;
use futures_util::stream::{self, Stream, StreamExt as _};

use super::{Container, Docker, status};
use crate::error::{DockerError, Error, Result};

/// Bytes sent at a time.
const PIECE: usize = 64 << 10;

/// Timeout of a transfer: a gigabyte over a slow line takes a quarter of an hour.
const TRANSFER: Duration = Duration::from_secs(24 * 3600);

/// How often the time stamp of a folder in use is compared before it counts as another folder.
const LOOKS: usize = 5;

/// The engine's description of a path in a container.
#[derive(Clone, Debug)]
pub struct Stat {
    /// Permission bits.
    pub mode: u32,
    /// Nanoseconds since 1970.
    pub changed: i64,
}

/// A tar from a container, read as it arrives.
pub struct Fetched<'a> {
    docker: &'a Docker,
    pieces: Pin<Box<dyn Stream<Item = Result<Bytes, bollard::errors::Error>> + 'a>>,
    piece: Bytes,
}

impl Docker {
    /// The entry `path` in `container`; `None` where there is none.
    pub fn stat(&self, container: &Container, path: &Path) -> Result<Option<Stat>> {
        let options = ContainerArchiveInfoOptionsBuilder::default().path(&path.to_string_lossy()).build();
        let found = match self.block(self.client.get_container_archive_info(&container.id, Some(options))) {
            Ok(found) => found,
            Err(error) if status(&error) == Some(404) => return Ok(None),
            Err(error) => return Err(self.failed("access", &container.name, &error)),
        };
        let time = found.modification_time.and_then(|time| DateTime::parse_from_rfc3339(&time).ok());
        Ok(Some(Stat {
            // The engine uses Go's mode bits: the permission bits are the same, the others are not.
            mode: found.file_mode & 0o777,
            changed: time.and_then(|time| time.timestamp_nanos_opt()).unwrap_or_default(),
        }))
    }

    /// Whether the folder `inside` of `container` is the local folder `here`: both were modified at the same
    /// nanosecond.
    /// Without that information, the engine's statement is trusted.
    pub fn shares(&self, container: &Container, inside: &Path, here: &Path) -> bool {
        (0..LOOKS).any(|_| {
            let Ok(found) = std::fs::metadata(here) else { return false };
            match self.stat(container, inside) {
                Ok(Some(stat)) => {
                    let changed = found.mtime() * 1_000_000_000 + found.mtime_nsec();
                    (changed, found.mode() & 0o777) == (stat.changed, stat.mode)
                }
                Ok(None) | Err(_) => true,
            }
        })
    }

    /// Unpacks `tar` (plain or gzip) in the folder `at` of `container`. Files for a volume must be unpacked inside it:
    /// Podman ignores volumes below `at`. `progress` gets the bytes sent and the total; its error ends the transfer.
    pub fn put(
        &self,
        container: &Container,
        at: &Path,
        tar: File,
        progress: &mut dyn FnMut(u64, u64) -> Result<()>,
    ) -> Result<()> {
        let total = tar.metadata().map_err(Error::file("read", "/tmp"))?.len();
        let (gone, unread) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let pieces = stream::iter(Pieces { tar, gone: gone.clone(), unread: unread.clone() });
        let options = UploadToContainerOptionsBuilder::default().path(&at.to_string_lossy()).build();
        let client = self.client.clone().with_timeout(TRANSFER);
        let sent = client.upload_to_container(&container.id, Some(options), bollard::body_stream(pieces));
        let sent = self.watch(sent, TRANSFER, &mut |_| progress(gone.load(Ordering::Relaxed), total))?;
        let failed = |why: &str| {
            Error::Docker(DockerError::Action {
                act: "copy files to",
                container: container.name.clone(),
                why: why.into(),
                forbidden: false,
            })
        };
        match sent {
            Some(Err(error)) => Err(self.failed("copy files to", &container.name, &error)),
            None => Err(failed("it took longer than 24 hours")),
            Some(Ok(())) if unread.load(Ordering::Relaxed) => Err(failed("the files cannot be read")),
            Some(Ok(())) => Ok(()),
        }
    }

    /// The content of `path` in `container`, as a tar.
    pub fn fetch(&self, container: &Container, path: &Path) -> Fetched<'_> {
        let options = DownloadFromContainerOptionsBuilder::default().path(&path.to_string_lossy()).build();
        let pieces = Box::pin(self.client.download_from_container(&container.id, Some(options)));
        Fetched { docker: self, pieces, piece: Bytes::new() }
    }
}

/// A file, piece by piece.
struct Pieces {
    tar: File,
    gone: Arc<AtomicU64>,
    unread: Arc<AtomicBool>,
}

impl Iterator for Pieces {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let mut piece = vec![0; PIECE];
        let n = match self.tar.read(&mut piece) {
            Ok(0) => return None,
            Ok(n) => n,
            Err(_) => {
                self.unread.store(true, Ordering::Relaxed);
                return None;
            }
        };
        piece.truncate(n);
        self.gone.fetch_add(n as u64, Ordering::Relaxed);
        Some(piece.into())
    }
}

impl Read for Fetched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.docker.block(self.pieces.next()) {
                None => return Ok(0),
                Some(Ok(piece)) => self.piece = piece,
                Some(Err(error)) => return Err(io::Error::other(super::fault::reason(&error))),
            }
        }
        let n = buffer.len().min(self.piece.len());
        buffer[..n].copy_from_slice(&self.piece.split_to(n));
        Ok(n)
    }
}
