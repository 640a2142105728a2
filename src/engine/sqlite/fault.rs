//! What SQLite reports when it fails, as an error of the library.

use std::path::Path;

use rusqlite::ErrorCode;

use super::SqliteFile;
use crate::engine::Connect as _;
use crate::error::{DatabaseError, Error, OperationError};
use crate::files;

impl SqliteFile {
    /// The error of the library for `error`.
    pub(super) fn error(&self, error: rusqlite::Error) -> Error {
        let database = self.describe();
        match error.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) if let Some(signal) = self.cancel.signal() => {
                OperationError::Interrupted { signal }.into()
            }
            Some(ErrorCode::NotADatabase) => DatabaseError::NotSqlite(self.path.clone()).into(),
            Some(ErrorCode::DatabaseCorrupt) => {
                DatabaseError::Damaged { database, problems: vec!["database disk image is malformed".into()] }.into()
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => DatabaseError::Busy { database }.into(),
            Some(ErrorCode::DiskFull) => Error::file("write", &self.path)(std::io::ErrorKind::StorageFull.into()),
            // The errors of a disk that takes no more, but is not reported as full: a quota, a device that fails.
            Some(ErrorCode::SystemIoFailure) if is_refused_write(&error) => {
                Error::file("write", &self.path)(std::io::Error::other(error.to_string()))
            }
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => self.refused(&error),
            _ => DatabaseError::Sql { database, message: error.to_string() }.into(),
        }
    }

    /// SQLite could not open or write a file: the one that it may not, if there is one.
    fn refused(&self, error: &rusqlite::Error) -> Error {
        for part in self.parts() {
            if let Err(refused) = files::open_regular(&part) {
                return refused;
            }
        }
        // It has to create files beside the database.
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        match files::check_writable(folder) {
            Err(refused) => refused,
            Ok(()) => DatabaseError::Sql { database: self.describe(), message: error.to_string() }.into(),
        }
    }
}

/// Another process writes to `file`.
pub(super) fn busy(file: &SqliteFile) -> Error {
    DatabaseError::Busy { database: file.describe() }.into()
}

fn is_refused_write(error: &rusqlite::Error) -> bool {
    use rusqlite::ffi::{SQLITE_IOERR_FSYNC, SQLITE_IOERR_WRITE};
    let code = error.sqlite_error().map(|error| error.extended_code);
    code.is_some_and(|code| [SQLITE_IOERR_FSYNC, SQLITE_IOERR_WRITE].contains(&code))
}
