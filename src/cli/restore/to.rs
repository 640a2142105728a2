//! `kumadb restore --to`: a new instance from a snapshot, and the commands that start it.

use std::path::PathBuf;

use serde_json::{Value as Json, json};

use super::choice::{RestoreChoice, RestoreKind};
use super::launch::{self, Launch};
use super::place::{RestoreTarget, check_nesting, folder_at};
use super::source::SnapshotSource;
use super::{RestoreArgs, release};
use crate::backup::{Manifest, StagedCopy};
use crate::cli::{Context, Ui};
use crate::docker::{ServerFiles, is_loopback};
use crate::error::{DatabaseError, Error, Exit, Hint, InputError, Result, SnapshotError};
use crate::files;
use crate::instance::config::{DbConfig, read_kind};
use crate::operation::rebuild::{Rebuild, extra_files};
use crate::text::{bytes, counted};
use crate::upgrade::Route;
use crate::value::local_time;

/// Variables whose values are not shown.
const SECRET: &str = "UPTIME_KUMA_DB_PASSWORD";

pub fn run(args: &RestoreArgs, typed: &str, context: &mut Context<'_>) -> Result<Exit> {
    let place = context.new_target(typed)?.local()?;
    let stores = context.stores()?.with_keys(&args.keys.keys_or_ask(context.ui)?);
    let data_folder = folder(args, &place)?;
    data_folder.iter().try_for_each(|folder| check_nesting(folder, &stores))?;
    // The store may be full, or mounted read-only.
    let temporary = std::env::temp_dir();
    let scratch = stores.scratch_for(0, &temporary)?;
    let source = SnapshotSource::find(args, &stores, scratch.path(), context.ui)?;
    let mut manifest = source.manifest().clone();
    check_manifest(&manifest, args)?;
    let choice = RestoreChoice::make(&args.new, &manifest, &place, context)?;
    let shipped = match &place {
        RestoreTarget::Container(fresh) => fresh.docker.shipped(&fresh.container)?,
        _ => None,
    };
    let route = if args.no_upgrade { None } else { release::newer(&manifest, choice.release(shipped.as_ref())) };
    if let Some(route) = &route {
        manifest.become_release(route.target);
    }
    let rebuild = Rebuild {
        folder: data_folder,
        database: choice.database(&args.new, &place)?,
        owner: choice.owner(&args.new),
        cancel: context.ui.cancel().clone(),
    };
    check_files(&manifest, &rebuild, &place)?;
    rebuild.check(&manifest)?;
    if let Some(files) = shipped.clone().or_else(|| choice.files_by_tag()) {
        release::check_image(&manifest, &files, &choice.image, context.ui)?;
    }
    let unpacked = stores.scratch_for(manifest.size(), &temporary)?;
    let staged = source.unpack(unpacked.path(), &stores, typed, context)?;
    check_config(&staged, args, choice.kind)?;
    let staged = match &route {
        Some(route) => release::upgrade_along(staged, route, goal(route, &choice, shipped.as_ref()), context.ui)?,
        None => staged,
    };
    warn_of_missing_history(&manifest, context.ui);
    let config = rebuild.database.config();
    let mut report = Report {
        manifest,
        files: extra_files(&staged.manifest),
        start: start(&place, &rebuild, &choice, &staged.manifest)?,
        place: place.shown(),
        kind: config.kind(),
        folder: rebuild.folder.clone(),
        owner: rebuild.owner,
        config,
        image: choice.image.clone(),
    };
    if args.write.is_dry_run() {
        return report.show_dry_run(context.ui);
    }
    let rebuilt = rebuild.run(staged, context.ui)?;
    rebuilt.rounded.iter().for_each(|what| context.ui.warn(&format!("{what}, as MariaDB stores it")));
    (report.manifest, report.files) = (rebuilt.manifest, rebuilt.files);
    report.show(context.ui)
}

