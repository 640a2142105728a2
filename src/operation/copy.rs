//! Snapshots of an instance that is not written to.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use super::migration::{is_migrating, wait_settled};
use super::{Observer, Step, label};
use crate::backup::stage::{CopyScope, CopySource};
use crate::backup::{Encryption, Manifest, Packed, Snapshot, SnapshotStream, StagedCopy, Stores};
use crate::error::{Error, OperationError, Result};
use crate::instance::Instance;

/// What a snapshot contains and how it is stored.
#[derive(Clone, Debug, Default)]
pub struct BackupOptions {
    /// The scope.
    pub scope: CopyScope,
    /// The encryption, if any.
    pub encryption: Option<Encryption>,
    /// Whether uploads are not read back and hashed.
    pub unread: bool,
    /// How long to wait for a server that migrates its database.
    pub patience: Duration,
}

/// The result of a snapshot for one or several stores.
#[derive(Debug)]
pub struct BackupResult {
    /// The stored copies, at least one.
    pub copies: Vec<Snapshot>,
    /// Errors of the stores that have none.
    pub failed: Vec<Error>,
}

/// Takes a snapshot of `instance` while its server runs or not, verifies it, packs it once, and stores it in each of `stores`.
///
/// # Errors
/// No copy could be made, or no store has it. [`OperationError::Migrating`]: the server is busy migrating.
pub fn take(
    instance: &Instance,
    stores: &Stores,
    reason: &str,
    options: &BackupOptions,
    observer: &mut dyn Observer,
) -> Result<BackupResult> {
    // In the store, not in the data folder: a backup needs no write permission there.
    let scratch = stores.scratch()?;
    let staged = stage_settled(instance, &scratch.path().join("held"), reason, options, observer)?;
    observer.step(&Step::Pack)?;
    let mut packed = Packed::make(
        &staged,
        &instance.extras(options.scope.screenshots),
        options.encryption.as_ref(),
        scratch.path(),
    )?;
    let mut taken = BackupResult { copies: Vec::new(), failed: Vec::new() };
    for store in stores.iter() {
        if store.address() != stores.local().address() {
            observer.step(&Step::Put { store: store.address(), bytes: packed.size() })?;
        }
        let put = store.put(&mut packed, &scratch, !options.unread, &mut |done, total| observer.progress(done, total));
        match put {
            Ok(copy) => taken.copies.push(copy),
            Err(error @ Error::Operation(OperationError::Interrupted { .. })) => return Err(error),
            Err(error) => taken.failed.push(error),
        }
    }
    match taken.copies.first() {
        Some(first) => {
            observer.step(&Step::Packed { id: first.manifest.id.clone(), bytes: first.size, undo: false })?;
            Ok(taken)
        }
        None => Err(taken.failed.swap_remove(0)),
    }
}

/// Takes a snapshot in the same way, and writes it to `out` as one stream: [`SnapshotStream`]. It is not encrypted. Nothing is written
/// before all of it was verified. Returns its manifest, and the size of its content in bytes.
///
/// # Errors
/// Those of [`take`]; [`SnapshotError::NotAsSql`](crate::error::SnapshotError::NotAsSql); `out` cannot be written.
pub fn take_stream(
    instance: &Instance,
    stores: &Stores,
    options: &BackupOptions,
    out: impl Write + Send,
    observer: &mut dyn Observer,
) -> Result<Manifest> {
    let scratch = stores.scratch()?;
    let staged = stage_settled(instance, &scratch.path().join("held"), "backup create", options, observer)?;
    let extras = instance.extras(options.scope.screenshots);
    observer.step(&Step::Pack)?;
    let cancel = instance.cancel();
    let mut progress = |done, total| observer.progress(done, total);
    let stream = SnapshotStream::prepare(&staged, &extras, &cancel, &mut progress)?;
    observer.step(&Step::WriteOut { bytes: stream.manifest().size() })?;
    stream.write(out, "standard output", &mut |done, total| observer.progress(done, total))?;
    Ok(stream.manifest().clone())
}

/// Copies the database of `instance` into the new folder `folder` once its server is not migrating it, and verifies the copy.
fn stage_settled(
    instance: &Instance,
    folder: &Path,
    reason: &str,
    options: &BackupOptions,
    observer: &mut dyn Observer,
) -> Result<StagedCopy> {
    let end = Instant::now() + options.patience;
    loop {
        wait_settled(instance, options.patience, end, observer)?;
        let staged = stage(instance, folder, reason, &options.scope, observer);
        // A migration that began meanwhile may be in the copy, or have changed tables during it.
        if matches!(staged, Err(Error::Operation(OperationError::Interrupted { .. })))
            || !is_migrating(instance).unwrap_or(false)
        {
            return staged;
        }
    }
}

/// Copies the database of `instance` into the new folder `folder` and verifies the copy.
pub(super) fn stage(
    instance: &Instance,
    folder: &Path,
    reason: &str,
    scope: &CopyScope,
    observer: &mut dyn Observer,
) -> Result<StagedCopy> {
    observer.step(&Step::Hold { bytes: instance.size() })?;
    let began = Instant::now();
    let label = label(instance, reason);
    let staged = instance.open()?.with(|connect| {
        let mut progress = |done, total| observer.progress(done, total);
        StagedCopy::take(CopySource::Live(connect), folder, &label, scope, &mut progress)
    })?;
    observer.step(&Step::Held { bytes: staged.manifest.size(), took: began.elapsed() })?;
    Ok(staged)
}
