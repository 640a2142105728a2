//! `kumadb restore`

use clap::Args;
use serde_json::{Value as Json, json};

use super::write::{WriteArgs, finish, outcome_json, read_state};
use super::{Context, Ui};
use crate::error::{Error, Exit, Result, bytes};
use crate::kuma::read::read_counts;
use crate::run::{self, Work};

#[derive(Args, Debug)]
pub struct RestoreArgs {
    /// Id of the snapshot (or its beginning), an archive, or `latest`
    snapshot: String,
    #[command(flatten)]
    write: WriteArgs,
}

pub fn run(args: &RestoreArgs, context: &mut Context<'_>) -> Result<Exit> {
    let instance = context.instance()?;
    let store = context.store();
    let snapshot = store.find(&args.snapshot, &instance.origin())?;
    let manifest = &snapshot.manifest;
    if manifest.engine != instance.engine() {
        return Err(Error::Refused(format!(
            "snapshot `{}` is of {}, the instance is on {}",
            manifest.id,
            manifest.engine,
            instance.engine()
        )));
    }
    let state = read_state(&instance)?;
    let migrations: Vec<String> = state.database.migrations.iter().cloned().collect();
    if manifest.migrations != migrations {
        return Err(Error::Refused(format!(
            "snapshot `{}` is of release {}, the instance is of {}: run the image of that release first",
            manifest.id, manifest.release, state.database.release
        )));
    }
    let session = instance.open()?;
    let counted = session.connect().reader().and_then(|mut reader| read_counts(&mut *reader, &state.database.schema));
    session.close()?;
    let now = counted?;
    let differs: Vec<(&String, u64, u64)> =
        now.iter().map(|(table, n)| (table, *n, manifest.rows(table))).filter(|(_, now, then)| now != then).collect();
    let rows =
        differs.iter().map(|(table, now, then)| vec![(*table).clone(), now.to_string(), then.to_string()]).collect();
    let created = manifest.created.format("%Y-%m-%d %H:%M:%S UTC");
    let table = Ui::table(&["table", "rows now", "rows then"], rows);
    let comparison: Vec<Json> =
        differs.iter().map(|(table, now, then)| json!({"table": table, "now": now, "then": then})).collect();

    let scratch = instance.work().join("restoring");
    let settings = args.write.settings("restore");
    if args.write.is_dry_run() {
        snapshot.verify()?;
        let document = json!({"dry_run": true, "snapshot": manifest.id, "differs": comparison});
        context.ui.result(&document, || format!("{table}\n`{}` is whole; nothing was changed", manifest.id))?;
        return Ok(Exit::Done);
    }
    if !differs.is_empty() {
        context.ui.say(&table);
    }
    if manifest.origin != instance.origin() {
        context.ui.warn(&format!("snapshot `{}` was taken of another instance, at {}", manifest.id, manifest.origin));
    }
    context.ui.ask(&format!("put `{}` back to {created} ({})?", instance.name, bytes(manifest.size())))?;
    let _lock = instance.lock("restore")?;
    let unpacked = snapshot.unpack(&scratch);
    drop(_lock);
    let done = unpacked.and_then(|held| run::run(&instance, &store, &Work::Load(&held), &settings, context.ui));
    crate::files::remove_folder(&scratch)?;
    let outcome = done?;
    let mut document = json!({"restored": manifest.id, "differs": comparison});
    if let Some(document) = document.as_object_mut() {
        document.extend(outcome_json(&outcome));
    }
    context.ui.result(&document, || format!("`{}` is as it was at {created}", instance.name))?;
    finish(&outcome, context.ui)
}
