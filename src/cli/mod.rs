//! The command line: one file per verb. Nothing here knows SQL, and only `ui.rs` prints.

mod api_key;
mod apply;
mod backup;
mod check;
mod completion;
mod config;
mod console;
mod convert;
mod doctor;
mod document;
mod drift;
mod engine;
mod environment;
mod examples;
mod export;
mod find;
mod fixes;
mod fleet;
mod format;
mod help;
mod history;
mod init;
mod inputs;
mod instance;
mod lazy;
mod list_map;
mod location;
mod maintenance;
mod monitor;
mod observe;
mod paint;
mod password;
mod plan;
mod probe;
mod prompt;
mod prune;
mod push;
mod recover;
mod remote;
mod remote_job;
mod report;
mod restart;
mod restore;
mod salvage;
mod schedule;
mod shell;
mod show;
mod signals;
mod snapshots;
mod spool;
mod sql;
mod status;
mod store;
mod streamed;
mod table;
mod tally;
mod texts;
mod ui;
mod undo;
mod upgrade;
mod user;
mod vacuum;
mod verify;
mod worker;
mod write;

use std::cell::{OnceCell, RefCell};
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};

use crate::backup::undo::Bounds;
use crate::docker::{Docker, SOCKET};
use crate::error::{Error, Exit, OperationError, Result};
use crate::files::Confined;
use crate::instance::{Instance, Location, Locator};
use crate::operation::{Journal, repair_owner};
use crate::remote::Overrides;

use environment::{state_folder, variable};
use lazy::Lazy;

pub use completion::answer as complete;
pub use help::command;
pub use ui::Ui;

/// Back up, repair and manage Uptime Kuma, even when its UI is down
#[derive(Debug, Parser)]
#[command(name = "kumadb", version, propagate_version = true, arg_required_else_help = true)]
#[command(disable_help_flag = true, disable_version_flag = true)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

