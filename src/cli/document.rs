//! Reading and planning fixtures, as `plan` and `apply` do.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;

use super::Context;
use super::far::Luggage;
use super::store::KeyArgs;
use super::write::read_from;
use crate::backup;
use crate::engine::sqlite;
use crate::error::{DatabaseError, Error, InputError, Problem, RemoteError, Result};
use crate::files;
use crate::formats::Node;
use crate::formats::export::{Choice, Secrets, export};
use crate::formats::foreign::{self, Converted, Format, Skipped, Source};
use crate::formats::native::{Lookup, read_fixture};
use crate::formats::text::{self, Syntax, beside};
use crate::instance::Instance;
use crate::kuma::init;
use crate::kuma::read::{read_all_dependents, read_config};
use crate::model::fixture::Fixture;
use crate::model::state::Config;
use crate::plan::fixture::{Fresh, Outline, Wishes, plan_fixture};
use crate::text::{counted, quoted};
use crate::value::Secret;

/// Which fixtures, and their format.
#[derive(Args, Clone, Debug)]
pub struct DocumentArgs {
    /// Read these fixtures: files, folders, or - for standard input
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Set the input format: kuma-v1, monitor-list, autokuma, kumaconf, csv, uptimerobot, loader-toml, yaml-list,
    /// lines, kuma-db or snapshot [default: detected]
    #[arg(long, value_name = "FORMAT")]
    pub from: Option<String>,
    /// Delete resources that the fixtures do not contain, for each kind in the fixtures
    #[arg(long)]
    pub prune: bool,
    /// Refuse tags that exist neither under `tags` nor on the instance, instead of creating them
    #[arg(long)]
    pub no_create_tags: bool,
    /// Skip entries that this release does not support, instead of refusing all
    #[arg(long)]
    pub skip_unsupported: bool,
    /// Skip invalid entries with a warning, instead of refusing all
    #[arg(long)]
    pub skip_invalid: bool,
    #[command(flatten)]
    pub keys: KeyArgs,
}

/// The fixtures that were read.
pub struct Read {
    /// What they define.
    pub fixture: Fixture,
    /// What could not be converted from foreign formats.
    pub skipped: Vec<Skipped>,
}

/// A plan and what it was made for.
pub struct Planned {
    /// The configuration that was read.
    pub config: Config,
    /// The plan.
    pub outline: Outline,
    /// What could not be converted from foreign formats.
    pub skipped: Vec<Skipped>,
}

impl Planned {
    /// Whether everything in the fixtures was planned.
    pub fn is_whole(&self) -> bool {
        self.skipped.is_empty() && self.outline.warnings.is_empty()
    }
}

impl DocumentArgs {
    /// Packs the fixtures for a remote job, with the files and variables that they use.
    ///
    /// # Errors
    /// Problems in the fixtures themselves, which need no connection to be found.
    pub fn pack(&self, luggage: &mut Luggage) -> Result<()> {
        self.keys.pack(luggage)?;
        let files = self.files.iter();
        match self.source()? {
            Documents::Snapshots => files.clone().try_for_each(|file| luggage.take_with_parts(file)),
            Documents::Instances => files.clone().try_for_each(|file| {
                let parts = [file.to_owned(), file.join("kuma.db"), file.join(crate::instance::config::FILE)];
                parts.iter().try_for_each(|part| luggage.take_with_parts(part))
            }),
            Documents::Texts(format) => {
                let surroundings = Surroundings::default();
                let texts = read_texts(&self.files)?;
                for (file, text) in &texts {
                    match file.as_str() {
                        "-" => luggage.stdin = Some(text.clone().into_bytes()),
                        file => luggage.take(Path::new(file))?,
                    }
                }
                read_all(texts, format, &surroundings)?;
                surroundings.read.borrow().keys().try_for_each(|file| luggage.take(file))?;
                luggage.variables.extend(surroundings.asked.take());
                Ok(())
            }
        }
    }