/// The release that the snapshot is upgraded to, in a few words.
fn goal(route: &Route, choice: &RestoreChoice, shipped: Option<&ServerFiles>) -> &'static str {
    if shipped.is_none() && choice.named().is_some_and(|named| named > route.target.release) {
        "the newest release of 2.x that kumadb knows"
    } else {
        "the release of the image"
    }
}

fn warn_of_missing_history(manifest: &Manifest, ui: &mut Ui) {
    if !manifest.without.is_empty() {
        ui.warn(&format!(
            "snapshot `{}` contains only the configuration: the new instance will have no history",
            manifest.id
        ));
    }
}

/// The data folder.
fn folder(args: &RestoreArgs, place: &RestoreTarget) -> Result<Option<PathBuf>> {
    match (&args.new.data_folder, place.data()) {
        (None, folder) => Ok(folder.map(PathBuf::from)),
        (Some(folder), None) => folder_at(folder).map(Some),
        (Some(_), Some(_)) => Err(Error::Input(InputError::NotFor {
            option: "`--data-folder`".into(),
            subject: "a folder or container".into(),
            why: "it is already the data folder".into(),
        })),
    }
}

fn check_manifest(manifest: &Manifest, args: &RestoreArgs) -> Result<()> {
    let id = &manifest.id;
    if manifest.raw {
        return Err(Error::Snapshot(SnapshotError::Raw { id: id.clone() }));
    }
    if args.new.of.as_ref().is_some_and(|of| *of != manifest.instance && *of != manifest.origin) {
        return Err(Error::Input(InputError::NotFor {
            option: "`--of`".into(),
            subject: format!("snapshot `{id}`"),
            why: format!("it was taken from instance `{}`", manifest.instance),
        }));
    }
    Ok(())
}

/// Fails where files of the snapshot would be lost.
fn check_files(manifest: &Manifest, rebuild: &Rebuild<'_>, place: &RestoreTarget) -> Result<()> {
    let files = extra_files(manifest);
    match (&rebuild.folder, files.first()) {
        (None, Some(first)) => Err(Error::Database(DatabaseError::Occupied {
            place: place.shown(),
            why: format!(
                "snapshot `{}` contains {} too, for example `{first}`",
                manifest.id,
                counted(files.len(), "file")
            ),
            hint: Hint::advice("add `--data-folder FOLDER`, the data folder of the new server, for them"),
        })),
        _ => Ok(()),
    }
}

/// Fails where the snapshot is of an external MariaDB, and no option decides what to do instead.
fn check_config(staged: &StagedCopy, args: &RestoreArgs, kind: RestoreKind) -> Result<()> {
    let was = files::read_text(&staged.folder.join(crate::instance::config::FILE))?;
    let is_external = was.as_deref().and_then(read_kind).as_deref() == Some("mariadb");
    match kind {
        RestoreKind::EmbeddedMariadb if is_external && args.new.engine.is_none() => {
            Err(Error::Snapshot(SnapshotError::NoDestination { instance: staged.manifest.instance.clone() }))
        }
        _ => Ok(()),
    }
}

/// The commands that start the server.
fn start(place: &RestoreTarget, rebuild: &Rebuild<'_>, choice: &RestoreChoice, manifest: &Manifest) -> Result<Start> {
    if let RestoreTarget::Container(fresh) = place {
        return Ok(Start { before: None, command: format!("docker start {}", fresh.container.name), compose: None });
    }
    let mut name = launch::container_name(&manifest.instance);
    if let Some(docker) = choice.docker()
        && docker.container(&name)?.is_some()
    {
        name.push_str("-restored");
    }
    let data = rebuild.folder.as_ref().map_or_else(|| name.clone(), |folder| folder.display().to_string());
    let (mut env, mut host_network, mut before, mut socket) = (Vec::new(), false, None, None);
    if let RestoreTarget::Database(address) = place {
        socket = address.socket.as_ref().map(|socket| socket.display().to_string());
        host_network = socket.is_none() && is_loopback(&address.host);
        // With a data folder all of it is in db-config.json.
        if rebuild.folder.is_none() {
            for (name, value) in rebuild.database.config().env() {
                let value = Some(value.reveal().to_owned()).filter(|_| name != SECRET);
                before = before.or_else(|| value.is_none().then(|| format!("export {name}=…   # the password")));
                env.push((name.to_owned(), value));
            }
        }
    }
    let launch = Launch { name, image: choice.image.clone(), data, env, host_network, socket };
    Ok(Start { before, command: launch.command(), compose: Some(launch.compose()) })
}

