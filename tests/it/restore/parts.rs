//! What is put back, and what stays: parts of snapshots, snapshots of others, and files beside the database.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::cli::monitor::furnish;
use crate::support::lab::Lab;

/// Gives monitor `id` so many beats.
fn beat(lab: &Lab, id: i64, count: usize) {
    let rows: Vec<String> = (0..count)
        .map(|n| {
            format!("({id}, 1, 'ok', '2026-11-20 10:{:02}:{:02}', 12, 60, 0, {})", n / 60, n % 60, u8::from(n == 0))
        })
        .collect();
    lab.sql(&format!(
        "INSERT INTO heartbeat (monitor_id, status, msg, time, ping, duration, down_count, important) VALUES {}",
        rows.join(", ")
    ));
}

fn beats(lab: &Lab) -> String {
    lab.sql("SELECT monitor_id, count(*) FROM heartbeat GROUP BY monitor_id ORDER BY monitor_id")
}

/// Everything that a person configured.
fn configuration(lab: &Lab) -> String {
    lab.ok("export --secrets")
}

fn id(made: &serde_json::Value) -> String {
    made["manifest"]["id"].as_str().unwrap().to_owned()
}

#[test]
fn the_configuration_goes_back_and_the_history_stays() {
    let creates = ["backup create --config-only", "backup create"];
    for (lab, create) in creates.iter().flat_map(|create| Lab::both("2.5.3").into_iter().map(move |lab| (lab, *create)))
    {
        furnish(&lab);
        beat(&lab, 2, 30);
        beat(&lab, 3, 5);
        let made = lab.json(create);
        let is_part = create.ends_with("--config-only");
        assert_eq!(made["manifest"]["counts"]["heartbeat"], if is_part { 0 } else { 35 });
        assert_eq!(made["manifest"]["without"].is_array(), is_part, "{made:#}");
        let before = configuration(&lab);

        lab.ok("monitor delete Network/Switch --yes");
        lab.ok("monitor edit Network/Router -s interval=300");
        lab.ok("monitor add group --name New");
        beat(&lab, 2, 7);
        beat(&lab, 5, 3);
        let only = if is_part { "" } else { "--config-only" };
        let ran = lab.run(&format!("restore {} {only} --yes", id(&made)));
        assert_eq!(ran.exit, 0, "{}{}", ran.out, ran.err);
        assert!(
            ran.err.contains("- monitor `New`\n") && ran.err.contains("+ monitor `Network/Switch`\n"),
            "{}",
            ran.err
        );
        assert!(ran.out.contains("the configuration of"), "{}", ran.out);
        assert_eq!(configuration(&lab), before, "{}: {create}", lab.engine());
        // Those of the monitor that is gone went with it; nobody gets its id.
        assert_eq!(beats(&lab), "2\t37\n", "{}: {create}", lab.engine());
        let added = lab.json("monitor add group --name Newer");
        assert_eq!(added["monitor"]["id"], 6, "{}: {added:#}", lab.engine());
        lab.ok("restore latest --yes");
        assert_eq!(configuration(&lab), before);
    }
}

