//! Archives: a plain `tar` under `zstd`, and under `age` where encrypted, which can be opened without kumadb.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use age::stream::StreamWriter;

use super::encryption::{Encryption, Keys, load_messages};
use super::manifest::{FILE as MANIFEST, FORMAT, MOST as MANIFEST_SIZE, Manifest, Member};
use super::stage::StagedCopy;
use crate::error::{Error, Result, SnapshotError};
use crate::files::{self, Confined};
use crate::text::one_line;

/// Extension of an archive.
const PLAIN: &str = ".kuma.tar.zst";
/// Extension of one that is not compressed: of a stream.
const STREAM: &str = ".kuma.tar";
/// Extension of an encrypted one.
const SEALED: &str = ".kuma.tar.zst.age";
/// Level 1 compresses 512 MiB of heartbeats to a fifth in about 2 s; higher levels take several times as long for a
/// few per cent.
const LEVEL: i32 = 1;

/// Bytes read at a time: enough to unpack and hash in one go.
pub(super) const PIECE: usize = 1 << 17;

/// Whether `name` has the extension of an archive.
pub(super) fn is_archive(name: &str) -> bool {
    ([PLAIN, STREAM].iter().any(|ending| name.ends_with(ending)) || is_encrypted(name))
        && !name.rsplit('/').next().is_some_and(|last| last.starts_with('.'))
}

/// Whether an archive is encrypted, by its name.
pub(super) fn is_encrypted(name: &str) -> bool {
    name.ends_with(SEALED)
}

/// The result of a verification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// Members whose hash was compared.
    pub members: usize,
    /// Bytes read: of the members, or of the archive where only that could be read.
    pub bytes: u64,
    /// The archive is encrypted and no key was given: its own hash is right, and its contents were not checked.
    pub encrypted: bool,
}

/// A packed and verified archive that is not in a store yet.
#[derive(Debug)]
pub struct Packed {
    /// Its path.
    pub(super) file: PathBuf,
    /// The manifest that is stored beside it.
    pub(super) manifest: Manifest,
    /// Its size, in bytes.
    pub(super) size: u64,
    /// Its name in a store: `<instance>/<UTC time>-<id>.kuma.tar.zst`.
    pub(super) name: String,
}

impl Packed {
    /// Packs `staged` and the files under `extra` (`upload`, `docker-tls`) into the folder `scratch`, and reads the
    /// archive back completely.
    ///
    /// # Errors
    /// [`FileError::NoSpace`](crate::error::FileError::NoSpace), [`FileError::Io`](crate::error::FileError::Io);
    /// [`SnapshotError::Invalid`] when the contents differ from what was packed.
    pub fn make(
        staged: &StagedCopy,
        extra: &[PathBuf],
        encryption: Option<&Encryption>,
        scratch: &Path,
    ) -> Result<Packed> {
        let mut manifest = staged.manifest.clone();
        manifest.check(&staged.folder.to_string_lossy())?;
        let mut sources: Vec<Source<'_>> =
            manifest.members.iter().map(|member| (&*staged.folder, member.name.clone().into())).collect();
        let extra = collect(extra)?;
        let beside = extra.iter().map(|(_, size)| *size).fold(0, u64::saturating_add);
        // Before anything is read: a file of many terabytes may be an empty one.
        files::require_space(scratch, manifest.size().saturating_add(beside) / 2)?;
        for ((root, path), _) in extra {
            manifest.members.push(super::stage::member(root, &path.to_string_lossy())?);
            sources.push((root, path));
        }
        let ending = if encryption.is_some() { SEALED } else { PLAIN };
        let time = manifest.created.format("%Y%m%dT%H%M%SZ");
        let name = format!("{}/{time}-{}{ending}", folder_name(&manifest.instance), manifest.id);
        let file = scratch.join(format!("archive{ending}"));
        let (hash, size, keys) = write(&file, &manifest, &sources, encryption)?;
        let (archive_blake3, archive_size) = (Some(hash), Some(size));
        let shown = if encryption.is_some() { manifest.redacted() } else { manifest };
        let manifest = Manifest { archive_blake3, archive_size, ..shown };
        let archive = files::open_uncached(&file)?;
        verify_members(&file.to_string_lossy(), Box::new(archive), &manifest, &keys)?;
        Ok(Packed { file, manifest, size, name })
    }

    /// Size of the archive, in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }
}

