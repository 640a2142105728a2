//! A folder of snapshots, each a plain `tar` under `zstd` that anyone can open without us.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use super::hold::Held;
use super::manifest::{FILE as MANIFEST, FORMAT, Manifest, Member};
use crate::error::{Error, Result};
use crate::files;

/// Ending of an archive.
const ARCHIVE: &str = ".kuma.tar.zst";
/// Ending of the manifest that stands beside it.
const BESIDE: &str = ".json";
/// Ending of the deleted rows beside it.
const REMOVED: &str = ".removed.json";
/// Level 1 packs 512 MiB of beats in about 2 s to a fifth; higher levels take several times as long for a few per cent.
const LEVEL: i32 = 1;

/// A folder that snapshots live in: `<store>/<instance>/<UTC time>-<id>.kuma.tar.zst`.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

/// One snapshot in a store.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The archive.
    pub path: PathBuf,
    /// What it says about itself.
    pub manifest: Manifest,
    /// Size of the archive, in bytes.
    pub size: u64,
}

/// What is in a store.
#[derive(Debug, Default)]
pub struct Listing {
    /// Snapshots, oldest first.
    pub snapshots: Vec<Snapshot>,
    /// Archives that cannot be read, and why.
    pub unusable: Vec<Error>,
}

/// What a verification looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Members whose hash was compared.
    pub members: usize,
    /// Bytes read.
    pub bytes: u64,
}

impl Store {
    /// The store at `folder`, which is made when the first snapshot is.
    pub fn new(folder: impl Into<PathBuf>) -> Store {
        Store { folder: folder.into() }
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A private folder beside the snapshots for what is not one yet; it goes when it is dropped.
    pub fn scratch(&self) -> Result<tempfile::TempDir> {
        files::make_folder(&self.folder)?;
        let made = tempfile::Builder::new().prefix(".kumadb-").tempdir_in(&self.folder);
        made.map_err(Error::file("make a folder in", &self.folder))
    }

    /// Packs `held` together with the files under `extra` (`upload`, `docker-tls`) into a snapshot; it appears only when
    /// it is whole, flushed, and was read back.
    pub fn pack(&self, held: &Held, extra: &[PathBuf]) -> Result<Snapshot> {
        let mut manifest = held.manifest.clone();
        let mut sources: Vec<PathBuf> = manifest.members.iter().map(|member| held.folder.join(&member.name)).collect();
        for folder in extra {
            collect(folder.parent().unwrap_or(folder), folder, &mut manifest.members, &mut sources)?;
        }
        let folder = self.folder.join(folder_name(&manifest.instance));
        files::make_folder(&folder)?;
        files::require_space(&folder, manifest.size() / 2)?;
        let name = format!("{}-{}", manifest.created.format("%Y%m%dT%H%M%SZ"), manifest.id);
        let path = folder.join(format!("{name}{ARCHIVE}"));
        let text = manifest.render()?;
        let temp = folder.join(format!(".{name}.part"));
        files::remove(&temp)?;
        let packed = write_archive(&temp, &manifest, &text, &sources)
            .and_then(|()| prove(&temp, &manifest))
            .and_then(|_| files::rename(&temp, &path));
        if let Err(error) = packed {
            files::remove(&temp)?;
            return Err(error);
        }
        let (hash, size) = files::hash(&path)?;
        manifest.archive_blake3 = Some(hash);
        let text = manifest.render()?;
        files::replace(&beside(&path), files::PRIVATE, |file| file.write_all(&text))?;
        Ok(Snapshot { path, manifest, size })
    }

    /// All snapshots, oldest first; archives that cannot be read stand apart, so that one of them does not hide the rest.
    pub fn list(&self) -> Result<Listing> {
        let mut found = Vec::new();
        let mut unusable = Vec::new();
        for folder in entries(&self.folder)?.into_iter().filter(|path| path.is_dir()) {
            for path in entries(&folder)? {
                if path.to_string_lossy().ends_with(ARCHIVE) && !hidden(&path) {
                    match Self::read(&path) {
                        Ok(snapshot) => found.push(snapshot),
                        Err(error) => unusable.push(error),
                    }
                }
            }
        }
        found
            .sort_by(|a: &Snapshot, b| (a.manifest.created, &a.manifest.id).cmp(&(b.manifest.created, &b.manifest.id)));
        Ok(Listing { snapshots: found, unusable })
    }

    /// The snapshot meant by `wanted`: the path of an archive, an id or its beginning, or `latest` (of the instance
    /// at `origin`).
    pub fn find(&self, wanted: &str, origin: &str) -> Result<Snapshot> {
        let path = Path::new(wanted);
        if path.is_file() {
            return Self::read(path);
        }
        let mut all = self.list()?.snapshots;
        if wanted == "latest" {
            all.retain(|snapshot| snapshot.manifest.origin == origin && !snapshot.manifest.raw);
            return all.pop().ok_or_else(|| Error::NoSnapshot(wanted.to_owned()));
        }
        all.retain(|snapshot| !wanted.is_empty() && snapshot.manifest.id.starts_with(wanted));
        match all.len() {
            1 => Ok(all.remove(0)),
            0 => Err(Error::NoSnapshot(wanted.to_owned())),
            n => Err(Error::Usage(format!("`{wanted}` is the beginning of {n} snapshots"))),
        }
    }

    /// Reads what the archive at `path` says of itself, from the manifest beside it or, where that is lost, from within.
    pub fn read(path: &Path) -> Result<Snapshot> {
        let size = fs::metadata(path).map_err(Error::file("look at", path))?.len();
        let text = match files::read_text(&beside(path))? {
            Some(text) => text,
            None => {
                let mut text = String::new();
                let mut archive = open_archive(path)?;
                let mut members = archive.entries().map_err(broken(path))?;
                let mut first = members.next().ok_or_else(|| unusable(path, "it is empty"))?.map_err(broken(path))?;
                first.read_to_string(&mut text).map_err(broken(path))?;
                text
            }
        };
        Ok(Snapshot { path: path.to_owned(), manifest: parse(path, &text)?, size })
    }
}

impl Snapshot {
    /// Reads the whole archive and compares every byte's hash with the manifest.
    pub fn verify(&self) -> Result<Proof> {
        self.check_archive()?;
        prove(&self.path, &self.manifest)
    }

