//! Why a file or folder of this machine cannot be used.

use std::io;
use std::path::PathBuf;

use super::{ErrorReport, Exit, Hint, io_reason};
use crate::text::bytes;

/// A file or folder cannot be used.
#[derive(Debug)]
#[allow(missing_docs, reason = "the report of each variant is its documentation")]
#[non_exhaustive]
pub enum FileError {
    Io {
        act: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    NoSpace {
        path: PathBuf,
        needed: u64,
        free: u64,
    },
    WrongUser {
        path: PathBuf,
        owner: String,
        user: String,
        hint: Hint,
    },
    /// Only root can make files of another user.
    NeedsRoot {
        folder: PathBuf,
        uid: u32,
    },
    NoLocks {
        path: PathBuf,
        kind: String,
    },
    HeldOpen {
        path: PathBuf,
        holders: Vec<String>,
    },
    HardLink {
        path: PathBuf,
    },
    /// A symbolic link where a file or folder of its own is expected.
    Link {
        path: PathBuf,
    },
    /// A folder with a name that kumadb uses, made by another program.
    NotOurFolder {
        path: PathBuf,
    },
    /// A file that must not be replaced.
    Exists {
        path: PathBuf,
    },
    /// A file of kumadb's own that cannot be understood.
    Decode {
        path: PathBuf,
        why: String,
    },
    /// A value that cannot be written as JSON.
    Encode {
        what: &'static str,
        why: String,
    },
    /// The system's random numbers.
    Random {
        why: String,
    },
}

/// Whether `error` means that a disk is full.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl FileError {
    /// Message, exit code and hints.
    pub fn report(&self) -> ErrorReport {
        let failed = |message: String| ErrorReport::new(Exit::Failed, message);
        let refused = |message: String| ErrorReport::new(Exit::Refused, message);
        match self {
            Self::Io { act, path, source } => {
                let message = format!("cannot {act} `{}`: {}", path.display(), io_reason(source));
                if is_full(source) {
                    return refused(message).command(format!("df -h {}", path.display()));
                }
                if source.kind() == io::ErrorKind::ReadOnlyFilesystem {
                    return failed(message).hint("mount it read-write");
                }
                if source.kind() == io::ErrorKind::PermissionDenied {
                    return failed(message)
                        .hint("run the same command as root, or as the user that the server runs as");
                }
                failed(message)
            }
            Self::NoSpace { path, needed, free } => refused(format!(
                "not enough disk space on `{}`: {} free, {} required",
                path.display(),
                bytes(*free),
                bytes(*needed)
            ))
            .command(format!("df -h {}", path.display())),
            Self::WrongUser { path, owner, user, hint } => {
                refused(format!("`{}` is owned by {owner}, but kumadb runs as {user}", path.display()))
                    .with([hint.clone()])
            }
            Self::NeedsRoot { folder, uid } => {
                refused(format!("cannot create files of user {uid} in `{}`: this requires root", folder.display()))
                    .hint("run the same command as root")
            }
            Self::NoLocks { path, kind } => {
                refused(format!("cannot lock `{}`: this {kind} does not support locks", path.display())).hint(
                    "mount it with locks (NFS: without `nolock`, with lockd running), or move the data folder to a \
                     local disk",
                )
            }
            Self::HeldOpen { path, holders } => {
                refused(format!("`{}` is open in another process: {}", path.display(), holders.join(", ")))
                    .hint("stop that process, then run the same command again")
            }
            Self::HardLink { path } => {
                refused(format!("`{}` has another hard link: a change would change that file too", path.display()))
                    .command(format!("find / -xdev -samefile {}", path.display()))
            }
            Self::Link { path } => {
                refused(format!("`{}` is a symbolic link, which kumadb does not follow", path.display()))
                    .command(format!("readlink -f {}", path.display()))
            }
            Self::NotOurFolder { path } => refused(format!("`{}` was not created by kumadb", path.display()))
                .hint("check its contents, then remove it"),
            Self::Exists { path } => refused(format!("`{}` already exists", path.display()))
                .hint("move it away, then run the same command again"),
            Self::Decode { path, why } => {
                refused(format!("cannot read `{}`: {why}", path.display())).hint("check its contents, then remove it")
            }
            Self::Encode { what, why } => failed(format!("cannot write {what} as JSON: {why}")),
            Self::Random { why } => failed(format!("cannot get random numbers from the system: {why}")),
        }
    }
}
