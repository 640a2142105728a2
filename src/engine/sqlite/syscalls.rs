//! The system calls of SQLite that take a path. SQLite resolves the links in a path once, when a database is opened, and
//! uses the result as a text from then on. In a folder that belongs to an attacker, a part of it may be exchanged for a
//! link before the next call: root would then write a `-wal`, or delete a journal, in another folder. So no part of a
//! path that SQLite opens or deletes may be a link, and it deletes nothing but files of its own kinds: the owner of a
//! planted journal can name any file there as one that has to be deleted after the rollback
//! (the "super-journal", SQLite 3.51).

#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
mod linux {
    use std::ffi::{CStr, CString, NulError, OsStr, c_char, c_int};
    use std::os::unix::ffi::OsStrExt as _;
    use std::path::Path;
    use std::sync::Once;

    use rusqlite::ffi;

    /// Endings of files that SQLite may delete: the journals of a database.
    const JOURNALS: [&str; 2] = ["-journal", "-wal"];

    /// Start of the names of its temporary files.
    const TEMPORARY: &[u8] = b"etilqs_";

    /// Makes SQLite use the functions below, once in this process.
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

    #[repr(C)]
    struct OpenHow {
        flags: u64,
        mode: u64,
        resolve: u64,
    }

    /// `open(2)`, but no part of the path may be a link. It must set `errno`, which SQLite reads: so it is libc's call.
    unsafe extern "C" fn open(path: *const c_char, flags: c_int, mode: c_int) -> c_int {
        // SAFETY: `path` is a C string of SQLite's.
        let name = unsafe { CStr::from_ptr(path) }.to_bytes().rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        // The folder for temporary files may be reached through a link: `/var/tmp` is one at times.
        if name.starts_with(TEMPORARY) {
            // SAFETY: the same.
            return unsafe { libc::open(path, flags | libc::O_NOFOLLOW, mode) };
        }
        let creates = flags & libc::O_CREAT != 0;
        let how = OpenHow {
            flags: flags as u64,
            mode: if creates { mode as u64 & 0o7777 } else { 0 },
            resolve: libc::RESOLVE_NO_SYMLINKS | libc::RESOLVE_NO_MAGICLINKS,
        };
        // SAFETY: `path` is a C string of SQLite's, and `how` is what openat2(2) expects.
        unsafe {
            let opened = libc::syscall(libc::SYS_openat2, libc::AT_FDCWD, path, &raw const how, size_of::<OpenHow>());
            match opened {
                // Linux before 5.6, or a container whose seccomp filter does not know the call.
                -1 if matches!(*libc::__errno_location(), libc::ENOSYS | libc::EPERM) => {
                    libc::open(path, flags | libc::O_NOFOLLOW, mode)
                }
                opened => opened as c_int,
            }
        }
    }

    /// `unlink(2)` for journals and temporary files, through no link.
    unsafe extern "C" fn unlink(path: *const c_char) -> c_int {
        // SAFETY: `path` is a C string of SQLite's.
        let text = unsafe { CStr::from_ptr(path) };
        let place = Path::new(OsStr::from_bytes(text.to_bytes()));
        let name = place.file_name().unwrap_or_default().as_bytes();
        if name.starts_with(TEMPORARY) {
            // SAFETY: `path` is a C string of SQLite's. No other file has such a name.
            return unsafe { libc::unlink(path) };
        }
        let is_own = JOURNALS.iter().any(|ending| name.ends_with(ending.as_bytes()));
        let (Some(folder), true) = (place.parent(), is_own) else { return refuse() };
        let (Ok(folder), Ok(name)) = (as_c(folder.as_os_str()), as_c(OsStr::from_bytes(name))) else { return refuse() };
        // SAFETY: both are C strings, and the descriptor is closed once.
        unsafe {
            let folder = open(folder.as_ptr(), libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC, 0);
            if folder == -1 {
                return -1;
            }
            let done = libc::unlinkat(folder, name.as_ptr(), 0);
            let errno = *libc::__errno_location();
            libc::close(folder);
            *libc::__errno_location() = errno;
            done
        }
    }

    fn as_c(text: &OsStr) -> Result<CString, NulError> {
        CString::new(text.as_bytes())
    }

    fn refuse() -> c_int {
        // SAFETY: the location of this thread's `errno`.
        unsafe { *libc::__errno_location() = libc::EACCES };
        -1
    }
}

#[cfg(target_os = "linux")]
pub use linux::install;

/// Other systems are used to reach remote instances only.
#[cfg(not(target_os = "linux"))]
pub fn install() {}
