//! One archive: a plain `tar` under `zstd`, and under `age` where it is encrypted, that anyone can open without us.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use age::stream::StreamWriter;

use super::hold::Held;
use super::manifest::{FILE as MANIFEST, FORMAT, Manifest, Member};
use super::seal::{Keys, Seal};
use crate::error::{Error, Result};
use crate::files;

/// Ending of an archive.
const PLAIN: &str = ".kuma.tar.zst";
/// Ending of an encrypted one.
const SEALED: &str = ".kuma.tar.zst.age";
/// Level 1 packs 512 MiB of beats in about 2 s to a fifth; higher levels take several times as long for a few per cent.
const LEVEL: i32 = 1;

/// As much is read at a time: enough to unpack and hash it in one go.
pub(super) const PIECE: usize = 1 << 17;

/// Whether a file is called as archives are.
pub(super) fn is_archive(name: &str) -> bool {
    (name.ends_with(PLAIN) || is_sealed(name)) && !name.rsplit('/').next().is_some_and(|last| last.starts_with('.'))
}

/// Whether an archive is encrypted, as its name tells.
pub(super) fn is_sealed(name: &str) -> bool {
    name.ends_with(SEALED)
}

/// What a verification looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Members whose hash was compared.
    pub members: usize,
    /// Bytes read: of the members, or of the archive where that is all that could be read.
    pub bytes: u64,
    /// The archive is encrypted and no key was given: it is the one that was packed, and nothing was seen of what is in it.
    pub sealed: bool,
}

/// An archive that was packed and proven, in no store yet.
#[derive(Debug)]
pub struct Packed {
    /// Where it is.
    pub(super) file: PathBuf,
    /// What stands beside it in a store.
    pub(super) manifest: Manifest,
    /// Its size, in bytes.
    pub(super) size: u64,
    /// What it is called in a store: `<instance>/<UTC time>-<id>.kuma.tar.zst`.
    pub(super) name: String,
}

impl Packed {
    /// Packs `held` together with the files under `extra` (`upload`, `docker-tls`) into the folder `scratch`, and reads it
    /// back to its last byte.
    ///
    /// # Errors
    /// [`Error::NoSpace`], [`Error::File`]; [`Error::Snapshot`] when it does not read back as what was packed.
    pub fn make(held: &Held, extra: &[PathBuf], seal: Option<&Seal>, scratch: &Path) -> Result<Packed> {
        let mut manifest = held.manifest.clone();
        manifest.check(&held.folder.to_string_lossy())?;
        let mut sources: Vec<PathBuf> = manifest.members.iter().map(|member| held.folder.join(&member.name)).collect();
        for folder in extra {
            collect(folder.parent().unwrap_or(folder), folder, &mut manifest.members, &mut sources)?;
        }
        files::require_space(scratch, manifest.size() / 2)?;
        let ending = if seal.is_some() { SEALED } else { PLAIN };
        let time = manifest.created.format("%Y%m%dT%H%M%SZ");
        let name = format!("{}/{time}-{}{ending}", folder_name(&manifest.instance), manifest.id);
        let file = scratch.join(format!("archive{ending}"));
        let (hash, size, keys) = write(&file, &manifest, &sources, seal)?;
        let (archive_blake3, archive_size) = (Some(hash), Some(size));
        let shown = if seal.is_some() { manifest.veiled() } else { manifest };
        let manifest = Manifest { archive_blake3, archive_size, ..shown };
        let archive = files::open_uncached(&file)?;
        prove(&file.to_string_lossy(), Box::new(archive), &manifest, &keys)?;
        Ok(Packed { file, manifest, size, name })
    }

    /// Size of the archive, in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }
}

/// Writes and flushes the archive at `to`; returns its hash, its size and, where it is encrypted, keys that open it.
fn write(to: &Path, manifest: &Manifest, sources: &[PathBuf], seal: Option<&Seal>) -> Result<(String, u64, Keys)> {
    let text = manifest.render()?;
    let header = |size: u64| {
        let mut header = tar::Header::new_ustar();
        header.set_mode(files::PRIVATE);
        header.set_mtime(manifest.created.timestamp().unsigned_abs());
        header.set_size(size);
        header
    };
    let file = Hashing::new(BufWriter::new(files::create_private(to)?));
    let write = || -> io::Result<(Hashing<BufWriter<File>>, Keys)> {
        let (sink, keys) = match seal {
            None => (Sink::Plain(file), Keys::default()),
            Some(seal) => seal.begin(file).map(|(sealed, keys)| (Sink::Sealed(sealed), keys))?,
        };
        let mut zstd = zstd::Encoder::new(sink, LEVEL)?;
        zstd.include_checksum(true)?;
        zstd.multithread(workers())?;
        let mut tar = tar::Builder::new(zstd);
        tar.append_data(&mut header(text.len() as u64), MANIFEST, &text[..])?;
        for (member, source) in manifest.members.iter().zip(sources) {
            let file = open_source(source)?;
            let content = BufReader::with_capacity(PIECE, file).take(member.size);
            tar.append_data(&mut header(member.size), &member.name, content)?;
        }
        let mut file = tar.into_inner()?.finish()?.finish()?;
        file.inner.flush()?;
        file.inner.get_ref().sync_all()?;
        Ok((file, keys))
    };
    let (file, keys) = write().map_err(Error::file("write", to))?;
    Ok((file.hasher.finalize().to_hex().to_string(), file.size, keys))
}

