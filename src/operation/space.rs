//! Checks the disk space for the whole operation, before the server is stopped.

use std::path::Path;

use chrono::Utc;

use super::convert::Destination;
use super::pending;
use super::work::{Replacement, Work};
use crate::backup::undo::{Of, UndoHistory, is_base, of};
use crate::backup::{Changed, Manifest, Snapshot, Store};
use crate::engine::EngineKind;
use crate::engine::space::read_space;
use crate::error::{Error, FileError, Result, StoreError};
use crate::files;
use crate::instance::{DbLocation, Instance};

/// A larger staged copy is not packed completely for a change of the configuration, in bytes.
pub(super) const LARGE: u64 = 16 << 20;

/// Size of the files of a new, empty MariaDB (10.11: 176 MB), in bytes.
const BARE_MARIADB: u64 = 200 << 20;

/// Space for the journal and what else the engine needs, in bytes.
const SPARE: u64 = 1 << 20;

/// Whether `store` has a full snapshot of the instance of `manifest` that a configuration-only undo snapshot may rely on.
pub(super) fn has_base(listed: &[Snapshot], manifest: &Manifest) -> bool {
    bases(listed, of(manifest)).any(|base| base.migrations == manifest.migrations && base.engine == manifest.engine)
}

fn bases<'s>(all: &'s [Snapshot], instance: Of<'s>) -> impl Iterator<Item = &'s Manifest> {
    let now = Utc::now();
    all.iter().map(|one| &one.manifest).filter(move |manifest| is_base(manifest, instance, now))
}

/// Fails unless there is disk space for a conversion: for the staged copy and the new database in the data folder, and for
/// the undo snapshot in the store.
///
/// # Errors
/// As [`check`].
pub(super) fn check_conversion(instance: &Instance, store: &Store, to: &Destination) -> Result<()> {
    let size = staged_size(instance);
    let new = match to {
        Destination::External(_) => 0,
        Destination::Sqlite => 2 * size,
        Destination::Embedded => BARE_MARIADB + 3 * size,
    };
    let staged = if instance.engine() == EngineKind::Sqlite { 2 * size } else { size };
    check_sizes(instance, store, SPARE + staged + new, Archive { small: false, size: size / 2 + SPARE })
}

/// Fails unless there is disk space for `work`: for the staged copy and the transaction in the data folder, and for the undo
/// snapshot in the store, which must be writable. Undo snapshots of this instance are deleted to make space, but never the
/// newest one.
///
/// # Errors
/// [`StoreError::Full`](crate::error::StoreError::Full), [`FileError::NoSpace`](crate::error::FileError::NoSpace), or why the store cannot be written to; nothing was deleted.
pub(super) fn check(instance: &Instance, store: &Store, work: &Work<'_>) -> Result<()> {
    let size = staged_size(instance);
    let small = size > LARGE && work.may_change() == Changed::Configuration;
    let archive = Archive { small, size: size / 2 + extras(instance, work) / 2 + SPARE };
    check_sizes(instance, store, needed_in_data(instance, work, size), archive)
}

/// The undo snapshot, as it is expected.
struct Archive {
    /// Without the history, if the store has a full snapshot.
    small: bool,
    /// Bytes of a full one.
    size: u64,
}

fn check_sizes(instance: &Instance, store: &Store, data: u64, archive: Archive) -> Result<()> {
    let Some(folder) = store.folder() else { return Ok(()) };
    // Created like the snapshot will be, which also removes what interrupted runs left.
    match store.scratch() {
        Err(error) if error.is_full() => {
            return Err(Error::Store(StoreError::Full {
                store: store.address(),
                needed: SPARE,
                free: free_in(folder)?,
            }));
        }
        scratch => drop(scratch?),
    }
    let listed = store.list()?.snapshots;
    let origin = instance.origin();
    let meant = (instance.name.as_str(), origin.as_str());
    let archive = if archive.small && bases(&listed, meant).next().is_some() {
        Archive { small: true, size: LARGE / 2 + SPARE }
    } else {
        Archive { small: false, ..archive }
    };
    // On one disk they share the free space.
    let shared = device(folder) == device(instance.work());
    let taken = if shared { data } else { 0 };
    // Both are known to have space before anything is deleted.
    check_data(instance, data)?;
    let removable = removable(store, listed, meant, &archive, taken)?;
    make_room_for_copy(instance, data)?;
    for one in removable {
        if free_in(folder)?.saturating_sub(taken) >= archive.size {
            break;
        }
        one.remove()?;
    }
    Ok(())
}

fn free_in(folder: &Path) -> Result<u64> {
    files::free_space(files::nearest(folder))
}

