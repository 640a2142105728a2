//! Ends what an earlier run could not: finishes it where the change was made, undoes it where it was not.

use super::Observer;
use super::apply::{Outcome, Run, Settings};
use super::journal::{Journal, Phase, Record};
use crate::backup::Store;
use crate::error::{Error, Result};
use crate::instance::Instance;

/// How an unfinished operation ended.
#[derive(Debug)]
pub enum Resumed {
    /// The change is in, the server was seen working.
    Finished(Record, Box<Outcome>),
    /// Everything is as it was before; true where the change had been made and was taken back.
    Undone(Record, bool),
}

/// Ends the unfinished operation of `instance`.
///
/// # Errors
/// [`Error::NothingUnfinished`]; [`Error::RolledBack`] when the change was made but the server does not come back with it;
/// [`Error::RollbackFailed`], the journal staying for another try.
pub fn resume(instance: &Instance, store: &Store, settings: &Settings, observer: &mut dyn Observer) -> Result<Resumed> {
    let lock = instance.lock(&settings.verb)?;
    let journal = Journal::read(instance.work())?.ok_or(Error::NothingUnfinished)?;
    let record = journal.record.clone();
    instance.remove_stale_helpers()?;
    let mut run = Run::new(instance, settings, journal, lock);
    run.attempted = true;
    if run.journal.record.phase == Phase::Writing && !record.loads && run.is_changed()? {
        run.journal.advance(Phase::Committed)?;
    }
    match run.journal.record.phase {
        Phase::Seen => {}
        Phase::Committed => {
            if let Err(cause) = run.up(&[], observer) {
                return Err(run.back(cause, observer));
            }
        }
        Phase::Noted | Phase::Stopping | Phase::Writing | Phase::RollingBack | Phase::PutBack => {
            return match run.undo("the earlier run was cut off", observer) {
                Ok(changed) => Ok(Resumed::Undone(record, changed)),
                Err(wait @ (Error::WouldNotStop { .. } | Error::Migrating { .. } | Error::Interrupted { .. })) => {
                    Err(wait)
                }
                Err(failure) => {
                    let cause = Box::new(run.journal.record.unfinished());
                    Err(Error::RollbackFailed { cause, failure: Box::new(failure) })
                }
            };
        }
    }
    let outcome = run.finish(store, observer);
    Ok(Resumed::Finished(record, Box::new(outcome)))
}
