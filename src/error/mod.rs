//! Every error: its message, its exit code and what to do about it.
//!
//! One enum for each area, each in its own file. A variant has one arm in its area's `report`: message, exit code and
//! hints together, and no arm is for several unknown ones. Messages are lower case, without a full stop, names in
//! backticks. Secrets never enter an error.

mod convert;
mod database;
mod docker;
mod exit;
mod file;
mod guard;
mod input;
mod job;
mod operation;
mod problem;
mod reason;
mod remote;
mod report;
mod server;
mod snapshot;
mod store;
mod target;

use std::fmt;
use std::io;
use std::path::Path;

pub use convert::ConvertError;
pub use database::{DatabaseError, Denied, OlderImage, TlsFault};
pub use docker::DockerError;
pub use exit::Exit;
pub use file::FileError;
pub use guard::guarded;
pub use input::InputError;
pub use job::JobError;
pub use operation::OperationError;
pub use problem::Problem;
pub use reason::{find, io_reason, is_lookup, reason};
pub use remote::RemoteError;
pub use report::{ErrorReport, Hint};
pub use server::ServerError;
pub use snapshot::SnapshotError;
pub use store::StoreError;
pub use target::TargetError;

/// The result of every function of the library that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Makes [`Error`] out of its areas.
macro_rules! areas {
    ($($(#[$about:meta])* $area:ident($error:ty),)*) => {
        /// Everything that can go wrong, by area.
        #[derive(Debug)]
        #[non_exhaustive]
        pub enum Error {
            $($(#[$about])* $area($error),)*
        }

        impl Error {
            /// Message, exit code and hints.
            pub fn report(&self) -> ErrorReport {
                match self {
                    $(Error::$area(error) => error.report(),)*
                }
            }
        }

        $(
            impl From<$error> for Error {
                fn from(error: $error) -> Error {
                    Error::$area(error)
                }
            }

            impl fmt::Display for $error {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str(&self.report().text())
                }
            }

            impl std::error::Error for $error {}
        )*
    };
}

areas! {
    /// The command line, a fixture or the config file.
    Input(InputError),
    /// Finding the instance.
    Target(TargetError),
    /// Files and folders of this machine.
    File(FileError),
    /// SQLite and MariaDB.
    Database(DatabaseError),
    /// The Docker engine and containers.
    Docker(DockerError),
    /// Running on another machine.
    Remote(RemoteError),
    /// HTTP requests to the server.
    Server(ServerError),
    /// The write path.
    Operation(OperationError),
    /// Conversions to the other engine.
    Convert(ConvertError),
    /// Snapshots and their encryption.
    Snapshot(SnapshotError),
    /// Where snapshots are kept.
    Store(StoreError),
    /// Scheduled jobs and their notifications.
    Job(JobError),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.report().text())
    }
}

impl std::error::Error for Error {}

impl Error {
    /// Problems of fixtures, in the order in which people read them.
    pub fn input(mut problems: Vec<Problem>) -> Error {
        problems.sort_by(|a, b| a.at.cmp(&b.at));
        InputError::Problems(problems).into()
    }

    /// The only problem of an input: `message` about `what`, an option or a file.
    pub fn problem(what: &str, message: impl Into<String>) -> Error {
        InputError::Problems(vec![Problem::new(what, message)]).into()
    }

    /// The exit code of a run that ends with this error.
    pub fn exit(&self) -> Exit {
        self.report().exit
    }

    /// What to type or do next, one line each.
    pub fn hints(&self) -> Vec<Hint> {
        self.report().hints
    }

    /// The text of all hints, one line each.
    pub fn hint(&self) -> Option<String> {
        let hints: Vec<String> = self.hints().into_iter().map(Hint::into_text).collect();
        (!hints.is_empty()).then(|| hints.join("\n"))
    }

    /// Whether this means that a file contains no readable database, so that it has to be replaced.
    pub fn is_unreadable(&self) -> bool {
        use DatabaseError::*;
        matches!(
            self,
            Error::Database(
                Damaged { .. }
                    | NoFile(_)
                    | EmptyFile(_)
                    | NotSqlite(_)
                    | Encrypted(_)
                    | OtherFormat { .. }
                    | WalWithoutDatabase(_)
                    | ForeignJournal { .. }
                    | NotKuma { .. }
            )
        )
    }

    /// Whether this means that a disk is full.
    pub fn is_full(&self) -> bool {
        match self {
            Error::File(FileError::Io { source, .. }) => file::is_full(source),
            Error::File(FileError::NoSpace { .. }) => true,
            _ => false,
        }
    }

    /// Whether the Docker engine, or a proxy in front of it, does not allow a request.
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Error::Docker(DockerError::Action { forbidden: true, .. }))
    }

    /// Wraps an I/O error of `act` on `path`.
    pub fn file(act: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Error {
        let path = path.as_ref().to_owned();
        move |source| {
            if source.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
                FileError::Link { path }.into()
            } else {
                FileError::Io { act, path, source }.into()
            }
        }
    }

    /// Whether a transaction may have been committed, although it is reported as failed.
    pub fn is_after_commit(&self) -> bool {
        use DatabaseError::*;
        matches!(self, Error::Database(CommitInDoubt { .. } | NotCheckpointed { .. }))
    }

    /// Whether it is that a file or folder does not exist.
    pub fn is_missing(&self) -> bool {
        matches!(self, Error::File(FileError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound)
    }
}
