//! How long things take beside what a person would use instead, all in one run. `cargo bench`; see docs/performance.md.
//!
//! Nothing here fails because it was slow: the table says what was reached, and a person judges.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod backup;
#[allow(dead_code, reason = "shared with the tests")]
#[path = "../../tests/it/dockerd.rs"]
mod dockerd;
mod document;
mod downtime;
mod far;
mod fleet;
mod history;
#[allow(dead_code, reason = "shared with the tests")]
#[path = "../../tests/it/mariadbd.rs"]
mod mariadbd;
#[path = "../../tests/it/need.rs"]
mod need;
mod place;
mod read;
mod report;
mod salvage;
mod socket;
mod write;

use report::Report;

const USAGE: &str = "usage: cargo bench -- [write] [document] [backup] [list] [status] [doctor] [downtime] [fleet] \
    [history] [salvage] [far] [--runs N]";

fn main() {
    let mut parts = Vec::new();
    let mut runs = 5;
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            // What cargo says to every benchmark.
            "--bench" => {}
            "--runs" => runs = words.next().and_then(|n| n.parse().ok()).filter(|n| *n > 0).expect(USAGE),
            "write" | "document" | "backup" | "list" | "status" | "doctor" | "downtime" | "fleet" | "history"
            | "salvage" | "far" => {
                parts.push(word);
            }
            _ => panic!("{USAGE}"),
        }
    }
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| wanted == part);
    if cfg!(debug_assertions) {
        println!("This is not an optimised build; its figures say nothing.");
    }
    let mut report = Report::new(runs);
    if wanted("write") {
        write::run(&mut report);
    }
    if wanted("document") {
        document::run(&mut report);
    }
    if wanted("backup") {
        backup::run(&mut report);
    }
    if wanted("list") {
        read::list(&mut report);
    }
    if wanted("status") {
        read::status(&mut report);
    }
    if wanted("doctor") {
        read::doctor(&mut report);
    }
    if wanted("downtime") {
        downtime::run(&mut report);
    }
    if wanted("far") {
        far::run(&mut report);
    }
    if wanted("fleet") {
        fleet::run(&mut report);
    }
    if wanted("history") {
        history::run(&mut report);
    }
    if wanted("salvage") {
        salvage::run(&mut report);
    }
    report.print();
}