#[test]
fn a_few_monitors_come_back_with_what_they_need() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        let token = lab.sql("SELECT push_token FROM monitor WHERE name = 'Cron'");
        let shown = "status_pages: [{slug: home, title: Home, groups: [{name: G, monitors: [Cron]}]}]\n\
                     maintenance: [{title: Night, strategy: manual, monitors: [Cron]}]\n";
        fs::write(lab.root.path().join("shown.yaml"), shown).unwrap();
        lab.ok("apply shown.yaml --yes");
        let made = id(&lab.json("backup create"));
        lab.ok("monitor delete --name '*' --yes");
        lab.sql("DELETE FROM tag");
        lab.sql("DELETE FROM notification WHERE name = 'night'");
        let unknown = lab.fails(8, &format!("restore {made} --monitor Network/Router --monitor Nobody --yes"));
        assert!(unknown.err.contains(&format!("snapshot `{made}` has no monitor `Nobody`")), "{}", unknown.err);
        lab.ok(&format!("backup show {made} --monitors"));
        let ran = lab.fails(3, &format!("restore {made} --monitor Network/Router --monitor 'Cr*' --yes"));
        for place in ["status page `home`", "maintenance window `Night`"] {
            let words = format!("monitor `Cron` was part of {place}: add it there again");
            assert!(ran.err.contains(&words), "{}", ran.err);
        }
        assert_eq!(lab.sql("SELECT name FROM monitor ORDER BY name"), "Cron\nNetwork\nRouter\n", "{}", lab.engine());
        assert_eq!(lab.sql("SELECT name FROM tag"), "env\n");
        assert_eq!(lab.sql("SELECT name FROM notification"), "ops\n", "what they do not need stays away");
        assert_eq!(lab.sql("SELECT push_token FROM monitor WHERE name = 'Cron'"), token);
        let again = lab.ok(&format!("restore {made} --monitor Network/Router --yes"));
        assert_eq!(again, "1 unchanged\n");
    }
}

#[test]
fn snapshots_cross_from_one_engine_to_the_other() {
    let (Some(mariadb), sqlite) = (Lab::mariadb("2.5.3"), Lab::sqlite("2.5.3")) else { return };
    furnish(&mariadb);
    beat(&mariadb, 2, 40);
    mariadb.sql("UPDATE monitor SET description = 'it''s \\\\ \\n\u{1f600}' WHERE id = 2");
    let path = mariadb.json("backup create")["path"].as_str().unwrap().to_owned();
    sqlite.ok(&format!("restore {path} --yes"));
    assert_eq!(configuration(&sqlite), configuration(&mariadb));
    assert_eq!(beats(&sqlite), beats(&mariadb));
    assert_eq!(sqlite.sql("PRAGMA integrity_check; PRAGMA foreign_key_check"), "ok\n");
    // What tells a server on SQLite that there is nothing left to patch.
    let patched =
        "SELECT `value` FROM setting WHERE `key` IN ('database_version', 'databasePatchedFiles') ORDER BY `key` DESC";
    assert_eq!(sqlite.sql(patched), Lab::sqlite("2.5.3").sql(patched));

    let path = sqlite.json("backup create")["path"].as_str().unwrap().to_owned();
    let other = Lab::mariadb("2.5.3").unwrap();
    other.ok(&format!("restore {path} --yes"));
    assert_eq!(configuration(&other), configuration(&sqlite));
    assert_eq!(beats(&other), beats(&sqlite));
}

#[test]
fn a_restore_takes_the_last_snapshot_before_a_datetime() {
    let lab = Lab::sqlite("2.5.3");
    lab.ok("backup create");
    let missing = lab.fails(8, "restore --before 3d --yes");
    assert!(missing.err.contains("no snapshot matches `before 3d`"), "{}", missing.err);
    lab.ok("monitor add group --name A");
    lab.ok("restore --before now --yes");
    assert_eq!(lab.ok("monitor list"), "no monitors yet\n");
    let missing = lab.fails(8, "restore --before 'last tuesday 18:30' --yes");
    assert!(missing.err.contains("no snapshot matches `before last tuesday 18:30`"), "{}", missing.err);
    let wrong = lab.fails(2, "restore --before sometime --yes");
    assert!(wrong.err.contains("`sometime` is not a valid date or time"), "{}", wrong.err);
    let none = lab.fails(2, "restore");
    assert!(none.err.contains("no snapshot given") && none.err.contains("backup create"), "{}", none.err);
}

