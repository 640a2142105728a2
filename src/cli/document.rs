//! Reading and planning fixtures, as `plan` and `apply` do.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::Args;

use super::Context;
use super::engine;
use super::inputs::Inputs;
use super::list_map::LABELS;
use super::list_map::MapArgs;
use super::store::KeyArgs;
use super::tally;
use super::tally::PlannedFixture;
use super::texts::{Texts, read_texts};
use super::write::read_from;
use crate::backup;
use crate::engine::sqlite;
use crate::error::{Error, Hint, InputError, Problem, RemoteError, Result};
use crate::files;
use crate::formats::export::{ExportChoice, Secrets, export};
use crate::formats::foreign::{self, ForeignFormat, ImportOutcome, ReportLine};
use crate::formats::import::{Import, ImportOptions, InputFormat, import, import_sources};
use crate::formats::native::read_fixture;
use crate::formats::text::beside;
use crate::formats::{Lookup, Node};
use crate::instance::{Instance, Location};
use crate::kuma::init;
use crate::kuma::read::{read_all_dependents, read_config};
use crate::model::fixture::Fixture;
use crate::model::state::ConfigRows;
use crate::plan::fixture::{ApplyOptions, Entropy, LeftOutItem, Unmanaged, plan_fixture};
use crate::text::counted;
use crate::value::Secret;

/// What happens to what the fixtures do not contain.
#[derive(Args, Clone, Copy, Debug)]
pub struct UnmanagedArgs {
    /// Delete resources that the fixtures do not contain, for each kind in the fixtures
    #[arg(long)]
    prune: bool,
}

impl UnmanagedArgs {
    pub fn unmanaged(self) -> Unmanaged {
        if self.prune { Unmanaged::Deleted } else { Unmanaged::Listed }
    }
}

/// Which fixtures, and their format.
#[derive(Args, Clone, Debug)]
pub struct DocumentArgs {
    /// Read these fixtures: files, folders, or - for standard input
    #[arg(value_name = "FILE", required_unless_present = "from")]
    pub files: Vec<PathBuf>,
    /// Set the input format, one of those that `kumadb formats` lists [default: detected]
    #[arg(long, value_name = "FORMAT")]
    pub from: Option<String>,
    /// Read the labels of containers that begin with this and a point, as set for AutoKuma [default: kuma]
    #[arg(long, value_name = "PREFIX", hide_short_help = true)]
    pub label_prefix: Option<String>,
    /// Refuse tags that exist neither under `tags` nor on the instance, instead of creating them
    #[arg(long)]
    pub no_create_tags: bool,
    /// Skip entries that this release does not support, instead of refusing all
    #[arg(long)]
    pub skip_unsupported: bool,
    /// Skip invalid entries with a warning, instead of refusing all
    #[arg(long)]
    pub skip_invalid: bool,
    /// Refuse files of which anything is skipped, dropped or doubtful
    #[arg(long)]
    pub strict: bool,
    /// Expand ${VARIABLE} in foreign files too; fixtures of kumadb are always expanded
    #[arg(long)]
    pub expand_env: bool,
    #[command(flatten)]
    pub map: MapArgs,
    #[command(flatten)]
    pub keys: KeyArgs,
}

/// The fixtures that were read.
pub struct Read {
    /// What they define.
    pub fixture: Fixture,
    /// The report about foreign files.
    pub remarks: Vec<ReportLine>,
    /// The problems of what was left out as invalid.
    pub left_out: Vec<Problem>,
}

