//! The file system of a folder, and the scope of its locks.

use std::fs;
use std::path::Path;

use crate::error::{Error, Result};

/// The scope of a lock on a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockScope {
    /// A local file system, with local users.
    Machine,
    /// A network file system whose locks apply to every host.
    Hosts,
    /// A network file system whose locks apply to this host only.
    HostOnly,
    /// A network file system that may or may not pass locks on to other hosts.
    Unknown,
}

impl LockScope {
    /// As one word.
    pub fn word(self) -> &'static str {
        match self {
            LockScope::Machine => "machine",
            LockScope::Hosts => "hosts",
            LockScope::HostOnly => "host",
            LockScope::Unknown => "unknown",
        }
    }
}

/// The file system of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSystem {
    /// Its type: `ext4`, `nfs4`, `cifs`, `fuse.sshfs`.
    pub kind: String,
    /// The scope of its locks.
    pub reach: LockScope,
}

impl FileSystem {
    /// Whether other hosts may have the same files mounted.
    pub fn is_network(&self) -> bool {
        self.reach != LockScope::Machine
    }

    /// A description, where it is a network file system.
    pub fn words(&self) -> Option<String> {
        let locks = match self.reach {
            LockScope::Machine => return None,
            LockScope::Hosts => "kumadb's lock works across all hosts that mount it",
            LockScope::HostOnly => "as it is mounted, kumadb's lock only works on this host",
            LockScope::Unknown => "it is unknown whether kumadb's lock works across hosts",
        };
        Some(format!("{}, a network file system; {locks}", self.kind))
    }
}

/// The file system that `path` is on.
pub fn file_system(path: &Path) -> Result<FileSystem> {
    let path = path.canonicalize().map_err(Error::file("access", path))?;
    let number = magic(&path)?;
    // The mount table has the exact type and the options; without /proc only the number is known.
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mount = mount_of(&mounts, &path).filter(|(kind, _)| number.is_none_or(|known| kind.starts_with(known)));
    let (kind, options) = mount.unwrap_or_else(|| (number.unwrap_or("unknown").to_owned(), String::new()));
    let reach = reach(&kind, &options, kernel());
    Ok(FileSystem { kind, reach })
}

/// The type of the network file system at `path`, by the number from `statfs`; `None` for a local one.
#[cfg(target_os = "linux")]
fn magic(path: &Path) -> Result<Option<&'static str>> {
    let found = rustix::fs::statfs(path).map_err(|errno| Error::file("access", path)(errno.into()))?;
    Ok(named(found.f_type as u32))
}

#[cfg(not(target_os = "linux"))]
fn magic(_path: &Path) -> Result<Option<&'static str>> {
    Ok(None)
}

/// The beginning of the type's name, by its number (`statfs(2)`).
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only Linux reports the number"))]
fn named(number: u32) -> Option<&'static str> {
    Some(match number {
        0x6969 => "nfs",
        0xff53_4d42 => "cifs",
        0xfe53_4d42 | 0x517b => "smb",
        0x6573_5546 => "fuse",
        0x0102_1997 => "9p",
        0x00c3_6400 => "ceph",
        0x5346_414f => "afs",
        0x0116_1970 => "gfs2",
        0x7461_636f => "ocfs2",
        0x0bd0_0bd0 => "lustre",
        0x4750_4653 => "gpfs",
        _ => return None,
    })
}

/// Type and options of the innermost mount that contains `path`, from the text of `/proc/self/mountinfo`.
fn mount_of(mounts: &str, path: &Path) -> Option<(String, String)> {
    let mut best: Option<(usize, String, String)> = None;
    for line in mounts.lines() {
        let Some((before, after)) = line.split_once(" - ") else { continue };
        let mut before = before.split(' ').skip(4);
        let (Some(point), Some(options)) = (before.next(), before.next()) else { continue };
        let mut after = after.split(' ');
        let (Some(kind), _, own) = (after.next(), after.next(), after.next().unwrap_or_default()) else { continue };
        let point = unescaped(point);
        let depth = Path::new(&point).components().count();
        // A later mount at the same path hides an earlier one.
        if path.starts_with(&point) && best.as_ref().is_none_or(|(found, ..)| depth >= *found) {
            best = Some((depth, kind.to_owned(), format!("{options},{own}")));
        }
    }
    best.map(|(_, kind, options)| (kind, options))
}

