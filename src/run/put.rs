//! The files of a snapshot beside its database: uploaded icons, and certificates of Docker hosts.

use std::fs;
use std::io;
use std::path::Path;

use super::Outcome;
use crate::backup::Held;
use crate::error::{Error, FileError, Result};
use crate::files;
use crate::instance::Instance;
use crate::text::counted;

/// Modes of files that do not exist any more, by folder: keys are readable by their owner only.
const FOLDERS: [(&str, u32); 3] = [("upload/", 0o644), ("docker-tls/", 0o600), ("screenshots/", 0o644)];

/// Writes the files of `held` that are missing or different in the data folder of `instance`, and returns their names.
/// Other files stay. Existing files also stay where no undo snapshot contains them: a pending snapshot contains the
/// database only. Errors become warnings of `outcome`: the database is restored and working by then.
pub fn put_files_back(instance: &Instance, held: &Held, outcome: &mut Outcome) -> Vec<String> {
    let (mut put, mut left) = (Vec::new(), 0);
    for member in &held.manifest.members {
        let Some((_, mode)) = FOLDERS.iter().find(|(folder, _)| member.name.starts_with(folder)) else { continue };
        let Some(data) = &instance.folder else {
            outcome
                .warnings
                .push(format!("`{}` of the snapshot was not restored: the instance has no data folder", member.name));
            continue;
        };
        let target = data.join(&member.name);
        match files::hash(&target) {
            Ok((hash, _)) if hash == member.blake3 => {}
            _ if outcome.snapshot.is_none() && target.symlink_metadata().is_ok() => left += 1,
            _ => match write(data, &held.folder.join(&member.name), &target, *mode) {
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

fn write(data: &Path, from: &Path, to: &Path, mode: u32) -> Result<()> {
    let owner = fs::metadata(data).map_err(Error::file("access", data))?;
    let folder = to.parent().unwrap_or(data);
    // Links made by the server's user could lead anywhere.
    if let Some(link) = folder.ancestors().take_while(|above| *above != data).find(|above| above.is_symlink()) {
        return Err(Error::File(FileError::Link { path: link.to_owned() }));
    }
    for missing in folder.ancestors().take_while(|above| !above.exists()).collect::<Vec<_>>().into_iter().rev() {
        files::make_folder(missing)?;
        files::own_like(missing, &owner)?;
    }
    let mode =
        fs::metadata(to).map_or(mode, |found| std::os::unix::fs::PermissionsExt::mode(&found.permissions()) & 0o7777);
    files::replace(to, mode, |file| io::copy(&mut fs::File::open(from)?, file).map(drop))?;
    files::chown_like(to, &owner)
}
