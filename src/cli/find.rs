//! `kumadb find`

use clap::Args;
use serde_json::{Value as Json, json};

use super::{Context, Ui};
use crate::engine::EngineKind;
use crate::error::{Error, Exit, Result};
use crate::instance::{Instance, Place};
use crate::kuma::read::read_database;

#[derive(Args, Debug)]
pub struct FindArgs {}

pub fn run(_args: &FindArgs, context: &mut Context<'_>) -> Result<Exit> {
    let sight = context.sight()?;
    if let Err(error) = &sight.docker {
        context.ui.warn(&format!("{error}; only folders are searched"));
    }
    let all = sight.all_here()?;
    let mut rows = Vec::new();
    let mut documents = Vec::new();
    for (name, instance) in &all {
        let line = match instance {
            Ok(instance) => look(instance),
            Err(error) => Line { error: Some(error.to_string()), ..Line::default() },
        };
        documents.push(line.json(name));
        rows.push(line.row(name));
    }
    context.ui.result(&json!({"instances": documents}), || match rows.is_empty() {
        true => "no instance in sight".into(),
        false => Ui::table(&["name", "state", "engine", "release", "monitors", "data"], rows),
    })?;
    Ok(if all.is_empty() { Exit::NotFound } else { Exit::Done })
}

/// What is shown of one instance.
#[derive(Default)]
struct Line {
    state: String,
    engine: String,
    kind: Option<EngineKind>,
    embedded: bool,
    release: String,
    monitors: Option<i64>,
    folder: Option<String>,
    image: Option<String>,
    error: Option<String>,
}

impl Line {
    fn json(&self, name: &str) -> Json {
        json!({
            "name": name, "state": known(&self.state), "engine": self.kind, "embedded": self.embedded,
            "release": known(&self.release), "monitors": self.monitors, "folder": self.folder, "image": self.image,
            "error": self.error,
        })
    }

    fn row(&self, name: &str) -> Vec<String> {
        let last = self.error.clone().or_else(|| self.folder.clone()).unwrap_or_default();
        let monitors = self.monitors.map_or(String::new(), |n| n.to_string());
        vec![name.to_owned(), self.state.clone(), self.engine.clone(), self.release.clone(), monitors, last]
    }
}

/// Text that is not there yet is null for a machine.
fn known(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn look(instance: &Instance) -> Line {
    let mut line = Line {
        engine: instance.engine_words().to_owned(),
        kind: Some(instance.engine()),
        embedded: matches!(instance.place, Place::Embedded(_)),
        folder: instance.folder.as_ref().map(|folder| folder.display().to_string()),
        image: instance.container.as_ref().map(|server| server.container().image.clone()),
        state: "folder".into(),
        ..Line::default()
    };
    let mut read = || -> Result<()> {
        if let Some(server) = &instance.container {
            line.state = format!("{:?}", server.life()?).to_lowercase();
        }
        // Looking around starts nothing: an embedded MariaDB that is down stays down.
        let mut reader = instance.connect()?.reader()?;
        let database = read_database(&mut *reader, &instance.name)?;
        line.release = database.release.to_string();
        let rows = reader.query("SELECT count(*) AS n FROM `monitor`", &[])?;
        line.monitors = rows.first().and_then(|row| row.int("n"));
        Ok(())
    };
    match read() {
        Err(Error::Unreachable { .. }) if line.state == "stopped" => {}
        Err(Error::Paused { .. }) => {}
        Err(error) => line.error = Some(error.to_string()),
        Ok(()) => {}
    }
    line
}
