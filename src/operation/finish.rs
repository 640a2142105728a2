//! The end of an operation: the staged copy becomes an undo snapshot, or a pending snapshot when its store has no space.

use std::path::Path;

use chrono::Utc;

use super::journal::Phase;
use super::last_undo::note_last_undo;
use super::run::Run;
use super::script::Script;
use super::space::{LARGE, has_base};
use super::work::{Load, Outcome, Replacement, Transaction, Work};
use super::{Observer, Step, pending, prune, removed};
use crate::backup::undo::of;
use crate::backup::{Changed, Encryption, Snapshot, StagedCopy, Store};
use crate::engine::statement::verb;
use crate::engine::{Counts, Reader};
use crate::error::{Error, Result, SnapshotError};
use crate::files;
use crate::kuma::merge::HistoryChange;
use crate::kuma::read::{history, read_counts};
use crate::plan::{Change, Plan};
use crate::schema::Schema;

/// Name of the folder, beside the journal, with the part of a staged copy that is packed.
const PART: &str = "part";

impl Run<'_> {
    /// Notes what the work has changed, so that an undo restores exactly that: what it `may` change, as far as the numbers of
    /// rows now differ from those `before`.
    pub(super) fn note_changed(&mut self, reader: &mut dyn Reader, may: Changed, schema: &Schema, before: &Counts) {
        let tables = history(schema);
        let rows = |counts: &Counts, table: &String| counts.get(table).copied().unwrap_or(0);
        let live = self.journal.record.live();
        let changed = match may {
            Changed::Configuration => match read_counts(reader, schema) {
                Ok(now)
                    if tables.iter().all(|table| {
                        if live {
                            rows(&now, table) >= rows(before, table)
                        } else {
                            rows(&now, table) == rows(before, table)
                        }
                    }) =>
                {
                    Changed::Configuration
                }
                _ => Changed::History,
            },
            changed => changed,
        };
        // What the transaction has found takes precedence.
        self.journal.record.changed.get_or_insert(changed);
    }

    /// The server is verified up: stores the undo snapshot and closes the journal. The change stays, so an error here becomes a
    /// warning and blocks nothing.
    pub(super) fn finish(mut self, store: &Store, observer: &mut dyn Observer) -> Outcome {
        self.outcome.fixes = self.journal.record.fixes;
        let noted = self.journal.advance(Phase::Seen);
        self.warn(noted, "cannot write the journal");
        let folder = self.staged_folder();
        let safe = !files::exists(&folder) || self.put_away(&folder, store, observer);
        let cleared = self.clear_shadow(observer);
        let published = self.publish();
        let clear = cleared.is_ok() && published.is_ok();
        self.warn(published, "cannot remove the mark of the new database (kumadb recover removes it)");
        self.warn(cleared, "cannot drop the old tables (kumadb recover drops them)");
        // The old tables or the staged copy are still there, so the journal that mentions them must stay too.
        if clear && safe {
            let closed = observer.step(&Step::CloseJournal).and_then(|()| self.close());
            self.warn(closed, "cannot close the journal (kumadb recover closes it)");
        }
        self.outcome
    }

    fn warn(&mut self, done: Result<()>, what: &str) {
        if let Err(error) = done {
            self.outcome.warnings.push(format!("{what}: {error}"));
        }
    }

    /// Stores the staged copy in `store`, or makes it a pending snapshot where that fails. Returns whether either succeeded.
    fn put_away(&mut self, folder: &Path, store: &Store, observer: &mut dyn Observer) -> bool {
        let part = self.instance.work().join(PART);
        match self.pack(folder, &part, store, observer) {
            Ok(snapshot) => {
                let made = [snapshot.manifest.id.as_str()];
                let bounded = prune::bound(store, of(&snapshot.manifest), &made, Utc::now());
                let noted = note_last_undo(self.instance, &snapshot);
                self.outcome.snapshot = Some(snapshot);
                self.warn(noted, "cannot record the store of the undo snapshot in the data folder");
                self.warn(bounded, "cannot delete undo snapshots beyond the limits of `[undo]`");
                true
            }
            Err(error) => {
                let from = if files::exists(&part.join("manifest.json")) { &part } else { folder };
                let (safe, words) = match pending::keep(self.instance, from, &self.journal.record.recipients) {
                    Ok((place, manifest)) => {
                        self.outcome.kept = manifest;
                        let words = format!(
                            "it is pending in `{}`, where `kumadb undo` finds it; the next write, `kumadb backup \
                             create` or `kumadb recover` will store it",
                            place.display()
                        );
                        (true, words)
                    }
                    Err(failure) => {
                        let place = from.display();
                        (false, format!("the snapshot is still in `{place}` ({failure}); to store it: kumadb recover"))
                    }
                };
                self.outcome.warnings.push(format!(
                    "the change was committed, but its undo snapshot could not be stored: {error}; {words}"
                ));
                safe
            }
        }
    }

    fn pack(&mut self, folder: &Path, part: &Path, store: &Store, observer: &mut dyn Observer) -> Result<Snapshot> {
        observer.step(&Step::Pack)?;
        let mut staged = StagedCopy::open(folder)?;
        // The folder of the copy may belong to an attacker: it goes into the store as an undo snapshot of this instance, and
        // as nothing else.
        (staged.manifest.instance, staged.manifest.origin) = (self.instance.name.clone(), self.instance.origin());
        (staged.manifest.undo, staged.manifest.created) =
            (!staged.manifest.raw, staged.manifest.created.min(Utc::now()));
        let changed = self.journal.record.changed;
        staged.note_changed(changed)?;
        let store = store.clone().encrypted(self.encryption(folder, store)?);
        let listed = store.list()?.snapshots;
        if let Some(snapshot) = pending::find_stored(&listed, &staged.manifest, folder)? {
            self.outcome.removed = removed::keep(folder, &snapshot)?;
            return Ok(snapshot);
        }
        let (staged, extras) = if changed == Some(Changed::Configuration)
            && staged.manifest.is_whole()
            && staged.manifest.size() > LARGE
            && has_base(&listed, &staged.manifest)
        {
            // A write of rows changes none of the files beside the database.
            (staged.without_history(part)?, Vec::new())
        } else {
            (staged, self.instance.extras(self.screenshots))
        };
        let snapshot = store.pack(&staged, &extras)?;
        // It is stored, whatever comes of the report.
        let reported = observer.step(&Step::Packed {
            id: snapshot.manifest.id.clone(),
            bytes: snapshot.size,
            undo: snapshot.manifest.undo,
        });
        self.warn(reported, "cannot report the undo snapshot");
        self.outcome.removed = removed::keep(folder, &snapshot)?;
        Ok(snapshot)
    }

    /// The encryption of the undo snapshot. The journal of an interrupted run may be in a folder of an attacker: what it contains is
    /// checked against the configuration of this run.
    fn encryption(&mut self, folder: &Path, store: &Store) -> Result<Option<Encryption>> {
        let noted = &self.journal.record.recipients;
        if self.instance.folder.is_none() {
            return Encryption::read(noted, &[], None);
        }
        let ours = store.recipients();
        let foreign = pending::judge_recipients(noted, &ours)
            .map_err(|why| Error::Snapshot(SnapshotError::Pending { folder: folder.to_owned(), why }))?;
        if !foreign.is_empty() {
            let foreign = foreign.join(" ");
            let warning = format!("the undo snapshot is encrypted without {foreign}, which only the data folder lists");
            self.outcome.warnings.push(warning);
        }
        Encryption::read(&ours, &[], None)
    }

    /// Removes everything of this run but the lock and the pending snapshots. The journal goes first: a copy without a journal
    /// is only in the way, a journal without its copy could never be closed.
    pub(super) fn close(&self) -> Result<()> {
        self.journal.close()?;
        self.instance.clear_work(&self.lock)
    }
}