/// Writes and flushes the archive at `to`; returns its hash, its size and, where it is encrypted, keys that open it.
fn write(
    to: &Path,
    manifest: &Manifest,
    sources: &[Source<'_>],
    encryption: Option<&Encryption>,
) -> Result<(String, u64, Keys)> {
    let text = manifest.render()?;
    let file = Hashing::new(BufWriter::new(files::create_private(to)?));
    let write = || -> io::Result<(Hashing<BufWriter<File>>, Keys)> {
        let (sink, keys) = match encryption {
            None => (Sink::Plain(file), Keys::default()),
            Some(encryption) => encryption.begin(file).map(|(encrypted, keys)| (Sink::Sealed(encrypted), keys))?,
        };
        let mut zstd = zstd::Encoder::new(sink, LEVEL)?;
        zstd.include_checksum(true)?;
        zstd.multithread(workers())?;
        let mut tar = tar::Builder::new(zstd);
        tar.append_data(&mut header(manifest, text.len() as u64), MANIFEST, &text[..])?;
        for (member, source) in manifest.members.iter().zip(sources) {
            // What has changed meanwhile is found when it is read back.
            tar.append_data(&mut header(manifest, member.size), &member.name, content(member, source)?)?;
        }
        let mut file = tar.into_inner()?.finish()?.finish()?;
        file.inner.flush()?;
        file.inner.get_ref().sync_all()?;
        Ok((file, keys))
    };
    let (file, keys) = write().map_err(Error::file("write", to))?;
    Ok((file.hasher.finalize().to_hex().to_string(), file.size, keys))
}

/// The header of a member of `size` bytes.
pub(super) fn header(manifest: &Manifest, size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_mode(files::PRIVATE);
    header.set_mtime(manifest.created.timestamp().unsigned_abs());
    header.set_size(size);
    header
}

/// The content of `member`, from the file `path` in the folder `root`.
pub(super) fn content(member: &Member, (root, path): &Source<'_>) -> io::Result<impl Read + use<>> {
    // It was a regular file when it was hashed, and must still be one.
    let file = files::open_below(root, path).map_err(io::Error::other)?;
    Ok(BufReader::with_capacity(PIECE, file).take(member.size))
}

/// Number of compression threads: all cores up to a limit, because each takes some MB.
fn workers() -> u32 {
    std::thread::available_parallelism().map_or(1, |all| all.get().min(4) as u32)
}

/// The destination of the compressed bytes.
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

/// Reads the archive `raw`, called `name`, completely and compares it with the manifest beside it. Without a key, an
/// encrypted one is compared with its own hash only.
pub(super) fn verify(name: &str, raw: Box<dyn Read + Send>, manifest: &Manifest, keys: &Keys) -> Result<Verification> {
    if is_encrypted(name) && keys.is_empty() {
        return verify_hash(name, raw, manifest);
    }
    verify_members(name, raw, manifest, keys)
}

/// Compares the hash of the archive itself with the one that was recorded.
pub(super) fn verify_hash(name: &str, raw: Box<dyn Read + Send>, manifest: &Manifest) -> Result<Verification> {
    let (hash, size) = hash(name, raw)?;
    if manifest.archive_blake3.as_ref() == Some(&hash) {
        Ok(Verification { members: 0, bytes: size, encrypted: is_encrypted(name) })
    } else {
        Err(unusable(name, "its contents differ from the manifest"))
    }
}

/// The same for one that `keys` open if it is encrypted.
fn verify_members(name: &str, raw: Box<dyn Read + Send>, manifest: &Manifest, keys: &Keys) -> Result<Verification> {
    let mut verified = Verification { members: 0, bytes: 0, encrypted: false };
    let mut buffer = vec![0; PIECE];
    confined(&Confined::default(), name, raw, |raw| {
        walk(name, raw, manifest, keys, &mut |_, content| {
            loop {
                match content.read(&mut buffer)? {
                    0 => break,
                    n => verified.bytes += n as u64,
                }
            }
            verified.members += 1;
            Ok(())
        })
    })?;
    Ok(verified)
}

/// The hash of `raw`, in hex, and its size in bytes.
pub(super) fn hash(name: &str, raw: Box<dyn Read + Send>) -> Result<(String, u64)> {
    let mut raw = Hashing::new(raw);
    io::copy(&mut raw, &mut io::sink()).map_err(|error| match error.downcast::<Error>() {
        Ok(own) => own,
        Err(error) => Error::file("read", name)(error),
    })?;
    Ok((raw.hasher.finalize().to_hex().to_string(), raw.size))
}

/// Reads the manifest inside the archive `raw`, called `name`.
pub(super) fn read_manifest(name: &str, raw: Box<dyn Read + Send>, keys: &Keys) -> Result<Manifest> {
    confined(&Confined::default(), name, raw, |raw| {
        let mut raw = Hashing::new(raw);
        // Compressed, a header of some GB takes a few KB.
        let mut tar = open(name, &mut raw, keys, OVERHEAD)?;
        let mut members = tar.entries().map_err(broken(name))?;
        let mut first = members.next().ok_or_else(|| unusable(name, "the archive is empty"))?.map_err(broken(name))?;
        parse(name, &read_small(name, &mut first)?)
    })
}

/// Runs `work` on the archive `raw`, called `name`, where it can reach nothing but what is in `reach`.
pub(super) fn confined<T: Send>(
    reach: &Confined,
    name: &str,
    raw: Box<dyn Read + Send>,
    work: impl FnOnce(io::PipeReader) -> Result<T> + Send,
) -> Result<T> {
    if is_encrypted(name) {
        load_messages();
    }
    reach.run_on(name, raw, work)
}

/// Passes each member of the archive to `each`, which must read it completely. Fails unless it contains exactly the
/// members of the manifest with their hashes, and the archive has the hash noted beside it. Returns the manifest
/// inside.
pub(super) fn walk(
    name: &str,
    raw: io::PipeReader,
    beside: &Manifest,
    keys: &Keys,
    each: &mut dyn FnMut(&str, &mut dyn Read) -> Result<(), Stop>,
) -> Result<Manifest> {
    let mut raw = Hashing::new(raw);
    let inner = walk_members(name, &mut raw, beside, keys, each)?;
    // Bytes after the end of the stream count too.
    io::copy(&mut raw, &mut io::sink()).map_err(broken(name))?;
    let hash = raw.hasher.finalize().to_hex().to_string();
    match &beside.archive_blake3 {
        Some(noted) if *noted != hash => Err(unusable(name, "its contents differ from the manifest")),
        // Without the note, the hashes of all members are still inside.
        _ => Ok(inner),
    }
}

/// Why `each` of [`walk`] stops: an error of the archive, or its own.
pub(super) enum Stop {
    /// The archive could not be read.
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
    raw: &mut Hashing<io::PipeReader>,
    beside: &Manifest,
    keys: &Keys,
    each: &mut dyn FnMut(&str, &mut dyn Read) -> Result<(), Stop>,
) -> Result<Manifest> {
    let size = beside.members.iter().fold(OVERHEAD, |sum, member| sum.saturating_add(member.size).saturating_add(4096));
    let mut archive = open(name, raw, keys, size)?;
    let mut inner: Option<Manifest> = None;
    let mut at = 0;
    for entry in archive.entries().map_err(broken(name))? {
        let entry = entry.map_err(broken(name))?;
        let path = entry.path().map_err(broken(name))?.to_string_lossy().into_owned();
        let declared = entry.size();
        let mut content = Hashing::new(entry);
        let Some(inside) = &inner else {
            let inside = parse(name, &read_small(name, &mut content)?)?;
            let shown =
                if is_encrypted(name) && beside.archive_blake3.is_some() { inside.redacted() } else { inside.clone() };
            if path != MANIFEST || shown != (Manifest { archive_blake3: None, archive_size: None, ..beside.clone() }) {
                return Err(unusable(name, "the manifest inside the archive differs from the manifest file"));
            }
            inner = Some(inside);
            continue;
        };
        let Some(member) = inside.members.get(at).filter(|member| member.name == path) else {
            return Err(unusable(name, &format!("`{path}` is not listed in the manifest")));
        };
        at += 1;
        // Before it is written anywhere.
        if declared != member.size {
            return Err(unusable(name, &format!("`{path}` differs from the manifest")));
        }
        each(&path, &mut content).map_err(|stop| match stop {
            Stop::Broken(error) => broken(name)(error),
            Stop::Own(error) => error,
        })?;
        if content.size != member.size || content.hasher.finalize().to_hex().to_string() != member.blake3 {
            return Err(unusable(name, &format!("`{path}` differs from the manifest")));
        }
    }
    let inner = inner.ok_or_else(|| unusable(name, "the archive is empty"))?;
    if let Some(member) = inner.members.get(at) {
        return Err(unusable(name, &format!("`{}` is missing", member.name)));
    }
    // After the last member: the end of the tar, the checksum of the frame, and nothing else.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(broken(name))?;
    Ok(inner)
}

/// Reads the text of a manifest.
fn read_small(name: &str, member: &mut dyn Read) -> Result<Vec<u8>> {
    files::read_most(member, MANIFEST_SIZE).map_err(|error| match error.kind() {
        io::ErrorKind::FileTooLarge => unusable(name, "its manifest is too large"),
        _ => broken(name)(error),
    })
}

/// What an archive contains beside the content of its members, in bytes: a manifest at most, and the names of members.
const OVERHEAD: u64 = MANIFEST_SIZE + (16 << 20);

type Tar<'a> = tar::Archive<io::Take<Box<dyn Read + 'a>>>;

/// Opens the archive, of which no more than `most` bytes are unpacked.
fn open<'a>(name: &str, raw: &'a mut Hashing<io::PipeReader>, keys: &Keys, most: u64) -> Result<Tar<'a>> {
    let mut content: Box<dyn Read + 'a> =
        if is_encrypted(name) { Box::new(keys.open(name, BufReader::new(raw))?) } else { Box::new(raw) };
    // A stream is not compressed, and begins with the name of its first member.
    let mut start = Vec::new();
    content.by_ref().take(MANIFEST.len() as u64).read_to_end(&mut start).map_err(broken(name))?;
    let is_stream = start == MANIFEST.as_bytes();
    let content = io::Cursor::new(start).chain(content);
    let content: Box<dyn Read + 'a> = if is_stream {
        Box::new(BufReader::with_capacity(PIECE, content))
    } else {
        Box::new(zstd::Decoder::new(content).map_err(broken(name))?)
    };
    Ok(tar::Archive::new(content.take(most)))
}

