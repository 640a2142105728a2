//! What people read, word by word: a change of it shows up in review. `SNAPSHOTS=overwrite cargo test` takes it over.

use snapbox::{Data, assert_data_eq, file};

use crate::cli::monitor::furnish;
use crate::support::lab::{Lab, Ran, words};

/// A session at the terminal: each line as it was typed, and what came.
fn session(lab: &Lab, lines: &[&str]) -> String {
    let mut text = String::new();
    for line in lines {
        let ran = Ran::of(lab.bare().env("KUMADB_TARGET", &lab.target).env("COLUMNS", "120").args(words(line)));
        let end = if ran.exit == 0 { String::new() } else { format!("[exit {}]\n", ran.exit) };
        text.push_str(&format!("$ kumadb {line}\n{}{}{end}\n", ran.err, ran.out));
    }
    // It depends on the kernel.
    let text = text.replace(&kumadb::files::Confined::wall().to_string(), "<confinement>");
    without_tokens(&lab.plain(&text))
}

/// Push tokens are random, 32 letters and digits in a row.
fn without_tokens(text: &str) -> String {
    let mut parts = text.split("/api/push/");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|letter: char| letter.is_ascii_alphanumeric());
        plain.push_str(&format!("/api/push/<token>{rest}"));
    }
    plain
}

/// `text` with no more than two blanks in a row: the columns of a table are as wide as sizes that differ from run to run.
fn squeezed(text: &str) -> String {
    let mut squeezed = String::new();
    for letter in text.chars() {
        if !(letter == ' ' && squeezed.ends_with("  ")) {
            squeezed.push(letter);
        }
    }
    squeezed
}

fn same(actual: String, expected: Data) {
    // Brackets would be taken for placeholders of the snapshot.
    assert_data_eq!(actual, expected.raw());
}

#[test]
fn a_first_session_reads_well() {
    let lab = Lab::sqlite("2.5.3");
    let text = session(
        &lab,
        &[
            "status",
            "monitor list",
            "monitor add http --name Shop --url https://shop.example.com --tag env=prod --no-create-tags",
            "monitor add http --name Shop --url https://shop.example.com --tag env=prod",
            "monitor add group --name Network",
            "monitor add ping --name Router --hostname 192.168.1.1 --parent Network --dry-run",
            "monitor add ping --name Router --hostname 192.168.1.1 --parent Network",
            "monitor add push --name Cron",
            "monitor list",
            "monitor list --tag env",
            "monitor list --tag nothing",
            "monitor show Router",
            "monitor edit Shop -s interval=30 -s basic_auth_pass=hunter2 --dry-run",
            "monitor edit Shop -s interval=30",
            "monitor edit Shop -s interval=30",
            "monitor edit --name '*' -s maxretries=2",
            "monitor edit --name '*' -s maxretries=2 --yes",
            "monitor pause Network",
            "monitor list",
            "monitor resume Network",
            "monitor clone Router --name Switch -s hostname=192.168.1.2",
            "monitor delete Network",
            "monitor delete Network --with-children --dry-run",
            "monitor delete Network --yes",
            "monitor delete Router Switch --yes",
            "monitor list",
            "status",
        ],
    );
    same(text, file!["words/session.txt"]);
}

#[test]
fn snapshots_read_well() {
    let lab = Lab::sqlite("2.5.3");
    furnish(&lab);
    std::fs::remove_dir_all(lab.store()).unwrap();
    let text = session(
        &lab,
        &[
            "backup list",
            "backup verify",
            "backup create",
            "monitor delete --name '*' --yes --quiet",
            "backup list",
            "backup list --undo",
            "backup verify",
            "restore latest --dry-run",
            "restore latest",
            "restore latest --yes",
            "-v monitor add group --name Verbose",
            "restore 1234567x",
            "recover",
            "logs",
        ],
    );
    same(squeezed(&text), file!["words/snapshots.txt"]);
}

#[test]
fn mariadb_reads_the_same() {
    let Some(lab) = Lab::mariadb("2.5.3") else { return };
    let lines = ["status", "monitor add group --name A", "monitor list", "backup create", "restore latest --yes"];
    let socket = lab.target.split_once("socket=").unwrap().1.to_owned();
    same(session(&lab, &lines).replace(&socket, "<socket>"), file!["words/mariadb.txt"]);
}

#[test]
fn help_reads_well() {
    let lab = Lab::sqlite("2.5.3");
    for (line, expected) in [
        ("--help", file!["words/help.txt"]),
        ("monitor --help", file!["words/help-monitor.txt"]),
        ("monitor add --help", file!["words/help-add.txt"]),
        ("monitor add http --help", file!["words/help-add-http.txt"]),
        ("monitor add push --help", file!["words/help-add-push.txt"]),
        ("monitor edit --help", file!["words/help-edit.txt"]),
        ("backup --help", file!["words/help-backup.txt"]),
        ("backup prune --help", file!["words/help-prune.txt"]),
        ("init --help", file!["words/help-init.txt"]),
    ] {
        same(session(&lab, &[line]), expected);
    }
}
