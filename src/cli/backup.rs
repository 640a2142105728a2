//! `kumadb backup …`

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value as Json, json};

use super::{Context, Ui};
use crate::backup::{Drill, Extent, Snapshot};
use crate::error::{Exit, Result, bytes, counted};
use crate::run::take;

#[derive(Debug, Subcommand)]
pub enum BackupVerb {
    /// Take a snapshot while the server runs, and prove it
    Create(CreateArgs),
    /// List the snapshots of the store
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Read snapshots back and compare every byte with what was packed
    Verify(VerifyArgs),
}

#[derive(Args, Debug)]
pub struct CreateArgs {
    /// Leave out the history: no beats, no statistics
    #[arg(long)]
    config_only: bool,
    /// SQLite: leave out free pages; takes longer
    #[arg(long)]
    compact: bool,
    /// Take along screenshots/
    #[arg(long)]
    screenshots: bool,
    /// How deep the engine checks what was copied
    #[arg(long, value_name = "DEPTH", value_enum, default_value_t)]
    verify: VerifyDepth,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum VerifyDepth {
    /// Structure and references
    #[default]
    Quick,
    /// Everything: SQLite integrity_check, MariaDB CHECK TABLE EXTENDED
    Full,
}

impl CreateArgs {
    fn extent(&self) -> Extent {
        Extent {
            config_only: self.config_only,
            compact: self.compact,
            full_check: self.verify == VerifyDepth::Full,
            screenshots: self.screenshots,
        }
    }
}

#[derive(Args, Debug)]
pub struct ListArgs {
    /// Only those of this instance
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
}

#[derive(Args, Debug)]
pub struct VerifyArgs {
    /// Ids, archives, or `latest`; without any, all of the store
    snapshots: Vec<String>,
    /// Restore each into a place of its own and compare every table; of MariaDB this needs `mariadbd` on this machine
    #[arg(long)]
    drill: bool,
}

pub fn run(verb: &BackupVerb, context: &mut Context<'_>) -> Result<Exit> {
    match verb {
        BackupVerb::Create(args) => create(args, context),
        BackupVerb::List(args) => list(args, context),
        BackupVerb::Verify(args) => verify(args, context),
    }
}

fn create(args: &CreateArgs, context: &mut Context<'_>) -> Result<Exit> {
    let instance = context.instance()?;
    let store = context.store();
    let snapshot = take(&instance, &store, "backup create", &args.extent(), context.ui)?;
    context.ui.result(&document(&snapshot), || {
        format!("snapshot {} of `{}`: {}", snapshot.manifest.id, instance.name, words(&snapshot))
    })?;
    Ok(Exit::Done)
}

fn list(args: &ListArgs, context: &mut Context<'_>) -> Result<Exit> {
    let store = context.store();
    let listing = store.list()?;
    let mut all = listing.snapshots;
    all.retain(|snapshot| args.instance.as_ref().is_none_or(|name| snapshot.manifest.instance == *name));
    let documents: Vec<Json> = all.iter().map(document).collect();
    context.ui.result(&json!({"store": store.folder(), "snapshots": documents}), || {
        if all.is_empty() {
            return format!("no snapshots in `{}`", store.folder().display());
        }
        let row = |snapshot: &Snapshot| {
            let manifest = &snapshot.manifest;
            vec![
                manifest.id.clone(),
                manifest.created.format("%Y-%m-%d %H:%M:%S").to_string(),
                manifest.instance.clone(),
                manifest.engine.to_string(),
                manifest.release.clone(),
                manifest.rows("monitor").to_string(),
                manifest.rows("heartbeat").to_string(),
                bytes(snapshot.size),
                manifest.reason.clone(),
            ]
        };
        let headers = ["id", "time (utc)", "instance", "engine", "release", "monitors", "beats", "size", "made by"];
        Ui::table(&headers, all.iter().map(row).collect())
    })?;
    for error in &listing.unusable {
        context.ui.warn(&error.to_string());
    }
    Ok(if listing.unusable.is_empty() { Exit::Done } else { Exit::Partial })
}

fn verify(args: &VerifyArgs, context: &mut Context<'_>) -> Result<Exit> {
    let store = context.store();
    let mut unusable = Vec::new();
    let wanted = match args.snapshots.is_empty() {
        true => {
            let listing = store.list()?;
            unusable = listing.unusable;
            listing.snapshots
        }
        false => {
            let origin = match args.snapshots.iter().any(|wanted| wanted == "latest") {
                true => context.instance()?.origin(),
                false => String::new(),
            };
            args.snapshots.iter().map(|wanted| store.find(wanted, &origin)).collect::<Result<_>>()?
        }
    };
    let mut failed = unusable.len();
    let mut documents = Vec::new();
    let mut lines = Vec::new();
    for error in &unusable {
        lines.push(format!("FAILED: {error}"));
        documents.push(json!({"id": null, "ok": false, "error": error.to_string()}));
    }
    let scratch = args.drill.then(|| store.scratch()).transpose()?;
    let mut drill = scratch.as_ref().map(|scratch| Drill::new(scratch.path()));
    for snapshot in &wanted {
        let id = &snapshot.manifest.id;
        let mut drilled = || {
            let drill = drill.as_mut().filter(|_| !snapshot.manifest.raw);
            drill.map(|drill| drill.restore(snapshot)).transpose()
        };
        match snapshot.verify().and_then(|proof| Ok((proof, drilled()?))) {
            Ok((proof, drilled)) => {
                let mut line = format!("{id}  ok, {} files, {}", proof.members, bytes(proof.bytes));
                let mut document = json!({"id": id, "ok": true, "files": proof.members, "bytes": proof.bytes});
                if let Some(drilled) = drilled {
                    let seconds = drilled.took.as_secs_f64();
                    line.push_str(&format!(
                        ", restored in {seconds:.1} s: {} with {} as they were",
                        counted(drilled.tables, "table"),
                        counted(drilled.rows as usize, "row")
                    ));
                    document["drill"] = json!({"tables": drilled.tables, "rows": drilled.rows, "seconds": seconds});
                }
                lines.push(line);
                documents.push(document);
            }
            Err(error) => {
                failed += 1;
                lines.push(format!("{id}  FAILED: {error}"));
                documents.push(json!({"id": id, "ok": false, "error": error.to_string()}));
            }
        }
    }
    context.ui.result(&json!({"snapshots": documents}), || match lines.is_empty() {
        true => format!("no snapshots in `{}`", store.folder().display()),
        false => lines.join("\n"),
    })?;
    Ok(if failed == 0 { Exit::Done } else { Exit::Verification })
}

fn words(snapshot: &Snapshot) -> String {
    let manifest = &snapshot.manifest;
    format!(
        "{}, {}, {} packed to {}; proven: {}",
        counted(manifest.rows("monitor") as usize, "monitor"),
        counted(manifest.rows("heartbeat") as usize, "beat"),
        bytes(manifest.size()),
        bytes(snapshot.size),
        manifest.verified.join(", "),
    )
}

fn document(snapshot: &Snapshot) -> Json {
    json!({"path": snapshot.path, "size_bytes": snapshot.size, "manifest": snapshot.manifest})
}
