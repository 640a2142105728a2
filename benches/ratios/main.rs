//! Measures kumadb and the tools that users would otherwise use, in one run: `cargo bench --features bench`; see docs/performance.md.
//!
//! A benchmark never fails because it is slow: the table shows the results and the targets.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]
#![allow(
    clippy::too_many_lines,
    clippy::too_many_arguments,
    reason = "a measurement is read from its beginning to its end"
)]

mod backup;
#[allow(dead_code, reason = "shared with the tests")]
#[path = "../../tests/it/support/cloud.rs"]
mod cloud;
mod convert;
mod curve;
#[allow(dead_code, reason = "shared with the tests")]
#[path = "../../tests/it/support/dockerd.rs"]
mod dockerd;
mod downtime;
mod fixture;
mod fleet;
mod growth;
mod history;
#[allow(dead_code, reason = "shared with the tests")]
#[path = "../../tests/it/support/mariadbd.rs"]
mod mariadbd;
#[path = "../../tests/it/support/need.rs"]
mod need;
mod place;
mod read;
mod remote;
mod report;
mod salvage;
mod socket;
mod upgrade;
mod write;

use report::Report;

const USAGE: &str = "usage: cargo bench --features bench -- [write] [fixture] [large] [lists] [backup] [s3] [list] [state] [report] [status] [doctor] [downtime] [fleet] \
    [history] [salvage] [upgrade] [convert] [remote] [growth] [--runs N]";

fn main() {
    let mut parts = Vec::new();
    let mut runs = 5;
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            // Cargo passes this option to every benchmark.
            "--bench" => {}
            "--runs" => runs = words.next().and_then(|n| n.parse().ok()).filter(|n| *n > 0).expect(USAGE),
            "write" | "fixture" | "large" | "lists" | "backup" | "s3" | "list" | "state" | "report" | "status"
            | "doctor" | "downtime" | "fleet" | "history" | "salvage" | "upgrade" | "convert" | "remote" | "growth" => {
                parts.push(word);
            }
            _ => panic!("{USAGE}"),
        }
    }
    let desired = |part: &str| parts.is_empty() || parts.iter().any(|desired| desired == part);
    if cfg!(debug_assertions) {
        println!("This is not an optimized build; its figures are not meaningful.");
    }
    let mut report = Report::new(runs);
    if desired("write") {
        write::run(&mut report);
    }
    if desired("fixture") {
        fixture::run(&mut report);
    }
    if desired("large") {
        fixture::large(&mut report);
    }
    if desired("lists") {
        fixture::lists(&mut report);
    }
    if desired("backup") {
        backup::run(&mut report);
    }
    if desired("s3") {
        backup::list_s3(&mut report);
    }
    if desired("list") {
        read::list(&mut report);
    }
    if desired("state") {
        read::state(&mut report);
    }
    if desired("report") {
        read::html(&mut report);
    }
    if desired("status") {
        read::status(&mut report);
    }
    if desired("doctor") {
        read::doctor(&mut report);
    }
    if desired("downtime") {
        downtime::run(&mut report);
    }
    if desired("convert") {
        convert::run(&mut report);
    }
    if desired("remote") {
        remote::run(&mut report);
    }
    if desired("fleet") {
        fleet::run(&mut report);
        fleet::many(&mut report);
    }
    if desired("history") {
        history::run(&mut report);
    }
    if desired("salvage") {
        salvage::run(&mut report);
    }
    if desired("upgrade") {
        upgrade::run(&mut report);
    }
    // It writes a page of the documentation, so only where it is named.
    if parts.iter().any(|part| part == "growth") {
        growth::run(&mut report);
    }
    report.print();
}
