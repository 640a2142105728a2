//! What a test needs of the machine, and what happens where it is missing.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;

/// Says that a test was skipped because `what` is missing, on stderr and in the file that `KUMADB_TEST_SKIPPED` names; fails
/// instead when everything must run.
pub fn left_out<T>(what: &str) -> Option<T> {
    assert!(std::env::var_os("KUMADB_TEST_ALL").is_none(), "missing: {what}");
    eprintln!("SKIPPED: missing {what}");
    if let Some(file) = std::env::var_os("KUMADB_TEST_SKIPPED") {
        let test = std::thread::current().name().unwrap_or("?").to_owned();
        let mut list = OpenOptions::new().append(true).create(true).open(file).unwrap();
        // One write, so that lines of several tests do not mix.
        list.write_all(format!("{what}\t{test}\n").as_bytes()).unwrap();
    }
    None
}

/// The first of `names` found on the PATH or in sbin.
pub fn program(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.flat_map(|folder| names.iter().map(move |name| folder.join(name))).find(|file| file.is_file())
}

/// The statically linked kumadb that `tests/run` makes, for remote jobs.
pub fn static_binary() -> Option<PathBuf> {
    let file = std::env::var_os("KUMADB_TEST_STATIC").map(PathBuf::from).filter(|file| file.is_file());
    file.or_else(|| left_out("a statically linked kumadb, which tests/run makes"))
}

/// The programs of MariaDB: server, installer, client. Found as Debian installs them.
pub fn mariadb() -> Option<[PathBuf; 3]> {
    let found = (
        program(&["mariadbd", "mysqld"]),
        program(&["mariadb-install-db", "mysql_install_db"]),
        program(&["mariadb", "mysql"]),
    );
    match found {
        (Some(server), Some(installer), Some(client)) => Some([server, installer, client]),
        _ => left_out("MariaDB (apt-get install mariadb-server)"),
    }
}
