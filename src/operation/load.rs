//! Loading a copy into the database: as rows into the existing tables, or by exchanging the tables; and how an exchange is
//! rolled back.

use std::collections::BTreeSet;

use super::journal::Phase;
use super::rows_fit::{check_rows, find_rejected};
use super::run::Run;
use super::undo::check_loaded;
use super::work::Load;
use super::{Observer, Step};
use crate::backup::{Guarded, StagedCopy};
use crate::engine::DumpFit;
use crate::error::{DatabaseError, Error, Result};
use crate::files;
use crate::instance::DbLocation;
use crate::kuma::merge::merge;
use crate::kuma::read::read_last_beat;
use crate::kuma::write::{check_clean, check_known};

impl Run<'_> {
    /// Makes `load`, and compares the database with the copy.
    pub(super) fn load(&mut self, guarded: &mut Guarded, load: &Load<'_>, observer: &mut dyn Observer) -> Result<()> {
        let Load { desired, kept, .. } = load;
        let live = self.journal.record.live();
        if !kept.is_empty() && !self.fits {
            // The embedded MariaDB of a stopped container was not there before.
            check_rows(guarded.writer(), load)?;
        }
        observer.step(&Step::PutBack)?;
        // A running server must not find different tables from one statement to the next.
        let whole = kept.is_empty() && !live;
        if !whole || !self.exchange(guarded, desired, observer)? {
            let mut progress = |done, total| observer.progress(done, total);
            let loaded = guarded.writer().load(&desired.database(), kept, &mut progress);
            // A failed load was one transaction too, and changed nothing unless it failed after its commit.
            self.attempted = loaded.as_ref().map_or_else(Error::is_after_commit, |()| true);
            loaded?;
        }
        match self.check_and_merge(guarded, load) {
            // A rollback would lose what the running server has written since the commit.
            Err(error) if live => {
                let warning = format!(
                    "the rows of the snapshot are loaded, but not checked completely, and heartbeats that were deleted may \
                     not be restored: {error}; to check the database: kumadb doctor"
                );
                self.outcome.warnings.push(warning);
                Ok(())
            }
            checked => checked,
        }
    }

    /// Checks the database after `load`, and restores rows of the history.
    fn check_and_merge(&mut self, guarded: &mut Guarded, load: &Load<'_>) -> Result<()> {
        let Load { desired, kept, merges, .. } = load;
        // A running server has written rows since the commit; they were read back before it.
        if !self.journal.record.live() {
            check_loaded(guarded.writer(), desired, kept)?;
        }
        check_clean(guarded.writer(), &desired.manifest.faults)?;
        if *merges {
            self.merge(guarded, desired, kept)?;
        }
        // From here on only heartbeats newer than the newest of the copy count.
        self.journal.record.last_beat = read_last_beat(guarded.writer())?;
        Ok(())
    }

    /// Restores the rows of the tables `kept` that `desired` has and that are missing in the database, in a commit of its own.
    fn merge(&mut self, guarded: &mut Guarded, desired: &StagedCopy, kept: &[String]) -> Result<()> {
        let schema = guarded.writer().schema()?;
        let merged = merge(guarded.writer(), &mut *desired.reader()?, &schema, kept);
        if merged.is_err() {
            guarded.writer().rollback()?;
        }
        self.outcome.merged = merged?;
        check_clean(guarded.writer(), &desired.manifest.faults)
    }

    /// Builds the tables of `desired` beside the live ones, verifies them, and exchanges both; `false` where changing rows is
    /// faster.
    fn exchange(&mut self, guarded: &mut Guarded, desired: &StagedCopy, observer: &mut dyn Observer) -> Result<bool> {
        let Some(shadow) = guarded.writer().shadow() else { return Ok(false) };
        let fit = shadow.suits(&desired.database())?;
        if fit == DumpFit::Rows {
            return Ok(false);
        }
        // Noted before the first database is created. From here on a rollback checks which tables are where, and drops both
        // databases.
        (self.attempted, self.journal.record.swaps) = (true, true);
        self.journal.advance(Phase::Writing)?;
        match shadow.reserve() {
            Err(error @ Error::Database(DatabaseError::CannotSwapTables { .. })) => {
                (self.attempted, self.journal.record.swaps) = (false, false);
                self.journal.advance(Phase::Writing)?;
                // Keys of the present tables may reject its rows. Where that cannot be found out, the load does, and is rolled back.
                let fits = fit == DumpFit::Either
                    && find_rejected(guarded.writer(), desired, &[]).map_or(true, |rejected| rejected.is_empty());
                return if fits { Ok(false) } else { Err(error) };
            }
            reserved => reserved?,
        }
        if let (DbLocation::Embedded(_), Some(folder)) = (&self.instance.place, &self.instance.folder) {
            files::require_space(folder, 2 * self.instance.size().max(desired.manifest.size()))?;
        }
        let mut progress = |done, total| observer.progress(done, total);
        let faults = shadow.fill(&desired.database(), &mut progress)?;
        check_known(&faults, &desired.manifest.faults)?;
        observer.step(&Step::Swap)?;
        shadow.swap()?;
        Ok(true)
    }

    /// Moves the old tables back, if any were set aside, and drops the new ones; returns whether there was a change.
    pub(super) fn swap_back(&mut self, observer: &mut dyn Observer) -> Result<bool> {
        if self.instance.is_running()? {
            self.stop(observer)?;
        }
        let staged = StagedCopy::open(&self.staged_folder())?;
        let (phase, all) = (self.journal.record.phase, self.journal.record.loads);
        if all {
            // A disk that is too full for the note must not prevent the rollback.
            let _ = self.journal.advance(Phase::RollingBack);
        }
        observer.step(&Step::PutBack)?;
        let changed = self.instance.open_still(&self.lock)?.with(|connect| {
            let mut guarded = Guarded::open(&staged, connect)?;
            let tables: BTreeSet<&str> = staged.manifest.counts.keys().map(String::as_str).collect();
            let Some(shadow) = guarded.writer().shadow() else { return Ok(false) };
            // If only some tables were exchanged, the server may have written rows to the others since. A rollback that was
            // interrupted may have moved the tables back already, and not have loaded these rows.
            let reloads = !all && (phase != Phase::Writing || shadow.is_swapped(&tables)?);
            if reloads {
                // Without this note, the next rollback could not know it.
                self.journal.advance(Phase::RollingBack)?;
            }
            let changed = shadow.swap_back(&tables)? || reloads;
            shadow.clear()?;
            if reloads {
                guarded.writer().load(&staged.database(), &[], &mut |done, total| observer.progress(done, total))?;
            }
            if changed {
                check_loaded(guarded.writer(), &staged, &[])?;
            }
            Ok(changed)
        })?;
        if changed {
            self.journal.advance(Phase::PutBack)?;
        }
        Ok(changed)
    }

    /// Drops the old tables of an exchange: the server works without them.
    pub(super) fn clear_shadow(&self, observer: &mut dyn Observer) -> Result<()> {
        if !self.journal.record.swaps {
            return Ok(());
        }
        observer.step(&Step::Clear)?;
        let session = self.instance.open_locked(&self.lock)?;
        session.with(|connect| match Guarded::clear(connect)?.writer().shadow() {
            Some(shadow) => shadow.clear(),
            None => Ok(()),
        })
    }
}
