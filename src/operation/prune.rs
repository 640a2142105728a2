//! Selecting the snapshots to delete, and deleting them.

use std::collections::BTreeMap;
use std::path::Path;

use chrono::{DateTime, TimeZone, Utc};

use super::{Journal, Observer, Step};
use crate::backup::retention::{Guards, Policy, judge};
use crate::backup::store::Orphan;
use crate::backup::undo::{Bounds, Of, of};
use crate::backup::{Manifest, Snapshot, Store, Stores};
use crate::error::{Error, Hint, InputError, OperationError, Result, SnapshotError, StoreError};
use crate::instance;

/// Which snapshots are considered, and by which rules.
pub struct PruneChoice<'c> {
    /// The rules.
    pub policy: Policy,
    /// Limits of undo snapshots; where given, these are considered instead of backups, and without a rule these limits apply.
    pub undo: Option<Bounds>,
    /// Whether snapshots of unreadable databases are considered too.
    pub raw: bool,
    /// The snapshot that was stored and read back just now, which need not be verified again.
    pub proven: Option<&'c str>,
    /// Whether a snapshot is considered at all; the others stay.
    pub about: &'c dyn Fn(&Manifest) -> bool,
}

impl PruneChoice<'_> {
    fn is_about(&self, manifest: &Manifest) -> bool {
        manifest.undo == self.undo.is_some() && (self.about)(manifest)
    }
}

/// One snapshot in one store.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// Why it is kept; empty for one that is to be deleted.
    pub reasons: Vec<String>,
}

/// What is deleted and what stays.
#[derive(Debug, Default)]
pub struct Pruning {
    /// Every snapshot that was considered, store by store, oldest first.
    pub judged: Vec<Judged>,
    /// Incomplete snapshots that interrupted runs left, and young ones that another run may be storing.
    pub orphans: Vec<Orphan>,
    /// Snapshots that could not be read or verified. They are not deleted.
    pub warnings: Vec<Error>,
}

impl Pruning {
    /// Applies the rules to the snapshots in `stores`, each store by itself. `state` is the folder with the journals of
    /// instances without a data folder.
    ///
    /// # Errors
    /// [`InputError::Missing`] for a policy that keeps nothing; the error of a store that does not respond, where it is the only one.
    pub fn plan<Z: TimeZone>(
        stores: &Stores,
        choice: &PruneChoice<'_>,
        now: DateTime<Utc>,
        zone: &Z,
        state: &Path,
    ) -> Result<Pruning> {
        if choice.policy.is_empty() && choice.undo.is_none() {
            let say = "use `--keep-last 7`, or `-t NAME --own` for the policy of the config file";
            return Err(Error::Input(InputError::Missing { what: "retention rule".into(), hint: Hint::advice(say) }));
        }
        let listing = stores.list()?;
        let mut pruning = Pruning { warnings: listing.unusable, ..Pruning::default() };
        let about: Vec<Snapshot> =
            listing.snapshots.into_iter().filter(|snapshot| choice.is_about(&snapshot.manifest)).collect();
        for store in stores.iter() {
            let here: Vec<&Snapshot> =
                about.iter().filter(|snapshot| snapshot.store().address() == store.address()).collect();
            let manifests: Vec<&Manifest> = here.iter().map(|snapshot| &snapshot.manifest).collect();
            let warnings = &mut pruning.warnings;
            let mut verifies = |desired: &Manifest| {
                if choice.proven == Some(desired.id.as_str()) {
                    return true;
                }
                let Some(found) = here.iter().find(|snapshot| snapshot.manifest.id == desired.id) else { return true };
                let Err(error) = found.verify() else { return true };
                // With the wrong key it may still be the archive that was written.
                let is_locked = matches!(error, Error::Snapshot(SnapshotError::Key { .. }));
                warnings.push(error);
                is_locked && found.verify_hash().map_err(|error| warnings.push(error)).is_ok()
            };
            let mut guards =
                Guards { raw: choice.raw, unfinished: &|of| is_unfinished(of, state), verifies: &mut verifies };
            let reasons: Vec<Vec<String>> = match choice.undo.filter(|_| choice.policy.is_empty()) {
                Some(bounds) => judge_undo(&here, &bounds, now),
                None => {
                    let judged = judge(&manifests, &choice.policy, now, zone, &mut guards);
                    judged.into_iter().map(|one| one.reasons).collect()
                }
            };
            let one =
                |(snapshot, reasons): (&&Snapshot, Vec<String>)| Judged { snapshot: (*snapshot).clone(), reasons };
            pruning.judged.extend(here.iter().zip(reasons).map(one));
            let is_interrupted = |error: &Error| matches!(error, Error::Operation(OperationError::Interrupted { .. }));
            if let Some(at) = pruning.warnings.iter().position(is_interrupted) {
                return Err(pruning.warnings.swap_remove(at));
            }
            match store.orphans(now) {
                Ok(orphans) => pruning.orphans.extend(orphans),
                // It is among the warnings already: its snapshots could not be listed either.
                Err(Error::Store(StoreError::Action { .. })) => {}
                Err(error) => pruning.warnings.push(error),
            }
        }
        Ok(pruning)
    }