    /// Compares the archive itself with the hash that was noted beside it.
    fn check_archive(&self) -> Result<()> {
        match &self.manifest.archive_blake3 {
            Some(hash) if *hash != files::hash(&self.path)?.0 => Err(unusable(&self.path, "it is not what was packed")),
            // Whoever lost the note still has the hash of every member within.
            _ => Ok(()),
        }
    }

    /// Unpacks into the new folder `folder`, comparing hashes on the way, and opens it as a held copy.
    pub fn unpack(&self, folder: &Path) -> Result<Held> {
        self.check_archive()?;
        files::remove_folder(folder)?;
        files::make_folder(folder)?;
        files::require_space(folder, self.manifest.size())?;
        walk(&self.path, &self.manifest, &mut |name, content| {
            let path = folder.join(name);
            if let Some(parent) = path.parent() {
                files::make_folder(parent)?;
            }
            let mut file = files::create_private(&path)?;
            io::copy(content, &mut file).map_err(Error::file("write", &path))?;
            file.sync_all().map_err(Error::file("flush", &path))
        })?;
        self.manifest.write(folder)?;
        Held::open(folder)
    }

    /// Where the rows stand, readable, that the command which it protects deleted on purpose.
    pub fn removed(&self) -> PathBuf {
        PathBuf::from(self.path.to_string_lossy().trim_end_matches(ARCHIVE).to_owned() + REMOVED)
    }