/// Approximate size of the staged copy, in bytes.
fn staged_size(instance: &Instance) -> u64 {
    if let DbLocation::Sqlite(_) = &instance.place {
        return instance.size();
    }
    let rows = instance.connect().and_then(|connect| read_space(&mut *connect.reader()?));
    // A MariaDB that is not running cannot report its size, and its files are larger than its rows.
    rows.map_or_else(|_| instance.size(), |space| space.tables.values().map(|table| table.rows).sum())
}

fn extras(instance: &Instance, work: &Work<'_>) -> u64 {
    instance.extras(work.restores_screenshots()).iter().map(|folder| files::folder_size(folder)).sum()
}

/// Bytes that the staged copy and the work itself need in the data folder.
fn needed_in_data(instance: &Instance, work: &Work<'_>, size: u64) -> u64 {
    let content = match work {
        Work::Replacement(Replacement::Load(load)) => load.desired.manifest.size().max(size),
        // The new database, and a WAL as large.
        Work::Replacement(Replacement::Upgrade(_)) => 2 * size,
        _ => size,
    };
    SPARE
        + match instance.engine() {
            // The copy, and a WAL that may grow as long as the database; a rollback uses one too.
            EngineKind::Sqlite if matches!(work, Work::Replacement(Replacement::Compact(_))) => size + 2 * content,
            EngineKind::Sqlite => size + content,
            EngineKind::MariaDb if embeds_tables(instance, work) => size + 2 * instance.size().max(content),
            EngineKind::MariaDb => size,
        }
}

/// Whether `work` creates the tables of a full copy beside those of an embedded MariaDB.
fn embeds_tables(instance: &Instance, work: &Work<'_>) -> bool {
    let creates = match work {
        Work::Replacement(Replacement::Load(load)) => load.kept.is_empty(),
        Work::Replacement(Replacement::Upgrade(_)) => true,
        _ => false,
    };
    creates && matches!(instance.place, DbLocation::Embedded(_))
}

/// Fails unless `needed` bytes are free for the staged copy, or would be without the pending snapshots, except the newest one.
fn check_data(instance: &Instance, needed: u64) -> Result<()> {
    let work = instance.work();
    files::claim_folder(work)?;
    let older: u64 = pending::list(instance).iter().rev().skip(1).map(|one| files::folder_size(&one.folder)).sum();
    let free = files::free_space(work)?;
    if free + older >= needed {
        Ok(())
    } else {
        Err(Error::File(FileError::NoSpace { path: work.to_owned(), needed, free }))
    }
}

/// Deletes pending snapshots, oldest first but never the newest one, until `needed` bytes are free.
fn make_room_for_copy(instance: &Instance, needed: u64) -> Result<()> {
    let work = instance.work();
    for most in (1..pending::list(instance).len()).rev() {
        if files::free_space(work)? >= needed {
            break;
        }
        pending::thin(instance, most)?;
    }
    files::require_space(work, needed)
}

/// The undo snapshots in `store` to delete, in this order, where `archive` has no space beside the `taken` bytes that
/// something else uses on the same disk.
///
/// # Errors
/// [`StoreError::Full`](crate::error::StoreError::Full) when even that would not be enough.
fn removable(
    store: &Store,
    listed: Vec<Snapshot>,
    instance: Of<'_>,
    archive: &Archive,
    taken: u64,
) -> Result<Vec<Snapshot>> {
    let needed = archive.size;
    let free = free_in(store.folder().unwrap_or(Path::new("/")))?.saturating_sub(taken);
    if free >= needed {
        return Ok(Vec::new());
    }
    let now = Utc::now();
    let undo: Vec<Snapshot> =
        listed.into_iter().filter(|one| one.manifest.undo && of(&one.manifest) == instance).collect();
    let base = undo.iter().rposition(|one| is_base(&one.manifest, instance, now)).filter(|_| archive.small);
    let manifests: Vec<&Manifest> = undo.iter().map(|one| &one.manifest).collect();
    // What undos have used goes first.
    let order = UndoHistory::of(&manifests).removal_order(base);
    let undo: Vec<Snapshot> = order.into_iter().map(|at| undo[at].clone()).collect();
    let removable: u64 = undo.iter().map(|one| one.size).sum();
    if free + removable < needed {
        return Err(Error::Store(StoreError::Full {
            store: store.address(),
            needed: needed + taken,
            free: free + taken,
        }));
    }
    Ok(undo)
}

fn device(path: &Path) -> Option<u64> {
    files::about_target(files::nearest(path)).ok().map(|found| found.device)
}
