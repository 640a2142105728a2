//! Changes of files beside the database: owners, modes, and names. Nothing is deleted, and each is taken back when the
//! server does not come up with it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use super::apply::{Mode, Outcome, Run, Settings, check_server, lock};
use super::journal::{Journal, Record};
use super::{Observer, Step};
use crate::docker::Life;
use crate::doctor::FileChange;
use crate::error::{Error, Result};
use crate::files;
use crate::instance::{Instance, Server};
use crate::kuma::read::read_last_beat;

/// Makes `changes` with the server stopped, then starts it again and sees it working, if it was running.
///
/// There is no snapshot, because nothing is written into the database, and none could be taken of one that the server
/// itself cannot open. Cut off half-way, the journal lets `resume` start the server; what was changed by then stays, and
/// making the changes again is harmless.
///
/// # Errors
/// [`Error::RolledBack`] when the server does not come up: every file is as it was. [`Error::RollbackFailed`] when one is not.
pub fn mend(
    instance: &Instance,
    changes: &[FileChange],
    settings: &Settings,
    observer: &mut dyn Observer,
) -> Result<Outcome> {
    let lock = lock(instance, settings)?;
    let life = instance.life()?;
    instance.check_alone()?;
    check_server(instance, Mode::Stopped, settings.opens_lock)?;
    observer.step(&Step::Journal)?;
    let mut record = Record::new(&settings.verb, instance, life, Mode::Stopped, false);
    // Where the database cannot be read, any beat is a new one.
    record.last_beat = last_beat(instance).unwrap_or(0);
    let was_running = record.was_running();
    let mut run = Run::new(instance, settings, Journal::open(instance.work(), record)?, lock);
    let stopped = if was_running { run.stop(observer) } else { Ok(()) };
    if let Err(cause) = stopped {
        return Err(run.back(cause, observer));
    }
    let mut undo = Vec::new();
    let made = observer
        .step(&Step::Mend { changes: changes.len() })
        .and_then(|()| changes.iter().try_for_each(|change| make(change).map(|back| undo.push(back))));
    let ended = made.and_then(|()| run.up(&[], observer));
    match ended {
        Ok(()) => {
            run.close()?;
            Ok(run.outcome)
        }
        Err(wait @ (Error::WouldNotStop { .. } | Error::Migrating { .. })) => Err(wait),
        Err(cause) => {
            if instance.is_running()? {
                run.stop(observer)?;
            }
            let back = undo.iter().rev().try_for_each(|change| make(change).map(drop));
            if was_running {
                instance.container.as_ref().map_or(Ok(()), Server::start)?;
                if life == Some(Life::Paused)
                    && let Some(server) = &instance.container
                {
                    server.put_back(Life::Paused, settings.grace)?;
                }
            }
            run.close()?;
            let cause = Box::new(cause);
            Err(match back {
                Ok(()) => Error::RolledBack { cause },
                Err(failure) => Error::RollbackFailed { cause, failure: Box::new(failure) },
            })
        }
    }
}

/// Looks whether each of `changes` could be made now, and changes nothing.
///
/// # Errors
/// What the first that cannot be made would end with.
pub fn rehearse_files(changes: &[FileChange]) -> Result<()> {
    for change in changes {
        check(change)?;
        let (FileChange::Own { path, .. } | FileChange::SetAside { path, .. }) = change;
        // Owners are changed by root alone, names by whoever may write the folder.
        files::check_writable(path.parent().unwrap_or(path))?;
        if let FileChange::Own { uid, gid, .. } = change {
            let found = fs::symlink_metadata(path).map_err(Error::file("look at", path))?;
            if (found.uid(), found.gid()) != (*uid, *gid) && !rustix::process::geteuid().is_root() {
                let why = std::io::ErrorKind::PermissionDenied.into();
                return Err(Error::file("change the owner of", path)(why));
            }
        }
    }
    Ok(())
}

/// Makes one change; returns what takes it back.
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

/// What takes a change back that can be made.
fn check(change: &FileChange) -> Result<FileChange> {
    match change {
        FileChange::Own { path, .. } => {
            let old = fs::symlink_metadata(path).map_err(Error::file("look at", path))?;
            if old.is_symlink() {
                return Err(Error::Refused(format!("`{}` is a link: look where it leads", path.display())));
            }
            Ok(FileChange::Own { path: path.clone(), uid: old.uid(), gid: old.gid(), mode: old.mode() & 0o7777 })
        }
        FileChange::SetAside { path, to } => {
            let holders = files::holders(std::slice::from_ref(path));
            if !holders.is_empty() {
                return Err(Error::HeldOpen { path: path.clone(), holders });
            }
            if to.exists() {
                return Err(Error::Refused(format!("`{}` is there already", to.display())));
            }
            Ok(FileChange::SetAside { path: to.clone(), to: path.clone() })
        }
    }
}

fn last_beat(instance: &Instance) -> Result<i64> {
    read_last_beat(&mut *instance.connect()?.reader()?)
}