    /// Removes the archive, its manifest and the rows beside it.
    pub fn remove(&self) -> Result<()> {
        files::remove(&self.path)?;
        files::remove(&self.removed())?;
        files::remove(&beside(&self.path))
    }
}

fn write_archive(temp: &Path, manifest: &Manifest, text: &[u8], sources: &[PathBuf]) -> Result<()> {
    let file = files::create_private(temp)?;
    let header = |size: u64| {
        let mut header = tar::Header::new_ustar();
        header.set_mode(files::PRIVATE);
        header.set_mtime(manifest.created.timestamp().unsigned_abs());
        header.set_size(size);
        header
    };
    let write = || -> io::Result<File> {
        let mut zstd = zstd::Encoder::new(file, LEVEL)?;
        zstd.include_checksum(true)?;
        let mut tar = tar::Builder::new(zstd);
        tar.append_data(&mut header(text.len() as u64), MANIFEST, text)?;
        for (member, source) in manifest.members.iter().zip(sources) {
            tar.append_data(&mut header(member.size), &member.name, File::open(source)?.take(member.size))?;
        }
        tar.into_inner()?.finish()
    };
    write().and_then(|file| file.sync_all()).map_err(Error::file("write", temp))
}

/// Reads the archive at `path` to its end and compares it with `manifest`.
fn prove(path: &Path, manifest: &Manifest) -> Result<Proof> {
    let mut proof = Proof { members: 0, bytes: 0 };
    walk(path, manifest, &mut |_, content| {
        proof.bytes += io::copy(content, &mut io::sink()).map_err(broken(path))?;
        proof.members += 1;
        Ok(())
    })?;
    Ok(proof)
}

/// Hands each member of the archive to `each`, which must read it to its end; fails unless exactly the members of the
/// manifest are there and hash as it says.
fn walk(path: &Path, manifest: &Manifest, each: &mut dyn FnMut(&str, &mut dyn Read) -> Result<()>) -> Result<()> {
    let mut archive = open_archive(path)?;
    let inner = Manifest { archive_blake3: None, ..manifest.clone() };
    let mut expected = manifest.members.iter();
    let mut first = true;
    for entry in archive.entries().map_err(broken(path))? {
        let entry = entry.map_err(broken(path))?;
        let name = entry.path().map_err(broken(path))?.to_string_lossy().into_owned();
        let mut content = Hashing { inner: entry, hasher: blake3::Hasher::new(), size: 0 };
        if std::mem::take(&mut first) {
            let mut text = String::new();
            content.read_to_string(&mut text).map_err(broken(path))?;
            if name != MANIFEST || parse(path, &text)? != inner {
                return Err(unusable(path, "the manifest inside is not the one beside it"));
            }
            continue;
        }
        let Some(member) = expected.next().filter(|member| member.name == name) else {
            return Err(unusable(path, &format!("`{name}` does not belong there")));
        };
        each(&name, &mut content)?;
        if content.size != member.size || content.hasher.finalize().to_hex().to_string() != member.blake3 {
            return Err(unusable(path, &format!("`{name}` is not what was packed")));
        }
    }
    if let Some(member) = expected.next() {
        return Err(unusable(path, &format!("`{}` is missing", member.name)));
    }
    // What stands behind the last member: the end of the tar, the checksum of the frame, and nothing else.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(broken(path))?;
    Ok(())
}

struct Hashing<R> {
    inner: R,
    hasher: blake3::Hasher,
    size: u64,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..n]);
        self.size += n as u64;
        Ok(n)
    }
}

fn open_archive(path: &Path) -> Result<tar::Archive<zstd::Decoder<'static, BufReader<File>>>> {
    let file = File::open(path).map_err(Error::file("open", path))?;
    Ok(tar::Archive::new(zstd::Decoder::new(file).map_err(broken(path))?))
}

fn parse(path: &Path, text: &str) -> Result<Manifest> {
    let manifest: Manifest = serde_json::from_str(text).map_err(|error| unusable(path, &error.to_string()))?;
    if manifest.format > FORMAT {
        return Err(unusable(path, "a newer kumadb made it"));
    }
    // A name that climbs out of the folder is refused wherever the archive came from.
    match manifest.members.iter().find(|member| !is_plain(&member.name)) {
        None => Ok(manifest),
        Some(member) => Err(unusable(path, &format!("`{}` is no name for a member", member.name))),
    }
}

fn is_plain(name: &str) -> bool {
    let path = Path::new(name);
    !name.is_empty() && path.components().all(|part| matches!(part, std::path::Component::Normal(_)))
}

fn broken(path: &Path) -> impl Fn(io::Error) -> Error {
    move |error| match error.to_string() {
        // What zstd says of a file that it did not make.
        words if words == "Unknown frame descriptor" => unusable(path, "it is no snapshot of kumadb"),
        words => unusable(path, &words),
    }
}

fn unusable(path: &Path, why: &str) -> Error {
    Error::Snapshot(format!("`{}`: {why}", path.display()))
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(BESIDE);
    name.into()
}

fn hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

/// The paths in `folder`, sorted; none where there is no such folder.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let listing = match fs::read_dir(folder) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::file("read the folder", folder)(error)),
    };
    let mut paths = Vec::new();
    for entry in listing {
        paths.push(entry.map_err(Error::file("read the folder", folder))?.path());
    }
    paths.sort();
    Ok(paths)
}

/// Adds every file below `folder` to the members, named from `root` on.
fn collect(root: &Path, folder: &Path, members: &mut Vec<Member>, sources: &mut Vec<PathBuf>) -> Result<()> {
    for path in entries(folder)? {
        // Links are left out: they could lead anywhere, and round in circles.
        let found = fs::symlink_metadata(&path).map_err(Error::file("look at", &path))?;
        if found.is_dir() {
            collect(root, &path, members, sources)?;
        } else if found.is_file() {
            let (blake3, size) = files::hash(&path)?;
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            members.push(Member { name, size, blake3 });
            sources.push(path);
        }
    }
    Ok(())
}

/// An instance's name as a folder: what could climb or confuse becomes `_`.
fn folder_name(instance: &str) -> String {
    let safe: String = instance
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' })
        .collect();
    safe.trim_start_matches('.').to_owned()
}