    /// The snapshots to delete, oldest first.
    pub fn removed(&self) -> impl Iterator<Item = &Snapshot> {
        self.judged.iter().filter(|one| one.reasons.is_empty()).map(|one| &one.snapshot)
    }

    /// Bytes that are free afterwards.
    pub fn bytes(&self) -> u64 {
        self.removed().map(|snapshot| snapshot.size).sum()
    }

    /// Deletes the snapshots, and the leftovers of interrupted runs. One that cannot be deleted does not stop the others; the
    /// errors are returned, and it is one of those that are kept. After an interruption, a snapshot is listed and complete, or not listed; the
    /// next run on the same `stores` deletes the rest of it.
    ///
    /// # Errors
    /// The observer refuses to continue; the remaining snapshots stay.
    pub fn carry_out(&mut self, stores: &Stores, observer: &mut dyn Observer) -> Result<Vec<Error>> {
        let mut failed = Vec::new();
        // A full disk, which is what this is often for, must not be in the way.
        let scratch = match self.removed().next() {
            Some(_) => stores.scratch().ok(),
            None => None,
        };
        for Judged { snapshot, reasons } in self.judged.iter_mut().filter(|one| one.reasons.is_empty()) {
            observer.step(&Step::Remove { snapshot: snapshot.manifest.id.clone() })?;
            let removed = match &scratch {
                Some(scratch) => snapshot.remove_noted(scratch),
                None => snapshot.remove(),
            };
            if let Err(error) = removed {
                reasons.push("cannot be deleted".into());
                failed.push(error);
            }
        }
        for orphan in self.orphans.iter().filter(|orphan| !orphan.young) {
            failed.extend(orphan.remove().err());
        }
        Ok(failed)
    }
}

/// Deletes the undo snapshots of `instance` beyond the limits of `store`. Those with the ids `made` stay: they are new, even if
/// the clock was set back. Those at the same location under another name are from before the instance was renamed, or from another
/// host: only old ones are deleted.
pub(super) fn bound(store: &Store, instance: Of<'_>, made: &[&str], now: DateTime<Utc>) -> Result<()> {
    let listed = store.list()?.snapshots;
    let undo: Vec<&Snapshot> = listed.iter().filter(|one| one.manifest.undo && of(&one.manifest) == instance).collect();
    let judged = judge_undo(&undo, &store.bounds(), now);
    let goes = |one: &Snapshot| !made.contains(&one.manifest.id.as_str());
    let surplus = undo.iter().zip(judged).filter(|(one, reasons)| reasons.is_empty() && goes(one));
    surplus.map(|(one, _)| one).try_for_each(|one| one.remove())?;
    former(&listed, store, instance, now).into_iter().try_for_each(Snapshot::remove)
}

/// The undo snapshots at the place of `instance`, under names that no configured instance has, that are too old.
fn former<'s>(listed: &'s [Snapshot], store: &Store, instance: Of<'_>, now: DateTime<Utc>) -> Vec<&'s Snapshot> {
    let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
    let mut old = Vec::new();
    for one in listed.iter().rev() {
        let (name, origin) = of(&one.manifest);
        if !one.manifest.undo || origin != instance.1 || name == instance.0 || store.is_other(name) {
            continue;
        }
        let nth = seen.entry(name).or_default();
        if !store.bounds().outlives(*nth, one.manifest.created, now) {
            old.push(one);
        }
        *nth += 1;
    }
    old
}

/// Why each of these undo snapshots of one store, oldest first, is kept by `bounds`, for each instance by itself.
fn judge_undo(all: &[&Snapshot], bounds: &Bounds, now: DateTime<Utc>) -> Vec<Vec<String>> {
    let mut by_instance: BTreeMap<Of<'_>, Vec<usize>> = BTreeMap::new();
    for (n, snapshot) in all.iter().enumerate() {
        by_instance.entry(of(&snapshot.manifest)).or_default().push(n);
    }
    let mut reasons = vec![Vec::new(); all.len()];
    for members in by_instance.values() {
        let sized: Vec<(&Manifest, u64)> = members.iter().map(|n| (&all[*n].manifest, all[*n].size)).collect();
        for (n, reason) in members.iter().zip(bounds.judge(&sized, now)) {
            reasons[*n].extend(reason);
        }
    }
    reasons
}

/// Whether an operation on the instance of this snapshot was interrupted. An unreadable journal counts as one.
fn is_unfinished(of: &Manifest, state: &Path) -> bool {
    let journal = instance::find_work(&of.origin, state).and_then(|work| match work {
        Some(work) => Journal::read(&work),
        None => Ok(None),
    });
    !matches!(journal, Ok(None))
}