/// Options that every verb has.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Select the instance: a name from the config file, a data folder, a kuma.db, a container, or
    /// mysql://user@host/database [default: the only instance found]
    #[arg(
        short,
        long,
        global = true,
        hide_short_help = true,
        env = variable("KUMADB_TARGET"),
        hide_env_values = true,
        value_name = "TARGET"
    )]
    target: Option<String>,
    /// Connect to this Docker engine: unix:///path, tcp://host:port, ssh://user@host [env: DOCKER_HOST,
    /// DOCKER_TLS_VERIFY, DOCKER_CERT_PATH; Podman: CONTAINER_HOST]
    #[arg(short = 'H', long = "host", global = true, hide_short_help = true, value_name = "DOCKER")]
    docker_host: Option<String>,
    /// Use this context of the docker CLI [env: DOCKER_CONTEXT; default: the current one]
    #[arg(
        long = "context",
        global = true,
        hide_short_help = true,
        value_name = "NAME",
        conflicts_with = "docker_host"
    )]
    docker_context: Option<String>,
    /// Set where snapshots are stored: a folder, s3://BUCKET/PREFIX, az://, gs://, webdav(s)://; separate several with
    /// commas or repeat the option [default: /var/lib/kumadb/snapshots as root, else ~/.local/share/kumadb/snapshots]
    #[arg(
        long,
        global = true,
        hide_short_help = true,
        env = variable("KUMADB_STORE"),
        hide_env_values = true,
        value_name = "STORE",
        value_delimiter = ','
    )]
    store: Vec<String>,
    /// Read this config file [default: ~/.config/kumadb/kumadb.toml, /etc/kumadb/kumadb.toml]
    #[arg(
        long,
        global = true,
        hide_short_help = true,
        env = variable("KUMADB_CONFIG"),
        hide_env_values = true,
        value_name = "FILE"
    )]
    config: Option<PathBuf>,
    /// Use this Linux build of kumadb on a remote host with a different architecture
    #[arg(
        long,
        global = true,
        hide_short_help = true,
        env = variable("KUMADB_REMOTE_BINARY"),
        hide_env_values = true,
        value_name = "FILE"
    )]
    remote_binary: Option<PathBuf>,
    /// Set the path of the Docker socket on the remote host, if it is not the default
    #[arg(
        long,
        global = true,
        hide_short_help = true,
        env = variable("KUMADB_REMOTE_SOCKET"),
        hide_env_values = true,
        value_name = "PATH"
    )]
    remote_socket: Option<String>,
    /// Print the result as JSON
    #[arg(long, global = true, hide_short_help = true)]
    json: bool,
    /// Skip confirmation prompts
    #[arg(short, long, global = true, hide_short_help = true)]
    yes: bool,
    /// Suppress progress output
    #[arg(short, long, global = true, hide_short_help = true)]
    quiet: bool,
    /// Show detailed progress
    #[arg(short, long, global = true, hide_short_help = true)]
    verbose: bool,
    /// Write confirmation prompts to stdout and read the answers from stdin (for a parent kumadb process)
    #[arg(long, global = true, hide = true)]
    asked_by_parent: bool,
    /// Run the verb on each instance whose name is on stdin (for a parent kumadb process)
    #[arg(long, global = true, hide = true)]
    for_parent: bool,
    /// Print help (-h: short, --help: full)
    #[arg(short, long, global = true, hide_short_help = true, action = clap::ArgAction::Help)]
    help: Option<bool>,
    /// Print version
    #[arg(short = 'V', long, global = true, hide_short_help = true, action = clap::ArgAction::Version)]
    version: Option<bool>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List Uptime Kuma instances on this host
    Find(Lazy<find::FindArgs>),
    /// Show release, size, monitors, container and last backup
    Status(Lazy<status::StatusArgs>),
    /// List, show, add, edit and delete monitors
    #[command(subcommand, visible_alias = "monitors")]
    Monitor(monitor::MonitorVerb),
    /// List, start, schedule and end maintenance windows
    #[command(subcommand)]
    Maintenance(maintenance::MaintenanceVerb),
    /// Write status, uptime and outages to an HTML page
    Report(Lazy<report::ReportArgs>),
    /// Show what applying fixtures would change
    Plan(Lazy<plan::PlanArgs>),
    /// Compare fixtures with an instance (exit 20 on any difference)
    Drift(Lazy<drift::DriftArgs>),
    /// Apply fixtures (YAML, JSON, TOML, CSV) to an instance
    Apply(Lazy<apply::ApplyArgs>),
    /// Export configuration to a file
    Export(Lazy<export::ExportArgs>),
    /// Create a new instance: data folder or MariaDB tables
    Init(Lazy<init::InitArgs>),
    /// Diagnose and repair an instance
    Doctor(Lazy<doctor::DoctorArgs>),
    /// Check the web UI, /metrics and badges
    Probe(Lazy<probe::ProbeArgs>),
    /// Send a heartbeat to a push monitor
    Push(Lazy<push::PushArgs>),
    /// Manage users, passwords and 2FA
    #[command(subcommand, visible_alias = "users")]
    User(user::UserVerb),
    /// Manage API keys for /metrics
    #[command(subcommand)]
    ApiKey(api_key::ApiKeyVerb),
    /// Create, list, verify and prune snapshots
    #[command(subcommand)]
    Backup(backup::BackupVerb),
    /// Restore a snapshot (backs up the current state first)
    Restore(Lazy<restore::RestoreArgs>),
    /// Undo the newest change
    Undo(Lazy<undo::UndoArgs>),
    /// Upgrade the database to a newer release of the server
    Upgrade(Lazy<upgrade::UpgradeArgs>),
    /// Convert the database: SQLite to MariaDB, or back
    Convert(Lazy<convert::ConvertArgs>),
    /// Recover rows from a damaged kuma.db into a new one
    Salvage(Lazy<salvage::SalvageArgs>),
    /// Show and prune heartbeat history
    #[command(subcommand)]
    History(history::HistoryVerb),
    /// Reclaim unused disk space
    Vacuum(Lazy<vacuum::VacuumArgs>),
    /// Query the database, or change rows safely
    Sql(Lazy<sql::SqlArgs>),
    /// Restart the server and verify that it is running
    Restart(Lazy<restart::RestartArgs>),
    /// Show or follow the server's log
    Logs(Lazy<restart::LogsArgs>),
    /// Finish or roll back an interrupted operation
    Recover(Lazy<recover::RecoverArgs>),
    /// Write or check the config file
    #[command(subcommand)]
    Config(config::ConfigVerb),
    /// List the formats that plan and apply read
    Formats(Lazy<list_map::FormatsArgs>),
    /// Print the JSON Schema of fixtures, for editors
    Schema(Lazy<export::SchemaArgs>),
    /// Print a completion script for a shell
    Completions(Lazy<shell::CompletionsArgs>),
    /// Print or write manual pages
    Man(Lazy<shell::ManArgs>),
    /// Run a job that kumadb on another host has sent
    #[command(hide = true)]
    RemoteJob(Lazy<remote_job::RemoteJobArgs>),
}

