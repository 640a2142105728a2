//! The files of a snapshot beside its database: uploaded icons, and certificates of Docker hosts.

use std::path::Path;

use super::Outcome;
use crate::backup::StagedCopy;
use crate::files;
use crate::instance::Instance;
use crate::text::counted;

/// Modes of files that do not exist any more, by folder: keys are readable by their owner only.
const FOLDERS: [(&str, u32); 3] = [("upload/", 0o644), ("docker-tls/", 0o600), ("screenshots/", 0o644)];

/// Writes the files of `staged` that are missing or different in the data folder of `instance`, and returns their names.
/// Other files stay. Existing files also stay where no undo snapshot contains them: a pending snapshot contains the
/// database only. Errors become warnings of `outcome`: the database is restored and working by then.
pub fn put_files_back(instance: &Instance, staged: &StagedCopy, outcome: &mut Outcome) -> Vec<String> {
    let (mut put, mut left) = (Vec::new(), 0);
    for member in &staged.manifest.members {
        let Some((_, mode)) = FOLDERS.iter().find(|(folder, _)| member.name.starts_with(folder)) else { continue };
        let Some(data) = &instance.folder else {
            outcome
                .warnings
                .push(format!("`{}` of the snapshot was not restored: the instance has no data folder", member.name));
            continue;
        };
        let put_one = || {
            let mut source = files::open_below(&staged.folder, &member.name)?;
            files::put_below(data, Path::new(&member.name), *mode, &mut source)
        };
        match files::hash_below(data, &member.name) {
            Ok((hash, _)) if hash == member.blake3 => {}
            _ if outcome.snapshot.is_none() && files::exists(&data.join(&member.name)) => left += 1,
            _ => match put_one() {
                Ok(()) => put.push(member.name.clone()),
                Err(error) => outcome.warnings.push(error.to_string()),
            },
        }
    }
    if left > 0 {
        let (files, were) = (counted(left, "file"), if left == 1 { "was" } else { "were" });
        outcome.warnings.push(format!(
            "{files} of the snapshot {were} not restored, because no undo snapshot of the current files could be \
             stored: free \
             space in the store, then restore again"
        ));
    }
    put
}
