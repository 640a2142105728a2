//! `kumadb restore`

use clap::Args;
use serde_json::{Value as Json, json};

use super::store::KeyArgs;
use super::write::{WriteArgs, finish, outcome_json, read_shown_state};
use super::{Context, Ui};
use crate::backup::Manifest;
use crate::backup::store::unpack_first;
use crate::error::{Error, Exit, Result, bytes, counted};
use crate::instance::Instance;
use crate::kuma::read::read_counts;
use crate::model::state::State;
use crate::run::{self, Work};

#[derive(Args, Debug)]
pub struct RestoreArgs {
    /// Id of the snapshot (or its beginning), an archive, or `latest`
    snapshot: String,
    #[command(flatten)]
    keys: KeyArgs,
    #[command(flatten)]
    write: WriteArgs,
}

pub fn run(args: &RestoreArgs, context: &mut Context<'_>) -> Result<Exit> {
    let instance = context.instance()?;
    let stores = context.stores()?.with_keys(&args.keys.keys_or_ask()?);
    let copies = stores.find(&args.snapshot, &instance.origin(), &mut |error| context.ui.warn(&error.to_string()))?;
    let snapshot = &copies[0];
    let manifest = &snapshot.manifest;
    if manifest.engine != instance.engine() {
        return Err(Error::Refused(format!(
            "snapshot `{}` is of {}, the instance is on {}",
            manifest.id,
            manifest.engine,
            instance.engine()
        )));
    }
    if manifest.raw {
        return Err(Error::Refused(format!(
            "snapshot `{}` holds a database that could not be read even then; its files are for `tar` and an examination",
            manifest.id
        )));
    }
    let comparison = match read_shown_state(&instance) {
        Ok(state) => compare(&instance, &state, manifest)?,
        Err(error) if error.is_unreadable() => {
            context
                .ui
                .warn(&format!("{error}; its files are kept as they are, and the snapshot is put in their place"));
            Vec::new()
        }
        Err(error) => return Err(error),
    };
    let rows =
        comparison.iter().map(|(table, now, then)| vec![table.clone(), now.to_string(), then.to_string()]).collect();
    let created = manifest.created.format("%Y-%m-%d %H:%M:%S UTC");
    let table = Ui::table(&["table", "rows now", "rows then"], rows);
    let differs: Vec<Json> =
        comparison.iter().map(|(table, now, then)| json!({"table": table, "now": now, "then": then})).collect();

    let settings = args.write.settings("restore");
    if args.write.is_dry_run() {
        snapshot.verify()?;
        let document = json!({"dry_run": true, "snapshot": manifest.id, "differs": differs});
        context.ui.result(&document, || format!("{table}\n`{}` is whole; nothing was changed", manifest.id))?;
        return Ok(Exit::Done);
    }
    if !comparison.is_empty() {
        context.ui.say(&table);
    }
    if manifest.origin != instance.origin() {
        context.ui.warn(&format!("snapshot `{}` was taken of another instance, at {}", manifest.id, manifest.origin));
    }
    context.ui.ask(&format!("put `{}` back to {created} ({})?", instance.name, bytes(manifest.size())))?;
    let store = stores.local();
    let scratch = stores.scratch()?;
    let held = unpack_first(&copies, &scratch.path().join("held"), &mut |error| context.ui.warn(&error.to_string()))?;
    let outcome = run::run(&instance, store, &Work::Load(&held), &settings, context.ui)?;
    let mut document = json!({"restored": manifest.id, "differs": differs});
    if let Some(document) = document.as_object_mut() {
        document.extend(outcome_json(&outcome));
    }
    context.ui.result(&document, || format!("the database of `{}` is as it was at {created}", instance.name))?;
    let files = manifest.members.iter().filter(|member| member.name.contains('/')).count();
    if files > 0 {
        context.ui.warn(&format!(
            "{} of `upload/` and `docker-tls/` in the snapshot stay there; take them out with tar if they are missed",
            counted(files, "file")
        ));
    }
    finish(&outcome, context.ui)
}

/// Tables whose number of rows differs: name, rows now, rows in the snapshot.
fn compare(instance: &Instance, state: &State, manifest: &Manifest) -> Result<Vec<(String, u64, u64)>> {
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
    let rows = counted?.into_iter().map(|(table, now)| {
        let then = manifest.rows(&table);
        (table, now, then)
    });
    Ok(rows.filter(|(_, now, then)| now != then).collect())
}
