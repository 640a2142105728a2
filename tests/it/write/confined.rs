//! The second wall: confined work reaches nothing but what it is given, and everything works on a kernel without it.

use std::fs;
use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kumadb::files::{Confined, Confinement};

use crate::support::lab::Lab;
use crate::support::need;
use crate::support::old_kernel::without_new_calls;

#[test]
fn confined_work_reaches_only_what_it_is_given() {
    if Confined::wall() == Confinement::Missing {
        return need::left_out("Landlock").unwrap_or_default();
    }
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    for name in ["given", "other"] {
        fs::create_dir(path(name)).unwrap();
        fs::write(path(name).join("file"), name).unwrap();
    }
    std::os::unix::fs::symlink(path("other"), path("given/link")).unwrap();
    let confined = Confined::folder(path("given"));
    let can = |work: &(dyn Fn() -> bool + Sync)| confined.run(|| Ok(work())).unwrap();
    assert!(can(&|| fs::read(path("given/file")).is_ok() && fs::write(path("given/new"), "").is_ok()));
    assert!(!can(&|| fs::read(path("other/file")).is_ok()));
    assert!(!can(&|| fs::read(path("given/link/file")).is_ok()));
    assert!(!can(&|| fs::write(path("other/new"), "").is_ok()));
    assert!(!can(&|| fs::remove_file(path("other/file")).is_ok()));
    assert!(!can(&|| fs::rename(path("other/file"), path("given/taken")).is_ok()));
    assert!(!can(&|| Command::new("true").status().is_ok()), "a program");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    assert!(Confined::wall() == Confinement::InPart || !can(&|| TcpStream::connect(address).is_ok()));
    assert!(TcpStream::connect(address).is_ok() && fs::write(path("other/new"), "").is_ok(), "outside");
    // What its programs can do.
    let programs = Confined { write: vec![path("given")], programs: true };
    let shell = |script: String| {
        programs.run(|| Ok(Command::new("sh").args(["-c", &script]).stderr(Stdio::null()).status().unwrap().success()))
    };
    assert!(shell(format!("echo x > {}", path("given/made").display())).unwrap());
    assert!(!shell(format!("echo x > {}", path("other/made").display())).unwrap());
    assert!(!path("other/made").exists());
}

#[test]
fn confined_work_reads_a_pipe_and_reports_its_progress() {
    let bytes: Vec<u8> = (0..1 << 20).map(|at| at as u8).collect();
    let source = || Box::new(std::io::Cursor::new(bytes.clone()));
    let read = Confined::default().run_on("x", source(), |mut raw| {
        let mut all = Vec::new();
        raw.read_to_end(&mut all).unwrap();
        Ok(all)
    });
    assert_eq!(read.unwrap(), bytes);
    // It may stop early.
    assert_eq!(Confined::default().run_on("x", source(), |_| Ok(1)).unwrap(), 1);
    let mut reported = Vec::new();
    let done = Confined::default().run_with_progress(&mut |done, total| reported.push((done, total)), |progress| {
        (0..3).for_each(|at| progress(at, 3));
        Ok(())
    });
    done.unwrap();
    assert_eq!(reported, [(0, 3), (1, 3), (2, 3)]);
    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the disk is broken"))
        }
    }
    let failed = Confined::default()
        .run_on("archive", Box::new(Broken), |mut raw| Ok(raw.read_to_end(&mut Vec::new()).unwrap()));
    assert!(failed.unwrap_err().to_string().contains("the disk is broken"));
}

#[test]
fn archives_restore_tests_and_salvage_work_with_it_and_without() {
    assert_eq!(without_new_calls(Confined::wall), Confinement::Missing);
    for lab in Lab::both("2.5.3") {
        lab.ok("backup create");
        for is_old in [false, true] {
            let work = || {
                let verified = lab.run("-v backup verify --restore-test latest");
                assert_eq!(verified.exit, 0, "{} {is_old}: {verified:?}", lab.engine());
                let is_reported = verified.err.contains("without Landlock");
                assert!(is_reported || !is_old && verified.err.contains("under Landlock"), "{verified:?}");
                lab.ok("plan --from snapshot latest");
                if lab.mariadbd.is_none() {
                    let to = lab.root.path().join(format!("salvaged-{is_old}.db"));
                    lab.ok(&format!("salvage {} --to {}", lab.folder().join("kuma.db").display(), to.display()));
                }
            };
            if is_old { without_new_calls(work) } else { work() }
        }
    }
}

/// The lines of /proc/PID/status of the MariaDB that was started for a folder below `folder`.
fn status_of_mariadbd(folder: &Path) -> Option<String> {
    let mark = format!("KUMADB_SCRATCH={}", folder.display());
    let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    processes.filter(|path| path.join("environ").exists()).find_map(|path: PathBuf| {
        let is_its = |name: &str, desired: &str| {
            fs::read(path.join(name)).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(desired))
        };
        let found = is_its("environ", &mark) && is_its("cmdline", "--socket=");
        found.then(|| fs::read_to_string(path.join("status")).ok()).flatten()
    })
}

#[test]
fn the_mariadb_of_a_restore_test_of_root_runs_as_another_user() {
    if !rustix::process::geteuid().is_root() {
        return need::left_out("the rights of root").unwrap_or_default();
    }
    let Some(lab) = Lab::mariadb("2.5.3") else { return };
    lab.ok("backup create");
    // Where the data of the test is depends on whether that user can reach the store.
    for mode in [0o700, 0o755] {
        fs::set_permissions(lab.root.path(), std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        let mut child = lab.spawn("backup verify --restore-test latest");
        let mut seen = None;
        while child.try_wait().unwrap().is_none() {
            seen = seen.or_else(|| status_of_mariadbd(&lab.store()));
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert!(child.wait().unwrap().success(), "{mode:o}");
        let seen = seen.expect("it ran long enough to be seen");
        let line = |name: &str| seen.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
        let users: Vec<u32> = line("Uid:").split_whitespace().map(|uid| uid.parse().unwrap()).collect();
        assert!(users.iter().all(|uid| *uid == 65534 || *uid >= 2_000_000_000), "{mode:o}: {users:?}");
        assert_eq!(line("CapEff:").trim().trim_matches('0'), "", "{mode:o}");
        assert!(status_of_mariadbd(&lab.store()).is_none(), "it was left running");
    }
}