    /// The format of the files.
    fn source(&self) -> Result<Documents> {
        let is_archive = |file: &PathBuf| file.to_string_lossy().contains(".kuma.tar.zst");
        Ok(match self.from.as_deref() {
            Some("kuma-db") => Documents::Instances,
            Some("snapshot") => Documents::Snapshots,
            Some("native" | "kumadb") => Documents::Texts(Some(None)),
            Some(name) => match Format::parse(name) {
                Some(format) => Documents::Texts(Some(Some(format))),
                None => {
                    let names: Vec<&str> =
                        Format::ALL.iter().map(|format| format.name()).chain(["kuma-db", "snapshot"]).collect();
                    return Err(Error::Input(InputError::Unknown {
                        kind: "format",
                        name: name.to_owned(),
                        known: names.into_iter().map(str::to_owned).collect(),
                    }));
                }
            },
            None if self.files.iter().any(|file| is_database(file)) => Documents::Instances,
            None if self.files.iter().any(is_archive) => Documents::Snapshots,
            None => Documents::Texts(None),
        })
    }
}

/// The input.
enum Documents {
    /// Other instances.
    Instances,
    /// Snapshots.
    Snapshots,
    /// Texts: of the native format for `Some(None)`, of a detected format for `None`.
    Texts(Option<Option<Format>>),
}

/// Environment variables, and files beside the fixtures.
#[derive(Default)]
struct Surroundings {
    /// Files that were already read: hundreds of monitors may use the same one.
    read: RefCell<BTreeMap<PathBuf, std::result::Result<String, String>>>,
    /// Variables that were used.
    asked: RefCell<BTreeSet<String>>,
}

impl Lookup for Surroundings {
    fn variable(&self, name: &str) -> Option<String> {
        self.asked.borrow_mut().insert(name.to_owned());
        std::env::var(name).ok()
    }

    fn file(&self, from: &str, path: &str) -> std::result::Result<String, String> {
        self.read(&beside(from, path))
    }
}

impl Surroundings {
    /// The text at `path`, which the fixture `file` includes: only below the folder of that fixture. A fixture may come from
    /// another user, and messages repeat parts of what it includes.
    fn include(&self, file: &str, path: &str) -> std::result::Result<String, String> {
        let folder = Path::new(file).parent().filter(|above| file != "-" && !above.as_os_str().is_empty());
        let real = |path: &Path| path.canonicalize().ok();
        match (real(folder.unwrap_or(Path::new("."))), real(Path::new(path))) {
            (Some(folder), Some(included)) if !included.starts_with(&folder) => {
                Err(format!("it is not in the folder of the fixture, `{}`", folder.display()))
            }
            _ => self.read(path),
        }
    }

