//! Stores: where snapshots are kept, a folder or a remote service.

mod address;
mod cache;
mod credentials;
mod failure;
mod folder;
mod leftovers;
mod listing;
mod login;
mod name_conflict;
mod objects;
mod remote;
mod restore_tests;
mod scratch;
mod several;
mod unpack;
mod webdav;
mod wire;

use std::fmt;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::archive::{self, Packed, Verification, unusable};
use super::encryption::{Encryption, Keys};
use super::manifest::{MOST as MANIFEST_SIZE, Manifest};
use super::stage::StagedCopy;
use super::undo::Bounds;
use crate::engine::sqlite::other_format;
use crate::error::{Error, FileError, InputError, Result, SnapshotError};
use crate::files;
use crate::text::bytes;
use cache::cache_file;
use folder::FolderStore;
use objects::{Object, Objects};
use scratch::{NotedUpload, UploadNote};

pub use address::{check_address, check_variable};
pub use credentials::{Credentials, Timeouts};
pub use leftovers::Orphan;
pub use listing::Listing;
pub use name_conflict::NameConflict;
pub use restore_tests::RestoreTestRecord;
pub use scratch::Scratch;
pub use several::{Stores, list_all, no_snapshots, unpack_first};

/// Extension of the manifest beside an archive.
const BESIDE: &str = ".json";
/// Prefix of the file that a check writes; hidden, in case it is left in a folder.
const PROBE: &str = ".kumadb-probe-";
/// The current folder.
const CURRENT: &str = ".";
/// Extension of the file with deliberately deleted rows.
const REMOVED: &str = ".removed.json";

/// A store of snapshots: `<instance>/<UTC time>-<id>.kuma.tar.zst`, with the manifest in a `.json` beside it.
#[derive(Clone)]
pub struct Store {
    objects: Arc<dyn Objects>,
    keys: Keys,
    /// The encryption of [`Store::pack`].
    encryption: Option<Encryption>,
    /// The limits of undo snapshots per instance.
    bounds: Bounds,
    /// Names of other instances.
    others: Vec<String>,
    /// The file of manifests that were read before, for a remote store.
    cache: Option<PathBuf>,
}

/// One snapshot in a store.
#[derive(Clone, Debug)]
pub struct Snapshot {
    store: Store,
    /// The archive: `<instance>/<UTC time>-<id>.kuma.tar.zst`.
    name: String,
    /// Its manifest.
    pub manifest: Manifest,
    /// Size of the archive, in bytes.
    pub size: u64,
}

impl Store {
    /// The store in `folder`, which is created with the first snapshot; in the current folder, where that is empty.
    pub fn new(folder: impl Into<PathBuf>) -> Store {
        let path = folder.into();
        Store::of(FolderStore { path: if path.as_os_str().is_empty() { CURRENT.into() } else { path } })
    }

    fn of(objects: impl Objects + 'static) -> Store {
        Store {
            objects: Arc::new(objects),
            keys: Keys::default(),
            encryption: None,
            bounds: Bounds::default(),
            others: Vec::new(),
            cache: None,
        }
    }

    /// The store at `address`: a folder, or `s3://bucket/prefix`, `az://container/prefix`, `gs://bucket/prefix`,
    /// `webdav://host/path`, `webdavs://host/path`. Makes no connection yet.
    ///
    /// # Errors
    /// [`InputError::Address`] where the address or the credentials are invalid.
    pub fn open(address: &str, credentials: &Credentials) -> Result<Store> {
        check_address(address)
            .map_err(|why| Error::Input(InputError::Address { kind: "store URL", shown: String::new(), why }))?;
        if address.contains("://") {
            let cache = credentials.cache.as_ref().map(|folder| cache_file(folder, address));
            remote::open(address, credentials).map(|opened| Store { cache, ..Store::of(opened) })
        } else {
            Ok(Store::new(address))
        }
    }

    /// The same store; encrypted archives are read with `keys`.
    pub fn with_keys(self, keys: Keys) -> Store {
        Store { keys, ..self }
    }

    /// The same store; the write path encrypts with `encryption`.
    pub fn encrypted(self, encryption: Option<Encryption>) -> Store {
        Store { encryption, ..self }
    }

