//! Unreadable SQLite databases: their files are kept byte for byte, and replaced by others.

use std::io;
use std::path::Path;

use chrono::Utc;

use super::manifest::{self, FORMAT, Manifest, SQLITE};
use super::stage::{SnapshotLabel, StagedCopy, member, new_id};
use crate::engine::sqlite::SqliteFile;
use crate::engine::{Counts, EngineKind};
use crate::error::{Error, Result, SnapshotError};
use crate::files;

/// Files that may belong to a database besides the main file.
const SIDES: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Copies the files of `file` into the new folder `folder` as they are. Only the equality of the bytes is verified.
pub fn take(file: &SqliteFile, folder: &Path, label: &SnapshotLabel) -> Result<StagedCopy> {
    files::remove_folder(folder)?;
    files::make_folder(folder)?;
    files::require_space(folder, file.size())?;
    let mut members = Vec::new();
    for part in file.parts() {
        let name = format!("kuma.db{}", &part.as_os_str().to_string_lossy()[file.path().as_os_str().len()..]);
        files::copy_regular(&part, &folder.join(&name))?;
        let kept = member(folder, &name)?;
        let (blake3, size) = files::hash_regular(&part)?;
        if (&kept.blake3, kept.size) != (&blake3, size) {
            return Err(Error::Snapshot(SnapshotError::ReadBack { path: part.clone() }));
        }
        members.push(kept);
    }
    let manifest = Manifest {
        format: FORMAT,
        id: new_id(),
        created: Utc::now(),
        made_by: format!("kumadb {}", env!("CARGO_PKG_VERSION")),
        reason: label.reason.clone(),
        instance: label.instance.clone(),
        origin: label.origin.clone(),
        engine: EngineKind::Sqlite,
        raw: true,
        // It cannot be restored, so no limit may delete it.
        undo: false,
        changed: None,
        undoes: None,
        undoes_taken: None,
        redoes: None,
        release: "unreadable".into(),
        migrations: Vec::new(),
        counts: Counts::new(),
        without: Vec::new(),
        pages: None,
        faults: Vec::new(),
        members,
        archive_blake3: None,
        archive_size: None,
        verified: vec!["hash".into()],
    };
    manifest.write(folder)?;
    Ok(StagedCopy { folder: folder.to_owned(), manifest, read_back: false })
}

/// Replaces a database whose files are kept in `kept` by the database `desired`. After an interruption, [`put_back`]
/// rolls it back.
pub fn replace(file: &SqliteFile, kept: &StagedCopy, desired: &Path) -> Result<()> {
    require_raw(kept)?;
    // A WAL of the old database would be applied to the new one.
    for side in SIDES {
        files::remove(&file.part(side))?;
    }
    put(file.path(), desired)
}

/// Restores the files that [`take`] kept.
pub fn put_back(file: &SqliteFile, kept: &StagedCopy) -> Result<()> {
    require_raw(kept)?;
    for suffix in [""].into_iter().chain(SIDES) {
        let (place, copy) = (file.part(suffix), kept.folder.join(format!("kuma.db{suffix}")));
        if files::is_there(&copy)? { put(&place, &copy)? } else { files::remove(&place)? }
    }
    Ok(())
}

/// Puts the staged copy `kept` in the place of the database itself, where there is no disk space to copy it: a rename needs
/// none, and frees that of the database.
pub fn move_back(file: &SqliteFile, kept: &StagedCopy) -> Result<()> {
    for side in SIDES {
        files::remove(&file.part(side))?;
    }
    files::move_over(&kept.database(), file.path())
}

/// Whether [`move_back`] has moved the database of the staged copy in `folder`.
pub fn is_moved_back(folder: &Path) -> Result<bool> {
    Ok(files::is_there(&folder.join(manifest::FILE))? && !files::is_there(&folder.join(SQLITE))?)
}

fn require_raw(kept: &StagedCopy) -> Result<()> {
    if kept.manifest.raw { Ok(()) } else { Err(Error::Snapshot(SnapshotError::NotRaw)) }
}

/// Copies `from` to `place`, as a file that the server can open: with the owner and mode of the existing file, else
/// with the folder's owner.
fn put(place: &Path, from: &Path) -> Result<()> {
    let was_there = files::is_there(place)?;
    // Neither the copy nor what it replaces may lead to another folder.
    let mut source = files::open_regular(from)?;
    if was_there {
        files::open_regular(place)?;
    }
    match (was_there, place.parent(), place.file_name()) {
        (false, Some(folder), Some(name)) => files::put_below(folder, Path::new(name), 0o644, &mut source),
        _ => files::replace(place, 0o644, |file| io::copy(&mut source, file).map(drop)),
    }
}