    fn read(&self, path: &str) -> std::result::Result<String, String> {
        let path = PathBuf::from(path);
        let read = || match files::read_text(&path) {
            Ok(Some(text)) => Ok(text),
            Ok(None) => Err("no such file".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        self.read.borrow_mut().entry(path.clone()).or_insert_with(read).clone()
    }
}

/// Reads all fixtures that `args` names.
///
/// # Errors
/// All problems in any of them.
pub fn read_documents(args: &DocumentArgs, context: &mut Context<'_>) -> Result<Read> {
    match args.source()? {
        Documents::Instances => read_other_instance(args, context),
        Documents::Snapshots => read_snapshots(args, context),
        Documents::Texts(format) => {
            let (read, said) = read_all(read_texts(&args.files)?, format, &Surroundings::default())?;
            said.iter().for_each(|line| context.ui.say(line));
            Ok(read)
        }
    }
}

/// Reads these texts; returns what they define, with warnings.
fn read_all(
    texts: Vec<(String, String)>,
    format: Option<Option<Format>>,
    surroundings: &Surroundings,
) -> Result<(Read, Vec<String>)> {
    let mut problems = Vec::new();
    let mut native: Vec<Node> = Vec::new();
    let mut foreign: BTreeMap<&str, (Format, Vec<Source>)> = BTreeMap::new();
    for (file, text) in texts {
        let lines_only = format == Some(Some(Format::Lines)) || format.is_none() && file.ends_with(".txt");
        let documents = match lines_only {
            true => Vec::new(),
            false => {
                let syntax = Syntax::of(&file).unwrap_or_else(|| Syntax::guess(&text));
                let include = |path: &str| surroundings.include(&file, path);
                match text::read(&file, &text, syntax, &include) {
                    Ok(documents) => documents,
                    Err(problem) => {
                        problems.push(problem);
                        continue;
                    }
                }
            }
        };
        let source = Source { file, text, documents };
        let guessed = format.unwrap_or_else(|| Format::guess(&source));
        match guessed {
            None => native.extend(source.documents),
            Some(format) => foreign.entry(format.name()).or_insert((format, Vec::new())).1.push(source),
        }
    }
    let (mut skipped, mut said) = (Vec::new(), Vec::new());
    for (format, sources) in foreign.into_values() {
        match foreign::convert(format, &sources) {
            Ok(Converted { document, skipped: more }) => {
                said.push(format!("reading {} as {}", counted(sources.len(), "file"), format.name()));
                native.push(document);
                skipped.extend(more);
            }
            Err(more) => problems.extend(more),
        }
    }
    if !problems.is_empty() {
        return Err(Error::input(problems));
    }
    match read_fixture(&native, surroundings) {
        Ok(fixture) => Ok((Read { fixture, skipped }, said)),
        Err(problems) => Err(Error::input(problems)),
    }
}

/// The configuration of another instance, of any release, as fixtures.
fn read_other_instance(args: &DocumentArgs, context: &mut Context<'_>) -> Result<Read> {
    let mut documents = Vec::new();
    for file in &args.files {
        // On a remote host, this verb could not use it.
        let other = context.sight()?.find(file.to_str()).map_err(|error| match error {
            Error::Remote(RemoteError::DataNotLocal { .. }) => Error::Remote(RemoteError::CannotExport {
                instance: file.display().to_string(),
                why: error.to_string(),
            }),
            error => error,
        })?;
        let config = read_from(&other, read_config)?;
        let source = file.display().to_string();
        let release = &config.database.release;
        context.ui.say(&format!("reading instance `{}` (release {release})", other.name));
        documents.push(write_down(&config, &Choice { source, ..Choice::default() }, context));
    }
    read_written(&documents)
}

/// The configuration in snapshots, named as for `restore`.
fn read_snapshots(args: &DocumentArgs, context: &mut Context<'_>) -> Result<Read> {
    let keys = args.keys.keys_or_ask(context.ui)?;
    let (stores, mut documents) = (context.stores()?.with_keys(&keys), Vec::new());
    for file in &args.files {
        let wanted = file.to_string_lossy();
        let origin = if wanted == "latest" { context.origin()? } else { String::new() };
        let scratch = stores.scratch()?;
        let warn = &mut |error: &Error| context.ui.warn(&error.to_string());
        let held = backup::hold(&stores, &wanted, &origin, &scratch.path().join("held"), warn)?;
        let source = format!("snapshot {}", held.manifest.id);
        let config = read_config(&mut *held.reader()?, &source)?;
        let release = &config.database.release;
        context.ui.say(&format!("reading {source} of `{}` (release {release})", held.manifest.instance));
        documents.push(write_down(&config, &Choice { source, ..Choice::default() }, context));
    }
    read_written(&documents)
}

/// The fixture of `config`, secrets included.
pub fn write_down(config: &Config, choice: &Choice, context: &mut Context<'_>) -> Node {
    let exported = export(config, &Choice { secrets: Secrets::Include, ..choice.clone() });
    exported.warnings.iter().for_each(|warning| context.ui.warn(warning));
    exported.document
}

/// Reads fixtures made by [`write_down`].
pub fn read_written(documents: &[Node]) -> Result<Read> {
    match read_fixture(documents, &Surroundings::default()) {
        Ok(fixture) => Ok(Read { fixture, skipped: Vec::new() }),
        Err(problems) => Err(Error::input(problems)),
    }
}

/// Fails where the file at `path` is an archive, a dump or another file that cannot contain a fixture.
fn check_kind(path: &Path) -> Result<()> {
    const THEN: &str = "then apply the database or the data folder in it: kumadb apply --from kuma-db PATH";
    let other = |what: String, command: String, then: &'static str| {
        Err(InputError::NotFixture { path: path.to_owned(), what, command, then }.into())
    };
    if let Some(what) = sqlite::snapshot_format(path) {
        let command = format!("kumadb apply --from snapshot {}", quoted(&path.display().to_string()));
        return other(what.to_owned(), command, "if it is not a snapshot, unpack it first");
    }
    match sqlite::other_format(path) {
        // Backups of 1.x and other formats are JSON.
        Some(Error::Database(DatabaseError::OtherFormat { what, command, .. })) if !what.contains("JSON") => {
            other(what, command, THEN)
        }
        _ => Ok(()),
    }
}

/// Whether `file` is a database or a data folder rather than a fixture.
fn is_database(file: &Path) -> bool {
    file.extension().is_some_and(|ending| ending == "db")
        || sqlite::is_database(file)
        || file.join("kuma.db").exists()
        || file.join("db-config.json").exists()
}

/// The texts of all files, those of a folder in the order of their names.
fn read_texts(paths: &[PathBuf]) -> Result<Vec<(String, String)>> {
    let mut texts = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            let mut text = String::new();
            std::io::stdin().lock().read_to_string(&mut text).map_err(Error::file("read", "/dev/stdin"))?;
            texts.push(("-".to_owned(), text));
            continue;
        }
        if path.is_dir() {
            let mut inside: Vec<PathBuf> = std::fs::read_dir(path)
                .map_err(Error::file("read", path))?
                .filter_map(|entry| Some(entry.ok()?.path()))
                .filter(|path| path.to_str().is_some_and(|name| Syntax::of(name).is_some()))
                .collect();
            inside.sort();
            if inside.is_empty() {
                return Err(Error::Input(InputError::FileContent {
                    path: path.clone(),
                    why: "the folder has no .yaml, .json, .toml or .csv file".into(),
                }));
            }
            texts.extend(read_texts(&inside)?);
            continue;
        }
        let size = files::about_target(path)?.size;
        if size > files::LARGE {
            return Err(Error::Input(InputError::FileContent {
                path: path.clone(),
                why: format!("{} is too large for a fixture", crate::text::bytes(size)),
            }));
        }
        check_kind(path)?;
        let text = files::read_whole(path)?;
        texts.push((path.display().to_string(), text));
    }
    Ok(texts)
}