/// Decodes the octal escapes of spaces and the like.
fn unescaped(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (escape, plain)| text.replace(escape, plain))
}

/// FUSE file systems with local files, such as those of Unraid (`shfs`), unions and encrypted folders.
const LOCAL_FUSE: [&str; 10] = [
    "fuse.mergerfs",
    "fuse.shfs",
    "fuse.bindfs",
    "fuse.unionfs",
    "fuse.fuse-overlayfs",
    "fuse.gocryptfs",
    "fuse.encfs",
    "fuse.ntfs-3g",
    "fuse.lxcfs",
    "fuse.zfs",
];

/// The scope of locks on a file system of this type and options, with this version of Linux.
fn reach(kind: &str, options: &str, kernel: (u32, u32)) -> LockScope {
    let has = |option: &str| options.split(',').any(|one| one == option);
    match kind {
        "nfs" | "nfs4" if ["nolock", "local_lock=all", "local_lock=flock", "local_lock=posix"].into_iter().any(has) => {
            LockScope::HostOnly
        }
        "nfs" | "nfs4" | "ceph" | "gfs2" | "ocfs2" | "gpfs" => LockScope::Hosts,
        // Before 5.5 Linux kept flock local there (flock(2)).
        "cifs" | "smb3" | "smbfs" if has("nobrl") || kernel < (5, 5) => LockScope::HostOnly,
        "lustre" if has("localflock") => LockScope::HostOnly,
        "lustre" if has("flock") => LockScope::Hosts,
        "fuse.sshfs" | "fuse.rclone" | "fuse.s3fs" => LockScope::HostOnly,
        "fuseblk" | "fusectl" => LockScope::Machine,
        kind if LOCAL_FUSE.contains(&kind) => LockScope::Machine,
        "cifs" | "smb3" | "smbfs" | "lustre" | "9p" | "afs" | "virtiofs" | "vboxsf" | "fuse" => LockScope::Unknown,
        kind if kind.starts_with("fuse.") || kind.starts_with("smb") => LockScope::Unknown,
        _ => LockScope::Machine,
    }
}

/// Major and minor version of the kernel; if unknown, locks are not trusted.
fn kernel() -> (u32, u32) {
    let text = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = text.split(['.', '-']).map(|part| part.trim().parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
24 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 24 0:40 / /srv/share rw,relatime - nfs4 nas:/export rw,vers=4.2,local_lock=none
31 24 0:41 / /srv/old rw,relatime - nfs nas:/old rw,vers=3,nolock,local_lock=all
32 24 0:42 / /srv/win\\040dows rw - cifs //nas/kuma rw,nobrl,vers=3.0
33 24 0:43 / /mnt/user rw - fuse.shfs shfs rw
34 24 0:44 / /srv/ssh rw - fuse.sshfs host:/ rw
35 30 8:1 /x /srv/share/data rw - ext4 /dev/sda1 rw
";

    #[test]
    fn the_innermost_mount_decides_how_far_locks_reach() {
        let found =
            |path: &str| mount_of(MOUNTS, Path::new(path)).map(|(kind, options)| reach(&kind, &options, (6, 1)));
        assert_eq!(found("/var/lib/docker"), Some(LockScope::Machine));
        assert_eq!(found("/srv/share/kuma"), Some(LockScope::Hosts));
        assert_eq!(found("/srv/share/data/kuma"), Some(LockScope::Machine));
        assert_eq!(found("/srv/shared"), Some(LockScope::Machine));
        assert_eq!(found("/srv/old/kuma"), Some(LockScope::HostOnly));
        assert_eq!(found("/srv/win dows/kuma"), Some(LockScope::HostOnly));
        assert_eq!(found("/mnt/user/appdata/kuma"), Some(LockScope::Machine));
        assert_eq!(found("/srv/ssh/kuma"), Some(LockScope::HostOnly));
        assert_eq!(reach("cifs", "rw,vers=3.1.1", (5, 4)), LockScope::HostOnly);
        assert_eq!(reach("cifs", "rw,vers=3.1.1", (6, 1)), LockScope::Unknown);
        assert_eq!(reach("9p", "rw", (6, 1)), LockScope::Unknown);
        assert_eq!(reach("overlay", "rw", (6, 1)), LockScope::Machine);
    }
}
