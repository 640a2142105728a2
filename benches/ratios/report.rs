//! The table of results.

use std::time::{Duration, Instant};

/// The target.
#[derive(Clone, Copy, Debug)]
pub enum Limit {
    /// At most this long.
    Time(Duration),
    /// At most this many times as long as the compared tool.
    Ratio(f64),
    /// At most this much longer than the compared tool.
    More(Duration),
    /// At most this peak memory, in MB.
    Memory(f64),
    /// No target.
    None,
}

struct Line {
    cells: [String; 7],
}

/// All lines, in the order they were measured.
pub struct Report {
    /// Number of runs of each benchmark; the median is shown.
    pub runs: usize,
    lines: Vec<Line>,
}

impl Report {
    pub fn new(runs: usize) -> Report {
        Report { runs, lines: Vec::new() }
    }

    /// Prints a line of progress output.
    pub fn say(&self, line: &str) {
        eprintln!("… {line}");
    }

    /// Adds a line with a time, and the time of the tool that it is compared with.
    pub fn time(&mut self, what: &str, ours: &[Duration], other: Option<(&str, &[Duration])>, limit: Limit) {
        let mine = median(ours);
        let beside = other.map(|(name, times)| (name, median(times)));
        let met = match (limit, beside) {
            (Limit::Time(most), _) => Some(mine <= most),
            (Limit::Ratio(most), Some((_, other))) => Some(mine.as_secs_f64() <= most * other.as_secs_f64()),
            (Limit::More(most), Some((_, other))) => Some(mine <= other + most),
            _ => None,
        };
        let request = match limit {
            Limit::Time(most) => format!("≤ {}", text(most)),
            Limit::Ratio(most) => format!("≤ {most} ×"),
            Limit::More(most) => format!("≤ + {}", text(most)),
            _ => String::new(),
        };
        let ratio = match (limit, beside) {
            (Limit::More(_), Some((_, other))) => format!("{:+.2} s", mine.as_secs_f64() - other.as_secs_f64()),
            (_, Some((_, other))) => format!("{:.2} ×", mine.as_secs_f64() / other.as_secs_f64()),
            (_, None) => String::new(),
        };
        let (name, theirs) =
            beside.map_or((String::new(), String::new()), |(name, time)| (name.to_owned(), text(time)));
        self.push([what.to_owned(), text(mine), name, theirs, ratio, request, verdict(met)]);
    }

    /// Adds a line with a peak memory usage.
    pub fn memory(&mut self, what: &str, megabytes: Option<f64>, limit: Limit) {
        let Some(megabytes) = megabytes else {
            return self.left_out(what, "GNU time (apt-get install time)");
        };
        let (request, met) = match limit {
            Limit::Memory(most) => (format!("≤ {most} MB"), Some(megabytes <= most)),
            _ => (String::new(), None),
        };
        let none = String::new;
        self.push([what.to_owned(), format!("{megabytes:.0} MB"), none(), none(), none(), request, verdict(met)]);
    }

    /// Adds a line for a benchmark that was skipped.
    pub fn left_out(&mut self, what: &str, missing: &str) {
        let none = String::new;
        self.push([what.to_owned(), "skipped".into(), format!("requires {missing}"), none(), none(), none(), none()]);
    }

    fn push(&mut self, cells: [String; 7]) {
        self.lines.push(Line { cells });
    }

    pub fn print(&self) {
        let head = ["operation", "kumadb", "compared with", "time", "ratio", "target", "met"].map(str::to_owned);
        let all: Vec<&[String; 7]> = std::iter::once(&head).chain(self.lines.iter().map(|line| &line.cells)).collect();
        let widths: Vec<usize> =
            (0..7).map(|at| all.iter().map(|cells| cells[at].chars().count()).max().unwrap_or(0)).collect();
        println!("Medians of {} runs.\n", self.runs);
        for (n, cells) in all.iter().enumerate() {
            let line: Vec<String> =
                cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}", width = *width)).collect();
            println!("| {} |", line.join(" | "));
            if n == 0 {
                println!("|{}|", widths.iter().map(|width| "-".repeat(width + 2)).collect::<Vec<_>>().join("|"));
            }
        }
    }
}

/// Runs `work`; returns its duration and its result.
pub fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let begun = Instant::now();
    let given = work();
    (begun.elapsed(), given)
}

pub fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort();
    times[times.len() / 2]
}

fn verdict(met: Option<bool>) -> String {
    met.map_or("", |met| if met { "yes" } else { "NO" }).to_owned()
}

fn text(time: Duration) -> String {
    match time.as_secs_f64() {
        seconds if seconds < 1.0 => format!("{:.0} ms", seconds * 1000.0),
        seconds => format!("{seconds:.2} s"),
    }
}
