//! Metrics of a job for Prometheus, in the format of node exporter's text file collector.

use std::io::Write as _;

use chrono::{DateTime, Utc};

use super::result::{RunResult, StoredCopy};
use super::state::JobNote;
use crate::config::Job;
use crate::error::Result;
use crate::files;

/// One metric, with its value for each set of labels.
struct Metric {
    name: &'static str,
    help: &'static str,
    values: Vec<(String, String)>,
}

/// Writes the metrics of `job` atomically.
pub fn write(job: &Job, ended: &RunResult, note: &JobNote) -> Result<()> {
    let Some(path) = &job.metrics else { return Ok(()) };
    let text = render(&job.name, ended, note);
    files::write_output(path, 0o644, |file| file.write_all(text.as_bytes()))
}

fn render(job: &str, ended: &RunResult, note: &JobNote) -> String {
    let mut text = String::new();
    for Metric { name, help, values } in of_job(job, ended, note).into_iter().chain(of_copies(job, ended, note)) {
        if !values.is_empty() {
            text += &format!("# HELP kumadb_backup_{name} {help}\n# TYPE kumadb_backup_{name} gauge\n");
        }
        for (labels, value) in values {
            text += &format!("kumadb_backup_{name}{{{labels}}} {value}\n");
        }
    }
    text
}

/// Metrics of the whole run.
fn of_job(job: &str, ended: &RunResult, note: &JobNote) -> Vec<Metric> {
    let one = |name, help, value: Option<String>| {
        let values = value.map(|value| (labels(&[("job", job)]), value)).into_iter().collect();
        Metric { name, help, values }
    };
    let success = u8::from(ended.is_good()).to_string();
    vec![
        one("job_last_run_timestamp_seconds", "Time when the last run of the job finished.", Some(seconds(ended.at))),
        one(
            "job_last_success_timestamp_seconds",
            "Time when a run of the job last succeeded.",
            note.succeeded.map(seconds),
        ),
        one("job_last_run_success", "Whether the last run of the job succeeded.", Some(success)),
        one("job_last_run_duration_seconds", "Duration of the last run.", Some(ended.took.as_secs_f64().to_string())),
        one("job_last_run_snapshots", "Number of snapshots of the last run.", Some(ended.taken.len().to_string())),
    ]
}

/// Metrics of each instance in each store.
fn of_copies(job: &str, ended: &RunResult, note: &JobNote) -> Vec<Metric> {
    let each = |name, help, value: &dyn Fn(&StoredCopy) -> Option<String>| {
        let labeled = |copy: &StoredCopy| {
            let labels = labels(&[("job", job), ("instance", &copy.instance), ("store", &copy.store)]);
            value(copy).map(|value| (labels, value))
        };
        Metric { name, help, values: ended.copies.iter().filter_map(labeled).collect() }
    };
    let last = |copy: &StoredCopy| note.copied.get(&copy.instance)?.get(&copy.store).copied().map(seconds);
    let size = |copy: &StoredCopy| copy.snapshot.as_ref().map(|(_, size)| size.to_string());
    let took = |copy: &StoredCopy| copy.snapshot.as_ref().map(|_| copy.took.as_secs_f64().to_string());
    vec![
        each("last_run_timestamp_seconds", "Time when a snapshot was last attempted.", &|_| Some(seconds(ended.at))),
        each("last_success_timestamp_seconds", "Time when a good snapshot was last stored.", &last),
        each("last_run_success", "Whether the last run stored a good snapshot.", &|copy| {
            Some(u8::from(copy.good).to_string())
        }),
        each("last_run_size_bytes", "Size of the snapshot of the last run.", &size),
        each("last_run_duration_seconds", "Duration of the snapshot of the last run.", &took),
    ]
}

fn seconds(time: DateTime<Utc>) -> String {
    time.timestamp().to_string()
}

/// Labels as between braces, their values escaped as the text format requires.
fn labels(pairs: &[(&str, &str)]) -> String {
    let escape = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let one = |(name, value): &(&str, &str)| format!("{name}=\"{}\"", escape(value));
    pairs.iter().map(one).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_labels_are_escaped() {
        assert_eq!(labels(&[("job", "a"), ("store", "b\"\\\n")]), "job=\"a\",store=\"b\\\"\\\\\\n\"");
    }
}
