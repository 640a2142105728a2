//! The options that describe a list of any structure, and `kumadb formats`.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value as Json, json};

use super::Context;
use crate::error::{Error, Exit, FileError, Hint, InputError, Result};
use crate::files;
use crate::formats::foreign::{ForeignFormat, ListMap};

/// Where the monitors of a list are, and what their values mean.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Lists of any structure")]
pub struct MapArgs {
    /// Read the monitors at this path: `$.services[*]`; `$[*]` for a list
    #[arg(long, value_name = "PATH")]
    each: Option<String>,
    /// Set a field of each monitor to the value at a path: url=link; !path negates, =text is text
    #[arg(long = "map", value_name = "FIELD=PATH")]
    fields: Vec<String>,
    /// Set the type of all monitors, or auto to derive it from the address
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Use a map that was saved with --save-map
    #[arg(long, value_name = "FILE")]
    pub map_file: Option<PathBuf>,
    /// Save these options as a map
    #[arg(long, value_name = "FILE")]
    pub save_map: Option<PathBuf>,
}

impl MapArgs {
    /// The map, if the options describe one.
    ///
    /// # Errors
    /// A file that is not a map, or a path or field that does not exist.
    pub fn map(&self) -> Result<Option<ListMap>> {
        if self.each.is_none() && self.fields.is_empty() && self.map_file.is_none() {
            return match &self.kind.as_ref().map(|_| "--type").or(self.save_map.as_ref().map(|_| "--save-map")) {
                Some(option) => {
                    Err(Error::Input(InputError::Requires { option: format!("`{option}`"), needs: "`--map`".into() }))
                }
                None => Ok(None),
            };
        }
        let wrong = |option: &str, why: String| {
            let hint = Some(Hint::command("--each '$.services[*]' --map name=title --map url=link --type auto"));
            Error::Input(InputError::Option { option: option.to_owned(), why, hint })
        };
        let mut map = match &self.map_file {
            Some(path) => {
                let text = files::read_whole(path)?;
                let read = |error: toml::de::Error| format!("is not a map: {}", error.message());
                toml::from_str(&text)
                    .map_err(|error| Error::Input(InputError::FileContent { path: path.clone(), why: read(error) }))?
            }
            None => ListMap::default(),
        };
        map.each = self.each.clone().unwrap_or(map.each);
        let mut set = BTreeSet::new();
        for one in &self.fields {
            let Some((field, path)) = one.split_once('=') else {
                return Err(wrong("--map", format!("`{one}` is not FIELD=PATH")));
            };
            if !set.insert(field.trim()) {
                return Err(wrong("--map", format!("`{}` is set twice", field.trim())));
            }
            map.fields.insert(field.trim().to_owned(), path.trim().to_owned());
        }
        match self.kind.as_deref() {
            Some("auto") => drop(map.fields.remove("type")),
            Some(kind) => drop(map.fields.insert("type".into(), format!("={kind}"))),
            None => {}
        }
        map.check().map_err(|why| wrong("--map", why))?;
        if let Some(path) = &self.save_map {
            let text = toml::to_string_pretty(&map)
                .map_err(|error| Error::File(FileError::Encode { what: "the map", why: error.to_string() }))?;
            files::write_output(path, files::PRIVATE, |file| file.write_all(text.as_bytes()))?;
        }
        Ok(Some(map))
    }
}

#[derive(Args, Debug)]
pub struct FormatsArgs {}

/// The formats of `plan` and `apply`, each with a description.
pub fn all_formats() -> Vec<(&'static str, &'static str)> {
    let own = [
        ("native", "fixtures of kumadb (YAML, JSON, TOML, CSV)"),
        ("kuma-db", "another instance: its kuma.db or data folder"),
        ("snapshot", "a snapshot of kumadb"),
        (LABELS, "AutoKuma: the labels of the containers on the Docker engine"),
    ];
    own.into_iter().chain(ForeignFormat::ALL.into_iter().map(|format| (format.name(), format.about()))).collect()
}

/// Lists them.
pub fn formats(_args: &FormatsArgs, context: &mut Context<'_>) -> Result<Exit> {
    let all = all_formats();
    let list: Vec<Json> = all.iter().map(|(name, about)| json!({"name": name, "about": about})).collect();
    let width = all.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines: Vec<String> = all.iter().map(|(name, about)| format!("{name:width$}  {about}")).collect();
    context.ui.result(&json!({"formats": list}), || lines.join("\n"))?;
    Ok(Exit::Done)
}

/// The name of the labels of containers as a format.
pub const LABELS: &str = "docker-labels";