/// Reads fixtures and instance, and makes the plan.
pub fn plan(args: &DocumentArgs, instance: &Instance, context: &mut Context<'_>) -> Result<Planned> {
    let read = read_documents(args, context)?;
    let wishes = Wishes {
        prune: args.prune,
        known_tags_only: args.no_create_tags,
        skip_unsupported: args.skip_unsupported,
        skip_invalid: args.skip_invalid,
        ..Wishes::default()
    };
    plan_read(read, wishes, instance)
}

/// Reads the instance, and plans `read` for it.
pub fn plan_read(read: Read, mut wishes: Wishes, instance: &Instance) -> Result<Planned> {
    let config = read_from(instance, |reader, name| {
        let config = read_config(reader, name)?;
        if wishes.prune {
            wishes.dependents = read_all_dependents(reader, &config.database.schema)?;
        }
        Ok(config)
    })?;
    plan_on(config, read, &wishes)
}

/// Plans `read` for a configuration that was already read.
pub fn plan_on(config: Config, read: Read, wishes: &Wishes) -> Result<Planned> {
    let Read { fixture, mut skipped } = read;
    match plan_fixture(&config, &fixture, wishes, &mut Random)? {
        Ok(mut outline) => {
            let left_out = std::mem::take(&mut outline.left_out);
            skipped.extend(left_out.into_iter().map(|left| Skipped { at: left.at, what: left.subject, why: left.why }));
            Ok(Planned { config, outline, skipped })
        }
        Err(problems) => Err(Error::input(problems)),
    }
}

/// Random values from the operating system.
struct Random;

impl Fresh for Random {
    fn token(&mut self, length: usize) -> Result<String> {
        init::random_text(length)
    }

    fn hash(&mut self, clear: &str) -> Result<String> {
        init::hash(&Secret::new(clear))
    }

    fn fits(&mut self, clear: &str, hash: &str) -> bool {
        init::fits(&Secret::new(clear), hash)
    }
}

/// A problem of a fixture as a whole.
pub fn about(file: &str, message: impl Into<String>) -> Error {
    Error::Input(InputError::Problems(vec![Problem::new(file, message)]))
}
