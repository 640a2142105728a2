//! The executable for the remote host: one statically linked file, which needs nothing from the image.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::Pack;
use crate::docker::{Engine, VOLUME};
use crate::error::{Error, RemoteError, Result};

/// An executable for Linux.
pub struct Binary {
    bytes: Vec<u8>,
    machine: &'static str,
    /// A name derived from exactly these bytes.
    pub hash: String,
}

impl Binary {
    /// The running executable, or the one at `given`.
    ///
    /// # Errors
    /// [`RemoteError::NotForLinux`]; [`RemoteError::NotStatic`]: it needs the libraries of another system.
    pub fn read(given: Option<&Path>) -> Result<Binary> {
        let path = given.map_or_else(running, |path| Ok(path.to_owned()))?;
        let bytes = std::fs::read(&path).map_err(Error::file("read", &path))?;
        let path = given.map_or_else(|| std::env::current_exe().unwrap_or(path), Path::to_owned);
        let header =
            Header::read(&bytes).ok_or_else(|| Error::Remote(RemoteError::NotForLinux { path: path.clone() }))?;
        if header.needs_loader {
            return Err(Error::Remote(RemoteError::NotStatic { path, machine: header.machine }));
        }
        let hash = blake3::hash(&bytes).to_hex()[..16].to_owned();
        Ok(Binary { machine: header.machine, bytes, hash })
    }

    /// Fails unless `engine`, at `address`, can run it.
    pub(super) fn check(&self, engine: &Engine, address: &str) -> Result<()> {
        if engine.system == "linux" && engine.machine == self.machine {
            return Ok(());
        }
        Err(Error::Remote(RemoteError::WrongMachine {
            engine: address.to_owned(),
            system: engine.system.clone(),
            machine: engine.machine.clone(),
            ours: self.machine,
        }))
    }

    /// A tar of it as the file `path`, to be unpacked in the volume.
    pub(super) fn pack(&self, path: &str) -> Result<File> {
        let mut pack = Pack::new(VOLUME.1, 6)?;
        pack.add(Path::new(path), 0o755, self.bytes.len() as u64, &self.bytes[..])?;
        pack.done()
    }
}

/// The path of the running executable.
fn running() -> Result<PathBuf> {
    // This path is readable even when another version has been installed in its place meanwhile.
    match Path::new("/proc/self/exe") {
        path if path.exists() => Ok(path.to_owned()),
        _ => std::env::current_exe().map_err(Error::file("find", "kumadb")),
    }
}

/// The ELF header of an executable.
struct Header {
    machine: &'static str,
    /// Whether a loader must be found that loads its libraries.
    needs_loader: bool,
}

impl Header {
    /// `None` where `bytes` are not a little-endian ELF file.
    fn read(bytes: &[u8]) -> Option<Header> {
        /// The type of the program header that names the loader.
        const PT_INTERP: usize = 3;
        let number = |at: usize, length: usize| {
            let bytes = bytes.get(at..at + length).unwrap_or_default();
            bytes.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
        };
        // The table of program headers, the size of one, and how many; at other offsets where addresses have 32 bits.
        let (table, size, count) = match bytes.get(..6)? {
            b"\x7fELF\x02\x01" => (number(32, 8), number(54, 2), number(56, 2)),
            b"\x7fELF\x01\x01" => (number(28, 4), number(42, 2), number(44, 2)),
            _ => return None,
        };
        let machine = match number(18, 2) {
            62 => "x86_64",
            183 => "aarch64",
            40 => "arm",
            3 => "x86",
            243 => "riscv64",
            22 => "s390x",
            21 => "powerpc64",
            _ => "another machine",
        };
        let needs_loader = (0..count).any(|n| number(table.saturating_add(n * size), 4) == PT_INTERP);
        Some(Header { machine, needs_loader })
    }
}
