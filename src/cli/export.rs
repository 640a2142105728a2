//! `kumadb export`

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::{Value as Json, json};

use super::Context;
use super::format::output_file;
use super::monitor::PickArgs;
use super::write::read_from;
use crate::error::{Error, Exit, Hint, InputError, Result};
use crate::files;
use crate::formats::Syntax;
use crate::formats::export::tool::{Tool, ToolFiles, export_to};
use crate::formats::export::{Export, ExportChoice, Secrets, export};
use crate::formats::json_schema::json_schema;
use crate::formats::render::{render, render_json, unset};
use crate::kuma::read::{read_config, read_shown_state};
use crate::model::entities::{ENTITIES, MONITORS, entity};
use crate::text::{counted, quoted};

#[derive(Args, Debug)]
pub struct ExportArgs {
    #[command(flatten)]
    pick: PickArgs,
    /// Write to this file (mode 0600) instead of standard output
    #[arg(short, long, value_name = "FILE", value_parser = output_file())]
    output: Option<PathBuf>,
    /// Set the file format [default: by the file name, else yaml]
    #[arg(long, value_enum)]
    format: Option<FormatArg>,
    /// Export files of another tool instead of a fixture: Terraform, or AutoKuma (into a new folder)
    #[arg(long, value_name = "TOOL", value_enum, conflicts_with = "format")]
    to: Option<ToArg>,
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

/// A tool with files of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ToArg {
    Terraform,
    Autokuma,
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
        let output = self.output.iter().filter(|_| self.to != Some(ToArg::Autokuma));
        output.chain(&self.secrets_env).cloned()
    }

    /// The new folder that it fills.
    ///
    /// # Errors
    /// It is missing, or the folder has files: AutoKuma would read them, too.
    pub fn folder(&self) -> Result<Option<&Path>> {
        if self.to != Some(ToArg::Autokuma) {
            return Ok(None);
        }
        if self.secrets_env.is_some() {
            return Err(Error::Input(InputError::NotFor {
                option: "`--secrets-env`".into(),
                subject: "`--to autokuma`".into(),
                why: "the files of AutoKuma have no variables; `--secrets` includes the secrets".into(),
            }));
        }
        let Some(folder) = self.output.as_deref() else {
            let needs = "`--output FOLDER`".into();
            return Err(Error::Input(InputError::Requires { option: "`--to autokuma`".into(), needs }));
        };
        if files::exists(folder) && !(folder.is_dir() && files::entries(folder)?.is_empty()) {
            let why = format!("`{}` exists and is not an empty folder", folder.display());
            let hint = Some(Hint::command(format!("--output {}", quoted(&format!("{}.new", folder.display())))));
            return Err(Error::Input(InputError::Option { option: "--output".into(), why, hint }));
        }
        Ok(Some(folder))
    }

    /// The keys of the selected kinds.
    fn kinds(&self) -> Result<BTreeSet<String>> {
        let kind = |name: &String| {
            let found = entity(name).or_else(|| entity(&format!("{name}s")));
            found.map(|entity| entity.key.to_owned()).ok_or_else(|| {
                let known = ENTITIES.iter().map(|entity| entity.key.to_owned()).collect();
                Error::Input(InputError::Unknown { kind: "kind", name: name.clone(), known })
            })
        };
        self.only.iter().map(kind).collect()
    }

    /// Checks the options that need no data.
    pub fn check(&self) -> Result<()> {
        if self.secrets_env.is_some() && self.syntax() == Syntax::Csv {
            return Err(Error::Input(InputError::NotFor {
                option: "`--secrets-env`".into(),
                subject: "CSV".into(),
                why: "variables are only expanded in fixtures; use YAML, or `--secrets` to include the secrets".into(),
            }));
        }
        self.kinds().and(self.folder().map(drop))
    }

    /// The syntax of the fixture.
    fn syntax(&self) -> Syntax {
        match (self.format, self.output.as_deref().and_then(|path| Syntax::of(path.to_str()?))) {
            (Some(FormatArg::Yaml), _) | (None, None) => Syntax::Yaml,
            (Some(FormatArg::Json), _) => Syntax::Json,
            (Some(FormatArg::Toml), _) => Syntax::Toml,
            (Some(FormatArg::Csv), _) => Syntax::Csv,
            (None, Some(syntax)) => syntax,
        }
    }
}