impl Work<'_> {
    /// What it may change, before its effect is known.
    pub(super) fn may_change(&self) -> Changed {
        match self {
            Work::Transaction(transaction) => transaction.may_change(),
            Work::Replacement(replacement) => replacement.may_change(),
        }
    }
}

impl Replacement<'_> {
    /// What it may change, before its effect is known.
    pub(super) fn may_change(&self) -> Changed {
        match self {
            Replacement::Compact(_) => Changed::Nothing,
            Replacement::Load(Load { merges: true, .. }) => Changed::History,
            Replacement::Load(Load { kept: [_, ..], .. }) => Changed::Configuration,
            Replacement::Load(_) | Replacement::Salvage(_) | Replacement::Upgrade(_) => Changed::All,
        }
    }
}

impl Transaction<'_> {
    /// What it may change, before its effect is known.
    pub(super) fn may_change(&self) -> Changed {
        match self {
            Transaction::Plan(plan) => plan_changes(plan),
            Transaction::Fixes(fixes) if fixes.plan.is_empty() => Changed::Nothing,
            Transaction::Fixes(fixes) => plan_changes(fixes.plan),
            Transaction::Prune(pruning) if pruning.delete_plans.is_empty() => plan_changes(&pruning.settings),
            Transaction::Prune(_) => Changed::History,
            Transaction::Script(script) => script_changes(script),
            Transaction::Statistics(_) => Changed::All,
        }
    }

    /// Whether the effect on the history has to be determined by comparing monitors, because it is not known to be all or
    /// nothing.
    pub(super) fn is_reported_by_monitors(&self) -> bool {
        matches!(self, Transaction::Script(_)) || self.may_change() == Changed::History
    }

    /// What the transaction has changed, which caused `shift` in the history.
    pub(super) fn has_changed(&self, shift: HistoryChange, live: bool) -> Changed {
        let known = match self {
            // Changes that a running server makes at the same time cannot be distinguished from it.
            Transaction::Script(_) if live => Changed::History,
            _ => Changed::Configuration,
        };
        let seen = match shift {
            HistoryChange::None => Changed::Configuration,
            HistoryChange::Deleted => Changed::History,
            HistoryChange::Other => Changed::All,
        };
        self.may_change().max(known).max(seen)
    }
}

