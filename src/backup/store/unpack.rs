//! Unpacks a snapshot into a folder, as a staged copy.

use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::path::Path;

use super::{Snapshot, archive};
use crate::backup::archive::{Stop, unusable};
use crate::backup::manifest::{Manifest, SQL};
use crate::backup::stage::{StagedCopy, member};
use crate::engine::mariadb::regroup::{Grouping, Regrouping};
use crate::engine::sqlite::SqliteFile;
use crate::engine::{Counts, EngineKind};
use crate::error::{Error, Result};
use crate::files::{self, Confined};

/// Bytes of the longest line of SQL, which is read into memory.
const LONGEST: u64 = 1 << 30;

impl Snapshot {
    /// Unpacks into the new folder `folder`, comparing hashes, and opens it as a staged copy.
    pub fn unpack(&self, folder: &Path) -> Result<StagedCopy> {
        files::remove_folder(folder)?;
        files::make_folder(folder)?;
        files::require_space(folder, self.manifest.size())?;
        let raw = self.store.objects.open(&self.name)?;
        let (place, keys) = (self.location(), &self.store.keys);
        archive::confined(&Confined::folder(folder), &place, raw, |raw| {
            let mut counted = None;
            let unpack = &mut |name: &str, content: &mut dyn io::Read| match name {
                SQL => {
                    counted = rebuild(&self.manifest, &place, folder, content)?;
                    Ok(())
                }
                _ => unpack_member(&folder.join(name), content),
            };
            let mut manifest = archive::walk(&place, raw, &self.manifest, keys, unpack)?;
            if counted.is_some_and(|counts| counts != manifest.counts) {
                return Err(unusable(&place, "its rows are not those that its manifest counts"));
            }
            if let Some(at) = manifest.members.iter().position(|member| member.name == SQL) {
                manifest.members[at] = member(folder, manifest.database())?;
                if manifest.engine == EngineKind::Sqlite {
                    manifest.pages = Some(SqliteFile::new(folder.join(manifest.database())).read_only()?.pages()?);
                }
            }
            manifest.write(folder)?;
            StagedCopy::open(folder)
        })
    }
}

/// The most pages of a database that is made from its SQL. It has the rows of the one before in about as many pages.
fn most_pages(manifest: &Manifest) -> u64 {
    /// The usual size of a page.
    const PAGE: u64 = 4096;
    let pages = manifest.pages.unwrap_or(0);
    pages.saturating_add(pages / 2).saturating_add(manifest.size() / PAGE + 256)
}

/// Makes the database from its SQL in `content`, of the archive called `place`; returns its rows per table where they were counted: those
/// of a dump are counted when it is used.
fn rebuild(
    manifest: &Manifest,
    place: &str,
    folder: &Path,
    content: &mut dyn io::Read,
) -> Result<Option<Counts>, Stop> {
    let mut content = BufReader::with_capacity(archive::PIECE, content);
    let mut broken = None;
    let mut next = |line: &mut Vec<u8>| {
        line.clear();
        match content.by_ref().take(LONGEST).read_until(b'\n', line) {
            Ok(read) if read as u64 == LONGEST => Err(unusable(place, "a line of its SQL is too long")),
            Ok(_) => Ok(()),
            Err(error) => {
                let why = unusable(place, &error.to_string());
                broken = Some(error);
                Err(why)
            }
        }
    };
    let path = folder.join(manifest.database());
    let made = match manifest.engine {
        EngineKind::Sqlite => SqliteFile::new(&path).load_sql(place, most_pages(manifest), &mut next).map(Some),
        EngineKind::MariaDb => regroup(&path, &mut next).map(|()| None),
    };
    let made = made.and_then(|counts| files::flush(&path).map(|()| counts));
    made.map_err(|error| broken.map_or(Stop::Own(error), Stop::Broken))
}

/// Writes the dump as a database dumps it.
fn regroup(path: &Path, next: &mut dyn FnMut(&mut Vec<u8>) -> Result<()>) -> Result<()> {
    let mut out = BufWriter::with_capacity(archive::PIECE, files::create_private(path)?);
    let mut put = |line: &[u8]| out.write_all(line).map_err(Error::file("write", path));
    let (mut regrouping, mut line) = (Regrouping::by(Grouping::Size), Vec::new());
    loop {
        next(&mut line)?;
        if line.is_empty() {
            break;
        }
        regrouping.add(&line, &mut put)?;
    }
    regrouping.end(&mut put)?;
    out.flush().map_err(Error::file("write", path))
}

fn unpack_member(path: &Path, content: &mut dyn io::Read) -> Result<(), Stop> {
    if let Some(parent) = path.parent() {
        files::make_folder(parent).map_err(Stop::Own)?;
    }
    let mut file = files::create_private(path).map_err(Stop::Own)?;
    let mut buffer = vec![0; archive::PIECE];
    loop {
        // Separate, because a full disk is not damage of the archive.
        let n = content.read(&mut buffer)?;
        if n == 0 {
            break;
        }
        file.write_all(&buffer[..n]).map_err(|error| Stop::Own(Error::file("write", path)(error)))?;
    }
    file.sync_all().map_err(|error| Stop::Own(Error::file("flush", path)(error)))
}