pub fn run(args: &ExportArgs, context: &mut Context<'_>) -> Result<Exit> {
    let mut kinds = args.kinds()?;
    let folder = args.folder()?;
    let syntax = args.syntax();
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
        let monitors = if pick.is_empty() {
            None
        } else {
            Some(pick.ids(&read_shown_state(reader, name)?)?.into_iter().collect())
        };
        Ok((read_config(reader, name)?, monitors))
    })?;
    let source = instance.name.clone();
    let choice = ExportChoice { kinds, monitors, secrets, source };
    match args.to {
        Some(ToArg::Terraform) => return to_tool(args, export_to(Tool::Terraform, &config, &choice), None, context),
        Some(ToArg::Autokuma) => return to_tool(args, export_to(Tool::Autokuma, &config, &choice), folder, context),
        None => {}
    }
    let mut exported = export(&config, &choice);
    exported.warnings.extend(unset(&exported.document, syntax));
    let text = match (syntax, exported.document.entries()) {
        // An instance without a user.
        (Syntax::Csv, [_]) => String::new(),
        _ => render(&exported.document, syntax).map_err(|why| Error::Input(InputError::Render { why }))?,
    };
    let text = if syntax == Syntax::Yaml { format!("{}{text}", heading(&exported)) } else { text };
    let Export { document, left_out, variables, warnings, counts } = exported;
    let report =
        ToolFiles { files: vec![(String::new(), text)], left_out, variables, warnings, notes: Vec::new(), counts };
    finish(args, report, Some(document.json()), context)
}

/// Writes the files of a tool.
fn to_tool(args: &ExportArgs, made: ToolFiles, folder: Option<&Path>, context: &mut Context<'_>) -> Result<Exit> {
    let Some(folder) = folder else { return finish(args, made, None, context) };
    for (name, text) in &made.files {
        let path = folder.join(name);
        files::make_folder(path.parent().unwrap_or(folder))?;
        write(&path, text)?;
    }
    finish(args, ToolFiles { files: Vec::new(), ..made }, None, context)
}

/// Reports what was exported, and writes or prints the only file, if there is one; `document` is its content.
fn finish(args: &ExportArgs, made: ToolFiles, document: Option<Json>, context: &mut Context<'_>) -> Result<Exit> {
    tell(args, &made, context);
    if let Some(path) = &args.secrets_env {
        write(path, &environment(&made.variables))?;
    }
    let exit = if made.warnings.is_empty() { Exit::Done } else { Exit::Partial };
    let text = made.files.into_iter().next().map(|(_, text)| text);
    let Some(path) = &args.output else {
        let text = text.unwrap_or_default();
        context.ui.raw_result(&document.unwrap_or_else(|| json!({"text": text})), || text)?;
        return Ok(exit);
    };
    if let Some(text) = text {
        write(path, &text)?;
    }
    let counts: serde_json::Map<_, _> = made.counts.iter().map(|(key, n)| ((*key).to_owned(), json!(n))).collect();
    let document = json!({
        "written": path,
        "counts": counts,
        "left_out": made.left_out,
        "warnings": made.warnings,
        "notes": made.notes,
    });
    let all = made.counts.iter().map(|(key, n)| counted(*n, entity(key).map_or(key, |entity| entity.noun)));
    let all: Vec<String> = all.collect();
    let what = if all.is_empty() { "nothing, because there is nothing of that kind,".into() } else { all.join(", ") };
    context.ui.result(&document, || format!("wrote {what} to `{}`", path.display()))?;
    Ok(exit)
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

fn tell(args: &ExportArgs, made: &ToolFiles, context: &mut Context<'_>) {
    const SHOWN: usize = 10;
    for warning in &made.warnings {
        context.ui.warn(warning);
    }
    for note in &made.notes {
        context.ui.say(note);
    }
    if made.left_out.is_empty() {
        return;
    }
    let mut names: Vec<&str> = made.left_out.iter().take(SHOWN).map(String::as_str).collect();
    if made.left_out.len() > SHOWN {
        names.push("…");
    }
    let how = match args.to {
        Some(ToArg::Terraform) => "--secrets, or --secrets-env FILE for the variables that stand for them",
        _ => "--secrets",
    };
    let secrets = counted(made.left_out.len(), "secret");
    context.ui.say(&format!("{secrets} not exported ({}); to export them: {how}", names.join(", ")));
}

/// Variables as lines for a shell or for Docker's env files.
fn environment(variables: &[(String, String)]) -> String {
    let quoted = |value: &str| format!("'{}'", value.replace('\'', "'\\''"));
    variables.iter().map(|(name, value)| format!("export {name}={}\n", quoted(value))).collect()
}

fn write(path: &std::path::Path, text: &str) -> Result<()> {
    files::write_output(path, files::PRIVATE, |file| file.write_all(text.as_bytes()))
}

pub fn schema(_args: &SchemaArgs, context: &mut Context<'_>) -> Result<Exit> {
    let schema = json_schema();
    context.ui.raw_result(&schema, || render_json(&schema))?;
    Ok(Exit::Done)
}
