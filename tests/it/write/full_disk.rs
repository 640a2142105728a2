//! A disk that fills up after the commit: the rollback needs no space, and nothing is finished later that was rolled back.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use kumadb::error::{Error, Exit, OperationError, Result};
use kumadb::kuma::init;
use kumadb::operation::{self, Observer, Resumed, Step, Transaction};

use crate::support::lab::{Lab, Ran};
use crate::support::need;
use crate::write::every_point::{Place, new_instance, plan, settings};

/// A small file system, unmounted when dropped.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path) -> Option<Disk> {
        fs::create_dir(at).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "none"]).arg(at).status().unwrap();
        if mounted.success() { Some(Disk(at.to_owned())) } else { need::left_out("the right to mount a tmpfs") }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// Fills the disk at the commit, notes the journal of that moment, and lets the run fail.
struct Fills<'d> {
    disk: &'d Path,
    journal: PathBuf,
    noted: Vec<u8>,
}

impl Observer for Fills<'_> {
    fn step(&mut self, step: &Step) -> Result<()> {
        if *step != Step::Committed {
            return Ok(());
        }
        self.noted = fs::read(&self.journal).unwrap();
        let mut file = fs::File::create(self.disk.join("filler")).unwrap();
        while file.write_all(&[7; 1024]).is_ok() {}
        Err(Error::Operation(OperationError::Stopped { why: "the server does not come up".into() }))
    }
}

fn mode(data: &Path) -> u32 {
    fs::metadata(data.join("kuma.db")).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_change_is_rolled_back_although_the_disk_is_full() {
    let root = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::mount(&root.path().join("disk")) else { return };
    let data = disk.0.join("data");
    init::make_folder(&data, &new_instance()).unwrap();
    let place = Place { target: data.display().to_string(), root: root.path().to_owned() };
    fs::set_permissions(data.join("kuma.db"), fs::Permissions::from_mode(0o640)).unwrap();
    let before = place.monitors();
    let (instance, journal) = (place.instance(), data.join(".kumadb/journal.json"));
    let plan = plan(&instance, "new");
    let mut fills = Fills { disk: &disk.0, journal: journal.clone(), noted: Vec::new() };
    let ended =
        operation::run(&instance, &place.store(), Transaction::Plan(&plan), &settings(), &mut fills).unwrap_err();
    assert_eq!(ended.exit(), Exit::RolledBack, "{ended}");
    assert_eq!(place.monitors(), before);
    assert_eq!(crate::support::lab::left_in(&data.join(".kumadb")), ["lock"]);
    // The server finds its file with the mode that it had.
    assert_eq!(mode(&data), 0o640);

    // Where even the note of the rollback is missing, `recover` does not take the change for committed.
    fs::remove_file(disk.0.join("filler")).unwrap();
    fs::write(&journal, &fills.noted).unwrap();
    let resumed = place.resume().unwrap();
    assert!(matches!(resumed, Resumed::Undone(_, true)), "{resumed:?}");
    assert_eq!(place.monitors(), before);
    let outcome =
        operation::run(&instance, &place.store(), Transaction::Plan(&plan), &settings(), &mut operation::NoObserver)
            .unwrap();
    assert!(outcome.warnings.is_empty(), "{:?}", outcome.warnings);
    assert_eq!(place.monitors().len(), before.len() + 2);
}

#[test]
fn a_read_only_file_system_is_named_and_can_be_backed_up() {
    let lab = Lab::sqlite("2.5.3");
    let root = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::mount(&root.path().join("disk")) else { return };
    let data = disk.0.join("data");
    // As it was left by a server that was killed: with a WAL.
    let server = rusqlite::Connection::open(lab.folder().join("kuma.db")).unwrap();
    server.execute_batch("INSERT INTO tag (name, color) VALUES ('only in the WAL', '#000000')").unwrap();
    let copied = Command::new("cp").arg("-r").arg(lab.folder()).arg(&data).status().unwrap();
    assert!(copied.success());
    let remount = |how: &str| {
        let remounted = Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(&disk.0).status().unwrap();
        assert!(remounted.success());
    };
    remount("ro");
    let target = data.display().to_string();
    let run = |line: &str| Ran::of(lab.bare().args(["-t", &target]).args(line.split(' ')));
    let ran = run("doctor --fix --yes");
    assert!(ran.out.contains("K022") && ran.out.contains("is mounted read-only"), "{}{}", ran.out, ran.err);
    let ran = run("backup create");
    assert_eq!(ran.exit, 0, "{}{}", ran.out, ran.err);
    let ran = run("monitor add group --name New --yes");
    assert_ne!(ran.exit, 0, "{}{}", ran.out, ran.err);
    remount("rw");
    let ran = run("restore latest --yes");
    assert_eq!(ran.exit, 0, "{}{}", ran.out, ran.err);
    let ran = Ran::of(lab.bare().args(["-t", &target, "sql", "SELECT name FROM tag"]));
    assert!(ran.out.contains("only in the WAL"), "{}{}", ran.out, ran.err);
}
