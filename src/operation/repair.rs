//! Changes of files beside the database: owners, modes and names. Nothing is deleted, and each change is rolled back when the
//! server does not come up with it.

use super::run::Run;
use super::undo::IgnoreRefusal;
use super::work::{Outcome, Settings};
use super::{Observer, Step};
use crate::docker::RunState;
use crate::doctor::FileChange;
use crate::error::{DockerError, Error, FileError, OperationError, Result};
use crate::files;
use crate::instance::Instance;
use crate::kuma::read::read_last_beat;

/// Makes `changes` with the server stopped, then starts it again and verifies that it is up, if it was running.
///
/// There is no snapshot, because nothing is written into the database, and a database that the server cannot open
/// could not be copied. After an interruption, `recover` starts the server; the changes made by then stay, and
/// repeating them is harmless.
///
/// # Errors
/// [`OperationError::RolledBack`](crate::error::OperationError::RolledBack) when the server does not come up: every
/// file is as before. [`OperationError::RollbackFailed`](crate::error::OperationError::RollbackFailed) when one is not.
pub fn repair(
    instance: &Instance,
    changes: &[FileChange],
    settings: &Settings,
    observer: &mut dyn Observer,
) -> Result<Outcome> {
    let mut run = Run::begin(instance, settings, observer, |record, _| {
        // Where the database cannot be read, any heartbeat counts as new.
        record.fixes = settings.fixes;
        record.last_beat = instance.connect().and_then(|connect| read_last_beat(&mut *connect.reader()?)).unwrap_or(0);
        Ok(())
    })?;
    let stopped = if run.journal.record.was_running() { run.stop(observer) } else { Ok(()) };
    if let Err(cause) = stopped {
        return Err(run.back(cause, observer));
    }
    let mut undo = Vec::new();
    let made = observer.step(&Step::ChangeFiles { changes: changes.len() }).and_then(|()| {
        changes.iter().try_for_each(|change| {
            undo.push(make(change)?);
            run.note_files(undo.len())
        })
    });
    match made.and_then(|()| run.up(&[], observer)) {
        Ok(()) => {
            run.close()?;
            run.outcome.fixes = run.journal.record.fixes;
            Ok(run.outcome)
        }
        Err(cause) => Err(run.take_back(cause, &undo, &mut IgnoreRefusal(observer))),
    }
}

impl Run<'_> {
    fn note_files(&mut self, done: usize) -> Result<()> {
        let Some(fixes) = &mut self.journal.record.fixes else { return Ok(()) };
        fixes.files.done = done;
        self.journal.advance(self.journal.record.phase)
    }

    /// Rolls back the changes with `undo`, and restores the state of the server; returns the error that the run ends
    /// with.
    fn take_back(mut self, cause: Error, undo: &[FileChange], observer: &mut dyn Observer) -> Error {
        let stopped = match self.instance.is_running() {
            Ok(true) => self.stop(observer),
            other => other.map(drop),
        };
        // The server is migrating with the changed files: it needs time, and the journal stays open for `recover`.
        if let Err(wait @ Error::Docker(DockerError::Migrating { .. })) = stopped {
            return wait;
        }
        // Also where it would not stop: all changes, even if one of them fails.
        let taken: Vec<Result<()>> = undo.iter().rev().map(|change| make(change).map(drop)).collect();
        // The journal stays where the server may still be stopped or started.
        let ended = stopped.and_then(|()| self.start_as_before()).and_then(|()| self.close());
        let cause = Box::new(cause);
        let taken = taken.into_iter().collect::<Result<()>>();
        let is_back = taken.is_ok();
        match taken.and(ended) {
            Ok(()) => Error::Operation(OperationError::RolledBack { cause }),
            Err(failure) => {
                Error::Operation(OperationError::RollbackFailed { cause, failure: Box::new(failure), is_back })
            }
        }
    }

    /// Starts a server that was running. It is not waited for: with the old files it perhaps never came up.
    fn start_as_before(&self) -> Result<()> {
        let record = &self.journal.record;
        let Some(server) = self.instance.container.as_ref().filter(|_| record.was_running()) else { return Ok(()) };
        server.start()?;
        match record.life {
            Some(RunState::Paused) => server.put_back(RunState::Paused, self.settings.grace),
            _ => Ok(()),
        }
    }
}

/// Checks whether each of `changes` could be made now; changes nothing.
///
/// # Errors
/// The error of the first that cannot be made.
pub fn dry_run_files(changes: &[FileChange]) -> Result<()> {
    for change in changes {
        check(change)?;
        let (FileChange::Own { path, .. } | FileChange::SetAside { path, .. }) = change;
        // Only root changes owners; renames need write permission in the folder.
        files::check_writable(path.parent().unwrap_or(path))?;
        if let FileChange::Own { uid, gid, .. } = change
            && files::about(path)?.owner() != (*uid, *gid)
            && !rustix::process::geteuid().is_root()
        {
            let why = std::io::ErrorKind::PermissionDenied.into();
            return Err(Error::file("change the owner of", path)(why));
        }
    }
    Ok(())
}

/// Makes one change; returns its inverse.
fn make(change: &FileChange) -> Result<FileChange> {
    let back = check(change)?;
    match change {
        FileChange::Own { path, uid, gid, mode } => {
            files::set_owner(path, *uid, *gid)?;
            files::set_mode(path, *mode)?;
        }
        FileChange::SetAside { path, to } => files::rename(path, to)?,
    }
    Ok(back)
}

/// The inverse of a change that can be made.
fn check(change: &FileChange) -> Result<FileChange> {
    match change {
        FileChange::Own { path, .. } => {
            let old = files::about(path)?;
            if old.is_link() {
                return Err(Error::File(FileError::Link { path: path.clone() }));
            }
            Ok(FileChange::Own { path: path.clone(), uid: old.uid, gid: old.gid, mode: old.mode & 0o777 })
        }
        FileChange::SetAside { path, to } => {
            let holders = files::holders(std::slice::from_ref(path));
            if !holders.is_empty() {
                return Err(Error::File(FileError::HeldOpen { path: path.clone(), holders }));
            }
            if files::is_there(to)? {
                return Err(Error::File(FileError::Exists { path: to.clone() }));
            }
            Ok(FileChange::SetAside { path: to.clone(), to: path.clone() })
        }
    }
}