#[test]
fn what_1x_left_behind_is_offered_and_put_back() {
    let lab = Lab::sqlite("1.23.17");
    lab.sql("PRAGMA journal_mode = WAL");
    lab.sql("INSERT INTO tag (name, color) VALUES ('early', '#059669')");
    // As the server makes them: the files of a running database, each under a name of its own.
    let (db, old) = (lab.folder().join("kuma.db"), lab.folder().join("kuma.db.bak20240101000000"));
    let writer = kept_open(&db, "INSERT INTO tag (name, color) VALUES ('late', '#059669')");
    fs::copy(&db, &old).unwrap();
    fs::copy(lab.folder().join("kuma.db-wal"), lab.folder().join("kuma.db-wal.bak20240101000000")).unwrap();
    drop(writer);
    lab.sql("DELETE FROM tag");
    let offered = lab.fails(2, "restore");
    assert!(offered.err.contains("kuma.db.bak20240101000000"), "{}", offered.err);
    lab.ok(&format!("restore {} --yes", old.display()));
    assert_eq!(lab.sql("SELECT name FROM tag ORDER BY name"), "early\nlate\n");
}

#[test]
fn a_file_with_holes_does_not_fill_the_disk() {
    let lab = Lab::sqlite("2.5.3");
    let planted = lab.folder().join("kuma.db.bak0");
    fs::copy(lab.folder().join("kuma.db"), &planted).unwrap();
    // More than any disk has, and no block of it is used.
    fs::OpenOptions::new().write(true).open(&planted).unwrap().set_len(4 << 40).unwrap();
    for line in ["restore", "upgrade --stats-from"] {
        let refused = lab.fails(9, &format!("{line} {} --yes", planted.display()));
        assert!(refused.err.contains("not enough disk space on `"), "{line}: {}", refused.err);
        assert!(refused.err.contains("try: df -h ") && !refused.err.contains("/.kumadb-"), "{line}: {}", refused.err);
    }
}

#[test]
fn a_link_of_another_user_on_the_way_to_a_file_is_not_followed() {
    use std::os::unix::fs::{lchown, symlink};
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let lab = Lab::sqlite("2.5.3");
    let (secret, link) = (lab.root.path().join("secret"), lab.folder().join("old"));
    fs::create_dir(&secret).unwrap();
    fs::copy(lab.folder().join("kuma.db"), secret.join("kuma.db")).unwrap();
    symlink(&secret, &link).unwrap();
    let line = format!("restore {}/kuma.db --yes", link.display());
    lchown(&link, Some(1000), Some(1000)).unwrap();
    let refused = lab.fails(9, &line);
    assert!(refused.err.contains("symbolic link"), "{}", refused.err);
    lchown(&link, Some(0), Some(0)).unwrap();
    lab.ok(&line);
}

#[test]
fn what_no_release_creates_is_not_read() {
    for (sql, what) in [
        (
            "DROP TABLE monitor_tag; CREATE VIEW monitor_tag AS WITH RECURSIVE t(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM t) \
             SELECT x AS id, 1 AS monitor_id, 1 AS tag_id, '' AS value FROM t",
            "a view called `monitor_tag`",
        ),
        (
            "ALTER TABLE tag ADD COLUMN big TEXT AS (hex(zeroblob(100000000)))",
            "the generated column `big` in table `tag`",
        ),
    ] {
        let lab = Lab::sqlite("2.5.3");
        lab.sql("CREATE VIEW mine AS SELECT 1");
        lab.ok("status");
        lab.sql(sql);
        for line in ["status", "monitor list", "backup create", "monitor add group --name A"] {
            let refused = lab.run(line);
            assert!(refused.exit != 0 && refused.err.contains(what), "{line}: {}", refused.err);
        }
    }
}

/// Runs `sql` and keeps the database open, so that the WAL stays.
fn kept_open(db: &Path, sql: &str) -> impl Drop {
    struct Open(std::process::Child);
    impl Drop for Open {
        fn drop(&mut self) {
            drop(self.0.stdin.take());
            self.0.wait().unwrap();
        }
    }
    use std::io::{BufRead as _, BufReader, Write as _};
    let piped = std::process::Stdio::piped;
    let mut child = Command::new("sqlite3").arg(db).stdin(piped()).stdout(piped()).spawn().unwrap();
    let stdin = child.stdin.as_mut().unwrap();
    writeln!(stdin, "{sql};\nSELECT 'done';").unwrap();
    stdin.flush().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "done\n");
    Open(child)
}