impl DocumentArgs {
    /// Packs the fixtures for a remote job, with the files and variables that they use.
    ///
    /// # Errors
    /// Problems in the fixtures themselves, which need no connection to be found.
    pub fn pack(&self, inputs: &mut Inputs) -> Result<()> {
        self.keys.pack(inputs)?;
        let files = self.files.iter();
        match self.source()? {
            // The engine of the host is asked there.
            Documents::Labels => Ok(()),
            Documents::Snapshots => files.clone().try_for_each(|file| inputs.take_with_parts(file)),
            Documents::Instances => files.clone().try_for_each(|file| {
                let parts = [file.to_owned(), file.join("kuma.db"), file.join(crate::instance::config::FILE)];
                parts.iter().try_for_each(|part| inputs.take_with_parts(part))
            }),
            Documents::Texts(format) => {
                let surroundings = FixtureEnv::default();
                self.map.map_file.iter().try_for_each(|file| inputs.take(file))?;
                let Texts { texts, in_folders, .. } = read_texts(&self.files)?;
                for (file, text) in &texts {
                    match file.as_str() {
                        "-" => inputs.stdin = Some(text.clone().into_bytes()),
                        file => inputs.take(Path::new(file))?,
                    }
                }
                let options = ImportOptions { in_folders, ..self.options(format)? };
                let read = import(texts, &options, &surroundings);
                if !read.problems.is_empty() {
                    return Err(Error::input(read.problems));
                }
                surroundings.read.borrow().keys().try_for_each(|file| inputs.take(file))?;
                inputs.variables.extend(surroundings.asked.take());
                Ok(())
            }
        }
    }

    fn options(&self, from: InputFormat) -> Result<ImportOptions> {
        let (expand_env, skip_invalid) = (self.expand_env, self.skip_invalid);
        let label_prefix = self.label_prefix.clone();
        let map = self.map.map()?;
        Ok(ImportOptions { from, map, expand_env, skip_invalid, label_prefix, ..ImportOptions::default() })
    }

    /// The format of the files.
    fn source(&self) -> Result<Documents> {
        let is_archive = |file: &PathBuf| file.to_string_lossy().contains(".kuma.tar.zst");
        match (self.from.as_deref() == Some(LABELS), self.files.is_empty()) {
            (true, false) => {
                let option = format!("`--from {LABELS}`");
                return Err(Error::Input(InputError::Conflict { option, other: "files".into() }));
            }
            (false, true) => {
                let hint = Hint::advice("name a file, a folder, or - for standard input");
                return Err(Error::Input(InputError::Missing { what: "fixture".into(), hint }));
            }
            _ => {}
        }
        Ok(match self.from.as_deref() {
            Some(LABELS) => Documents::Labels,
            Some("kuma-db") => Documents::Instances,
            Some("snapshot") => Documents::Snapshots,
            Some("native" | "kumadb") => Documents::Texts(InputFormat::Native),
            Some(name) => match ForeignFormat::parse(name) {
                Some(format) => Documents::Texts(InputFormat::Foreign(format)),
                None => {
                    let names: Vec<&str> = ForeignFormat::ALL
                        .iter()
                        .map(|format| format.name())
                        .chain(["kuma-db", LABELS, "native", "snapshot"])
                        .collect();
                    return Err(Error::Input(InputError::Unknown {
                        kind: "format",
                        name: name.to_owned(),
                        known: names.into_iter().map(str::to_owned).collect(),
                    }));
                }
            },
            None if self.files.iter().any(|file| is_database(file)) => Documents::Instances,
            None if self.files.iter().any(is_archive) => Documents::Snapshots,
            None => Documents::Texts(InputFormat::Detected),
        })
    }
}

/// The prefix of AutoKuma's labels, unless another is set.
const LABEL_PREFIX: &str = "kuma";

/// The input.
enum Documents {
    /// Labels of containers.
    Labels,
    /// Other instances.
    Instances,
    /// Snapshots.
    Snapshots,
    /// Texts.
    Texts(InputFormat),
}

/// Environment variables, and files beside the fixtures.
#[derive(Default)]
struct FixtureEnv {
    /// Files that were already read: hundreds of monitors may use the same one.
    read: RefCell<BTreeMap<PathBuf, std::result::Result<String, String>>>,
    /// Variables that were used.
    asked: RefCell<BTreeSet<String>>,
}

impl Lookup for FixtureEnv {
    fn variable(&self, name: &str) -> Option<String> {
        self.asked.borrow_mut().insert(name.to_owned());
        std::env::var(name).ok()
    }

    fn file(&self, from: &str, path: &str) -> std::result::Result<String, String> {
        self.read(&beside(from, path))
    }

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
}

