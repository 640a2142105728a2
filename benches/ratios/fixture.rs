//! Applies a fixture of 10,000 monitors, and plans it again without a change; compared with adding the same monitors through
//! the socket API of a server, if one is available.

use std::fmt::Write as _;
use std::process::Command;
use std::time::Duration;

use crate::place::{Place, kumadb, measure, memory_of, time_command};
use crate::report::{Limit, Report};
use crate::socket;

const MONITORS: usize = 10_000;
const MANY: usize = 100_000;

/// Enough of them to measure one.
const OVER_SOCKET: usize = 100;

pub fn run(report: &mut Report) {
    let empty = Place::folder();
    let path = empty.root().join("monitors.yaml");
    std::fs::write(&path, fixture(MONITORS)).unwrap();
    let command = |place: &Place, words: &[&str]| -> Command {
        let mut command = kumadb(place);
        command.args(words).arg(&path);
        command
    };

    let mut applied = empty.copy();
    let mut times = Vec::new();
    for n in 1..=report.runs {
        report.say(&format!("apply, {n}"));
        applied = empty.copy();
        times.push(time_command(command(&applied, &["apply", "--yes"])));
    }
    let what = "apply, 10,000 monitors in YAML, SQLite";
    report.time(what, &times, None, Limit::Time(Duration::from_secs(2)));
    match socket::add_monitors(OVER_SOCKET) {
        Some(each) => {
            let all = vec![each * u32::try_from(MONITORS).unwrap()];
            let name = format!("the socket API, {} ms each", each.as_millis());
            report.time(what, &times, Some((&name, &all)), Limit::None);
        }
        None => report.left_out(&format!("{what}, compared with the socket API"), socket::NEEDED),
    }
    let memory = memory_of(&command(&empty.copy(), &["apply", "--yes"]));
    report.memory(&format!("{what}: memory"), memory, Limit::Memory(150.0));

    let plan = || command(&applied, &["plan"]);
    let times: Vec<Duration> = (0..report.runs).map(|_| time_command(plan())).collect();
    let what = "plan without a change, 10,000 monitors in YAML, SQLite";
    report.time(what, &times, None, Limit::Time(Duration::from_secs(1)));
    report.memory(&format!("{what}: memory"), memory_of(&plan()), Limit::None);
    let times: Vec<Duration> = (0..report.runs)
        .map(|_| {
            let mut export = kumadb(&applied);
            export.arg("export");
            time_command(export)
        })
        .collect();
    report.time("export, 10,000 monitors to YAML, SQLite", &times, None, Limit::None);
}

/// Applies ten times as many.
pub fn large(report: &mut Report) {
    let empty = Place::folder();
    let path = empty.root().join("monitors.yaml");
    std::fs::write(&path, fixture(MANY)).unwrap();
    let (mut times, mut most) = (Vec::new(), None::<f64>);
    for n in 1..=report.runs.min(3) {
        report.say(&format!("apply, 100,000 monitors, {n}"));
        let place = empty.copy();
        let mut command = kumadb(&place);
        command.args(["apply", "--yes"]).arg(&path);
        let (took, memory) = measure(&command);
        times.push(took);
        most = memory.map(|memory| most.unwrap_or_default().max(memory));
    }
    let what = "apply, 100,000 monitors in YAML, SQLite";
    report.time(what, &times, None, Limit::Time(Duration::from_secs(12)));
    report.memory(&format!("{what}: memory"), most, Limit::Memory(600.0));
}

/// Plans the same monitors in formats of other tools, compared with the native one.
pub fn lists(report: &mut Report) {
    let place = Place::folder();
    let plan = |report: &Report, name: &str, text: String| -> Vec<Duration> {
        let path = place.root().join(name);
        std::fs::write(&path, text).unwrap();
        let run = |_| {
            let mut command = kumadb(&place);
            command.arg("plan").arg(&path);
            time_command(command)
        };
        (0..report.runs).map(run).collect()
    };
    let text = |head: &str, line: fn(usize, &str) -> String| {
        let lines = (1..=MONITORS).map(|n| line(n, &format!("https://host-{n}.example.com/health")));
        std::iter::once(head.to_owned()).chain(lines).collect::<String>()
    };
    let native = text("version: 1\nmonitors:\n", |n, url| {
        format!("  - {{name: Monitor {n}, type: http, url: '{url}', interval: 60, tags: {{env: prod}}}}\n")
    });
    let csv = text("name,type,url,interval,tags\n", |n, url| format!("Monitor {n},http,{url},60,env=prod\n"));
    let gatus = text("endpoints:\n", |n, url| {
        format!("  - {{name: Monitor {n}, url: '{url}', interval: 60s, conditions: ['[STATUS] == 200']}}\n")
    });
    let labels = text("", |n, url| {
        let settings =
            [format!("name=Monitor {n}"), format!("url={url}"), "interval=60".into(), "tag_names=[\"env\"]".into()];
        settings.map(|setting| format!("kuma.m{n}.http.{setting}\n")).concat()
    });
    let native = plan(report, "native.yaml", native);
    for (name, text) in [("list.csv", csv), ("gatus.yaml", gatus), ("labels.env", labels)] {
        report.say(&format!("plan, {name}"));
        let times = plan(report, name, text);
        let what = format!("plan, 10,000 monitors in {name}, SQLite");
        report.time(&what, &times, Some(("the native YAML", &native)), Limit::Ratio(2.0));
    }
}

/// Mostly http monitors, each with two tags and a notification.
pub fn fixture(count: usize) -> String {
    let mut text = String::from("version: 1\ndefaults: {notifications: [ops]}\nmonitors:\n");
    for n in 1..=count {
        let host = format!("host-{n}.example.com");
        let what = match n % 5 {
            0 => format!("type: ping, hostname: {host}"),
            1 => format!("type: port, hostname: {host}, port: 443"),
            _ => format!("type: http, url: 'https://{host}/health'"),
        };
        let tags = format!("{{env: prod, team: team {}}}", n % 7);
        writeln!(text, "  - {{name: Monitor {n}, {what}, tags: {tags}}}").unwrap();
    }
    text
}