impl Cli {
    /// Runs the verb, on this machine or on the host of its instance.
    pub fn run(mut self, ui: &mut Ui) -> Result<Exit> {
        if let Verb::Restore(args) = &mut self.verb {
            args.take_target(self.global.target.as_deref());
        }
        let ordered = remote_job::overrides()?;
        if let Some(overrides) = &ordered {
            self.apply_overrides(overrides);
        }
        let recipients = ordered.as_ref().map(|overrides| overrides.recipients.clone());
        let bounds = ordered.as_ref().and_then(|overrides| overrides.undo);
        if self.global.verbose {
            ui.say(&Confined::wall().to_string());
        }
        if self.verb.ends_promptly() {
            ui.end_promptly()?;
        }
        self.verb.check(self.global.json)?;
        let _spooled = self.verb.spool(ui)?;
        if self.global.for_parent && matches!(self.verb, Verb::Status(_)) {
            return worker::serve(&self.verb, &self.global, ui);
        }
        let mut context = Context { recipients, bounds, ..Context::new(ui, self.global) };
        // A remote job is where its data is.
        if ordered.is_none() { self.verb.run_located(&mut context) } else { self.verb.run_here(&mut context) }
    }

    fn apply_overrides(&mut self, overrides: &Overrides) {
        self.global.target = overrides.target.clone();
        self.global.docker_host = Some(format!("unix://{SOCKET}"));
        self.global.docker_context = None;
        self.global.config = None;
        self.global.store = overrides.stores.clone();
        match (&mut self.verb, &overrides.snapshot) {
            (Verb::Restore(args), Some(snapshot)) => args.take_snapshot(snapshot.clone()),
            (Verb::Upgrade(args), Some(snapshot)) => args.stats_from = Some(snapshot.clone()),
            _ => {}
        }
    }
}

impl Verb {
    /// Runs it on this machine, or on the host of its instance.
    fn run_located(&self, context: &mut Context<'_>) -> Result<Exit> {
        match self.remote_data(context)? {
            Some(data) => remote::run(self, &data, context),
            None => self.run_here(context),
        }
    }

    fn run_here(&self, context: &mut Context<'_>) -> Result<Exit> {
        match self.run(context) {
            // What it could not read, because it had to end, is in its result as an error.
            Ok(_) if self.ends_promptly() && context.ui.cancel().signal().is_some() => {
                Ok(context.ui.signal_exit().unwrap_or(Exit::Interrupted))
            }
            ran => ran,
        }
    }

    fn run(&self, context: &mut Context<'_>) -> Result<Exit> {
        match self {
            Verb::Find(args) => find::run(args, context),
            Verb::Status(args) => status::run(args, context),
            Verb::Monitor(verb) => monitor::run(verb, context),
            Verb::Maintenance(verb) => maintenance::run(verb, context),
            Verb::Report(args) => report::run(args, context),
            Verb::Plan(args) => plan::run(args, context),
            Verb::Drift(args) => drift::run(args, context),
            Verb::Apply(args) => apply::run(args, context),
            Verb::Export(args) => export::run(args, context),
            Verb::Formats(args) => list_map::formats(args, context),
            Verb::Schema(args) => export::schema(args, context),
            Verb::Init(args) => init::run(args, context),
            Verb::Doctor(args) => doctor::run(args, context),
            Verb::Probe(args) => probe::run(args, context),
            Verb::Push(args) => push::run(args, context),
            Verb::User(verb) => user::run(verb, context),
            Verb::ApiKey(verb) => api_key::run(verb, context),
            Verb::Backup(verb) => backup::run(verb, context),
            Verb::Restore(args) => restore::run(args, context),
            Verb::Undo(args) => undo::run(args, context),
            Verb::Upgrade(args) => upgrade::run(args, context),
            Verb::Convert(args) => convert::run(args, context),
            Verb::Salvage(args) => salvage::run(args, context),
            Verb::Config(verb) => config::run(verb, context),
            Verb::History(verb) => history::run(verb, context),
            Verb::Vacuum(args) => vacuum::run(args, context),
            Verb::Sql(args) => sql::run(args, context),
            Verb::Restart(args) => restart::run(args, context),
            Verb::Logs(args) => restart::logs(args, context),
            Verb::Recover(args) => recover::run(args, context),
            Verb::Completions(args) => shell::completions(args, context),
            Verb::Man(args) => shell::man(args, context),
            Verb::RemoteJob(args) => remote_job::run(args),
        }
    }