struct Start {
    /// The command to run first.
    before: Option<String>,
    command: String,
    compose: Option<String>,
}

/// The final report.
struct Report {
    manifest: Manifest,
    place: String,
    kind: &'static str,
    folder: Option<PathBuf>,
    owner: Option<(u32, u32)>,
    files: Vec<String>,
    config: DbConfig,
    image: String,
    start: Start,
}

impl Report {
    fn json(&self) -> Json {
        let manifest = &self.manifest;
        json!({
            "instance": manifest.instance,
            "created": manifest.created,
            "place": self.place.trim_matches('`'),
            "folder": self.folder,
            "engine": self.kind,
            "release": manifest.release,
            "owner": self.owner.map(|(uid, gid)| format!("{uid}:{gid}")),
            "tables": manifest.counts.len(),
            "rows": manifest.counts.values().sum::<u64>(),
            "files": self.files,
            "image": self.image,
            "start": {"before": self.start.before, "command": self.start.command, "compose": self.start.compose},
        })
    }

    fn what(&self) -> String {
        let manifest = &self.manifest;
        let created = local_time(manifest.created);
        format!("snapshot `{}` of `{}` ({created}, release {})", manifest.id, manifest.instance, manifest.release)
    }

    fn contents(&self) -> String {
        let manifest = &self.manifest;
        let rows: u64 = manifest.counts.values().sum();
        let mut parts = vec![
            format!("{rows} rows in {}", counted(manifest.counts.len(), "table")),
            format!("engine {}", self.kind),
        ];
        parts.extend((!self.files.is_empty()).then(|| counted(self.files.len(), "file") + " beside the database"));
        parts.extend(self.owner.map(|(uid, gid)| format!("owner {uid}:{gid}")));
        parts.join(", ")
    }

    /// Shows what was restored.
    fn show(&self, ui: &mut Ui) -> Result<Exit> {
        let mut document = self.json();
        document["restored"] = self.manifest.id.clone().into();
        ui.result(&document, || self.text())?;
        Ok(Exit::Done)
    }

    /// Shows what would be restored.
    fn show_dry_run(&self, ui: &mut Ui) -> Result<Exit> {
        let mut document = self.json();
        document["dry_run"] = true.into();
        document["snapshot"] = self.manifest.id.clone().into();
        ui.result(&document, || self.dry_text())?;
        Ok(Exit::Done)
    }

    fn dry_text(&self) -> String {
        format!(
            "dry run: {} is valid ({}) and would be restored to {}: {}\nnothing was written",
            self.what(),
            bytes(self.manifest.size()),
            self.place,
            self.contents()
        )
    }

    fn text(&self) -> String {
        let mut lines = vec![format!("restored {} to {}", self.what(), self.place)];
        lines.push(format!("verified: {}", self.contents()));
        if let (DbConfig::External(external), None) = (&self.config, &self.folder) {
            lines.push(format!(
                "the server reads the connection to database `{}` from its environment",
                external.db_name
            ));
        }
        lines.push("\nstart it with Docker:".into());
        lines.extend(self.start.before.iter().chain([&self.start.command]).map(|line| format!("  {line}")));
        if let Some(compose) = &self.start.compose {
            lines.push("\nor with Docker Compose, in compose.yaml:".into());
            lines.extend(compose.lines().map(|line| format!("  {line}")));
        }
        lines.join("\n")
    }
}
