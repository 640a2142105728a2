//! A snapshot as one stream for a store that keeps equal parts of several files once, as restic and borg do: a `tar` that is not
//! compressed, with the database as SQL. The pages of a SQLite file change all over it from day to day; its rows do not.

use std::io::{self, BufReader, BufWriter, Read as _, Write};
use std::path::PathBuf;

use super::archive::{self, Hashing, Source};
use super::manifest::{FILE as MANIFEST, Manifest, SQL};
use super::stage::{StagedCopy, member};
use crate::cancel::Cancel;
use crate::engine::mariadb::regroup::{Grouping, regroup_dump};
use crate::engine::sqlite::SqliteFile;
use crate::engine::{EngineKind, join};
use crate::error::{Error, Result, SnapshotError};
use crate::files;

/// Bytes that are written at a time.
const PIECE: usize = 1 << 18;

/// A snapshot that is ready to be written: all that it contains was read, and its SQL was compared with the database.
pub struct SnapshotStream<'s> {
    staged: &'s StagedCopy,
    manifest: Manifest,
    /// Where the members after the SQL are read.
    sources: Vec<Source<'s>>,
    cancel: Cancel,
}

impl<'s> SnapshotStream<'s> {
    /// Prepares `staged` and the files under `extra` (`upload`, `docker-tls`). `progress` is called with (done, total) in the unit of the
    /// engine; `cancel` ends it early.
    ///
    /// # Errors
    /// [`SnapshotError::NotAsSql`]: a table cannot be written as SQL.
    pub fn prepare(
        staged: &'s StagedCopy,
        extra: &'s [PathBuf],
        cancel: &Cancel,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<SnapshotStream<'s>> {
        let mut manifest = staged.manifest.clone();
        manifest.check(&staged.folder.to_string_lossy())?;
        let mut stream =
            SnapshotStream { staged, manifest: manifest.clone(), sources: Vec::new(), cancel: cancel.clone() };
        let mut sql = Hashing::new(io::sink());
        stream.write_sql(true, &mut sql, progress)?;
        let database = manifest.database();
        for member in &mut manifest.members {
            if member.name == database {
                *member = sql.member(SQL);
            } else {
                stream.sources.push((&staged.folder, member.name.clone().into()));
            }
        }
        // The first one is written in another way than the others.
        manifest.members.sort_by_key(|member| member.name != SQL);
        // Copied, because a server that runs may replace them before they are written.
        for ((root, path), size) in archive::collect(extra)? {
            let copy = staged.folder.join(&path);
            files::make_folder(copy.parent().unwrap_or(&staged.folder))?;
            files::require_space(&staged.folder, size)?;
            files::copy_below(root, &path.to_string_lossy(), &copy)?;
            manifest.members.push(member(&staged.folder, &path.to_string_lossy())?);
            stream.sources.push((&staged.folder, path));
        }
        stream.manifest = manifest;
        Ok(stream)
    }

    /// Its manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Writes it to `out`, called `name` in messages.
    ///
    /// # Errors
    /// [`FileError::Io`](crate::error::FileError::Io) of `out`; [`SnapshotError::Changed`]: the copy is not what it was. What was written then is incomplete, which is
    /// found when it is read.
    pub fn write(&self, out: impl Write + Send, name: &str, progress: &mut dyn FnMut(u64, u64)) -> Result<()> {
        let failed = |error| Error::file("write", name)(error);
        let text = self.manifest.render()?;
        let mut tar = tar::Builder::new(BufWriter::with_capacity(PIECE, out));
        let mut header = archive::header(&self.manifest, text.len() as u64);
        tar.append_data(&mut header, MANIFEST, &text[..]).map_err(failed)?;
        let (first, others) = self.manifest.members.split_first().ok_or_else(|| self.changed())?;
        let (reader, writer) = io::pipe().map_err(failed)?;
        let write_sql = || {
            let mut out = Hashing::new(BufWriter::with_capacity(PIECE, writer));
            // The same bytes as the first time, which were checked.
            self.write_sql(false, &mut out, progress)?;
            out.flush().map_err(Error::file("write", SQL))?;
            Ok::<_, Error>(out.member(SQL))
        };
        let append = || {
            let mut header = archive::header(&self.manifest, first.size);
            let content = BufReader::with_capacity(PIECE, reader).take(first.size);
            tar.append_data(&mut header, SQL, content)
        };
        let (written, appended) = join(write_sql, append);
        // Who no longer reads has failed, and this is why.
        appended.map_err(failed)?;
        if written? != *first {
            return Err(self.changed());
        }
        for (member, source) in others.iter().zip(&self.sources) {
            let mut content = Hashing::new(archive::content(member, source).map_err(failed)?);
            let mut header = archive::header(&self.manifest, member.size);
            tar.append_data(&mut header, &member.name, &mut content).map_err(failed)?;
            if content.member(&member.name) != *member {
                return Err(self.changed());
            }
        }
        tar.into_inner().and_then(|mut out| out.flush()).map_err(failed)
    }

    /// Writes the database as SQL; `is_checked`, compares it with the database.
    fn write_sql(&self, is_checked: bool, out: &mut dyn Write, progress: &mut dyn FnMut(u64, u64)) -> Result<()> {
        let database = self.staged.database();
        let mut put = |line: &[u8]| out.write_all(line).map_err(Error::file("write", SQL));
        match self.staged.manifest.engine {
            EngineKind::Sqlite => {
                let mut reader = SqliteFile::new(database).cancelled_by(self.cancel.clone()).read_only()?;
                reader.write_sql(is_checked, &mut put, progress).map(drop)
            }
            EngineKind::MariaDb => {
                let (mut done, total) = (0, self.staged.manifest.size());
                regroup_dump(&database, Grouping::Content, &mut |line| {
                    self.cancel.check()?;
                    done += line.len() as u64;
                    progress(done.min(total), total);
                    put(line)
                })
            }
        }
    }

    fn changed(&self) -> Error {
        Error::Snapshot(SnapshotError::Changed { path: self.staged.database() })
    }
}