/// A deleted monitor takes its history along. Rows restored by id are rows that were deleted: not old cells of existing ones.
fn plan_changes(plan: &Plan) -> Changed {
    let changes = plan.steps.iter().map(|step| {
        let is_history = step.table == "heartbeat" || step.table.starts_with("stat_");
        match &step.change {
            Change::Delete { .. } if is_history || step.table == "monitor" => Changed::History,
            Change::Insert { .. } | Change::Update { .. } if is_history => Changed::All,
            _ => Changed::Configuration,
        }
    });
    changes.max().unwrap_or(Changed::Configuration)
}

/// A statement that names a table of the history may update or insert its rows, unless it is a DELETE.
fn script_changes(script: &Script) -> Changed {
    let changes = script.statements.iter().map(|statement| {
        let lower = statement.to_lowercase();
        match lower.contains("heartbeat") || lower.contains("stat_") {
            true if verb(statement) == "DELETE" => Changed::History,
            true => Changed::All,
            false => Changed::Configuration,
        }
    });
    // Changes that no comparison of configurations shows must not count as none.
    let least = if script.watched().is_some() { Changed::History } else { Changed::Configuration };
    changes.max().unwrap_or(least).max(least)
}

/// Ends an operation that is complete except for its undo snapshot; the next command that writes does this. The copy becomes a pending
/// snapshot, which is stored later.
pub(super) fn settle(run: &mut Run<'_>) -> Result<()> {
    let folder = run.staged_folder();
    if files::exists(&folder) {
        if let Ok(mut staged) = StagedCopy::open(&folder) {
            // Without the note, an undo restores all of it.
            let _ = staged.note_changed(run.journal.record.changed);
        }
        pending::keep(run.instance, &folder, &run.journal.record.recipients)?;
    }
    run.clear_shadow(&mut super::NoObserver)?;
    run.publish()?;
    run.close()
}
