//! `status --all` and `backup create --all` on many instances, compared with one instance after another.

use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::place::{Place, measure, time_command};
use crate::report::{Limit, Report};

const INSTANCES: usize = 20;

/// About 10 MB each.
const BEATS: usize = 90_000;

/// Instances that are nearly empty.
const MANY: usize = 500;

/// Copies of the data folder of a place, and a config file that lists them.
struct Fleet {
    place: Place,
    count: usize,
}

impl Fleet {
    fn of(place: Place, count: usize) -> Fleet {
        let mut config = String::new();
        for n in 0..count {
            let folder = place.root().join(format!("fleet/{n:03}"));
            fs::create_dir_all(&folder).unwrap();
            fs::copy(place.file(), folder.join("kuma.db")).unwrap();
            config.push_str(&format!("[instances.i{n:03}]\ntarget = \"{}\"\n", folder.display()));
        }
        fs::write(place.root().join("kumadb.toml"), config).unwrap();
        Fleet { place, count }
    }

    fn kumadb(&self, words: &[&str]) -> Command {
        let root = self.place.root();
        let mut command = Command::new(env!("CARGO_BIN_EXE_kumadb"));
        command.arg("--config").arg(root.join("kumadb.toml")).arg("--store").arg(root.join("store")).args(words);
        command.env("XDG_STATE_HOME", root).env("DOCKER_HOST", "unix:///no-docker-here.sock");
        command
    }

    /// `verb` on one instance after another.
    fn one_by_one(&self, verb: &[&str]) -> Duration {
        let one = |n| time_command(self.kumadb(&[&["-t", &format!("i{n:03}")], verb].concat()));
        (0..self.count).map(one).sum()
    }
}

/// Many instances: what each of them costs beyond reading its data.
pub fn many(report: &mut Report) {
    report.say(&format!("{MANY} instances"));
    let fleet = Fleet::of(Place::folder(), MANY);
    let (mut all, mut one_by_one, mut memory) = (Vec::new(), Vec::new(), None);
    for _ in 0..report.runs {
        let (took, most) = measure(&fleet.kumadb(&["status", "--all"]));
        all.push(took);
        memory = most;
        one_by_one.push(fleet.one_by_one(&["status"]));
    }
    let what = format!("status --all, {MANY} instances");
    report.time(&what, &all, Some(("one after another", &one_by_one)), Limit::Ratio(0.3));
    report.memory(&format!("{what}: memory"), memory, Limit::Memory(100.0));
}

pub fn run(report: &mut Report) {
    report.say(&format!("{INSTANCES} instances"));
    let place = Place::folder();
    crate::read::add_beats(&place, BEATS);
    let fleet = Fleet::of(place, INSTANCES);
    for verb in [&["status"][..], &["backup", "create"]] {
        let all: Vec<Duration> =
            (0..report.runs).map(|_| time_command(fleet.kumadb(&[verb, &["--all"][..]].concat()))).collect();
        let one_by_one: Vec<Duration> = (0..report.runs).map(|_| fleet.one_by_one(verb)).collect();
        let what = format!("{} --all, {INSTANCES} instances of 10 MB", verb.join(" "));
        report.time(&what, &all, Some(("one after another", &one_by_one)), Limit::Ratio(1.0));
    }
}
