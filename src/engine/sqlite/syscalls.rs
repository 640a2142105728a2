//! The system calls of SQLite that take a path. SQLite resolves the links in a path once, when a database is opened, and
//! uses the result as a text from then on. In a folder that belongs to an attacker, a part of it may be exchanged for a
//! link before the next call: root would then write a `-wal`, or delete a journal, in another folder. So no part of a
//! path that SQLite opens or deletes may be a link, and it deletes nothing but files of its own kinds: the owner of a
//! planted journal can name any file there as one that has to be deleted after the rollback
//! (the "super-journal", SQLite 3.51).

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::files;

/// Endings of files that SQLite may delete: the journals of a database.
const JOURNALS: [&str; 2] = ["-journal", "-wal"];

/// Start of the names of its temporary files, which no other file has.
const TEMPORARY: &[u8] = b"etilqs_";

/// `open(2)`, but no part of the path may be a link.
fn open(path: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
    let mode = if flags.contains(OFlags::CREATE) { mode } else { Mode::empty() };
    if name_of(path).starts_with(TEMPORARY) {
        // The folder for temporary files may be reached through a link: `/var/tmp` is one at times.
        files::open_raw(path, flags | OFlags::NOFOLLOW, mode)
    } else {
        files::open_strict(path, flags, mode)
    }
}

/// `unlink(2)` for journals and temporary files, through no link.
fn unlink(path: &Path) -> io::Result<()> {
    let name = name_of(path);
    match name.starts_with(TEMPORARY) {
        true => files::unlink_raw(path, AtFlags::empty()),
        false if JOURNALS.iter().any(|ending| name.ends_with(ending.as_bytes())) => files::unlink_strict(path),
        false => Err(Errno::ACCESS.into()),
    }
}

fn name_of(path: &Path) -> &[u8] {
    path.file_name().unwrap_or_default().as_bytes()
}

/// The only unsafe code of the crate: these functions in the form in which SQLite calls them.
#[allow(unsafe_code)]
mod calls {
    use std::ffi::{CStr, OsStr, c_char, c_int};
    use std::os::fd::IntoRawFd as _;
    use std::os::unix::ffi::OsStrExt as _;
    use std::path::Path;
    use std::sync::Once;

    use rusqlite::ffi;
    use rustix::fs::{Mode, OFlags};

    /// Makes SQLite use the functions above, once in this process.
    pub fn install() {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            // The signatures in os_unix.c.
            let open: unsafe extern "C" fn(*const c_char, c_int, c_int) -> c_int = open;
            let unlink: unsafe extern "C" fn(*const c_char) -> c_int = unlink;
            let calls = [(c"open", open as *const ()), (c"unlink", unlink as *const ())];
            // SAFETY: the default VFS lives as long as the process, `xSetSystemCall` is there in every build for Unix, and
            // each function has the signature that os_unix.c casts its name to.
            unsafe {
                let vfs = ffi::sqlite3_vfs_find(std::ptr::null());
                if let Some(set) = vfs.as_ref().and_then(|vfs| vfs.xSetSystemCall) {
                    for (name, call) in calls {
                        set(vfs, name.as_ptr(), std::mem::transmute::<*const (), ffi::sqlite3_syscall_ptr>(call));
                    }
                }
            }
        });
    }

    unsafe extern "C" fn open(path: *const c_char, flags: c_int, mode: c_int) -> c_int {
        let (flags, mode) = (OFlags::from_bits_retain(flags as _), Mode::from_raw_mode(mode as _));
        // SAFETY: `path` is a C string of SQLite's.
        let opened = super::open(unsafe { as_path(path) }, flags, mode);
        answer(opened.map(|file| file.into_raw_fd()))
    }

    unsafe extern "C" fn unlink(path: *const c_char) -> c_int {
        // SAFETY: `path` is a C string of SQLite's.
        answer(super::unlink(unsafe { as_path(path) }).map(|()| 0))
    }

    /// SAFETY: `path` must be a C string.
    unsafe fn as_path<'a>(path: *const c_char) -> &'a Path {
        // SAFETY: the same.
        Path::new(OsStr::from_bytes(unsafe { CStr::from_ptr(path) }.to_bytes()))
    }

    /// The result as a system call returns it: SQLite reads `errno`.
    fn answer(done: std::io::Result<c_int>) -> c_int {
        done.unwrap_or_else(|error| {
            // SAFETY: the location of this thread's `errno`.
            unsafe { *libc::__errno_location() = error.raw_os_error().unwrap_or(libc::EINVAL) };
            -1
        })
    }
}

pub use calls::install;
