//! What a schedule writes to its log: one line an event, for people, for programs, and for systemd.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use chrono::DateTime;
use serde_json::Value as Json;

use crate::support::lab::Lab;

/// A lab with the config file of a job that is good for `kuma` and fails for `gone`.
fn lab() -> (Lab, String) {
    let lab = Lab::sqlite("2.5.3");
    let config = lab.root.path().join("kumadb.toml");
    let text = format!(
        "[stores.local]\naddress = \"{}\"\n[instances.kuma]\ntarget = \"{}\"\n[instances.gone]\ntarget = \"/no/such\"\n\
         [jobs.nightly]\ncron = \"0 3 * * *\"\ninstances = [\"kuma\", \"gone\"]\npush_url = \"http://127.0.0.1:1/api/push/x\"\n",
        lab.store().display(),
        lab.target
    );
    std::fs::write(&config, text).unwrap();
    (lab, format!("backup schedule --once nightly --config {}", config.display()))
}

/// The lines of a run whose stderr is a file, with `JOURNAL_STREAM` set to that file or to another one.
fn logged(lab: &Lab, line: &str, journal: bool) -> Vec<String> {
    let path = lab.root.path().join("log");
    let file = File::create(&path).unwrap();
    let about = file.metadata().unwrap();
    let stream = format!("{}:{}", about.dev(), about.ino() + u64::from(!journal));
    let mut command: Command = lab.begin(line);
    let status = command.env("JOURNAL_STREAM", stream).env("TZ", "Asia/Kolkata").stderr(file).output().unwrap().status;
    assert_eq!(status.code(), Some(3));
    std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn each_event_is_a_line_with_time_level_instance_and_job() {
    let (lab, line) = lab();
    let lines = logged(&lab, &line, false);
    let split = |line: &String| {
        let (time, rest) = line.split_once(' ').unwrap();
        let time = DateTime::parse_from_rfc3339(time).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(time.offset().local_minus_utc(), 19_800, "{line}");
        rest.to_owned()
    };
    let lines: Vec<String> = lines.iter().map(split).collect();
    let id = lab.json("backup list")["snapshots"][0]["manifest"]["id"].as_str().unwrap().to_owned();
    let expected = [
        "INFO nightly: started".to_owned(),
        format!("INFO kuma/nightly: snapshot {id} created ("),
        "ERROR gone/nightly: ".to_owned(),
        "WARN nightly: cannot send the push: ".to_owned(),
        "ERROR nightly: failed: 1 snapshot, ".to_owned(),
    ];
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, expected) in lines.iter().zip(&expected) {
        assert!(line.starts_with(expected), "{line}: {expected}");
    }
    assert!(lines[1].ends_with(&format!(") in {}", lab.store().display())), "{}", lines[1]);
    // Quiet leaves what somebody should look at.
    assert_eq!(logged(&lab, &format!("{line} --quiet"), false).len(), 3);
}

#[test]
fn the_journal_of_systemd_notes_the_time_itself() {
    let (lab, line) = lab();
    let lines = logged(&lab, &line, true);
    assert_eq!(lines[0], "<6>INFO nightly: started");
    assert!(lines[2].starts_with("<3>ERROR gone/nightly: "), "{lines:#?}");
    assert!(lines[3].starts_with("<4>WARN nightly: "), "{lines:#?}");
}

#[test]
fn with_json_each_line_is_a_document() {
    let (lab, line) = lab();
    let lines = logged(&lab, &format!("{line} --json"), false);
    let events: Vec<Json> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["run_started", "snapshot_created", "error", "notification_failed", "run_failed"]);
    let keys = ["time", "level", "event", "job", "instance", "message"];
    assert!(events.iter().all(|event| keys.iter().all(|key| event.get(key).is_some())), "{events:#?}");
    let made = &events[1];
    assert_eq!((&made["level"], &made["instance"]), (&"info".into(), &"kuma".into()));
    assert_eq!((&made["store"], &made["job"]), (&"local".into(), &"nightly".into()));
    assert!(made["size_bytes"].as_u64().unwrap() > 0 && made["time"].as_str().unwrap().ends_with('Z'), "{made:#}");
    assert_eq!((&events[4]["errors"], &events[4]["snapshots"]), (&1.into(), &1.into()));
}
