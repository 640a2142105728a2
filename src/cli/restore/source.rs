//! The snapshot for a new instance, selected without an existing instance.

use std::path::{Path, PathBuf};

use chrono::Local;

use super::{RestoreArgs, with_older};
use crate::backup::datetime::parse_datetime;
use crate::backup::{self, Manifest, Snapshot, StagedCopy, Stores, unpack_first};
use crate::cli::{Context, Ui};
use crate::error::{Error, Hint, InputError, Result};

/// A snapshot that was found.
pub enum SnapshotSource {
    /// Its copies.
    Copies(Vec<Snapshot>),
    /// A copy of a database file that 1.x left behind.
    File(Box<StagedCopy>),
}

impl SnapshotSource {
    /// The snapshot that `args` select; `folder` is private, for what must be unpacked to be identified.
    pub fn find(args: &RestoreArgs, stores: &Stores, folder: &Path, ui: &mut Ui) -> Result<SnapshotSource> {
        let desired = args.snapshot.as_deref().unwrap_or_default();
        if backup::is_database(Path::new(desired)) {
            let staged = backup::stage_snapshot(stores, desired, "", &folder.join("held"), &mut |_| {})?;
            return Ok(SnapshotSource::File(Box::new(staged)));
        }
        let copies = copies(args, stores, &mut |error| ui.warn(&error.to_string()))?;
        Ok(SnapshotSource::Copies(copies))
    }

    /// Its manifest.
    pub fn manifest(&self) -> &Manifest {
        match self {
            SnapshotSource::Copies(copies) => &copies[0].manifest,
            SnapshotSource::File(staged) => &staged.manifest,
        }
    }

    /// Unpacks and verifies it into a folder in `folder`; `to` is the place as it was typed.
    pub fn unpack(self, folder: &Path, stores: &Stores, to: &str, context: &mut Context<'_>) -> Result<StagedCopy> {
        match self {
            SnapshotSource::Copies(copies) => {
                let warn = &mut |error: &Error| context.ui.warn(&error.to_string());
                let unpacked = unpack_first(&copies, &folder.join("held"), warn);
                let rest = format!(" --to {to}");
                unpacked.map_err(|error| with_older(error, stores, &copies[0].manifest, &rest, context))
            }
            SnapshotSource::File(staged) => Ok(*staged),
        }
    }
}

/// The copies of the snapshot that `args` select, at least one.
pub fn copies(args: &RestoreArgs, stores: &Stores, warn: &mut dyn FnMut(&Error)) -> Result<Vec<Snapshot>> {
    let of = args.new.of.as_deref();
    match (&args.snapshot, &args.before) {
        (Some(desired), _) => match stores.narrowed(desired)? {
            (stores, "latest") => stores.last_of(of, None, warn),
            (stores, desired) => stores.find(desired, "", warn),
        },
        (None, Some(before)) => {
            let end = parse_datetime(before, Local::now()).map_err(|why| Error::Input(InputError::Time { why }))?;
            stores.last_of(of, Some(end), warn)
        }
        (None, None) => Err(Error::Input(InputError::Missing {
            what: "snapshot".into(),
            hint: Hint::advice(
                "give its id, its URL, `latest` or `--before yesterday`; `kumadb backup list` shows all",
            ),
        })),
    }
}

/// The archive among `copies` that is on this machine.
pub fn local(copies: &[Snapshot]) -> Option<String> {
    copies.iter().find(|copy| copy.store().folder().is_some()).map(Snapshot::location)
}

/// The archive to send to the remote host, where the data is.
pub fn local_archive(args: &RestoreArgs, context: &Context<'_>) -> Result<Option<String>> {
    let named = args.snapshot.as_ref().filter(|named| PathBuf::from(named).exists());
    if named.is_some() {
        return Ok(named.cloned());
    }
    let stores = context.stores()?.with_keys(&args.keys.keys()?);
    if stores.iter().all(|store| store.folder().is_none()) {
        return Ok(None);
    }
    Ok(local(&copies(args, &stores, &mut |_| {})?))
}
