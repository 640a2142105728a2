//! A snapshot of an instance that nobody is going to write to.

use super::apply::check_settled;
use super::{Observer, Step};
use crate::backup::hold::{Extent, Label, Source};
use crate::backup::{Held, Snapshot, Store};
use crate::error::Result;
use crate::instance::Instance;

/// Takes a snapshot of `instance` while its server runs or not, proves it, and packs it into `store`.
pub fn take(
    instance: &Instance,
    store: &Store,
    reason: &str,
    extent: &Extent,
    observer: &mut dyn Observer,
) -> Result<Snapshot> {
    check_settled(instance)?;
    // In the store, not in the data folder: a backup needs no right to write where the server's files are.
    let scratch = store.scratch()?;
    observer.step(&Step::Hold { bytes: instance.size() })?;
    let began = std::time::Instant::now();
    let session = instance.open()?;
    let (config, origin) = (instance.config_path(), instance.origin());
    let label = Label { instance: &instance.name, origin: &origin, reason, config: config.as_deref() };
    let (source, folder) = (Source::Live(session.connect()), scratch.path().join("held"));
    let held = Held::take(&source, &folder, &label, extent, &mut |done, total| observer.progress(done, total));
    session.close()?;
    let held = held?;
    observer.step(&Step::Held { bytes: held.manifest.size(), took: began.elapsed() })?;
    observer.step(&Step::Pack)?;
    let snapshot = store.pack(&held, &instance.extras(extent.screenshots))?;
    observer.step(&Step::Packed { id: snapshot.manifest.id.clone(), bytes: snapshot.size })?;
    Ok(snapshot)
}
