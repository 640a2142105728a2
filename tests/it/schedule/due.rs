//! The schedule with a clock of its own: when jobs are due, what is caught up, what two of them do.

use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;
use kumadb::backup::{Credentials, Store};
use kumadb::config::{ConfigFile, CronSchedule, InstanceConfig, read_config};
use kumadb::error::{DockerError, Error, Hint, JobError, OperationError, Result};
use kumadb::instance::Locator;
use kumadb::operation::{Observer, Step};
use kumadb::schedule::{Event, Host, JobState, RunEnv, once, watch};

use crate::support::lab::Lab;

fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap().with_timezone(&Utc)
}

/// The first `n` times after `from` in the zone, as the clock on the wall shows them.
fn next(cron: &str, zone: Tz, from: &str, n: usize) -> Vec<String> {
    let when = CronSchedule::parse(cron, zone).unwrap();
    let mut time = at(from);
    let mut found = Vec::new();
    for _ in 0..n {
        time = when.after(time).unwrap();
        found.push(time.with_timezone(&zone).format("%d %H:%M %z").to_string());
    }
    found
}

#[test]
fn summer_time_loses_no_run_and_makes_none_twice() {
    let berlin = Tz::Europe__Berlin;
    // 29 March 2026: 02:00 to 03:00 is not there. What would be due then is due right after.
    let spring = next("30 2 * * *", berlin, "2026-03-28T00:00:00Z", 3);
    assert_eq!(spring, ["28 02:30 +0100", "29 03:00 +0200", "30 02:30 +0200"]);
    // 25 October 2026: 02:00 to 03:00 is there twice.
    let autumn = next("30 2 * * *", berlin, "2026-10-24T12:00:00Z", 2);
    assert_eq!(autumn, ["25 02:30 +0200", "26 02:30 +0100"]);
    // Every hour goes on by the hour.
    let hourly = next("0 * * * *", berlin, "2026-10-24T23:30:00Z", 4);
    assert_eq!(hourly, ["25 02:00 +0200", "25 02:00 +0100", "25 03:00 +0100", "25 04:00 +0100"]);
}

#[test]
fn cron_is_read_as_the_server_reads_it() {
    for (cron, expected) in [
        ("0 3 * * *", "01 03:00 +0000"),
        ("*/15 * * * *", "01 00:15 +0000"),
        ("0 0 3 * * *", "01 03:00 +0000"),
        ("@weekly", "04 00:00 +0000"),
        ("0 12 L * *", "31 12:00 +0000"),
        ("0 12 * * SUN#2", "11 12:00 +0000"),
        ("0 12 * JAN MON", "05 12:00 +0000"),
        ("0 12 * * WED#L", "28 12:00 +0000"),
    ] {
        assert_eq!(next(cron, Tz::UTC, "2026-01-01T00:00:00Z", 1), [expected], "{cron}");
    }
    for wrong in ["", "* * * *", "61 * * * *", "0 0 0 1 1 * 2030", "tomorrow", "0 0 ? * *", "0 0 15W * *", "0 0 * * 5L"]
    {
        assert!(CronSchedule::parse(wrong, Tz::UTC).is_err(), "{wrong}");
    }
    let never = CronSchedule::parse("0 0 31 2 *", Tz::UTC);
    assert!(never.is_err() || never.unwrap().after(at("2026-01-01T00:00:00Z")).is_none());
}

/// A clock that goes as fast as it is waited for, and stops the schedule at its end.
struct Clock {
    now: DateTime<Utc>,
    end: DateTime<Utc>,
    /// At this moment, it is set to that one.
    set: Option<(DateTime<Utc>, DateTime<Utc>)>,
    reported: Vec<String>,
    /// Refuse to go on at the first step of a snapshot.
    stops: bool,
    /// Panic at the first step of a snapshot, once.
    panics: bool,
}

impl Clock {
    fn new(now: &str, end: &str) -> Clock {
        Clock { now: at(now), end: at(end), set: None, reported: Vec::new(), stops: false, panics: false }
    }

    fn begun(&self) -> Vec<&str> {
        self.reported.iter().filter(|line| line.ends_with(": started")).map(String::as_str).collect()
    }
}

impl Observer for Clock {
    fn step(&mut self, _step: &Step) -> Result<()> {
        self.now += TimeDelta::seconds(1);
        assert!(!std::mem::take(&mut self.panics), "a library gave up");
        if self.stops { Err(Error::Operation(OperationError::Interrupted { signal: 15 })) } else { Ok(()) }
    }
}

impl Host for Clock {
    fn now(&mut self) -> DateTime<Utc> {
        if let Some((when, to)) = self.set
            && self.now >= when
        {
            self.set = None;
            self.now = to;
        }
        self.now
    }