impl FixtureEnv {
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
        Documents::Labels => read_labels(args, context),
        Documents::Instances => read_other_instance(args, context),
        Documents::Snapshots => read_snapshots(args, context),
        Documents::Texts(format) => {
            let found = read_texts(&args.files)?;
            found.reported.iter().for_each(|line| context.ui.warn(line));
            let options = ImportOptions { in_folders: found.in_folders, ..args.options(format)? };
            let read = import(found.texts, &options, &FixtureEnv::default());
            for (format, count) in &read.converted {
                context.ui.say(&format!("reading {} as {}", counted(*count, "file"), format.name()));
            }
            whole(read, context)
        }
    }
}

/// What was read, if there are no problems.
fn whole(read: Import, context: &mut Context<'_>) -> Result<Read> {
    if !read.problems.is_empty() {
        tally::report_remarks(&read.remarks, context);
        return Err(Error::input(read.problems));
    }
    Ok(Read { fixture: read.fixture, remarks: read.remarks, left_out: read.left_out })
}

/// The labels of all containers on the Docker engine.
fn read_labels(args: &DocumentArgs, context: &mut Context<'_>) -> Result<Read> {
    let docker = engine::connect(&engine::surroundings(&context.global))?;
    let prefix = args.label_prefix.as_deref().unwrap_or(LABEL_PREFIX);
    let containers = docker.labelled_containers()?.into_iter().map(|one| foreign::LabelledContainer {
        name: one.name,
        id: one.id,
        image: one.image,
        image_id: one.image_id,
        labels: one.labels,
    });
    let source = foreign::of_containers(prefix, &containers.collect::<Vec<_>>());
    let count = source.documents.iter().map(|document| document.list().len()).sum();
    if count == 0 {
        return Err(Error::Input(InputError::NoLabels {
            prefix: prefix.to_owned(),
            engine: docker.address().to_owned(),
        }));
    }
    context.ui.say(&format!("reading the labels of {}", counted(count, "container")));
    let options = ImportOptions {
        label_prefix: Some(prefix.to_owned()),
        ..args.options(InputFormat::Foreign(ForeignFormat::Autokuma))?
    };
    if options.map.is_some() {
        let option = format!("`--from {LABELS}`");
        return Err(Error::Input(InputError::Conflict { option, other: "`--map`".into() }));
    }
    whole(import_sources(ForeignFormat::Autokuma, vec![source], &options, &FixtureEnv::default()), context)
}

/// The configuration of another instance, of any release, as fixtures.
fn read_other_instance(args: &DocumentArgs, context: &mut Context<'_>) -> Result<Read> {
    let mut documents = Vec::new();
    for file in &args.files {
        // On a remote host, this verb could not use it.
        let other = match context.locator()?.find(file.to_str())? {
            Location::Local(other) => other,
            Location::Remote(data) => {
                let (instance, why) = (file.display().to_string(), Error::from(data).to_string());
                return Err(Error::Remote(RemoteError::CannotExport { instance, why }));
            }
        };
        let config = read_from(&other, read_config)?;
        let source = file.display().to_string();
        let release = &config.database.release;
        context.ui.say(&format!("reading instance `{}` (release {release})", other.name));
        documents.push(write_down(&config, &ExportChoice { source, ..ExportChoice::default() }, context));
    }
    read_written(&documents)
}

/// The configuration in snapshots, named as for `restore`.
fn read_snapshots(args: &DocumentArgs, context: &mut Context<'_>) -> Result<Read> {
    let keys = args.keys.keys_or_ask(context.ui)?;
    let (stores, mut documents) = (context.stores()?.with_keys(&keys), Vec::new());
    for file in &args.files {
        let desired = file.to_string_lossy();
        let origin = if desired == "latest" { context.origin()? } else { String::new() };
        let scratch = stores.scratch()?;
        let warn = &mut |error: &Error| context.ui.warn(&error.to_string());
        let staged = backup::stage_snapshot(&stores, &desired, &origin, &scratch.path().join("held"), warn)?;
        let source = format!("snapshot {}", staged.manifest.id);
        let config = read_config(&mut *staged.reader()?, &source)?;
        let release = &config.database.release;
        context.ui.say(&format!("reading {source} of `{}` (release {release})", staged.manifest.instance));
        documents.push(write_down(&config, &ExportChoice { source, ..ExportChoice::default() }, context));
    }
    read_written(&documents)
}

