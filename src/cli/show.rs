//! `kumadb backup show`

use clap::Args;
use serde_json::json;

use super::snapshots::{document, find};
use super::store::KeyArgs;
use super::{Context, Ui};
use crate::backup::store::RestoreTestRecord;
use crate::backup::{Manifest, Snapshot, unpack_first};
use crate::error::{Exit, Result};
use crate::kuma::read::read_shown_state;
use crate::text::{bytes, counted, lines};
use crate::value::local_time;

#[derive(Args, Debug)]
pub struct ShowArgs {
    /// Select the snapshot: an id or an id prefix, a path, or `latest`
    pub snapshot: String,
    /// List the monitors in it; reads the whole archive
    #[arg(long)]
    monitors: bool,
    #[command(flatten)]
    pub keys: KeyArgs,
}

pub fn run(args: &ShowArgs, context: &mut Context<'_>) -> Result<Exit> {
    let keys = if args.monitors { args.keys.keys_or_ask(context.ui)? } else { args.keys.keys()? };
    let stores = context.stores()?.with_keys(&keys);
    let copies = find(&stores, &args.snapshot, context)?;
    let monitors = if args.monitors {
        let scratch = stores.scratch()?;
        let warn = &mut |error: &_| context.ui.warn(&format!("{error}"));
        let staged = unpack_first(&copies, &scratch.path().join("held"), warn)?;
        let state = read_shown_state(&mut *staged.reader()?, "the snapshot")?;
        let mut paths: Vec<String> = state.paths().into_values().collect();
        paths.sort();
        Some(paths)
    } else {
        None
    };
    let mut restore_tests = Vec::new();
    for copy in &copies {
        restore_tests.extend(copy.restore_tests()?);
    }
    restore_tests.sort_by_key(|restore_test| restore_test.at);
    let mut result = document(&copies.iter().collect::<Vec<_>>());
    result["restore_tests"] = json!(restore_tests);
    result["monitors"] = json!(monitors);
    context.ui.result(&result, || {
        let mut parts =
            vec![summary(&copies, &restore_tests), tables(&copies[0].manifest), members(&copies[0].manifest)];
        parts.extend(monitors.iter().map(|paths| format!("{}\n{}", counted(paths.len(), "monitor"), lines(paths))));
        parts.join("\n\n")
    })?;
    Ok(Exit::Done)
}

fn summary(copies: &[Snapshot], restore_tests: &[RestoreTestRecord]) -> String {
    let first = &copies[0];
    let manifest = &first.manifest;
    let holds = match (manifest.raw, manifest.without.is_empty()) {
        (true, _) => "the files of a database that could not be read".to_owned(),
        (false, true) => "everything".to_owned(),
        (false, false) => format!("configuration only; without the rows of {}", manifest.without.join(", ")),
    };
    let pages = manifest.pages.map_or(String::new(), |pages| format!(", {}", counted(pages as usize, "page")));
    let encrypted = if first.is_encrypted() { ", encrypted" } else { "" };
    let mut rows = vec![
        ("snapshot", manifest.id.clone()),
        ("created", local_time(manifest.created)),
        ("created by", format!("{}, {}", manifest.reason, manifest.made_by)),
        ("instance", format!("{}, at {}", manifest.instance, manifest.origin)),
        ("database", format!("{}, release {}{pages}", manifest.engine, manifest.release)),
        ("contents", holds),
        ("size", format!("{} compressed to {}{encrypted}", bytes(manifest.size()), bytes(first.size))),
        ("verified", manifest.verified.join(", ")),
    ];
    rows.extend(manifest.faults.iter().map(|fault| ("known fault", format!("{fault} (already in the database)"))));
    rows.extend(restore_tests.iter().map(|restore_test| ("restore test", words(restore_test))));
    rows.extend(
        restore_tests
            .is_empty()
            .then(|| ("restore test", "none; to run one: kumadb backup verify --restore-test".to_owned())),
    );
    rows.extend(copies.iter().map(|copy| ("archive", copy.location())));
    rows.extend(manifest.archive_blake3.clone().map(|hash| ("blake3", hash)));
    let line = |(name, value): &(&str, String)| format!("{name:12}  {value}");
    lines(rows.iter().map(line))
}

fn words(restore_test: &RestoreTestRecord) -> String {
    let at = local_time(restore_test.at);
    match &restore_test.error {
        Some(error) => format!("{at}: FAILED: {error}"),
        None => {
            let (tables, rows) = (counted(restore_test.tables, "table"), counted(restore_test.rows as usize, "row"));
            format!("{at}: passed in {:.1} s: {tables} with {rows} match", restore_test.seconds)
        }
    }
}

fn tables(manifest: &Manifest) -> String {
    let row = |(table, rows): (&String, &u64)| vec![table.clone(), rows.to_string()];
    Ui::table(&["table", "rows"], manifest.counts.iter().map(row).collect())
}

fn members(manifest: &Manifest) -> String {
    let rows =
        manifest.members.iter().map(|member| vec![member.name.clone(), bytes(member.size), member.blake3.clone()]);
    Ui::table(&["file", "size", "blake3"], rows.collect())
}
