//! The functions that `tests/fuzz` gives to a fuzzer, on data that is changed at random: a second in the suite, or as long as
//! `KUMADB_FUZZ_SECONDS` says.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use kumadb::backup::Store;
use kumadb::formats::foreign::ForeignFormat;

use crate::support::chance::Chance;
use crate::support::lab::Lab;

#[path = "../../fuzz/tried.rs"]
mod tried;

/// Files of other tools, with their syntax as `tried::foreign` counts them.
const FILES: [(ForeignFormat, u8, &str); 13] = [
    (ForeignFormat::KumaV1, 1, "kuma-v1.json"),
    (ForeignFormat::MonitorList, 1, "monitor-list.json"),
    (ForeignFormat::MonitorList, 1, "monitor-list-wrapped.json"),
    (ForeignFormat::Autokuma, 1, "autokuma/stack.json"),
    (ForeignFormat::Autokuma, 2, "autokuma/wiki.toml"),
    (ForeignFormat::Autokuma, 4, "autokuma/labels.env"),
    (ForeignFormat::Kumaconf, 1, "kumaconf.json"),
    (ForeignFormat::Csv, 3, "monitors.csv"),
    (ForeignFormat::UptimeRobot, 3, "uptimerobot.csv"),
    (ForeignFormat::UptimeRobot, 1, "uptimerobot.json"),
    (ForeignFormat::LoaderToml, 2, "loader.toml"),
    (ForeignFormat::YamlList, 0, "groups.yaml"),
    (ForeignFormat::Lines, 4, "lines.txt"),
];

fn read(path: &str) -> Vec<u8> {
    let bytes = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    if path.ends_with(".zst") { zstd::decode_all(bytes.as_slice()).unwrap() } else { bytes }
}

fn mutate(bytes: &mut Vec<u8>, others: &[Vec<u8>], chance: &mut Chance) {
    for _ in 0..1 + chance.below(6) {
        let at = chance.below(bytes.len());
        let end = (at + 1 + chance.below(40)).min(bytes.len());
        match chance.below(7) {
            0 => bytes[at] ^= 1 << chance.below(8),
            1 => chance.fill(&mut bytes[at..end]),
            2 => bytes[at..end].fill([0, 0xff, 0x80][chance.below(3)]),
            3 => drop(bytes.drain(at..end)),
            4 => {
                let piece = bytes[at..end].to_vec();
                let place = chance.below(bytes.len());
                bytes.splice(place..place, piece);
            }
            5 => {
                let other = &others[chance.below(others.len())];
                let from = chance.below(other.len());
                let piece = &other[from..(from + 1 + chance.below(200)).min(other.len())];
                bytes.splice(at..at, piece.iter().copied());
            }
            _ => {
                // A number in a header or a cell, of two or four bytes.
                let number = (chance.next() as u32).to_be_bytes();
                let end = (at + [2, 4][chance.below(2)]).min(bytes.len());
                bytes[at..end].copy_from_slice(&number[..end - at]);
            }
        }
        if bytes.is_empty() {
            bytes.push(0);
        }
    }
}

/// What is kept for `target`: inputs that a fuzzer began with or found.
fn seeds_of(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds").join(target);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// Gives `tried` the seeds of `target`, then that and `seeds`, changed at random.
fn run(target: &str, seeds: Vec<Vec<u8>>, seed: u64, tried: fn(&[u8])) {
    let kept = seeds_of(target);
    kept.iter().for_each(|bytes| tried(bytes));
    let seeds = [seeds, kept].concat();
    let seconds = std::env::var("KUMADB_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut chance = Chance::new(seed);
    let mut count = 0;
    while Instant::now() < end {
        let mut bytes = seeds[chance.below(seeds.len())].clone();
        mutate(&mut bytes, &seeds, &mut chance);
        let began = Instant::now();
        tried(&bytes);
        assert!(began.elapsed() < Duration::from_secs(20), "{} bytes take too long", bytes.len());
        count += 1;
    }
    eprintln!("{count} mutations");
}

#[test]
fn no_page_makes_the_walker_stumble() {
    let mut seeds = Vec::new();
    for release in ["1.23.17", "2.0.2", "2.5.3"] {
        let file = read(&format!("fixtures/data/{release}-sqlite/kuma.db.zst"));
        let wal = read(&format!("fixtures/data/{release}-sqlite/kuma.db-wal.zst"));
        seeds.push([&[128, 0], file.as_slice()].concat());
        // Some pages of the WAL are as good as all of them.
        let wal = &wal[..32 + 40 * (24 + 4096)];
        let share = file.len() * 256 / (file.len() + wal.len());
        seeds.push([&[share as u8, 0], file.as_slice(), wal].concat());
    }
    run("pages", seeds, 11, tried::pages);
}

#[test]
fn no_document_makes_the_reader_stumble() {
    let read = |syntax: u8, path: &str| [&[syntax], read(path).as_slice()].concat();
    let seeds = [
        read(0, "fixtures/homelab.yaml"),
        read(0, "fixtures/everything.yaml"),
        read(0, "fixtures/tour.yaml"),
        read(1, "fixtures/foreign/kumaconf.json"),
        read(2, "fixtures/foreign/loader.toml"),
        read(3, "fixtures/foreign/monitors.csv"),
    ];
    run("documents", seeds.into(), 12, tried::documents);
}

#[test]
fn no_foreign_file_makes_a_converter_stumble() {
    // Format and syntax, as `tried::foreign` reads them.
    let read = |format: ForeignFormat, syntax: u8, path: &str| {
        let format = ForeignFormat::ALL.iter().position(|one| *one == format).unwrap() as u8;
        [&[format, syntax], read(&format!("fixtures/foreign/{path}")).as_slice()].concat()
    };
    let seeds = FILES.map(|(format, syntax, path)| read(format, syntax, path)).into();
    run("foreign", seeds, 13, tried::foreign);
}

#[test]
fn no_archive_makes_the_reader_stumble() {
    let lab = Lab::sqlite("2.5.3");
    lab.ok("backup create");
    let folder = fs::read_dir(lab.store()).unwrap().next().unwrap().unwrap().path();
    let archive = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).find(|path| Store::is_archive(path));
    let archive = fs::read(archive.unwrap()).unwrap();
    let tar = zstd::decode_all(archive.as_slice()).unwrap();
    run("archives", vec![[&[0], tar.as_slice()].concat(), [&[1], archive.as_slice()].concat()], 14, tried::archives);
}
