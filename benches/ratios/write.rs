//! The write phase, from the verified copy to the commit, compared with the same rows as plain SQL through the engine's client.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use kumadb::backup::Store;
use kumadb::engine::{EngineKind, quote};
use kumadb::error::Result;
use kumadb::operation::{self, Observer, Settings, Step, Transaction};
use kumadb::plan::{Cell, Change, Plan};
use kumadb::value::Value;

use crate::mariadbd::Mariadbd;
use crate::need;
use crate::place::{Place, plan, time_client};
use crate::report::{Limit, Report, median, timed};

const MONITORS: usize = 10_000;

/// Rows per statement in the optimized SQL file.
const TOGETHER: usize = 200;

pub fn run(report: &mut Report) {
    on_sqlite(report);
    on_mariadb(report);
}

fn on_sqlite(report: &mut Report) {
    let empty = Place::folder();
    let mut times = Times::default();
    let mut files = None;
    for n in 1..=report.runs {
        report.say(&format!("10,000 monitors into SQLite, {n}"));
        let place = empty.copy();
        let (planning, plan) = timed(|| plan(&place.state(), MONITORS));
        times.planning.push(planning);
        files.get_or_insert_with(|| write_files(&plan, empty.root(), EngineKind::Sqlite));
        times.write(&place, &plan);
    }
    let mut plain = [Vec::new(), Vec::new()];
    if need::program(&["sqlite3"]).is_some() {
        for _ in 0..report.runs {
            for (sql, times) in files.iter().flatten().zip(&mut plain) {
                let place = empty.copy();
                let mut client = Command::new("sqlite3");
                client.args(["-batch", "-bail"]).arg(place.file());
                times.push(time_client(client, sql));
            }
        }
    }
    times.tell(report, "SQLite", "sqlite3", &plain, Duration::from_millis(500));
}

fn on_mariadb(report: &mut Report) {
    let Some(mariadbd) = Mariadbd::start() else {
        return report.left_out("10,000 monitors, MariaDB", "MariaDB (apt-get install mariadb-server)");
    };
    let mut times = Times::default();
    let mut plain = [Vec::new(), Vec::new()];
    let mut files = None;
    for n in 1..=report.runs {
        report.say(&format!("10,000 monitors into MariaDB, {n}"));
        let place = Place::database(&mariadbd, "ours");
        let (planning, plan) = timed(|| plan(&place.state(), MONITORS));
        times.planning.push(planning);
        let files = files.get_or_insert_with(|| {
            let folder = tempfile::tempdir().unwrap();
            (write_files(&plan, folder.path(), EngineKind::MariaDb), folder)
        });
        times.write(&place, &plan);
        mariadbd.sql("", "DROP DATABASE ours");
        for (sql, times) in files.0.iter().zip(&mut plain) {
            let _place = Place::database(&mariadbd, "theirs");
            let (time, ()) = timed(|| mariadbd.source("theirs", sql));
            times.push(time);
            mariadbd.sql("", "DROP DATABASE theirs");
        }
    }
    times.tell(report, "MariaDB", "mariadb", &plain, Duration::from_millis(1500));
}

/// Duration of each part of the write, for each run.
#[derive(Default)]
struct Times {
    planning: Vec<Duration>,
    holding: Vec<Duration>,
    opening: Vec<Duration>,
    writing: Vec<Duration>,
    reading_back: Vec<Duration>,
    checking: Vec<Duration>,
    committing: Vec<Duration>,
    phase: Vec<Duration>,
}

impl Times {
    fn write(&mut self, place: &Place, plan: &Plan) {
        let store = Store::new(place.root().join("store"));
        let mut clock = Clock::default();
        operation::run(&place.instance(), &store, Transaction::Plan(plan), &Settings::new("bench"), &mut clock)
            .unwrap();
        let at = |name: &str| clock.0.iter().find(|(step, _)| step.starts_with(name)).expect(name).1;
        let between = |from: &str, to: &str| at(to) - at(from);
        self.holding.push(between("Hold ", "Held"));
        self.opening.push(between("Held", "Write"));
        self.writing.push(between("Write", "ReadBack"));
        self.reading_back.push(between("ReadBack", "Check"));
        self.checking.push(between("Check", "Commit"));
        self.committing.push(between("Commit", "Committed"));
        self.phase.push(between("Held", "Committed"));
    }

