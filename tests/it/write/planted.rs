//! What an attacker who owns the data folder plants before root converts or upgrades the database: nothing outside of the folder is
//! reached, and no verb waits for what never ends.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use kumadb::engine::Connect as _;
use kumadb::engine::mariadb::Address;
use serde_json::{Value as Json, json};

use crate::support::attacker::Attack;
use crate::support::mariadbd::Mariadbd;

const KINDS: [&str; 5] = ["a link", "a pipe", "a file of 4 TiB", "a folder", "a link to a device"];

fn plant(attack: &Attack, kind: &str, path: &Path) {
    match kind {
        "a link" => symlink(attack.victim(), path).unwrap(),
        "a pipe" => assert!(Command::new("mkfifo").arg(path).status().unwrap().success()),
        "a file of 4 TiB" => fs::File::create(path).unwrap().set_len(1 << 42).unwrap(),
        "a folder" => fs::create_dir(path).unwrap(),
        _ => symlink("/dev/zero", path).unwrap(),
    }
}

/// Puts each kind of thing in place of each of `names`, and runs `lines`.
fn plant_everywhere(attack: &Attack, names: &[&str], lines: &[&str]) {
    let clean = attack.lab.root.path().join("clean");
    let copy =
        |from: &Path, to: &Path| assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
    copy(&attack.data(), &clean);
    for kind in KINDS {
        for name in names {
            for line in lines {
                fs::remove_dir_all(attack.data()).unwrap();
                copy(&clean, &attack.data());
                let path = attack.data().join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                let _ = fs::remove_file(&path);
                let _ = fs::remove_dir_all(&path);
                plant(attack, kind, &path);
                attack.give();
                let begun = Instant::now();
                attack.run(line);
                assert!(begun.elapsed() < Duration::from_secs(30), "{kind}, {name}: {line}: {:?}", begun.elapsed());
                attack.is_unharmed(&format!("{kind}, {name}: {line}"));
            }
        }
    }
}

fn external(server: &Mariadbd) -> String {
    server.sql("mysql", "CREATE USER kuma@'%' IDENTIFIED BY 'Kuma-2026'; GRANT ALL ON *.* TO kuma@'%'");
    server.create_database("kuma", "utf8mb4");
    format!("mariadb://kuma:Kuma-2026@127.0.0.1:{}/kuma", server.port())
}

#[test]
fn what_is_planted_before_a_conversion_to_sqlite_leads_nowhere() {
    let Some(attack) = Attack::new() else { return };
    let Some(server) = Mariadbd::with(&["--port={port}", "--bind-address=127.0.0.1"]) else { return };
    attack.lab.ok(&format!("convert --to {} --yes", external(&server)));
    for entry in fs::read_dir(attack.data()).unwrap() {
        let path = entry.unwrap().path();
        if path.display().to_string().contains(".before-convert-") {
            fs::remove_file(path).unwrap();
        }
    }
    let names = ["db-config.json", "kuma.db", "kuma.db-wal", ".kumadb", ".kumadb/convert", ".kumadb/held"];
    plant_everywhere(&attack, &names, &["convert --to sqlite --dry-run", "convert --to sqlite --yes"]);
}

#[test]
fn what_is_planted_before_a_conversion_to_mariadb_or_an_upgrade_leads_nowhere() {
    let Some(attack) = Attack::on("2.0.2") else { return };
    let Some(server) = Mariadbd::with(&["--port={port}", "--bind-address=127.0.0.1"]) else { return };
    let convert = format!("convert --to {} --yes", external(&server));
    let names = ["db-config.json", "kuma.db", ".kumadb/journal.json", ".kumadb/convert", ".kumadb/upgrade"];
    let lines =
        [convert.as_str(), "upgrade --yes", "upgrade --check", "convert --to embedded --yes", "maintenance list"];
    plant_everywhere(&attack, &names, &lines);
}

/// Plants the journal of a rollback with `edit`, and a copy that belongs to it.
fn plant_journal(attack: &Attack, edit: impl FnOnce(&mut Json)) {
    attack.plant_rollback(b"his own", |_| {});
    let mut journal = attack.rollback();
    edit(&mut journal);
    fs::write(attack.data().join(".kumadb/journal.json"), journal.to_string()).unwrap();
    attack.give();
}

#[test]
fn a_planted_journal_of_a_conversion_reaches_only_its_own_folder() {
    let Some(attack) = Attack::new() else { return };
    let config = r#"{"type": "sqlite"}"#;
    for (from, to) in [("embedded", "sqlite"), ("sqlite", "embedded"), ("sqlite", "external"), ("external", "sqlite")] {
        for phase in ["writing", "committed", "rolling_back"] {
            for planted in ["mariadb", "kuma.db", "mariadb.before-convert-20260101T000000Z"] {
                plant_journal(&attack, |journal| {
                    (journal["verb"], journal["phase"]) = ("convert".into(), phase.into());
                    let after = blake3::hash(config.as_bytes()).to_hex().to_string();
                    journal["converts"] =
                        json!({"from": from, "to": to, "after": after, "had_config": true, "placed": true});
                });
                fs::write(attack.data().join("db-config.json"), config).unwrap();
                attack.link("shadow", ".kumadb/held/db-config.json");
                attack.link("", ".kumadb/convert");
                let path = attack.data().join(planted);
                let _ = fs::remove_dir_all(&path);
                attack.link("held", planted);
                for line in ["recover --dry-run", "recover", "recover --roll-back"] {
                    attack.run(line);
                    attack.is_unharmed(&format!("{from} to {to}, {phase}, {planted}: {line}"));
                }
                let _ = fs::remove_file(path);
                let _ = fs::remove_file(attack.data().join(".kumadb/convert"));
            }
        }
    }
}

#[test]
fn a_planted_journal_of_an_upgrade_puts_no_words_into_a_command() {
    let Some(attack) = Attack::new() else { return };
    let id = "sha256:0123";
    for upgrade in [
        json!({"release": "2.5.3; touch /evil", "image": null}),
        json!({"release": "2.5.3", "image": [id, "kuma:1; touch /evil"]}),
        json!({"release": "2.5.3", "image": [id, "--privileged"]}),
        json!({"release": "2.5.3", "image": ["$(touch /evil)", "kuma:1"]}),
    ] {
        plant_journal(&attack, |journal| {
            (journal["verb"], journal["phase"]) = ("upgrade".into(), "committed".into());
            journal["upgrade"] = upgrade.clone();
        });
        for line in ["recover --dry-run", "recover", "recover --roll-back", "monitor add group --name A"] {
            let refused = attack.run(line);
            assert!(refused.exit != 0 && refused.err.contains("`upgrade`: "), "{upgrade} {line}: {refused:?}");
        }
    }
    // What kumadb writes is read.
    plant_journal(&attack, |journal| {
        (journal["verb"], journal["phase"]) = ("upgrade".into(), "rolling_back".into());
        journal["upgrade"] = json!({"release": "2.5.3", "image": ["", "ghcr.io:443/me/kuma_x:2.5.3-slim@sha256:0123"]});
    });
    assert_eq!(attack.run("recover").exit, 0);
}

#[test]
fn the_socket_of_a_mariadb_that_is_made_is_no_link() {
    let Some(server) = Mariadbd::start() else { return };
    let data = tempfile::tempdir().unwrap();
    fs::create_dir(data.path().join("run")).unwrap();
    symlink(server.socket(), data.path().join("run/mariadb.sock")).unwrap();
    let refused = Address::in_data(data.path()).reader().err().unwrap();
    assert!(format!("{refused:?}").contains("symbolic link"), "{refused:?}");
}
