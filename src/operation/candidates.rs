//! Other copies of a database in its folder, which people, tools and 1.x left there. They are only read.

use std::path::Path;

use crate::backup::{Manifest, Store};
use crate::doctor::evidence::Candidate;
use crate::engine::Connect as _;
use crate::engine::sqlite::{SqliteFile, is_database, other_format};
use crate::error::{DatabaseError, Error};
use crate::files::{self, About, Pinned};
use crate::kuma::read::read_overview;
use crate::text::{counted, quoted};
use crate::value::server_text;

/// More copies than this are not opened.
const MOST: usize = 50;

/// The database itself, and its parts.
const ITSELF: [&str; 4] = ["kuma.db", "kuma.db-wal", "kuma.db-shm", "kuma.db-journal"];

/// Copies of `kuma.db` in `folder`, snapshots included, by name. `replaces`: the database exists, although it cannot be read,
/// so that a restore can replace it. The folder may be an attacker's: no link in it is followed.
pub fn find_candidates(folder: &Path, replaces: bool) -> Vec<Candidate> {
    let Ok(pinned) = Pinned::hold(folder) else { return Vec::new() };
    let (inside, shown) = (files::tidy(pinned.path()).display().to_string(), folder.display().to_string());
    let is_other = |(name, found): &(String, About)| found.is_regular() && !ITSELF.contains(&name.as_str());
    let look = |(name, found): (String, About)| {
        let path = folder.join(&name);
        let restore = |place: &str| {
            if replaces {
                format!("to restore it: kumadb -t {} restore {}", shell(folder), shell(&path))
            } else {
                format!("to restore it: {place}")
            }
        };
        let opened = pinned.path().join(&name);
        let (about, command) = match Store::is_archive(Path::new(&name)) {
            true => (about_snapshot(&opened), restore(&format!("kumadb restore {} --to NEW_FOLDER", shell(&path)))),
            false if is_database(&path) => {
                (about_copy(&path), restore(&format!("cp -p {} {}", shell(&path), shell(&folder.join("kuma.db")))))
            }
            false => name.starts_with("kuma").then(|| about_other(&path)).flatten()?,
        };
        let about = about.replace(&inside, &shown);
        Some(Candidate { name, size: found.size, about, command })
    };
    files::look_into(folder, ".").into_iter().filter(is_other).filter_map(look).take(MOST).collect()
}

fn about_copy(path: &Path) -> String {
    let read = SqliteFile::new(path).reader().and_then(|mut reader| read_overview(&mut *reader, "it"));
    match read {
        Ok((database, summary)) => format!("release {}, {}", database.release, summary.words()),
        Err(error) => format!("cannot be read: {error}"),
    }
}

fn about_snapshot(path: &Path) -> String {
    match Store::read(path) {
        Ok(found) => {
            let Manifest { id, created, release, .. } = &found.manifest;
            let (created, monitors) = (server_text(created), found.manifest.rows("monitor"));
            format!("snapshot `{id}` of {created} UTC, release {release}, {}", counted(monitors as usize, "monitor"))
        }
        Err(error) => format!("cannot be read: {error}"),
    }
}

/// A file that has to be unpacked or converted first; `None` for one that is not known.
fn about_other(path: &Path) -> Option<(String, String)> {
    match other_format(path)? {
        Error::Database(DatabaseError::OtherFormat { what, command, .. }) => {
            Some((what, format!("to read it: {command}")))
        }
        _ => None,
    }
}

fn shell(path: &Path) -> String {
    quoted(&path.display().to_string())
}
