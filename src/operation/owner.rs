//! Ownership of what earlier runs as root left in kumadb's own folder, so that the owner of the data folder can use it.

use super::journal::Journal;
use crate::backup::StagedCopy;
use crate::error::Result;
use crate::files;
use crate::instance::Instance;

/// As root: gives what an earlier run as root left in the data folder of `instance` to the owner of that folder;
/// returns that owner, where something was changed. Only files known to be kumadb's own are changed: the owner of the
/// data folder may have put any file of root's there.
pub fn repair_owner(instance: &Instance) -> Result<Option<String>> {
    let work = instance.work();
    let Some(folder) = instance.folder.as_ref().filter(|_| files::our_uid() == 0 && files::is_folder(work)) else {
        return Ok(None);
    };
    let owner = files::about_target(folder)?.uid;
    let is_root = files::about(work)?.uid == 0;
    if owner == 0 || !is_root && files::foreign_entries(work, owner).is_empty() {
        return Ok(None);
    }
    files::claim_folder(work)?;
    let mut given = is_root;
    given |= files::remove_left_lock(&work.join("lock"))?;
    if let Ok(Some(journal)) = Journal::read(work) {
        given |= journal.give()?;
        given |= StagedCopy::give(&work.join("held"))?;
    }
    Ok(given.then(|| files::user_words(owner)))
}