    /// The same store, with these limits of undo snapshots.
    pub fn bounded(self, bounds: Bounds) -> Store {
        Store { bounds, ..self }
    }

    /// The same store; what has one of these names belongs to another instance, wherever that is.
    pub fn apart_from(self, others: Vec<String>) -> Store {
        Store { others, ..self }
    }

    /// Whether another instance has this name.
    pub fn is_other(&self, name: &str) -> bool {
        self.others.iter().any(|other| other == name)
    }

    /// The limits of undo snapshots per instance.
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Recipients that the write path encrypts to, as text.
    pub fn recipients(&self) -> Vec<String> {
        self.encryption.as_ref().map(Encryption::recipients).unwrap_or_default()
    }

    /// Its address, as given.
    pub fn address(&self) -> String {
        self.objects.address()
    }

    /// The same; of a local folder, its absolute path.
    ///
    /// # Errors
    /// The current folder cannot be determined.
    pub fn absolute_address(&self) -> Result<String> {
        match self.folder() {
            Some(folder) => Ok(files::absolute(folder)?.display().to_string()),
            None => Ok(self.address()),
        }
    }

    /// Its path, if it is a local folder.
    pub fn folder(&self) -> Option<&Path> {
        self.objects.folder()
    }

    /// A private folder for unfinished snapshots: beside the snapshots, so that an archive need only be renamed, or
    /// among the temporary files for a remote store. What interrupted runs left there is removed.
    pub fn scratch(&self) -> Result<Scratch> {
        Stores::from(vec![self.clone()]).scratch()
    }

    /// Packs `staged` and the files under `extra` (`upload`, `docker-tls`) into a snapshot; it is listed only when it is
    /// complete, flushed and read back.
    pub fn pack(&self, staged: &StagedCopy, extra: &[PathBuf]) -> Result<Snapshot> {
        let scratch = self.scratch()?;
        let mut packed = Packed::make(staged, extra, self.encryption.as_ref(), scratch.path())?;
        self.put(&mut packed, &scratch, true, &mut |_, _| {})
    }

