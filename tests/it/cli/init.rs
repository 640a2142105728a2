//! New instances: what `init` makes, and what it refuses.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use kumadb::engine::sqlite::SqliteFile;
use kumadb::engine::{Connect as _, Depth, EngineKind, Reader};
use kumadb::error::{DatabaseError, InputError};
use kumadb::kuma::init::{self, NewInstance};
use kumadb::value::{Row, Secret};
use kumadb::{Error, schema};

use crate::support::mariadbd::Mariadbd;

fn new(release: &str) -> NewInstance {
    NewInstance {
        release: release.parse().unwrap(),
        admin: Some(("admin".into(), Secret::new("Kuma-Lab-2026"))),
        timezone: Some("Europe/Berlin".into()),
    }
}

fn settings(reader: &mut dyn Reader) -> BTreeMap<String, Row> {
    let rows = reader.query("SELECT * FROM setting", &[]).unwrap();
    rows.into_iter().map(|row| (row.text("key").unwrap().to_owned(), row)).collect()
}

/// What a person sees of every kind of database after `init` with [`new`].
fn assert_set_up(reader: &mut dyn Reader) {
    assert_eq!(reader.check(Depth::Full).unwrap(), []);
    let users = reader.query("SELECT * FROM `user`", &[]).unwrap();
    assert_eq!(users.len(), 1);
    let user = &users[0];
    let cells = ["id", "username", "active", "timezone", "twofa_secret", "twofa_status", "twofa_last_token"];
    let seen: Vec<String> = cells.iter().map(|column| user.cell(column).to_string()).collect();
    assert_eq!(seen, ["1", "admin", "1", "NULL", "NULL", "0", "NULL"]);
    let hash = user.text("password").unwrap();
    assert!(hash.starts_with("$2a$10$") && bcrypt::verify("Kuma-Lab-2026", hash).unwrap());

    let settings = settings(reader);
    let secret = settings["jwtSecret"].text("value").unwrap();
    assert!(secret.starts_with("$2a$10$") && secret.len() == 60, "{secret}");
    let cells = |key: &str| (settings[key].cell("value").to_string(), settings[key].cell("type").to_string());
    assert_eq!(cells("initServerTimezone"), ("true".into(), "NULL".into()));
    assert_eq!(cells("serverTimezone"), ("\"Europe/Berlin\"".into(), "general".into()));
}

fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn makes_a_data_folder_of_every_recorded_release() {
    let parent = tempfile::tempdir().unwrap();
    for recording in schema::recorded(EngineKind::Sqlite) {
        let release = recording.release;
        let folder = parent.path().join("instances").join(release.to_string());
        init::make_folder(&folder, &new(&release.to_string())).unwrap();
        let mut names = vec!["docker-tls", "kuma.db", "screenshots", "upload"];
        if release.major >= 2 {
            names.insert(0, "db-config.json");
            assert_eq!(fs::read_to_string(folder.join("db-config.json")).unwrap(), "{\n    \"type\": \"sqlite\"\n}");
        }
        assert_eq!(names_in(&folder), names, "{release}: nothing but the server's own files is left");
        assert_eq!(fs::metadata(folder.join("kuma.db")).unwrap().permissions().mode() & 0o777, 0o600);
        assert_set_up(&mut *SqliteFile::new(folder.join("kuma.db")).reader().unwrap());
    }
}

#[test]
fn makes_an_instance_without_a_user_yet() {
    let folder = tempfile::tempdir().unwrap();
    let bare = NewInstance { admin: None, timezone: None, ..new("2.5.3") };
    init::make_folder(folder.path(), &bare).unwrap();
    let mut reader = SqliteFile::new(folder.path().join("kuma.db")).reader().unwrap();
    assert!(reader.query("SELECT * FROM `user`", &[]).unwrap().is_empty());
    let keys: Vec<String> = settings(&mut *reader).into_keys().collect();
    assert_eq!(keys, ["databasePatchedFiles", "database_version", "jwtSecret", "migrateAggregateTableState"]);
}

#[test]
fn gives_no_two_instances_the_same_secret() {
    let parent = tempfile::tempdir().unwrap();
    let secrets = ["a", "b"].map(|name| {
        let folder = parent.path().join(name);
        init::make_folder(&folder, &new("2.5.3")).unwrap();
        settings(&mut *SqliteFile::new(folder.join("kuma.db")).reader().unwrap())["jwtSecret"].cell("value").to_string()
    });
    assert_ne!(secrets[0], secrets[1]);
}