#[test]
fn files_beside_the_database_come_back_and_others_stay() {
    let lab = Lab::sqlite("2.5.3");
    let file = |name: &str| lab.folder().join(name);
    fs::create_dir_all(file("docker-tls/cellar")).unwrap();
    fs::write(file("docker-tls/cellar/key.pem"), "key").unwrap();
    fs::create_dir_all(file("upload")).unwrap();
    fs::write(file("upload/logo1.png"), "icon").unwrap();
    fs::create_dir_all(file("screenshots")).unwrap();
    fs::write(file("screenshots/abc.png"), "screen").unwrap();
    let names = |made: serde_json::Value| made["manifest"]["members"].to_string();
    assert!(names(lab.json("backup create --screenshots")).contains("screenshots/abc.png"));
    let made = lab.json("backup create");
    assert!(!names(made.clone()).contains("screenshots"));
    let made = id(&made);
    fs::remove_dir_all(file("docker-tls")).unwrap();
    fs::write(file("upload/logo1.png"), "another").unwrap();
    fs::write(file("upload/logo2.png"), "newer").unwrap();
    let given = lab.ok(&format!("restore {made} --yes"));
    assert!(given.trim_end().ends_with(", and 2 files"), "{given}");
    let read = |name: &str| fs::read_to_string(file(name)).unwrap();
    assert_eq!((read("docker-tls/cellar/key.pem"), read("upload/logo1.png")), ("key".into(), "icon".into()));
    assert_eq!(read("upload/logo2.png"), "newer");
    assert_eq!(fs::metadata(file("docker-tls/cellar/key.pem")).unwrap().permissions().mode() & 0o777, 0o600);
    // The undo snapshot has what was there before.
    lab.ok(&format!("restore {} --yes", lab.newest_undo()));
    assert_eq!(read("upload/logo1.png"), "another");

    fs::remove_dir_all(file("upload")).unwrap();
    std::os::unix::fs::symlink(lab.root.path(), file("upload")).unwrap();
    let warned = lab.fails(3, &format!("restore {made} --yes"));
    assert!(warned.err.contains("is a symbolic link, which kumadb does not follow"), "{}", warned.err);
    assert!(!lab.root.path().join("logo1.png").exists());
}

#[test]
fn another_release_goes_back_only_when_it_is_asked_for() {
    let (older, lab) = (Lab::sqlite("2.0.2"), Lab::sqlite("2.5.3"));
    older.ok("monitor add group --name Older");
    let path = older.json("backup create")["path"].as_str().unwrap().to_owned();
    let refused = lab.fails(9, &format!("restore {path} --yes"));
    assert!(refused.err.contains("add `--other-release`"), "{}", refused.err);
    lab.fails(9, &format!("restore {path} --yes --other-release --config-only"));
    lab.ok(&format!("restore {path} --yes --other-release"));
    assert_eq!(lab.json("status")["release"], "2.0.0 to 2.0.2");
    assert_eq!(lab.sql("SELECT name FROM monitor"), "Older\n");
    lab.ok("restore latest --yes --other-release");
    assert_eq!(lab.json("status")["release"], "2.5.1 to 2.5.3");
}

#[test]
fn a_compact_snapshot_has_no_free_pages() {
    let lab = Lab::sqlite("2.5.3");
    lab.ok("monitor add group --name A");
    (0..8).for_each(|_| beat(&lab, 1, 500));
    lab.sql("DELETE FROM heartbeat");
    let pages = |made: serde_json::Value| made["manifest"]["pages"].as_u64().unwrap();
    let (plain, compact) = (pages(lab.json("backup create")), pages(lab.json("backup create --compact --verify full")));
    assert!(compact < plain, "{compact} of {plain}");
    lab.ok("restore latest --yes");
    assert_eq!(lab.sql("SELECT name FROM monitor"), "A\n");
}