    /// Puts an archive from `scratch` into the store; it is listed only when it is complete. With `read_back` an
    /// upload is read and hashed again, otherwise only its size is compared. A folder is always read back.
    pub fn put(
        &self,
        packed: &mut Packed,
        scratch: &Scratch,
        read_back: bool,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Snapshot> {
        let text = packed.manifest.render()?;
        let manifest = scratch.path().join("manifest.json");
        files::replace(&manifest, files::PRIVATE, |file| file.write_all(&text))?;
        let beside = beside(&packed.name);
        let note = UploadNote { store: self.address(), name: packed.name.clone(), upload: None };
        let mut noted = NotedUpload { note, scratch, progress, total: packed.size };
        scratch.note(std::slice::from_ref(&noted.note))?;
        let sent = match self.folder() {
            // The rename of the archive makes it a snapshot, so the manifest is written before.
            Some(_) => {
                self.objects.put(&beside, &manifest, &mut noted).and_then(|()| self.send(packed, true, &mut noted))
            }
            // An archive may be visible while incomplete; without its manifest it does not count.
            None => {
                self.send(packed, read_back, &mut noted).and_then(|()| self.objects.put(&beside, &manifest, &mut noted))
            }
        };
        match sent {
            Ok(()) => scratch.note(&[])?,
            Err(error) => {
                // What cannot be removed now is removed by the next run; the error itself is what counts.
                if self.undo(&noted.note).is_ok() {
                    scratch.note(&[])?;
                }
                return Err(error);
            }
        }
        if let Some(folder) = self.folder() {
            packed.file = folder.join(&packed.name);
        }
        let (name, manifest) = (packed.name.clone(), packed.manifest.clone());
        Ok(Snapshot { store: self.clone(), name, manifest, size: packed.size })
    }

    /// Stores the archive itself, and checks the result.
    fn send(&self, packed: &Packed, read_back: bool, noted: &mut NotedUpload<'_>) -> Result<()> {
        self.objects.put(&packed.name, &packed.file, noted)?;
        let hash = || packed.manifest.archive_blake3.clone().unwrap_or_default();
        let there = match (self.folder(), read_back) {
            // Renamed, or already read back.
            (Some(_), _) => return Ok(()),
            (None, true) => archive::hash(&self.locate(&packed.name), self.objects.open(&packed.name)?)?,
            (None, false) => (hash(), self.size(&packed.name)?),
        };
        if there == (hash(), packed.size) {
            Ok(())
        } else {
            Err(unusable(&self.locate(&packed.name), "the data read back differ from the data sent"))
        }
    }

    fn size(&self, name: &str) -> Result<u64> {
        self.objects.size(name)?.ok_or_else(|| unusable(&self.locate(name), "it does not exist"))
    }

    /// Removes the parts of an incomplete upload.
    fn undo(&self, note: &UploadNote) -> Result<()> {
        if let Some(upload) = &note.upload {
            self.objects.give_up(&note.name, upload)?;
        }
        let there = self.objects.list()?;
        let has = |name: &str| there.iter().any(|object| object.name == name);
        let beside = beside(&note.name);
        match (has(&note.name), has(&beside)) {
            (true, false) if self.folder().is_none() => self.objects.remove(&note.name),
            (false, true) => self.objects.remove(&beside),
            _ => Ok(()),
        }
    }

    /// Whether a file called `name` in a store is the archive of a snapshot.
    pub fn is_archive(name: &Path) -> bool {
        archive::is_archive(&name.to_string_lossy())
    }

    /// Moves the archive at `file` and its manifest, both in `scratch`, into this store as `name`, after it is
    /// completely verified.
    pub fn adopt(&self, name: &Path, file: &Path, scratch: &Scratch) -> Result<Snapshot> {
        let found = Store::read(file)?;
        found.verify()?;
        let name = name.to_string_lossy().into_owned();
        let mut packed = Packed { file: file.to_owned(), manifest: found.manifest, size: found.size, name };
        self.put(&mut packed, scratch, true, &mut |_, _| {})
    }

    /// Writes a small file, reads it back, lists it and removes it.
    ///
    /// # Errors
    /// The operation that failed.
    pub fn probe(&self) -> Result<()> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| Error::File(FileError::Random { why: error.to_string() }))?;
        let id: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let folder = files::temp_folder("kumadb-", None)?;
        let content = folder.path().join("probe");
        files::replace(&content, files::PRIVATE, |file| writeln!(file, "kumadb config check: {id}"))?;
        self.objects.probe(&format!("{PROBE}{id}.txt"), &content)
    }

    fn snapshot(&self, object: &Object, manifest: Manifest) -> Snapshot {
        Snapshot { store: self.clone(), name: object.name.clone(), manifest, size: object.size }
    }

    /// The snapshot selected by `desired`: the path of an archive, an id or an id prefix, or `latest` (of the instance
    /// at
    /// `origin`), see [`Stores::find`].
    pub fn find(&self, desired: &str, origin: &str) -> Result<Snapshot> {
        let mut copies = Stores::from(vec![self.clone()]).find(desired, origin, &mut |_| {})?;
        Ok(copies.remove(0))
    }

    /// Reads the manifest of the archive at `path`: the one beside it or, where that is missing, the one inside.
    pub fn read(path: &Path) -> Result<Snapshot> {
        Store::new(files::parent(path)).read_file(path)
    }

    /// The same for the store in whose folder `path` is.
    fn read_file(self, path: &Path) -> Result<Snapshot> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let size = files::about_target(path)?.size;
        let object = Object { name, size, version: None };
        match self.objects.read_all(&[beside(&object.name)])?.pop() {
            Some(Ok(text)) => Ok(self.snapshot(&object, archive::parse(&path.to_string_lossy(), &text)?)),
            Some(Err(error)) if !error.is_missing() => Err(error),
            _ => self.read_within(&object).map_err(|error| other_format(path).unwrap_or(error)),
        }
    }

    /// The snapshot whose archive is called `name`, which must exist.
    fn read_named(self, name: &str) -> Result<Snapshot> {
        let size =
            self.objects.size(name)?.ok_or_else(|| Error::Snapshot(SnapshotError::NotFound(self.locate(name))))?;
        let object = Object { name: name.to_owned(), size, version: None };
        let beside = beside(name);
        if self.objects.size(&beside)?.is_none() {
            return self.read_within(&object);
        }
        let text = files::read_most(&mut self.objects.open(&beside)?, MANIFEST_SIZE)
            .map_err(|error| unusable(&self.locate(&beside), &error.to_string()))?;
        Ok(self.snapshot(&object, archive::parse(&self.locate(name), &text)?))
    }

    fn read_within(&self, object: &Object) -> Result<Snapshot> {
        let place = self.locate(&object.name);
        match archive::read_manifest(&place, self.objects.open(&object.name)?, &self.keys) {
            Ok(manifest) => Ok(self.snapshot(object, manifest)),
            Err(Error::Snapshot(SnapshotError::Key { .. })) => Err(unusable(
                &place,
                "its manifest file is missing, and the manifest inside cannot be read without the key",
            )),
            Err(error) => Err(error),
        }
    }

    /// The location of the file `name`.
    fn locate(&self, name: &str) -> String {
        match self.folder() {
            Some(folder) if folder == Path::new(CURRENT) => name.to_owned(),
            Some(folder) => folder.join(name).display().to_string(),
            None => format!("{}/{name}", self.address()),
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.address())
    }
}