#[test]
fn refuses_a_folder_that_a_server_has_used() {
    for trace in ["kuma.db", "kuma.db-wal", "db-config.json"] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(trace), "").unwrap();
        let refused = init::make_folder(folder.path(), &new("2.5.3")).unwrap_err();
        assert!(
            matches!(refused, Error::Database(DatabaseError::Occupied { .. })) && refused.to_string().contains(trace),
            "{refused}"
        );
        assert_eq!(names_in(folder.path()), [trace]);
    }
}

#[test]
fn leaves_other_files_in_the_folder_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("upload")).unwrap();
    fs::write(folder.path().join("upload/logo.png"), "logo").unwrap();
    fs::write(folder.path().join("compose.yaml"), "services:").unwrap();
    init::make_folder(folder.path(), &new("2.5.3")).unwrap();
    assert_eq!(fs::read_to_string(folder.path().join("upload/logo.png")).unwrap(), "logo");
    assert_eq!(fs::read_to_string(folder.path().join("compose.yaml")).unwrap(), "services:");
}

#[test]
fn takes_the_passwords_that_the_server_takes() {
    let weak = ["", "Ab1-x", "aaaaaa", "ABCDEFGHIJ", "12345678901", "ääääääÄÄ", "------"];
    let strong = ["aaaaa1", "aaaaaA", "AAAAA1", "a-----", "😀😀a1", "Kuma-Lab-2026"];
    for password in weak {
        assert!(init::check_password(&Secret::new(password)).is_some(), "{password}");
    }
    for password in strong {
        assert_eq!(init::check_password(&Secret::new(password)), None, "{password}");
    }
}

#[test]
fn names_everything_that_is_wrong_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = NewInstance {
        release: "1.22.0".parse().unwrap(),
        admin: Some((" admin".into(), Secret::new("aaaaaaa"))),
        timezone: Some("Berlin; DROP".into()),
    };
    let Error::Input(InputError::Problems(problems)) = init::make_folder(folder.path(), &wrong).unwrap_err() else {
        panic!()
    };
    let subjects: Vec<&str> = problems.iter().map(|problem| problem.subject.as_str()).collect();
    assert_eq!(subjects, ["user name", "password", "time zone", "release"]);
    assert!(names_in(folder.path()).is_empty());
}

#[test]
fn has_no_mariadb_for_1_x() {
    let Error::Input(InputError::Problems(problems)) = new("1.23.17").check(EngineKind::MariaDb).unwrap_err() else {
        panic!()
    };
    assert_eq!(problems[0].message, "kumadb does not know the schema of release 1.23.17 on MariaDB");
}

#[test]
fn makes_an_instance_in_an_empty_mariadb_database() {
    let Some(server) = Mariadbd::start() else { return };
    let database = server.create_database("my.kuma", "utf8mb4");
    init::fill_database(&database, &new("2.5.3")).unwrap();
    assert_set_up(&mut *database.reader().unwrap());
}

#[test]
fn refuses_a_mariadb_database_with_tables_in_it() {
    let Some(server) = Mariadbd::start() else { return };
    let database = server.create_database("kuma", "utf8mb4");
    server.sql("kuma", "CREATE TABLE shop (id INT)");
    let refused = init::fill_database(&database, &new("2.5.3")).unwrap_err();
    assert_eq!(refused.to_string(), "database `kuma` is not empty: it already contains a table");
    assert_eq!(server.sql("kuma", "SHOW TABLES"), "shop\n");
}

#[test]
fn refuses_a_mariadb_database_that_is_not_utf8mb4() {
    let Some(server) = Mariadbd::start() else { return };
    for charset in ["latin1", "utf8mb3"] {
        let database = server.create_database(charset, charset);
        let refused = init::fill_database(&database, &new("2.5.3")).unwrap_err();
        assert!(
            matches!(&refused, Error::Database(DatabaseError::Charset { charset: found, .. }) if found == charset),
            "{refused}"
        );
        assert_eq!(server.sql(charset, "SHOW TABLES"), "");
    }
}

#[test]
fn leaves_an_empty_database_when_it_fails_halfway() {
    let Some(server) = Mariadbd::start() else { return };
    let mut database = server.create_database("kuma", "utf8mb4");
    server.sql("", "CREATE USER painter IDENTIFIED BY 'paint'");
    server.sql("", "GRANT CREATE, DROP, ALTER, INDEX, REFERENCES, SELECT ON kuma.* TO painter");
    (database.user, database.password) = ("painter".into(), Secret::new("paint"));
    let failed = init::fill_database(&database, &new("2.5.3")).unwrap_err();
    assert!(failed.to_string().contains("INSERT command denied"), "it may make tables, but not fill them: {failed}");
    assert_eq!(server.sql("kuma", "SHOW TABLES"), "");
}
