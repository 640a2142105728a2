//! Ends what an earlier run could not: finishes it where the change was made, undoes it where it was not.

use std::time::Instant;

use super::Observer;
use super::apply::{Outcome, Run, Settings};
use super::journal::{Journal, Phase, Record};
use crate::backup::Store;
use crate::error::{Error, Result};
use crate::instance::Instance;
use crate::kuma::read::read_fingerprint;

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
    let _lock = instance.lock(&settings.verb)?;
    let journal = Journal::read(instance.work())?.ok_or(Error::NothingUnfinished)?;
    let record = journal.record.clone();
    instance.remove_stale_helpers()?;
    let mut run = Run { instance, settings, journal, since: Instant::now(), outcome: Outcome::default() };
    if run.journal.record.phase == Phase::Writing && !record.loads && is_changed(instance, &record)? {
        run.journal.advance(Phase::Committed)?;
    }
    match run.journal.record.phase {
        Phase::Seen => {}
        Phase::Committed => {
            if let Err(cause) = run.up(&[], observer) {
                return Err(run.back(cause, observer));
            }
        }
        Phase::Noted | Phase::Stopping | Phase::Writing | Phase::RollingBack => {
            let changed = run.undo("the earlier run was cut off", observer)?;
            return Ok(Resumed::Undone(record, changed));
        }
    }
    let outcome = run.finish(store, observer);
    Ok(Resumed::Finished(record, Box::new(outcome)))
}

/// Whether the transaction was committed before the run was cut off. It is one transaction, so the configuration is
/// wholly the old one or wholly the new one.
fn is_changed(instance: &Instance, record: &Record) -> Result<bool> {
    let session = instance.open()?;
    let now = || {
        let mut reader = session.connect().reader()?;
        let schema = reader.schema()?;
        read_fingerprint(&mut *reader, &schema)
    };
    let now = now();
    session.close()?;
    Ok(Some(now?) != record.before)
}
