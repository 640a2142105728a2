//! `kumadb find`

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value as Json, json};

use super::format::FormatArgs;
use super::write::read_from;
use super::{Context, config};
use crate::engine::EngineKind;
use crate::error::{DatabaseError, DockerError, Error, Exit, Result};
use crate::files;
use crate::instance::find::{FoundInstance, How};
use crate::instance::{DbLocation, Instance, Location};
use crate::kuma::read::read_overview;
use crate::text::counted;
use crate::value::{local_time, shown_time, utc_time};

#[derive(Args, Debug)]
pub struct FindArgs {
    /// Open a stopped embedded MariaDB in a helper container to read it
    #[arg(long)]
    open: bool,
    #[command(flatten)]
    format: FormatArgs,
}

pub fn run(args: &FindArgs, context: &mut Context<'_>) -> Result<Exit> {
    let mut all = context.everything()?;
    let config = config::read(context)?.unwrap_or_default();
    let target = context.global.target.clone();
    all.retain_mut(|found| {
        let configured = found.instance().and_then(|instance| context.name_of(instance, &config));
        let is_meant =
            target.as_ref().is_none_or(|target| found.name == *target || configured.as_ref() == Some(target));
        found.name = configured.unwrap_or_else(|| std::mem::take(&mut found.name));
        is_meant
    });
    let mut rows = Vec::new();
    let mut documents = Vec::new();
    for found in &all {
        let unusable = |error: String| InstanceRow { error: Some(error), ..InstanceRow::default() };
        let line = match &found.location {
            Ok(Location::Local(instance)) => look(instance, found, args.open),
            Ok(Location::Remote(data)) => unusable(Error::from(data.clone()).to_string()),
            Err(error) => unusable(error.to_string()),
        };
        let old = found.old_copies();
        documents.push(line.json(found, &old));
        rows.push(line.row(found));
        if let Some(orchestrator) = &found.orchestrator {
            context.ui.say(&format!(
                "`{}` is managed by {orchestrator}: kumadb can read it, but does not write to it while it is running",
                found.name
            ));
        }
        if let Some(newest) = old.last() {
            let copies = counted(old.len(), "old backup");
            context.ui.say(&format!(
                "`{}` has {copies} made before a migration; newest: {}",
                found.name,
                newest.display()
            ));
        }
    }
    context.ui.result(&json!({"instances": documents}), || {
        let around = |table| if all.is_empty() { "no Uptime Kuma instance found".into() } else { table };
        args.format.text(&["name", "state", "engine", "release", "monitors", "last heartbeat", "data"], rows, around)
    })?;
    Ok(if all.is_empty() { Exit::NotFound } else { Exit::Done })
}

/// The row of one instance.
#[derive(Default)]
struct InstanceRow {
    state: String,
    engine: String,
    kind: Option<EngineKind>,
    embedded: bool,
    release: String,
    monitors: Option<u64>,
    newest_beat: Option<String>,
    folder: Option<String>,
    image: Option<String>,
    unread: Option<String>,
    error: Option<String>,
}

impl InstanceRow {
    fn json(&self, found: &FoundInstance, old: &[PathBuf]) -> Json {
        let compose = found.compose.as_ref();
        json!({
            "name": found.name, "found": how(&found.how), "state": known(&self.state), "engine": self.kind,
            "embedded": self.embedded, "release": known(&self.release), "monitors": self.monitors,
            "last_heartbeat": self.newest_beat.as_deref().map(utc_time), "folder": self.folder, "image": self.image,
            "compose": compose.map(|compose| json!({"project": compose.project, "service": compose.service})),
            "orchestrator": found.orchestrator, "old_backups": old, "unread": self.unread,
            "error": self.error,
        })
    }

    fn row(&self, found: &FoundInstance) -> Vec<String> {
        let mut name = found.name.clone();
        if let Some(compose) = &found.compose {
            name.push_str(&format!(" ({}/{})", compose.project, compose.service));
        }
        let mut last = self.error.clone().or_else(|| self.folder.clone()).unwrap_or_default();
        if let Some(unread) = &self.unread {
            last.push_str(&format!(" ({unread})"));
        }
        let monitors = self.monitors.map_or(String::new(), |n| n.to_string());
        let beat = self.newest_beat.as_deref().map_or(String::new(), shown_time);
        vec![name, self.state.clone(), self.engine.clone(), self.release.clone(), monitors, beat, last]
    }
}

fn how(how: &How) -> &'static str {
    match how {
        How::Container => "container",
        How::Content => "content",
        How::Volume(_) => "volume",
        How::Folder => "folder",
    }
}

/// Empty text is null in JSON.
fn known(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn look(instance: &Instance, found: &FoundInstance, open: bool) -> InstanceRow {
    let mut line = InstanceRow {
        engine: instance.engine_words().to_owned(),
        kind: Some(instance.engine()),
        embedded: matches!(instance.place, DbLocation::Embedded(_)),
        folder: instance.folder.as_ref().map(|folder| folder.display().to_string()),
        image: instance.container.as_ref().map(|server| server.container().image.clone()),
        state: if matches!(found.how, How::Volume(_)) { "unused".into() } else { "folder".into() },
        ..InstanceRow::default()
    };
    let mut read = || -> Result<()> {
        if let Some(server) = &instance.container {
            line.state = server.life()?.to_string();
        }
        // Listing starts nothing: an embedded MariaDB that is down stays down.
        let (database, summary) = if open {
            read_from(instance, read_overview)?
        } else {
            read_overview(&mut *instance.connect()?.reader()?, &format!("`{}`", instance.name))?
        };
        line.release = database.release.to_string();
        line.monitors = Some(summary.monitors);
        line.newest_beat = summary.newest_beat;
        Ok(())
    };
    match read() {
        Err(Error::Database(DatabaseError::Unreachable { .. })) if line.embedded && line.state != "running" => {
            line.unread = Some(unreported(instance, found));
        }
        Err(Error::Docker(DockerError::Paused { .. })) => {
            line.unread = Some("container is paused, and its MariaDB with it".into())
        }
        Err(error) => line.error = Some(error.to_string()),
        Ok(()) => {}
    }
    line
}

/// What the files of a stopped embedded MariaDB show.
fn unreported(instance: &Instance, found: &FoundInstance) -> String {
    let folder = instance.folder.clone().unwrap_or_default();
    let version = ["mariadb_upgrade_info", "mysql_upgrade_info"]
        .iter()
        .find_map(|name| files::read_below(&folder, &format!("mariadb/{name}"), files::SMALL).ok().flatten())
        .map_or(String::new(), |text| format!(" {}", text.trim_matches(['\0', '\n', ' '])));
    let tables = files::look_into(&folder, "mariadb/kuma");
    let beats = tables.iter().find(|(name, _)| name == "heartbeat.ibd");
    let written = beats.map(|(_, about)| format!(", last written {}", local_time(about.modified))).unwrap_or_default();
    let next = match &found.how {
        How::Container => "; to read it: kumadb find --open".into(),
        How::Volume(name) => format!(
            "; no container uses it; to read it: docker create -v {name}:/app/data louislam/uptime-kuma:2, then kumadb find --open"
        ),
        _ => "; no container uses it".into(),
    };
    format!("MariaDB{version} is not running{written}{next}")
}
