//! `kumadb export`

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::Context;
use super::monitor::PickArgs;
use super::write::read_from;
use crate::error::{Error, Exit, InputError, Result};
use crate::files;
use crate::formats::Syntax;
use crate::formats::export::{Choice, Export, Secrets, export};
use crate::formats::json_schema::json_schema;
use crate::formats::render::{render, render_json, unsaid};
use crate::kuma::read::{read_config, read_shown_state};
use crate::model::entities::{ENTITIES, MONITORS, entity};
use crate::text::counted;

#[derive(Args, Debug)]
pub struct ExportArgs {
    #[command(flatten)]
    pick: PickArgs,
    /// Write to this file (mode 0600) instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Set the file format [default: by the file name, else yaml]
    #[arg(long, value_enum)]
    format: Option<FormatArg>,
    /// Export only this kind: monitors, tags, notifications, status_pages, ... (can be repeated)
    #[arg(long = "kind", value_name = "KIND")]
    only: Vec<String>,
    /// Export only monitors: short for --kind monitors
    #[arg(long)]
    monitors: bool,
    /// Include passwords and tokens
    #[arg(long, conflicts_with = "secrets_env")]
    secrets: bool,
    /// Write ${VARIABLES} instead of secrets, and their values to this file
    #[arg(long, value_name = "FILE")]
    secrets_env: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FormatArg {
    Yaml,
    Json,
    Toml,
    Csv,
}

#[derive(Args, Debug)]
pub struct SchemaArgs {
    /// Select the schema
    #[arg(value_parser = ["fixture"])]
    what: String,
}

impl ExportArgs {
    /// The files that it writes.
    pub fn written(&self) -> impl Iterator<Item = PathBuf> {
        self.output.iter().chain(&self.secrets_env).cloned()
    }
}

pub fn run(args: &ExportArgs, context: &mut Context<'_>) -> Result<Exit> {
    let mut kinds = BTreeSet::new();
    for name in &args.only {
        let found = entity(name).or_else(|| entity(&format!("{name}s"))).ok_or_else(|| {
            let names: Vec<&str> = ENTITIES.iter().map(|entity| entity.key).collect();
            Error::Input(InputError::Unknown {
                kind: "kind",
                name: name.clone(),
                known: names.into_iter().map(str::to_owned).collect(),
            })
        })?;
        kinds.insert(found.key.to_owned());
    }
    let syntax = match (args.format, args.output.as_deref().and_then(|path| Syntax::of(path.to_str()?))) {
        (Some(FormatArg::Yaml), _) | (None, None) => Syntax::Yaml,
        (Some(FormatArg::Json), _) => Syntax::Json,
        (Some(FormatArg::Toml), _) => Syntax::Toml,
        (Some(FormatArg::Csv), _) => Syntax::Csv,
        (None, Some(syntax)) => syntax,
    };
    let pick = args.pick.pick();
    if args.monitors || !pick.is_empty() || syntax == Syntax::Csv && kinds.is_empty() {
        kinds.insert(MONITORS.key.to_owned());
    }
    let instance = context.instance()?;
    let secrets = match (args.secrets, &args.secrets_env) {
        (true, _) => Secrets::Include,
        (false, Some(_)) => Secrets::Variables,
        (false, None) => Secrets::LeaveOut,
    };
    let (config, monitors) = read_from(&instance, |reader, name| {
        let monitors = match pick.is_empty() {
            true => None,
            false => Some(pick.ids(&read_shown_state(reader, name)?)?.into_iter().collect()),
        };
        Ok((read_config(reader, name)?, monitors))
    })?;
    let source = instance.name.clone();
    let mut exported = export(&config, &Choice { kinds, monitors, secrets, source });
    exported.warnings.extend(unsaid(&exported.document, syntax));
    let text = match (syntax, exported.document.entries()) {
        // An instance without a user.
        (Syntax::Csv, [_]) => String::new(),
        _ => render(&exported.document, syntax).map_err(|why| Error::Input(InputError::Render { why }))?,
    };
    let text = if syntax == Syntax::Yaml { format!("{}{text}", heading(&exported)) } else { text };
    tell(&exported, context);
    if let Some(path) = &args.secrets_env {
        write(path, &environment(&exported))?;
    }
    match &args.output {
        Some(path) => {
            write(path, &text)?;
            let counts: serde_json::Map<_, _> =
                exported.counts.iter().map(|(key, n)| ((*key).to_owned(), json!(n))).collect();
            let document = json!({
                "written": path,
                "counts": counts,
                "left_out": exported.left_out,
                "warnings": exported.warnings,
            });
            let counted: Vec<String> = exported
                .counts
                .iter()
                .map(|(key, n)| counted(*n, entity(key).map_or(key, |entity| entity.noun)))
                .collect();
            context.ui.result(&document, || format!("wrote {} to `{}`", counted.join(", "), path.display()))?;
        }
        None => context.ui.result(&exported.document.json(), || text)?,
    }
    Ok(if exported.warnings.is_empty() { Exit::Done } else { Exit::Partial })
}

/// A comment for people who open the file.
fn heading(exported: &Export) -> String {
    match exported.left_out.len() {
        0 => String::new(),
        n => format!(
            "# {} not exported, see `left_out`: applied to the same instance, this file leaves them unchanged.\n",
            counted(n, "secret")
        ),
    }
}

fn tell(exported: &Export, context: &mut Context<'_>) {
    const SHOWN: usize = 10;
    for warning in &exported.warnings {
        context.ui.warn(warning);
    }
    if exported.left_out.is_empty() {
        return;
    }
    let mut names: Vec<&str> = exported.left_out.iter().take(SHOWN).map(String::as_str).collect();
    if exported.left_out.len() > SHOWN {
        names.push("…");
    }
    context.ui.say(&format!(
        "{} not exported ({}); to export them: --secrets",
        counted(exported.left_out.len(), "secret"),
        names.join(", ")
    ));
}

/// Variables as lines for a shell or for Docker's env files.
fn environment(exported: &Export) -> String {
    let quoted = |value: &str| format!("'{}'", value.replace('\'', "'\\''"));
    exported.variables.iter().map(|(name, value)| format!("export {name}={}\n", quoted(value))).collect()
}

fn write(path: &std::path::Path, text: &str) -> Result<()> {
    files::replace(path, files::PRIVATE, |file| file.write_all(text.as_bytes()))
}

pub fn schema(_args: &SchemaArgs, context: &mut Context<'_>) -> Result<Exit> {
    let schema = json_schema();
    context.ui.result(&schema, || render_json(&schema))?;
    Ok(Exit::Done)
}
