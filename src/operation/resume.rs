//! Ends an interrupted operation: finishes it where the change was committed, rolls it back where it was not.

use super::journal::{Journal, JournalRecord, Phase};
use super::run::Run;
use super::work::{Outcome, Settings};
use super::{Observer, pending};
use crate::backup::Store;
use crate::error::{DockerError, Error, Hint, OperationError, Result};
use crate::instance::Instance;
use crate::kuma::read::read_last_beat;

/// How an interrupted operation ended.
#[derive(Debug)]
pub enum Resumed {
    /// The change is committed, and the server is verified up.
    Finished(JournalRecord, Box<Outcome>),
    /// Nothing was interrupted; the pending snapshots are undo snapshots in the store now.
    Packed(pending::Packing),
    /// Everything is as it was before; true where the change had been committed and was rolled back.
    Undone(JournalRecord, bool),
}

/// Ends the interrupted operation of `instance`.
///
/// # Errors
/// [`OperationError::NothingUnfinished`];
/// [`OperationError::RolledBack`] when the change was committed but the
/// server does not come up with it;
/// [`OperationError::RollbackFailed`], the journal staying for another
/// attempt.
pub fn resume(instance: &Instance, store: &Store, settings: &Settings, observer: &mut dyn Observer) -> Result<Resumed> {
    let lock = instance.lock(&settings.verb)?;
    let Some(journal) = Journal::read(instance.work())? else {
        instance.clear_work(&lock)?;
        let packing = pending::pack_all(instance, store);
        if !packing.packed.is_empty() {
            return Ok(Resumed::Packed(packing));
        }
        return Err(packing.warnings.into_iter().next().unwrap_or(Error::Operation(OperationError::NothingUnfinished)));
    };
    let record = journal.record.clone();
    check_same(instance, &record)?;
    instance.remove_stale_helpers()?;
    if let (Some(server), Some((_, name))) = (&instance.container, &record.container) {
        // A container recreated under another name is still the one that a helper was made for.
        server.remove_stale_helpers(name)?;
    }
    let mut run = Run::new(instance, settings, journal, lock);
    run.attempted = true;
    run.follow(observer)?;
    run.notice_switch(observer)?;
    if run.journal.record.phase == Phase::Writing && record.shows_commit() {
        let now = Some(run.read_mark()?);
        if now != record.before {
            run.note_committed()?;
            if now != record.after {
                run.outcome.warnings.push(
                    "another program has changed the configuration since then; nothing was rolled back; the undo \
                     snapshot contains the state before the change"
                        .into(),
                );
            }
        }
    }
    if run.journal.record.phase == Phase::Committed && run.is_rolled_back() {
        // Only the note of it is missing: the disk was full.
        run.journal.advance(Phase::PutBack)?;
    }
    match run.journal.record.phase {
        Phase::Seen => {}
        Phase::Committed if settings.rolls_back => return undo(run, record, observer),
        Phase::Committed => match run.up(&[], observer) {
            Ok(()) => {}
            // The server had been working with the change; its problem came later, and its heartbeats must not be lost.
            Err(gone @ Error::Docker(DockerError::Removed { .. })) => return Err(run.gone(gone, None)),
            Err(wait @ Error::Operation(OperationError::ImageNotChanged { .. })) => return Err(wait),
            Err(cause) if has_beaten(instance, &record) => run.outcome.warnings.push(cause.to_string()),
            Err(cause) => return Err(run.back(cause, observer)),
        },
        Phase::Noted | Phase::Stopping | Phase::Writing | Phase::RollingBack | Phase::PutBack => {
            return undo(run, record, observer);
        }
    }
    let record = JournalRecord { fixes: run.journal.record.fixes, ..record };
    let outcome = run.finish(store, observer);
    Ok(Resumed::Finished(record, Box::new(outcome)))
}

/// Rolls the operation of `run` back, which began with `record`.
fn undo(mut run: Run<'_>, record: JournalRecord, observer: &mut dyn Observer) -> Result<Resumed> {
    match run.undo("the earlier run was interrupted", observer) {
        Ok(changed) => {
            let fixes = run.journal.record.fixes;
            Ok(Resumed::Undone(JournalRecord { fixes, ..record }, changed))
        }
        Err(
            wait @ (Error::Docker(DockerError::StopTimeout { .. })
            | Error::Docker(DockerError::Migrating { .. })
            | Error::Operation(OperationError::Interrupted { .. })),
        ) => Err(wait),
        Err(failure) => Err(run.failed(run.journal.record.unfinished(), failure)),
    }
}

/// What [`resume`] would do.
#[derive(Debug)]
pub enum Preview {
    /// Verify that the server is up, and roll back if it is not.
    Verify(JournalRecord),
    /// Finish what was committed: only the snapshot is missing.
    Finish(JournalRecord),
    /// Roll back.
    RollBack(JournalRecord),
    /// Put so many pending snapshots into the store.
    Pack(usize),
}

/// Reports what [`resume`] would do, and changes nothing.
///
/// # Errors
/// Those of [`resume`] before it begins.
pub fn foresee(instance: &Instance, settings: &Settings) -> Result<Preview> {
    let lock = instance.lock(&settings.verb)?;
    let Some(journal) = Journal::read(instance.work())? else {
        return match pending::waiting(instance).len() {
            0 => Err(Error::Operation(OperationError::NothingUnfinished)),
            pending => Ok(Preview::Pack(pending)),
        };
    };
    let record = journal.record.clone();
    check_same(instance, &record)?;
    let run = Run::new(instance, settings, journal, lock);
    Ok(match record.phase {
        Phase::Seen => Preview::Finish(record),
        Phase::Committed if settings.rolls_back => Preview::RollBack(record),
        Phase::Committed => Preview::Verify(record),
        Phase::Writing if run.is_switched()? => Preview::Verify(record),
        Phase::Writing if record.shows_commit() && Some(run.read_mark()?) != record.before => Preview::Verify(record),
        _ => Preview::RollBack(record),
    })
}

/// Fails unless `instance` is the one of the journal, with the container that has to be started.
fn check_same(instance: &Instance, record: &JournalRecord) -> Result<()> {
    if record.origin != instance.origin() {
        return Err(Error::Operation(OperationError::OtherDatabase {
            verb: record.verb.clone(),
            origin: record.origin.clone(),
            here: instance.origin(),
        }));
    }
    match (&record.container, &instance.container) {
        (Some((_, name)), None) if record.was_running() => {
            let folder = instance.origin();
            Err(Error::Docker(DockerError::Removed {
                container: name.clone(),
                what: format!(
                    "was running before, but no container on this Docker engine uses `{folder}` now; the interrupted \
                     `{}` was {}",
                    record.verb,
                    record.phase.words()
                ),
                unfinished: true,
                hint: Some(Hint::advice(format!(
                    "recreate the container with `{folder}` (docker compose up -d), then run `kumadb -t {folder} \
                     recover`"
                ))),
            }))
        }
        _ => Ok(()),
    }
}

/// Whether the server has written heartbeats since the change was committed.
fn has_beaten(instance: &Instance, record: &JournalRecord) -> bool {
    let last = instance.connect().and_then(|connect| read_last_beat(&mut *connect.reader()?));
    last.is_ok_and(|last| last > record.last_beat)
}