/// Opens a member that was a regular file when it was hashed, and must be one still.
fn open_source(path: &Path) -> io::Result<File> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    files::open_below(folder, name).map_err(io::Error::other)
}

/// How many threads compress: all that the machine has, but no more than pay, because each takes some MB.
fn workers() -> u32 {
    std::thread::available_parallelism().map_or(1, |all| all.get().min(4) as u32)
}

/// Where the compressed bytes go.
enum Sink<W: Write> {
    Plain(W),
    Sealed(StreamWriter<W>),
}

impl<W: Write> Sink<W> {
    fn finish(self) -> io::Result<W> {
        match self {
            Sink::Plain(inner) => Ok(inner),
            Sink::Sealed(stream) => stream.finish(),
        }
    }
}

impl<W: Write> Write for Sink<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Sink::Plain(inner) => inner.write(bytes),
            Sink::Sealed(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Sink::Plain(inner) => inner.flush(),
            Sink::Sealed(stream) => stream.flush(),
        }
    }
}

/// Reads the archive `raw`, called `name`, to its end and compares it with the manifest that stands beside it. Without a
/// key, an encrypted one is compared with its own hash alone.
pub(super) fn prove(name: &str, raw: Box<dyn Read + Send>, manifest: &Manifest, keys: &Keys) -> Result<Proof> {
    if is_sealed(name) && keys.is_empty() {
        let (hash, size) = hash(name, raw)?;
        return match manifest.archive_blake3.as_ref() == Some(&hash) {
            true => Ok(Proof { members: 0, bytes: size, sealed: true }),
            false => Err(unusable(name, "it is not what was packed")),
        };
    }
    let mut proof = Proof { members: 0, bytes: 0, sealed: false };
    let mut buffer = vec![0; PIECE];
    walk(name, raw, manifest, keys, &mut |_, content| {
        loop {
            match content.read(&mut buffer)? {
                0 => break,
                n => proof.bytes += n as u64,
            }
        }
        proof.members += 1;
        Ok(())
    })?;
    Ok(proof)
}

/// The hash of all that `raw` gives, in hex, and its size in bytes.
pub(super) fn hash(name: &str, raw: Box<dyn Read + Send>) -> Result<(String, u64)> {
    let mut raw = Raw::new(raw);
    let read = io::copy(&mut raw, &mut io::sink());
    raw.failure(name)?;
    let size = read.map_err(broken(name))?;
    Ok((raw.inner.hasher.finalize().to_hex().to_string(), size))
}

/// Reads what the archive `raw`, called `name`, says of itself.
pub(super) fn read_manifest(name: &str, raw: Box<dyn Read + Send>, keys: &Keys) -> Result<Manifest> {
    let mut raw = Raw::new(raw);
    let read = open(name, &mut raw, keys).and_then(|mut tar| {
        let mut members = tar.entries().map_err(broken(name))?;
        let mut first = members.next().ok_or_else(|| unusable(name, "it is empty"))?.map_err(broken(name))?;
        let mut text = Vec::new();
        first.read_to_end(&mut text).map_err(broken(name))?;
        parse(name, &text)
    });
    raw.failure(name)?;
    read
}

/// Hands each member of the archive to `each`, which must read it to its end; fails unless exactly the members of the
/// manifest are there, hash as it says, and the whole hashes as was noted beside it. Returns the manifest that is inside.
pub(super) fn walk(
    name: &str,
    raw: Box<dyn Read + Send>,
    beside: &Manifest,
    keys: &Keys,
    each: &mut dyn FnMut(&str, &mut dyn Read) -> Result<(), Stop>,
) -> Result<Manifest> {
    let mut raw = Raw::new(raw);
    let walked = walk_members(name, &mut raw, beside, keys, each);
    // What stands behind the end of the stream counts too.
    let drained = walked.and_then(|inner| io::copy(&mut raw, &mut io::sink()).map(|_| inner).map_err(broken(name)));
    raw.failure(name)?;
    let inner = drained?;
    let hash = raw.inner.hasher.finalize().to_hex().to_string();
    match &beside.archive_blake3 {
        Some(noted) if *noted != hash => Err(unusable(name, "it is not what was packed")),
        // Whoever lost the note still has the hash of every member within.
        _ => Ok(inner),
    }
}

/// Why `each` of [`walk`] stops: the archive, or its own trouble.
pub(super) enum Stop {
    /// The archive could not be read on.
    Broken(io::Error),
    /// Anything else.
    Own(Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Broken(error)
    }
}