    /// Whether a signal may end it anywhere until a journal is written: it changes nothing before that but, perhaps, what is in
    /// a store.
    fn ends_promptly(&self) -> bool {
        match self {
            Verb::Backup(verb) => !matches!(verb, backup::BackupVerb::Schedule(_) | backup::BackupVerb::Prune(_)),
            // They make changes without one, finish what another run began, or only run another kumadb.
            Verb::Init(_) | Verb::Recover(_) | Verb::Restart(_) | Verb::RemoteJob(_) => false,
            // A signal is how following ends.
            Verb::Logs(_) => false,
            _ => true,
        }
    }

    /// Whether it takes a snapshot before it writes.
    fn makes_snapshots(&self) -> bool {
        match self {
            Verb::Monitor(verb) => verb.writes(),
            Verb::Maintenance(verb) => verb.writes(),
            Verb::History(history::HistoryVerb::Prune(_)) | Verb::Vacuum(_) => true,
            Verb::Convert(args) => !args.is_dry_run(),
            Verb::Upgrade(args) => !args.only_reads(),
            Verb::User(_) | Verb::ApiKey(_) | Verb::Apply(_) | Verb::Undo(_) | Verb::Recover(_) => true,
            Verb::Restore(args) => args.new.to.is_none(),
            Verb::Doctor(args) => args.fix,
            Verb::Sql(args) => args.change,
            _ => false,
        }
    }
}

/// The context of every verb.
struct Context<'a> {
    ui: &'a mut Ui,
    global: Global,
    /// The config file, once it was read.
    config: OnceCell<Option<crate::config::ConfigFile>>,
    /// The instance that was found last.
    found: RefCell<Option<instance::SelectedInstance>>,
    /// What was found before the verb was dispatched.
    located: RefCell<location::Located>,
    /// Recipients of snapshots, where a kumadb on another machine has passed them.
    recipients: Option<Vec<String>>,
    /// Limits of undo snapshots, where a kumadb on another machine has passed them.
    bounds: Option<Bounds>,
}

impl<'a> Context<'a> {
    fn new(ui: &'a mut Ui, global: Global) -> Context<'a> {
        let (found, located) = (RefCell::default(), RefCell::default());
        Context { ui, global, config: OnceCell::new(), found, located, recipients: None, bounds: None }
    }
}

impl Context<'_> {
    /// What finds instances on this machine.
    fn locator(&self) -> Result<Locator> {
        self.locator_on(engine::connect(&engine::surroundings(&self.global)))
    }

    fn locator_on(&self, docker: Result<Arc<Docker>>) -> Result<Locator> {
        let here = std::env::current_dir().map_err(Error::file("find", "."))?;
        Ok(Locator { docker, here, state: state_folder(), on_host: remote_job::overrides()?.is_some() })
    }

    /// The selected instance; warns when an operation on it was interrupted and no process works on it.
    ///
    /// # Errors
    /// [`RemoteError::DataNotLocal`](crate::error::RemoteError::DataNotLocal): it is on another machine.
    fn instance(&mut self) -> Result<Instance> {
        self.location()?.local()
    }

    /// Where the selected instance is, with the same warnings.
    fn location(&mut self) -> Result<Location> {
        let location = self.locate()?;
        let Location::Local(instance) = &location else { return Ok(location) };
        match repair_owner(instance) {
            Ok(Some(owner)) => {
                let work = instance.work().display();
                self.ui.say(&format!(
                    "changed the owner of `{work}`, which an earlier run as root had created, to {owner}"
                ));
            }
            Ok(None) => {}
            Err(error) => self.ui.warn(&error.to_string()),
        }
        match Journal::read(instance.work()) {
            Ok(Some(_)) if matches!(instance.lock("looking"), Err(Error::Operation(OperationError::Locked { .. }))) => {
            }
            Ok(Some(journal)) => self.ui.warn(&format!("{}; run: kumadb recover", journal.record.unfinished())),
            Err(error @ Error::Operation(OperationError::Journal { .. })) => self.ui.warn(&error.to_string()),
            // A folder that this user cannot read hides its journal; writing to it is refused later anyway.
            Ok(None) | Err(_) => {}
        }
        Ok(location)
    }
}
