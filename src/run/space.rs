//! Whether there is room for the whole of an operation, looked at before the server is stopped.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use chrono::Utc;

use super::apply::Work;
use super::kept;
use crate::backup::undo::is_base;
use crate::backup::{Changed, Manifest, Snapshot, Store};
use crate::engine::EngineKind;
use crate::engine::space::read_space;
use crate::error::{Error, Result};
use crate::files;
use crate::instance::{Instance, Place};

/// A staged copy that is larger is not packed whole for a change of the configuration, in bytes.
pub(super) const LARGE: u64 = 16 << 20;

/// Room for the journal and what the engine needs besides, in bytes.
const SPARE: u64 = 1 << 20;

/// Whether `store` has a whole snapshot of the instance of `manifest` that an undo snapshot of the configuration alone may
/// rely on.
pub(super) fn has_base(store: &Store, manifest: &Manifest) -> bool {
    bases(&store.list().map(|listing| listing.snapshots).unwrap_or_default(), &manifest.origin)
        .any(|base| base.migrations == manifest.migrations && base.engine == manifest.engine)
}

fn bases<'s>(all: &'s [Snapshot], origin: &'s str) -> impl Iterator<Item = &'s Manifest> {
    let now = Utc::now();
    all.iter().map(|one| &one.manifest).filter(move |manifest| is_base(manifest, origin, now))
}

/// Fails unless `work` has room: for the staged copy and the transaction in the data folder, for the undo snapshot in the
/// store, which must be writable. Undo snapshots of this instance make room, down to the newest one.
///
/// # Errors
/// [`Error::StoreFull`], [`Error::NoSpace`], or why the store cannot be written to; nothing was removed.
pub(super) fn check(instance: &Instance, store: &Store, work: &Work<'_>) -> Result<()> {
    let size = staged_size(instance);
    let Some(folder) = store.folder() else { return Ok(()) };
    // Made as the snapshot will be, which also clears away what killed runs left.
    drop(store.scratch()?);
    let listed = store.list()?.snapshots;
    let origin = instance.origin();
    let small = size > LARGE && work.may_change() == Changed::Configuration && bases(&listed, &origin).next().is_some();
    let archive = if small { LARGE / 2 } else { size / 2 + extras(instance) / 2 } + SPARE;
    let data = needed_in_data(instance, work, size);
    make_room_for_copy(instance, data)?;
    // Where both are on one disk they share what is free.
    let shared = device(folder) == device(instance.work());
    make_room(store, listed, &origin, small, archive, if shared { data } else { 0 })
}

/// Bytes of the staged copy, about.
fn staged_size(instance: &Instance) -> u64 {
    if let Place::Sqlite(_) = &instance.place {
        return instance.size();
    }
    let rows = instance.connect().and_then(|connect| read_space(&mut *connect.reader()?));
    // One that is not running cannot be asked, and its files are larger than its rows.
    rows.map_or_else(|_| instance.size(), |space| space.tables.values().map(|table| table.rows).sum())
}

fn extras(instance: &Instance) -> u64 {
    instance.extras(false).iter().map(|folder| files::folder_size(folder)).sum()
}

/// Bytes that the staged copy and the work itself take in the data folder.
fn needed_in_data(instance: &Instance, work: &Work<'_>, size: u64) -> u64 {
    let content = match work {
        Work::Load { wanted, .. } => wanted.manifest.size().max(size),
        _ => size,
    };
    SPARE
        + match instance.engine() {
            // The copy, and a WAL that may become as long as the database; a rollback goes through one.
            EngineKind::Sqlite if matches!(work, Work::Compact(_)) => size + 2 * content,
            EngineKind::Sqlite => size + content,
            EngineKind::MariaDb => size,
        }
}

/// Fails unless `needed` bytes are free where the staged copy will be. Kept copies make room, down to the newest one.
fn make_room_for_copy(instance: &Instance, needed: u64) -> Result<()> {
    let work = instance.work();
    files::claim_folder(work)?;
    let kept = kept::list(instance);
    let older: u64 = kept.iter().rev().skip(1).map(|one| files::folder_size(&one.folder)).sum();
    let free = files::free_space(work)?;
    if free >= needed {
        return Ok(());
    }
    if free + older < needed {
        return Err(Error::NoSpace { path: work.to_owned(), needed, free });
    }
    kept::thin(instance, 1)?;
    files::require_space(work, needed)
}

/// Fails unless `needed` bytes are free in `store` beside the `taken` that something else will take of the same disk.
fn make_room(
    store: &Store,
    listed: Vec<Snapshot>,
    origin: &str,
    keeps_base: bool,
    needed: u64,
    taken: u64,
) -> Result<()> {
    let folder = store.folder().unwrap_or(Path::new("/"));
    let free = files::free_space(&existing(folder))?.saturating_sub(taken);
    if free >= needed {
        return Ok(());
    }
    let now = Utc::now();
    let mut undo: Vec<Snapshot> =
        listed.into_iter().filter(|one| one.manifest.undo && one.manifest.origin == origin).collect();
    undo.pop();
    if keeps_base {
        let base = undo.iter().rposition(|one| is_base(&one.manifest, origin, now));
        base.map(|at| undo.remove(at));
    }
    let removable: u64 = undo.iter().map(|one| one.size).sum();
    if free + removable < needed {
        return Err(Error::StoreFull { store: store.address(), needed: needed + taken, free: free + taken });
    }
    let mut room = free;
    for one in undo {
        if room >= needed {
            break;
        }
        one.remove()?;
        room += one.size;
    }
    Ok(())
}

fn device(path: &Path) -> Option<u64> {
    fs::metadata(existing(path)).ok().map(|found| found.dev())
}

/// `path`, or the nearest folder above it that is there.
fn existing(path: &Path) -> PathBuf {
    path.ancestors().find(|path| path.exists()).unwrap_or(Path::new(".")).to_owned()
}
