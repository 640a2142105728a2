//! The executable for the remote host: the running one with its loader and libraries, independent of the libc of the image; or
//! a given one.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use super::Pack;
use crate::docker::{Engine, VOLUME};
use crate::error::{Error, RemoteError, Result};

/// Its name on the remote host.
const NAME: &str = "kumadb";

/// An executable with its files.
pub struct Binary {
    parts: BTreeMap<String, Vec<u8>>,
    loader: Option<String>,
    machine: &'static str,
    /// A name derived from exactly these bytes.
    pub hash: String,
}

impl Binary {
    /// The running executable, or the one at `given`, which must run in the server's image without further files.
    ///
    /// # Errors
    /// It is not a Linux executable.
    pub fn read(given: Option<&Path>) -> Result<Binary> {
        // This path is readable even when another version has been installed in its place meanwhile.
        let own = match Path::new("/proc/self/exe") {
            path if path.exists() => path.to_owned(),
            _ => std::env::current_exe().map_err(Error::file("find", "kumadb"))?,
        };
        let path = given.unwrap_or(&own);
        let whole = std::fs::read(path).map_err(Error::file("read", path))?;
        let elf = Elf::read(&whole).ok_or_else(|| {
            Error::Remote(RemoteError::CannotRun {
                engine: "Linux".into(),
                why: format!("`{}` is not a Linux executable", path.display()),
            })
        })?;
        let libraries = if given.is_none() { loaded()? } else { Vec::new() };
        let mut parts = BTreeMap::from([(NAME.to_owned(), elf.stripped())]);
        let mut loader = None;
        for library in libraries {
            let name = library.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with("ld-") || name.starts_with("ld64") {
                loader = Some(name.clone());
            }
            parts.insert(name, std::fs::read(&library).map_err(Error::file("read", &library))?);
        }
        let mut hash = blake3::Hasher::new();
        for (name, bytes) in &parts {
            hash.update(name.as_bytes()).update(&bytes.len().to_le_bytes()).update(bytes);
        }
        let hash = hash.finalize().to_hex()[..16].to_owned();
        Ok(Binary { parts, loader, machine: elf.machine(), hash })
    }

    /// Fails unless `engine`, at `address`, can run it.
    pub(super) fn check(&self, engine: &Engine, address: &str) -> Result<()> {
        if engine.system == "linux" && engine.machine == self.machine {
            return Ok(());
        }
        let (system, machine) = (&engine.system, &engine.machine);
        Err(Error::Remote(RemoteError::CannotRun {
            engine: address.to_owned(),
            why: format!("the host is {system} on {machine}, but this kumadb is for linux on {}", self.machine),
        }))
    }

    /// The command line that runs it from the folder `place`.
    pub(super) fn command(&self, place: &str) -> Vec<String> {
        let program = format!("{place}/{NAME}");
        match &self.loader {
            Some(loader) => vec![format!("{place}/{loader}"), "--library-path".into(), place.to_owned(), program],
            None => vec![program],
        }
    }

    /// A tar of it for the folder `place`, to be unpacked in the volume.
    pub(super) fn pack(&self, place: &str) -> Result<File> {
        let mut pack = Pack::new(VOLUME.1, 6)?;
        for (name, bytes) in &self.parts {
            pack.add(&Path::new(place).join(name), 0o755, bytes.len() as u64, &bytes[..])?;
        }
        pack.done()
    }
}

/// The libraries loaded by this process, including the loader; empty for a static binary.
fn loaded() -> Result<Vec<PathBuf>> {
    let maps = std::fs::read_to_string("/proc/self/maps").map_err(Error::file("read", "/proc/self/maps"))?;
    let paths = maps.lines().filter_map(|line| Some(PathBuf::from(&line[line.find('/')?..])));
    let mut libraries: Vec<PathBuf> =
        paths.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains(".so"))).collect();
    libraries.sort();
    libraries.dedup();
    Ok(libraries)
}

/// A 64-bit ELF executable.
struct Elf<'a> {
    bytes: &'a [u8],
}

impl<'a> Elf<'a> {
    fn read(bytes: &'a [u8]) -> Option<Elf<'a>> {
        // Magic number, 64 bits, little endian.
        (bytes.len() > 64 && bytes.starts_with(b"\x7fELF\x02\x01")).then_some(Elf { bytes })
    }

    fn machine(&self) -> &'static str {
        match self.number(18, 2) {
            62 => "x86_64",
            183 => "aarch64",
            243 => "riscv64",
            22 => "s390x",
            21 => "powerpc64",
            _ => "another machine",
        }
    }

    /// The executable without debug information: everything after the last loaded segment is removed.
    fn stripped(&self) -> Vec<u8> {
        let (table, size, count) = (self.number(32, 8), self.number(54, 2), self.number(56, 2));
        let end = (0..count).map(|n| table + n * size).map(|at| self.number(at + 8, 8) + self.number(at + 32, 8)).max();
        let mut bytes = self.bytes[..end.unwrap_or(self.bytes.len()).min(self.bytes.len())].to_vec();
        // The section table is removed with it, so its header fields are cleared.
        for (at, length) in [(40, 8), (58, 2), (60, 2), (62, 2)] {
            bytes[at..at + length].fill(0);
        }
        bytes
    }

    /// The number of `length` bytes at `at`; 0 where there is none.
    fn number(&self, at: usize, length: usize) -> usize {
        let bytes = self.bytes.get(at..at + length).unwrap_or_default();
        bytes.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
    }
}