#[test]
fn a_restore_test_restores_every_snapshot_and_compares_it() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        beat(&lab, 2, 100);
        lab.ok("backup create");
        lab.ok("backup create --config-only");
        let verified = lab.json("backup verify --restore-test");
        let restore_tested: Vec<u64> = verified["snapshots"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["restore_test"]["rows"].as_u64().unwrap())
            .collect();
        // Those that protect the writes of `furnish`, and these two.
        assert_eq!(restore_tested.len(), 6, "{verified:#}");
        assert_eq!(restore_tested[4], restore_tested[5] + 100, "{}: {verified:#}", lab.engine());
        let left: Vec<_> = fs::read_dir(lab.store()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }
}

#[test]
fn a_full_check_is_written_down() {
    for lab in Lab::both("2.5.3") {
        let made = lab.json("backup create --verify full");
        let deep = if lab.engine() == "SQLite" { "integrity_check" } else { "CHECK TABLE EXTENDED" };
        assert!(made["manifest"]["verified"].as_array().unwrap().iter().any(|proof| proof == deep), "{made:#}");
    }
}

#[test]
fn a_secret_setting_with_the_id_of_another_one_stays_secret() {
    for lab in Lab::both("2.5.3") {
        let secret = lab.sql("SELECT value FROM setting WHERE `key` = 'jwtSecret'").trim().to_owned();
        assert!(secret.len() > 20, "{secret}");
        lab.ok("backup create");
        lab.sql("UPDATE setting SET id = id + 1000 WHERE `key` <> 'jwtSecret'");
        lab.sql("UPDATE setting SET `key` = 'dnsCache', value = 'true' WHERE `key` = 'jwtSecret'");
        let shown = lab.ok("restore latest --dry-run");
        assert!(!shown.contains(&secret), "{shown}");
        assert!(shown.contains("setting `jwtSecret`"), "{shown}");
        assert!(!lab.json("restore latest --dry-run").to_string().contains(&secret));
    }
}

/// A table that no release has, for example of a fork or of another program.
#[test]
fn what_a_restore_changes_in_a_table_of_others_is_shown() {
    for lab in Lab::both("2.5.3") {
        lab.sql("CREATE TABLE note (id INTEGER NOT NULL PRIMARY KEY, word VARCHAR(20))");
        lab.sql("INSERT INTO note VALUES (1, 'old'), (2, 'same'), (3, 'gone')");
        lab.ok("backup create");
        lab.sql("UPDATE note SET word = 'new' WHERE id = 1");
        lab.sql("DELETE FROM note WHERE id = 3");
        let shown = lab.ok("restore latest --dry-run");
        // Nothing is known of the column, so its values may be secrets.
        let lines: Vec<&str> = shown.lines().filter(|line| line.starts_with(['-', '+', '~'])).collect();
        assert_eq!(lines, ["~ row 1 of `note`: word (secret, changed)", "+ row 3 of `note`"], "{}", lab.engine());
    }
}

#[test]
fn an_image_that_is_older_than_the_snapshot_or_no_image_is_refused() {
    let lab = Lab::sqlite("2.5.3");
    lab.ok("backup create");
    let to = |image: &str| format!("restore latest --of data --to ./new --image '{image}'");
    let old = lab.fails(9, &to("louislam/uptime-kuma:2.0.2"));
    assert!(old.err.contains("2.0.2") && old.err.contains("louislam/uptime-kuma:2.5"), "{}", old.err);
    for image in ["x;id", "x y", "$(id)", ""] {
        lab.fails(2, &to(image));
    }
    assert!(!lab.root.path().join("new").exists());
}