    fn tell(&self, report: &mut Report, engine: &str, client: &str, plain: &[Vec<Duration>; 2], most: Duration) {
        let what = format!("10,000 monitors, {engine}: write phase");
        report.time(&what, &self.phase, None, Limit::Time(most));
        if plain[0].is_empty() {
            report.left_out(&what, client);
        } else {
            let one = format!("{client}, INSERTs of one row");
            report.time(&what, &self.phase, Some((&one, &plain[0])), Limit::Ratio(1.5));
            let many = format!("{client}, INSERTs of {TOGETHER} rows");
            report.time(&what, &self.phase, Some((&many, &plain[1])), Limit::None);
        }
        let parts = [
            ("reading and planning, before", &self.planning),
            ("holding the copy, before", &self.holding),
            ("fingerprint, begin", &self.opening),
            ("writing", &self.writing),
            ("reading back", &self.reading_back),
            ("checking", &self.checking),
            ("committing", &self.committing),
        ];
        let parts: Vec<String> =
            parts.iter().map(|(name, times)| format!("{name} {} ms", median(times).as_millis())).collect();
        report.say(&format!("{engine}: {}", parts.join(", ")));
    }
}

/// Start times of the steps.
#[derive(Default)]
struct Clock(Vec<(String, Instant)>);

impl Observer for Clock {
    fn step(&mut self, step: &Step) -> Result<()> {
        self.0.push((format!("{step:?} "), Instant::now()));
        Ok(())
    }
}

/// The rows of `plan` as SQL in one transaction: once with one statement per row, once with one statement for
/// many rows.
fn write_files(plan: &Plan, folder: &Path, engine: EngineKind) -> [PathBuf; 2] {
    let mut ids = Vec::new();
    let mut next = std::collections::BTreeMap::new();
    for step in &plan.steps {
        let id: &mut i64 = next.entry(&step.table).or_default();
        *id += 1;
        ids.push(*id);
    }
    let rows: Vec<(String, String)> = plan
        .steps
        .iter()
        .zip(&ids)
        .map(|(step, id)| {
            let Change::Insert { columns, cells } = &step.change else { panic!("only inserts") };
            let names: Vec<String> = columns.iter().map(|column| quote(column)).collect();
            let cells: Vec<String> = cells
                .iter()
                .map(|cell| match cell {
                    Cell::Is(value) => literal(value, engine),
                    Cell::IdOf(at) => ids[*at].to_string(),
                })
                .collect();
            let head = format!("INSERT INTO {} ({}, `id`) VALUES ", quote(&step.table), names.join(", "));
            (head, format!("({}, {id})", cells.join(", ")))
        })
        .collect();
    [1, TOGETHER].map(|together| {
        let mut sql = String::from("BEGIN;\n");
        for like in rows.chunk_by(|(one, _), (other, _)| one == other) {
            for batch in like.chunks(together) {
                let values: Vec<&str> = batch.iter().map(|(_, row)| row.as_str()).collect();
                writeln!(sql, "{}{};", batch[0].0, values.join(", ")).unwrap();
            }
        }
        sql.push_str("COMMIT;\n");
        let path = folder.join(format!("rows-{together}.sql"));
        std::fs::write(&path, sql).unwrap();
        path
    })
}

fn literal(value: &Value, engine: EngineKind) -> String {
    match value {
        Value::Text(text) => {
            let text = text.replace('\'', "''");
            let text = if engine == EngineKind::MariaDb { text.replace('\\', "\\\\") } else { text };
            format!("'{text}'")
        }
        Value::Real(x) => format!("{x:?}"),
        value => value.to_string(),
    }
}