/// Hashes and counts the bytes that pass through.
pub(super) struct Hashing<T> {
    inner: T,
    hasher: blake3::Hasher,
    size: u64,
}

impl<T> Hashing<T> {
    pub(super) fn new(inner: T) -> Hashing<T> {
        Hashing { inner, hasher: blake3::Hasher::new(), size: 0 }
    }

    /// What passed through, as a member called `name`.
    pub(super) fn member(&self, name: &str) -> Member {
        let blake3 = self.hasher.finalize().to_hex().to_string();
        Member { name: name.to_owned(), size: self.size, blake3 }
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

/// Parses the text of the manifest of the archive called `name`.
pub(super) fn parse(name: &str, text: &[u8]) -> Result<Manifest> {
    let mut manifest: Manifest = serde_json::from_slice(text).map_err(|error| unusable(name, &error.to_string()))?;
    // An archive may come from anywhere, and these are parts of messages.
    for text in [&mut manifest.instance, &mut manifest.release, &mut manifest.reason] {
        *text = one_line(text).into_owned();
    }
    if manifest.format > FORMAT {
        return Err(unusable(name, "it was created by a newer kumadb"));
    }
    // A name that leads out of the folder is refused, whatever the source of the archive.
    manifest.check(name)?;
    Ok(manifest)
}

fn broken(name: &str) -> impl Fn(io::Error) -> Error {
    move |error| match error.to_string() {
        // zstd's error for a file in another format.
        words if words == "Unknown frame descriptor" => unusable(name, "it is not a kumadb snapshot"),
        words => unusable(name, &words),
    }
}

pub(super) fn unusable(name: &str, why: &str) -> Error {
    Error::Snapshot(SnapshotError::Invalid { name: name.to_owned(), why: why.to_owned() })
}

/// Where a member is read: a folder, and the path below it.
pub(super) type Source<'a> = (&'a Path, PathBuf);

/// The files below `folders`, as they are named in an archive, with their sizes.
pub(super) fn collect(folders: &[PathBuf]) -> Result<Vec<(Source<'_>, u64)>> {
    let mut all = Vec::new();
    for folder in folders {
        let root = folder.parent().unwrap_or(folder);
        let found = files::tree_below(root, folder.strip_prefix(root).unwrap_or(folder))?;
        all.extend(found.into_iter().map(|(path, size)| ((root, path), size)));
    }
    Ok(all)
}

/// An instance's name as the name of a folder: unsafe characters become `_`.
pub(super) fn folder_name(instance: &str) -> String {
    let safe: String = instance
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' })
        .collect();
    safe.trim_start_matches('.').to_owned()
}