impl Snapshot {
    /// The location of the archive: a path or an address.
    pub fn location(&self) -> String {
        self.store.locate(&self.name)
    }

    /// The store it is in.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Fails if its archive does not have its original size, as far as that was recorded.
    ///
    /// # Errors
    /// [`SnapshotError::Invalid`].
    pub fn check_size(&self) -> Result<()> {
        match self.manifest.archive_size.filter(|size| *size != self.size) {
            Some(size) => Err(Error::Snapshot(SnapshotError::Invalid {
                name: self.location(),
                why: format!("the archive has {} instead of {}", bytes(self.size), bytes(size)),
            })),
            None => Ok(()),
        }
    }

    /// Whether its archive is encrypted.
    pub fn is_encrypted(&self) -> bool {
        archive::is_encrypted(&self.name)
    }

    /// Reads the whole archive and compares every hash with the manifest. Of an encrypted one without a key, only the
    /// archive's own hash.
    pub fn verify(&self) -> Result<Verification> {
        archive::verify(&self.location(), self.store.objects.open(&self.name)?, &self.manifest, &self.store.keys)
    }

    /// Reads the whole archive and compares only its own hash.
    pub fn verify_hash(&self) -> Result<Verification> {
        archive::verify_hash(&self.location(), self.store.objects.open(&self.name)?, &self.manifest)
    }

    /// The path of the rows that the protected command deleted deliberately: readable, or encrypted like the archive;
    /// `None`
    /// where its store is not a folder.
    fn removed(&self) -> Option<PathBuf> {
        let stem = self.name.rsplit_once(".kuma.").map_or(self.name.as_str(), |(stem, _)| stem);
        let ending = if self.is_encrypted() { ".age" } else { "" };
        self.store.folder().map(|folder| folder.join(format!("{stem}{REMOVED}{ending}")))
    }

    /// Moves the deleted rows in the file `written` beside it; returns their path.
    pub fn keep_removed(&self, written: &Path) -> Result<Option<PathBuf>> {
        let Some(kept) = self.removed() else { return Ok(None) };
        files::remove(&kept)?;
        match &self.store.encryption {
            Some(encryption) => encryption.encrypt(written, &kept)?,
            None => files::copy_exact(written, &kept)?,
        }
        Ok(Some(kept))
    }

    /// Deletes the archive, its manifest, and the rows and records beside it.
    pub fn remove(&self) -> Result<()> {
        self.removed().map_or(Ok(()), |path| files::remove(&path))?;
        self.store.objects.remove(&self.restore_tests_of())?;
        let (archive, beside) = (self.name.clone(), beside(&self.name));
        // The file that makes it a snapshot goes first.
        let order = if self.store.folder().is_some() { [archive, beside] } else { [beside, archive] };
        order.iter().try_for_each(|name| self.store.objects.remove(name))
    }
}

fn beside(archive: &str) -> String {
    format!("{archive}{BESIDE}")
}
