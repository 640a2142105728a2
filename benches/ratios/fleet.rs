//! `status --all` and `backup create --all` on many instances, compared with one instance after another.

use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::place::{Place, time_command};
use crate::report::{Limit, Report};

const INSTANCES: usize = 20;

/// About 10 MB each.
const BEATS: usize = 90_000;

pub fn run(report: &mut Report) {
    report.say(&format!("{INSTANCES} instances"));
    let place = Place::folder();
    crate::read::add_beats(&place, BEATS);
    let mut config = String::new();
    for n in 0..INSTANCES {
        let folder = place.root().join(format!("fleet/{n:02}"));
        fs::create_dir_all(&folder).unwrap();
        fs::copy(place.file(), folder.join("kuma.db")).unwrap();
        config.push_str(&format!("[instances.i{n:02}]\ntarget = \"{}\"\n", folder.display()));
    }
    let file = place.root().join("kumadb.toml");
    fs::write(&file, config).unwrap();
    let kumadb = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kumadb"));
        command.arg("--config").arg(&file).arg("--store").arg(place.root().join("store")).args(words);
        command.env("XDG_STATE_HOME", place.root()).env("DOCKER_HOST", "unix:///no-docker-here.sock");
        command
    };
    for verb in [&["status"][..], &["backup", "create"]] {
        let all: Vec<Duration> =
            (0..report.runs).map(|_| time_command(kumadb(&[verb, &["--all"][..]].concat()))).collect();
        let one_by_one: Vec<Duration> = (0..report.runs)
            .map(|_| {
                let one = |n| time_command(kumadb(&[&["-t", &format!("i{n:02}")], verb].concat()));
                (0..INSTANCES).map(one).sum()
            })
            .collect();
        let what = format!("{} --all, {INSTANCES} instances of 10 MB", verb.join(" "));
        report.time(&what, &all, Some(("one after another", &one_by_one)), Limit::Ratio(1.0));
    }
}
