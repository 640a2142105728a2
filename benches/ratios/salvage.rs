//! A damaged database of 500 MB, compared with `.recover` of the SQLite shell.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;

use crate::place::{Place, kumadb, memory_of, time_command};
use crate::read::add_beats;
use crate::report::{Limit, Report};

/// About 512 MiB, indexes included.
const BEATS: usize = 4_700_000;

pub fn run(report: &mut Report) {
    let place = Place::folder();
    add_beats(&place, BEATS);
    let file = place.file();
    damage(&file);
    let size = file.metadata().unwrap().len() >> 20;
    // The shell of Debian has no working `.recover`; this variable sets another one.
    let shell = std::env::var("KUMADB_SQLITE3").unwrap_or_else(|_| "sqlite3".into());
    let (ours, theirs) = (place.root().join("ours.db"), place.root().join("theirs.db"));
    let (mut salvaged, mut recovered) = (Vec::new(), Vec::new());
    // One run is enough for slow operations.
    for n in 1..=report.runs.min(2) {
        report.say(&format!("salvage, {n}"));
        let _ = fs::remove_file(&ours);
        salvaged.push(time_command(salvage(&place, &file, &ours)));
        let _ = fs::remove_file(&theirs);
        recovered.push(time_command(recover(&shell, &file, &theirs)));
    }
    // A shell without `.recover` fails immediately and creates nothing.
    if !theirs.metadata().is_ok_and(|found| found.len() >> 20 > size / 4) {
        report.left_out("salvage compared with .recover", "a sqlite3 with .recover, see KUMADB_SQLITE3");
        recovered.clear();
    }
    let beside = (!recovered.is_empty()).then_some(("sqlite3 .recover | sqlite3", recovered.as_slice()));
    report.time(&format!("salvage ({size} MiB)"), &salvaged, beside, Limit::Ratio(1.0));
    let _ = fs::remove_file(&ours);
    report.memory("salvage: memory", memory_of(&salvage(&place, &file, &ours)), Limit::Memory(150.0));
}

/// Overwrites every thousandth page except the first.
fn damage(file: &Path) {
    let open = fs::OpenOptions::new().write(true).open(file).unwrap();
    let pages = file.metadata().unwrap().len() / 4096;
    for page in (1000..pages).step_by(1000) {
        open.write_all_at(&[0; 4096], page * 4096).unwrap();
    }
}

fn salvage(place: &Place, file: &Path, to: &Path) -> Command {
    // Some rows are lost, which is exit code 3.
    let mut command = Command::new("sh");
    let ours = kumadb(place);
    command.args(["-c", "\"$0\" -q salvage \"$1\" --to \"$2\" >&2; test $? -eq 3"]);
    command.arg(ours.get_program()).arg(file).arg(to);
    command
}

fn recover(shell: &str, file: &Path, to: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "\"$0\" \"$1\" .recover | \"$0\" \"$2\" >/dev/null 2>&1; true"]).arg(shell).arg(file).arg(to);
    command
}