fn walk_members(
    name: &str,
    raw: &mut Raw,
    beside: &Manifest,
    keys: &Keys,
    each: &mut dyn FnMut(&str, &mut dyn Read) -> Result<(), Stop>,
) -> Result<Manifest> {
    let mut archive = open(name, raw, keys)?;
    let mut inner: Option<Manifest> = None;
    let mut at = 0;
    for entry in archive.entries().map_err(broken(name))? {
        let entry = entry.map_err(broken(name))?;
        let path = entry.path().map_err(broken(name))?.to_string_lossy().into_owned();
        let mut content = Hashing::new(entry);
        let Some(inside) = &inner else {
            let mut text = Vec::new();
            content.read_to_end(&mut text).map_err(broken(name))?;
            let inside = parse(name, &text)?;
            let shown =
                if is_sealed(name) && beside.archive_blake3.is_some() { inside.veiled() } else { inside.clone() };
            if path != MANIFEST || shown != (Manifest { archive_blake3: None, archive_size: None, ..beside.clone() }) {
                return Err(unusable(name, "the manifest inside is not the one beside it"));
            }
            inner = Some(inside);
            continue;
        };
        let Some(member) = inside.members.get(at).filter(|member| member.name == path) else {
            return Err(unusable(name, &format!("`{path}` does not belong there")));
        };
        at += 1;
        each(&path, &mut content).map_err(|stop| match stop {
            Stop::Broken(error) => broken(name)(error),
            Stop::Own(error) => error,
        })?;
        if content.size != member.size || content.hasher.finalize().to_hex().to_string() != member.blake3 {
            return Err(unusable(name, &format!("`{path}` is not what was packed")));
        }
    }
    let inner = inner.ok_or_else(|| unusable(name, "it is empty"))?;
    if let Some(member) = inner.members.get(at) {
        return Err(unusable(name, &format!("`{}` is missing", member.name)));
    }
    // What stands behind the last member: the end of the tar, the checksum of the frame, and nothing else.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(broken(name))?;
    Ok(inner)
}

type Tar<'a> = tar::Archive<zstd::Decoder<'static, BufReader<Box<dyn Read + 'a>>>>;

fn open<'a>(name: &str, raw: &'a mut Raw, keys: &Keys) -> Result<Tar<'a>> {
    let content: Box<dyn Read + 'a> = match is_sealed(name) {
        true => Box::new(keys.open(name, BufReader::new(raw))?),
        false => Box::new(raw),
    };
    Ok(tar::Archive::new(zstd::Decoder::new(content).map_err(broken(name))?))
}

/// The bytes of an archive as they come, hashed; remembers why they stopped coming, which is not the fault of the archive.
struct Raw {
    inner: Hashing<Box<dyn Read + Send>>,
    failed: Option<io::Error>,
}

impl Raw {
    fn new(inner: Box<dyn Read + Send>) -> Raw {
        Raw { inner: Hashing::new(inner), failed: None }
    }

    fn failure(&mut self, name: &str) -> Result<()> {
        match self.failed.take() {
            None => Ok(()),
            Some(error) => Err(match error.downcast::<Error>() {
                Ok(own) => own,
                Err(error) => Error::file("read", name)(error),
            }),
        }
    }
}

impl Read for Raw {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.inner.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let shown = io::Error::other(error.to_string());
                    self.failed = Some(error);
                    return Err(shown);
                }
                read => return read,
            }
        }
    }
}

/// Hashes and counts what passes through.
struct Hashing<T> {
    inner: T,
    hasher: blake3::Hasher,
    size: u64,
}

impl<T> Hashing<T> {
    fn new(inner: T) -> Hashing<T> {
        Hashing { inner, hasher: blake3::Hasher::new(), size: 0 }
    }

    fn pass(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.pass(&buffer[..n]);
        Ok(n)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.pass(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Reads the text of a manifest that belongs to the archive called `name`.
pub(super) fn parse(name: &str, text: &[u8]) -> Result<Manifest> {
    let manifest: Manifest = serde_json::from_slice(text).map_err(|error| unusable(name, &error.to_string()))?;
    if manifest.format > FORMAT {
        return Err(unusable(name, "a newer kumadb made it"));
    }
    // A name that climbs out of the folder is refused wherever the archive came from.
    manifest.check(name)?;
    Ok(manifest)
}

fn broken(name: &str) -> impl Fn(io::Error) -> Error {
    move |error| match error.to_string() {
        // What zstd says of a file that it did not make.
        words if words == "Unknown frame descriptor" => unusable(name, "it is no snapshot of kumadb"),
        words => unusable(name, &words),
    }
}

pub(super) fn unusable(name: &str, why: &str) -> Error {
    Error::Snapshot(format!("`{name}`: {why}"))
}

/// Adds every file below `folder` to the members, named from `root` on.
fn collect(root: &Path, folder: &Path, members: &mut Vec<Member>, sources: &mut Vec<PathBuf>) -> Result<()> {
    for path in files::entries(folder)? {
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
pub(super) fn folder_name(instance: &str) -> String {
    let safe: String = instance
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' })
        .collect();
    safe.trim_start_matches('.').to_owned()
}
