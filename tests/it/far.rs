//! Instances whose files this process cannot see: the whole verb runs where they are.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::docked::{Docked, Kind, Ran, both};

/// `kumadb ARGS` on a laptop: it sees the engine of `lab`, and nothing of the data folder.
fn laptop(lab: &Docked, args: &[&str]) -> Command {
    let hide = "mount -t tmpfs none \"$0\" && exec \"$@\"";
    let hidden = lab.folder.path().parent().unwrap();
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", hide]).arg(hidden).arg(env!("CARGO_BIN_EXE_kumadb"));
    command.args(["-t", &lab.server.name]).args(args).stdin(Stdio::null());
    for name in ["KUMADB_TARGET", "KUMADB_STORE", "KUMADB_CONFIG"] {
        command.env_remove(name);
    }
    command.current_dir(lab.root()).env("HOME", lab.root());
    command
}

fn far(lab: &Docked, args: &[&str]) -> Ran {
    ran(laptop(lab, args))
}

fn ran(mut command: Command) -> Ran {
    let output = command.output().unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn a_monitor_is_added_where_the_files_are() {
    both(|kind| {
        let Some(lab) = Docked::up(kind) else { return };
        let listed = far(&lab, &["--json", "monitor", "list"]).ended(0);
        assert!(listed.out.contains("\"Shop\""), "{listed:?}");
        let before = lab.starts_and_stops();
        let added = far(&lab, &["monitor", "add", "http", "--name", "Far", "--url", "https://far.example.com"]);
        added.ended(0).said("the server is up again");
        lab.was_restarted(1, before);
        lab.is_well();
        assert!(lab.picture()["monitor"].iter().any(|row| row.contains("https://far.example.com")));
        far(&lab, &["monitor", "show", "Nobody"]).ended(8).said("Nobody");
        let _ = (fs::metadata("/"), Path::new("/"), Kind::Sqlite);
    });
}