/// The fixture of `config`, secrets included.
pub fn write_down(config: &ConfigRows, choice: &ExportChoice, context: &mut Context<'_>) -> Node {
    let exported = export(config, &ExportChoice { secrets: Secrets::Include, ..choice.clone() });
    exported.warnings.iter().for_each(|warning| context.ui.warn(warning));
    exported.document
}

/// Reads fixtures made by [`write_down`].
pub fn read_written(documents: &[Node]) -> Result<Read> {
    match read_fixture(documents, &FixtureEnv::default()) {
        Ok(fixture) => Ok(Read { fixture, remarks: Vec::new(), left_out: Vec::new() }),
        Err(problems) => Err(Error::input(problems)),
    }
}

/// Whether `file` is a database or a data folder rather than a fixture.
fn is_database(file: &Path) -> bool {
    file.extension().is_some_and(|ending| ending == "db")
        || sqlite::is_database(file)
        || file.join("kuma.db").exists()
        || file.join("db-config.json").exists()
}

/// Reads fixtures and instance, and makes the plan.
pub fn plan(
    args: &DocumentArgs,
    unmanaged: Unmanaged,
    instance: &Instance,
    context: &mut Context<'_>,
) -> Result<PlannedFixture> {
    let read = read_documents(args, context)?;
    let wishes = ApplyOptions {
        unmanaged,
        known_tags_only: args.no_create_tags,
        skip_unsupported: args.skip_unsupported,
        skip_invalid: args.skip_invalid,
        ..ApplyOptions::default()
    };
    if let (true, Some(_)) = (args.strict, read.remarks.first()) {
        return Err(Error::input(read.remarks.iter().map(as_problem).collect()));
    }
    let remarks = read.remarks.clone();
    if unmanaged == Unmanaged::Deleted {
        refuse_prune(&read.left_out).inspect_err(|_| tally::report_remarks(&remarks, context))?;
    }
    // Also if the plan fails: a part of the problems may come from it.
    plan_read(read, wishes, instance).inspect_err(|_| tally::report_remarks(&remarks, context))
}

/// Refuses to delete what is missing in the fixtures only because it is invalid.
fn refuse_prune(left_out: &[Problem]) -> Result<()> {
    let Some(first) = left_out.first() else { return Ok(()) };
    let first = format!("{}: {}", first.subject, first.message);
    Err(Error::Input(InputError::PruneSkipped { count: left_out.len(), first }))
}

fn as_problem(remark: &ReportLine) -> Problem {
    Problem::at(&remark.at, &remark.what, &remark.why)
}

/// Reads the instance, and plans `read` for it.
pub fn plan_read(read: Read, mut wishes: ApplyOptions, instance: &Instance) -> Result<PlannedFixture> {
    let config = read_from(instance, |reader, name| {
        let config = read_config(reader, name)?;
        if wishes.unmanaged == Unmanaged::Deleted {
            wishes.dependents = read_all_dependents(reader, &config.database.schema)?;
        }
        Ok(config)
    })?;
    plan_on(config, read, &wishes)
}

/// Plans `read` for a configuration that was already read.
pub fn plan_on(config: ConfigRows, read: Read, wishes: &ApplyOptions) -> Result<PlannedFixture> {
    let Read { fixture, mut remarks, mut left_out } = read;
    match plan_fixture(&config, &fixture, wishes, &mut Random)? {
        Ok(mut report) => {
            let invalid = std::mem::take(&mut report.left_out);
            if wishes.unmanaged == Unmanaged::Deleted {
                left_out.extend(invalid.iter().map(|left| Problem::at(&left.at, &left.subject, &left.why)));
                refuse_prune(&left_out)?;
            }
            let skipped = |left: LeftOutItem| ReportLine {
                at: left.at,
                what: left.subject,
                why: left.why,
                outcome: ImportOutcome::Skipped,
            };
            remarks.extend(invalid.into_iter().map(skipped));
            Ok(PlannedFixture { config, report, remarks })
        }
        Err(problems) => Err(Error::input(problems)),
    }
}

/// Random values from the operating system.
struct Random;

impl Entropy for Random {
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