    fn wait(&mut self, at_most: Duration) -> bool {
        self.now += TimeDelta::from_std(at_most).unwrap().max(TimeDelta::milliseconds(1));
        self.now < self.end
    }

    fn log(&mut self, event: &Event<'_>) {
        self.reported.push(format!("{} {}", self.now.format("%d %H:%M"), event.text::<Utc>(None)));
    }

    fn status(&mut self, _line: &str) {}
}

/// Watches `config` on the lab until the clock is at its end.
fn watch_on(lab: &Lab, config: &ConfigFile, clock: &mut Clock) -> Result<()> {
    with_env(lab, |world| watch(config, world, clock))
}

fn with_env<T>(lab: &Lab, run: impl FnOnce(&RunEnv<'_>) -> T) -> T {
    let root = lab.root.path().to_owned();
    let locator = |_: &InstanceConfig| {
        let docker = Err(Error::Docker(DockerError::Unreachable {
            address: "nowhere".into(),
            why: "not here".into(),
            hint: Hint::advice(""),
        }));
        Ok(Locator { docker, here: root.clone(), state: root.join("state"), on_host: false })
    };
    run(&RunEnv {
        locator: &locator,
        credentials: &Credentials::default(),
        instances: lab.root.path().join("state"),
        jobs: jobs(lab),
        fallback: Store::new(lab.store()),
    })
}

fn jobs(lab: &Lab) -> std::path::PathBuf {
    lab.root.path().join("jobs")
}

/// A config with the lab as `kuma`, and `more`.
fn config(lab: &Lab, more: &str) -> ConfigFile {
    let text = format!(
        "[stores.local]\naddress = \"{}\"\n[instances.kuma]\ntarget = \"{}\"\n[instances.gone]\ntarget = \
         \"/no/such\"\n{more}",
        lab.store().display(),
        lab.target
    );
    read_config("kumadb.toml", &text).unwrap_or_else(|problems| panic!("{problems:?}"))
}

const NIGHTLY: &str = "[jobs.nightly]\ncron = \"0 3 * * *\"\ntimezone = \"Europe/Berlin\"\ninstances = [\"kuma\"]\nstores = [\"local\"]\n";

fn snapshots(lab: &Lab) -> usize {
    Store::new(lab.store()).list().unwrap().snapshots.len()
}

#[test]
fn jobs_run_when_they_are_due() {
    let lab = Lab::sqlite("2.5.3");
    let config = config(&lab, NIGHTLY);
    let mut clock = Clock::new("2026-03-28T12:00:00Z", "2026-03-31T12:00:00Z");
    watch_on(&lab, &config, &mut clock).unwrap();
    let begun = ["29 01:00 INFO nightly: started", "30 01:00 INFO nightly: started", "31 01:00 INFO nightly: started"];
    assert_eq!(clock.begun(), begun, "{:#?}", clock.reported);
    assert_eq!(snapshots(&lab), 3);
}

#[test]
fn a_job_that_panics_has_failed_and_the_rest_goes_on() {
    let lab = Lab::sqlite("2.5.3");
    let given = lab.root.path().join("said");
    let more = format!(
        "{NIGHTLY}on_failure = [\"sh\", \"-c\", \"echo $KUMADB_STATUS: $KUMADB_MESSAGE > {}\"]\n[jobs.second]\n\
         cron = \"0 4 * * *\"\ntimezone = \"Europe/Berlin\"\ninstances = [\"kuma\"]\nstores = [\"local\"]\n",
        given.display()
    );
    let config = config(&lab, &more);
    let mut clock = Clock::new("2026-06-01T00:00:00Z", "2026-06-01T12:30:00Z");
    clock.panics = true;
    watch_on(&lab, &config, &mut clock).unwrap();
    assert_eq!((clock.begun().len(), snapshots(&lab)), (2, 1), "{:?}", clock.reported);
    let given = std::fs::read_to_string(given).unwrap();
    assert!(given.starts_with("failed: `kuma`: internal error in the backup: a library gave up"), "{given}");
    // It is done, and not begun again before it is due again.
    let note = JobState::open(&jobs(&lab), "nightly", at("2026-06-01T13:00:00Z")).unwrap().note.clone();
    assert_eq!((note.runs, note.succeeded), (1, None));
}

#[test]
fn what_was_missed_is_caught_up_once() {
    let lab = Lab::sqlite("2.5.3");
    let config = config(&lab, NIGHTLY);
    // Never seen before: nothing was missed.
    watch_on(&lab, &config, &mut Clock::new("2026-06-01T12:00:00Z", "2026-06-01T12:30:00Z")).unwrap();
    assert_eq!(snapshots(&lab), 0);
    // Four nights later.
    let mut clock = Clock::new("2026-06-05T12:00:00Z", "2026-06-05T20:00:00Z");
    watch_on(&lab, &config, &mut clock).unwrap();
    assert_eq!(clock.begun(), ["05 12:00 INFO nightly: started"]);
    let mut clock = Clock::new("2026-06-05T20:00:00Z", "2026-06-05T22:00:00Z");
    watch_on(&lab, &config, &mut clock).unwrap();
    assert!(clock.begun().is_empty(), "{:?}", clock.reported);
    assert_eq!(snapshots(&lab), 1);
}

#[test]
fn a_run_that_was_interrupted_is_caught_up() {
    let lab = Lab::sqlite("2.5.3");
    let config = config(&lab, NIGHTLY);
    let mut clock = Clock::new("2026-06-01T00:00:00Z", "2026-06-01T12:30:00Z");
    clock.stops = true;
    watch_on(&lab, &config, &mut clock).unwrap();
    assert_eq!((clock.begun().len(), snapshots(&lab)), (1, 0), "{:?}", clock.reported);
    let mut clock = Clock::new("2026-06-01T02:00:00Z", "2026-06-01T12:30:00Z");
    watch_on(&lab, &config, &mut clock).unwrap();
    assert_eq!((clock.begun().len(), snapshots(&lab)), (1, 1), "{:?}", clock.reported);
}

#[test]
fn a_clock_that_is_moved_stops_no_job() {
    let lab = Lab::sqlite("2.5.3");
    let config = config(&lab, NIGHTLY);
    // A day and a half back, an hour before the job is due.
    let mut clock = Clock::new("2026-06-10T22:00:00Z", "2026-06-10T12:00:00Z");
    clock.set = Some((at("2026-06-11T00:00:00Z"), at("2026-06-09T12:00:00Z")));
    // The end counts from the second time on.
    clock.end = at("2026-06-11T00:30:00Z");
    watch_on(&lab, &config, &mut clock).unwrap();
    assert!(
        clock.reported.iter().any(|line| line.contains("WARN the system clock was set back")),
        "{:?}",
        clock.reported
    );
    assert_eq!(clock.begun(), ["10 01:00 INFO nightly: started"]);
    // Years ahead, once, and back again: the note from the future stops nothing.
    let mut clock = Clock::new("2040-01-01T00:00:00Z", "2040-01-01T02:30:00Z");
    watch_on(&lab, &config, &mut clock).unwrap();
    let mut clock = Clock::new("2026-06-20T00:00:00Z", "2026-06-20T02:00:00Z");
    watch_on(&lab, &config, &mut clock).unwrap();
    assert_eq!(clock.begun(), ["20 01:00 INFO nightly: started"]);
}

#[test]
fn one_job_or_instance_that_fails_stops_no_other() {
    let lab = Lab::sqlite("2.5.3");
    let jobs = "[jobs.a]\ncron = \"0 1 * * *\"\ninstances = [\"gone\"]\nstores = [\"local\"]\n\
                [jobs.b]\ncron = \"0 2 * * *\"\ninstances = [\"gone\", \"kuma\"]\nstores = [\"local\"]\n\
                [jobs.c]\ncron = \"0 3 * * *\"\ninstances = [\"kuma\"]\nstores = [\"local\"]\nbefore = [\"/no/such\"]\n";
    let config = config(&lab, jobs);
    let mut clock = Clock::new("2026-06-01T00:00:00Z", "2026-06-02T12:00:00Z");
    watch_on(&lab, &config, &mut clock).unwrap();
    assert_eq!(clock.begun().len(), 6, "{:?}", clock.reported);
    assert_eq!(snapshots(&lab), 2, "of `b`, twice");
    let failed = |job: &str| clock.reported.iter().any(|line| line.contains(&format!("ERROR {job}: failed: ")));
    assert!(failed("a") && failed("b") && failed("c"), "{:?}", clock.reported);
}

#[test]
fn a_second_schedule_leaves_the_job_to_the_first() {
    let lab = Lab::sqlite("2.5.3");
    let other = format!("{NIGHTLY}[jobs.other]\ncron = \"0 4 * * *\"\ninstances = [\"kuma\"]\nstores = [\"local\"]\n");
    let config = config(&lab, &other);
    let mut clock = Clock::new("2026-06-01T00:00:00Z", "2026-06-01T06:00:00Z");
    let first = JobState::open(&jobs(&lab), "nightly", clock.now).unwrap();
    watch_on(&lab, &config, &mut clock).unwrap();
    assert_eq!(clock.begun(), ["01 04:00 INFO other: started"]);
    assert!(clock.reported[0].contains("another kumadb process is running job `nightly`"), "{:?}", clock.reported);
    let second = JobState::open(&jobs(&lab), "other", clock.now).unwrap();
    for refused in [
        watch_on(&lab, &config, &mut clock),
        with_env(&lab, |world| once("nightly", &config, world, &mut clock).map(drop)),
    ] {
        assert!(matches!(refused, Err(Error::Job(JobError::Locked { .. }))), "{refused:?}");
    }
    drop((first, second));
    let ended = with_env(&lab, |world| once("nightly", &config, world, &mut clock)).unwrap();
    assert!(ended.is_good() && ended.taken.len() == 1, "{ended:?}");
}

#[test]
fn retention_follows_each_run_and_keeps_whole_snapshots_apart() {
    let lab = Lab::sqlite("2.5.3");
    let common =
        "instances = [\"kuma\"]\nstores = [\"local\"]\nretention = \"short\"\nverify = true\nrestore_test_every = 4\n";
    let text = format!(
        "[policies.short]\nkeep_last = 2\n[jobs.full]\ncron = \"0 1 * * SUN\"\n{common}\
         [jobs.config]\ncron = \"0 2 * * *\"\nconfig_only = true\n{common}"
    );
    let config = config(&lab, &text);
    // Snapshots are as old as the real clock says; those in the future would all be kept.
    let mut clock = Clock::new("2040-06-02T12:00:00Z", "2040-06-12T00:00:00Z");
    watch_on(&lab, &config, &mut clock).unwrap();
    assert_eq!(clock.begun().len(), 11);
    let listing = Store::new(lab.store()).list().unwrap();
    let whole = |whole: bool| listing.snapshots.iter().filter(|one| one.manifest.without.is_empty() == whole).count();
    let restore_tests = clock.reported.iter().filter(|line| line.contains("restore test of snapshot")).count();
    assert_eq!(restore_tests, 2, "at the fourth and eighth run of nine: {:?}", clock.reported);
    assert_eq!((whole(true), whole(false)), (2, 2), "{:?}", clock.reported);
}

#[test]
fn all_problems_are_reported_with_their_lines() {
    let text = "\
[stores.local]
adress = \"/tmp\"
[instances.kuma]
target = \"a\"
target_file = \"b\"
[instances.two]
[policies.none]
[policies.odd]
keep_daily = \"seven\"
keep_for_ever = 1
[jobs.a]
cron = \"0 25 * * *\"
timezone = \"Europe/Berlni\"
instances = [\"kuma\", \"kumo\"]
stores = []
retention = \"long\"
jitter = \"5 minutes\"
verify = \"yes\"
before = \"date\"
[jobs.\"a b\"]
[store]
";
    let problems = read_config("kumadb.toml", text).unwrap_err();
    let lines: Vec<String> = problems.iter().map(|one| format!("{}: {}", one.subject, one.message)).collect();
    let has = |line: u32, words: &str| {
        let found =
            lines.iter().any(|given| given.starts_with(&format!("kumadb.toml:{line}:")) && given.contains(words));
        assert!(found, "line {line}: {words}: {lines:#?}");
    };
    assert_eq!(lines.len(), 17, "{lines:#?}");
    has(2, "unknown key `adress` (did you mean `address`?)");
    has(5, "`target` and `target_file` set the same value");
    has(6, "`target` or `target_file` is missing");
    has(7, "no retention rule given");
    has(9, "`seven` is not a number or `unlimited`");
    has(10, "unknown key `keep_for_ever`");
    has(12, "is not a valid cron expression");
    has(13, "`Europe/Berlni` is not a valid time zone");
    has(14, "there is no section `[instances.kumo]`");
    has(15, "`stores` is empty");
    has(16, "there is no section `[policies.long]`");
    has(17, "`jitter` must be a duration");
    has(18, "`verify` must be true or false");
    has(19, "`before` must be a list of strings");
    has(20, "`a b` is not a valid name");
    has(21, "unknown key `store` (did you mean `stores`?)");
    assert!(read_config("kumadb.toml", "[jobs").is_err());
}

#[test]
fn the_example_of_the_packaging_is_right() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging");
    let text = std::fs::read_to_string(root.join("kumadb.toml")).unwrap();
    let config = read_config("kumadb.toml", &text).unwrap_or_else(|problems| panic!("{problems:#?}"));
    assert_eq!(config.jobs.len(), 2);
    let zone = config.jobs[0].when.zone();
    let first = config.jobs[0].when.after(at("2026-01-01T00:00:00Z")).unwrap();
    assert!(
        zone.from_utc_datetime(&first.naive_utc()) > zone.from_utc_datetime(&at("2026-01-01T00:00:00Z").naive_utc())
    );
}
