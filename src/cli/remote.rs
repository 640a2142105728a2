//! Remote jobs: gathers the inputs of a verb on this machine, runs it on the remote host, and fetches the files that it wrote.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use super::backup::BackupVerb;
use super::console::LocalInput;
use super::inputs::Inputs;
use super::streamed::StreamedJob;
use super::{Context, Verb, store};
use crate::backup::Store;
use crate::config::read_credentials;
use crate::error::{Error, Exit, InputError, RemoteError, Result};
use crate::files;
use crate::instance::RemoteData;
use crate::remote::{Binary, FinishedJob, JobProgress as _, Overrides, RemoteJob, RemoteVerb};

/// Variables of kumadb that only apply to this machine.
const OURS: [&str; 7] = [
    "KUMADB_TARGET",
    "KUMADB_STORE",
    "KUMADB_CONFIG",
    "KUMADB_REMOTE_BINARY",
    "KUMADB_REMOTE_SOCKET",
    "KUMADB_LOG",
    Overrides::VARIABLE,
];

/// Variables of the system that affect the output.
const SYSTEM: [&str; 5] = ["TERM", "NO_COLOR", "COLUMNS", "LANG", "TZ"];

impl Inputs {
    fn of(verb: &Verb, origin: &str, context: &mut Context<'_>) -> Result<Inputs> {
        let mut inputs = Inputs::default();
        match verb {
            Verb::Plan(args) => {
                args.documents.pack(&mut inputs)?;
                inputs.back.extend(args.output.clone());
            }
            Verb::Drift(args) => args.documents.pack(&mut inputs)?,
            Verb::Apply(args) => args.pack(&mut inputs)?,
            Verb::Export(args) => {
                inputs.back.extend(args.written());
                inputs.filled = args.folder()?.map(Path::to_owned);
            }
            Verb::Monitor(verb) => verb.pack(&mut inputs)?,
            Verb::Report(args) => {
                args.source.pack(&mut inputs)?;
                inputs.back.push(args.written());
            }
            Verb::Sql(args) => {
                args.pack(&mut inputs)?;
                inputs.back.extend(args.output.clone());
            }
            Verb::Probe(args) => args.pack(&mut inputs)?,
            Verb::Push(args) => args.address.pack(&mut inputs)?,
            Verb::User(verb) => verb.pack(&mut inputs)?,
            Verb::Backup(verb) => inputs.add_backup(verb, context)?,
            Verb::Status(args) => inputs.options = args.configured(context)?,
            Verb::Convert(args) => args.pack(&mut inputs)?,
            Verb::Upgrade(args) => {
                args.keys().pack(&mut inputs)?;
                inputs.snapshot = args.local_archive(origin, context)?;
                inputs.snapshot.clone().map_or(Ok(()), |archive| inputs.take_with_parts(Path::new(&archive)))?;
            }
            Verb::Undo(args) => args.keys.pack(&mut inputs)?,
            Verb::Doctor(args) => args.pack(&mut inputs)?,
            Verb::Restore(args) => {
                args.keys.pack(&mut inputs)?;
                inputs.snapshot = args.local_archive(origin, context)?;
                let archive = inputs.snapshot.clone().or_else(|| args.snapshot.clone());
                archive.map_or(Ok(()), |archive| inputs.take_with_parts(Path::new(&archive)))?;
            }
            // They read and write no file of this machine.
            Verb::Find(_)
            | Verb::Maintenance(_)
            | Verb::Init(_)
            | Verb::ApiKey(_)
            | Verb::Salvage(_)
            | Verb::History(_)
            | Verb::Vacuum(_)
            | Verb::Restart(_)
            | Verb::Logs(_)
            | Verb::Recover(_)
            | Verb::Config(_)
            | Verb::Formats(_)
            | Verb::Schema(_)
            | Verb::Completions(_)
            | Verb::Man(_)
            | Verb::RemoteJob(_) => {}
        }
        Ok(inputs)
    }

    fn add_backup(&mut self, verb: &BackupVerb, context: &mut Context<'_>) -> Result<()> {
        match verb {
            // The snapshot is sent compressed, and becomes a stream here.
            BackupVerb::Create(args) if args.is_streamed() => {}
            BackupVerb::Create(args) => {
                args.encryption.pack(self)?;
                self.folders = context.local_stores()?.into_iter().map(PathBuf::from).collect();
            }
            BackupVerb::Show(args) => {
                args.keys.pack(self)?;
                self.take_with_parts(Path::new(&args.snapshot))?;
            }
            BackupVerb::Verify(args) => {
                args.keys.pack(self)?;
                args.snapshots.iter().try_for_each(|archive| self.take_with_parts(Path::new(archive)))?;
            }
            BackupVerb::Prune(args) => {
                args.keys.pack(self)?;
                self.options = args.configured(context)?.map_or(Vec::new(), |policy| policy.options());
            }
            BackupVerb::Check(args) => self.options = args.configured(context)?,
            BackupVerb::List(_) | BackupVerb::Schedule(_) => {}
        }
        Ok(())
    }

    fn env(&self) -> Vec<(String, String)> {
        let desired = |name: &str| {
            self.variables.contains(name)
                || SYSTEM.contains(&name)
                || name.starts_with("KUMADB_") && !OURS.contains(&name)
        };
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| desired(name))
            .collect()
    }
}

/// Runs `verb` on the host of `data`.
pub fn run(verb: &Verb, data: &RemoteData, context: &mut Context<'_>) -> Result<Exit> {
    let docker = &data.docker;
    let mut inputs = Inputs::of(verb, &data.folder.to_string_lossy(), context)?;
    let mut streamed = StreamedJob::of(verb, context)?;
    inputs.folders.extend(streamed.iter().map(|streamed| streamed.store().to_owned()));
    let (back, filled, folders) = (inputs.back.clone(), inputs.filled.clone(), inputs.folders.clone());
    if verb.makes_snapshots() && !context.local_stores()?.is_empty() {
        context
            .ui
            .warn("the undo snapshot of this write is in the volume `kumadb` of the remote host; to list it: kumadb backup list");
    }
    let mut order = order(inputs, verb, &data.container.id, context)?;
    if streamed.is_some() {
        StreamedJob::prepare(&mut order);
    }
    let mut read = Vec::new();
    if matches!(verb, Verb::Find(_)) {
        read.push(docker.engine()?.root.join("volumes"));
        read.extend(docker.containers()?.iter().filter_map(|server| Some(server.data().ok()?.path)));
    }
    let binary = Binary::read(context.global.remote_binary.as_deref())?;
    let socket = context.global.remote_socket.clone();
    let remote = RemoteVerb { docker, server: &data.container, read, socket, binary };
    // Signals are forwarded to the job.
    context.ui.finish_in_order();
    let mut input = LocalInput::new(context.ui, order.tty, order.asks);
    if streamed.is_some() {
        input.drop_output();
    }
    let ran = remote.run(order, &mut input)?;
    let exit = i32::try_from(ran.code).ok().and_then(Exit::of).ok_or_else(|| {
        Error::Remote(RemoteError::CannotRun {
            engine: docker.address().to_owned(),
            why: format!("it exited with code {}", ran.code),
        })
    })?;
    let done = matches!(exit, Exit::Done | Exit::Partial | Exit::Changes);
    for path in &back {
        if !ran.fetch_file(&files::absolute(path)?)? && done {
            let engine = docker.address().to_owned();
            return Err(Error::Remote(RemoteError::CannotRun {
                engine,
                why: format!("`{}` no longer exists", path.display()),
            }));
        }
    }
    if let (true, Some(folder)) = (done, filled) {
        let folder = files::absolute(&folder)?;
        files::make_folder(&folder)?;
        ran.fetch_folder(&folder, &folder, &mut input)?;
    }
    if done {
        folders.iter().try_for_each(|folder| bring_home(&ran, folder, &mut input))?;
    }
    if let (true, Some(streamed)) = (done, streamed.take()) {
        streamed.write(context)?;
    }
    Ok(exit)
}

fn order(inputs: Inputs, verb: &Verb, target: &str, context: &Context<'_>) -> Result<RemoteJob> {
    let typed = std::env::args_os().skip(1).map(|arg| {
        arg.into_string()
            .map_err(|arg| Error::Input(InputError::NotUtf8 { what: format!("`{}`", arg.to_string_lossy()) }))
    });
    let mut args: Vec<String> = typed.collect::<Result<_>>()?;
    args.extend(inputs.options.iter().cloned());
    let mut env = inputs.env();
    env.extend(store::credentials()?.into_iter().map(|(name, value)| (name, value.reveal().to_owned())));
    for place in
        context.configured_stores()?.unwrap_or_default().iter().filter_map(|place| place.credentials_file.as_ref())
    {
        env.extend(read_credentials(place)?.into_iter().map(|(name, value)| (name, value.reveal().to_owned())));
    }
    let mut stores = context.store_addresses()?;
    stores.retain(|store| store.contains("://"));
    for folder in &inputs.folders {
        stores.insert(0, files::absolute(folder)?.display().to_string());
    }
    let terminals =
        std::io::stdin().is_terminal() && std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
    let takes = verb.makes_snapshots() || matches!(verb, Verb::Backup(BackupVerb::Create(_)));
    let encryption = if takes { context.encryption()? } else { None };
    let snapshot = inputs.snapshot.as_ref().map(files::absolute).transpose()?;
    Ok(RemoteJob {
        args,
        env,
        here: std::env::current_dir().map_err(Error::file("find", "."))?,
        overrides: Overrides {
            target: (!matches!(verb, Verb::Find(_))).then(|| target.to_owned()),
            name: context.named()?.map(|named| named.name),
            others: context.others()?,
            stores,
            snapshot: snapshot.map(|path| path.display().to_string()),
            recipients: encryption.map(|encryption| encryption.recipients()).unwrap_or_default(),
            undo: Some(context.undo_bounds()?),
        },
        fetched: !inputs.back.is_empty() || inputs.filled.is_some() || !inputs.folders.is_empty(),
        stdin: inputs.stdin,
        files: inputs.files,
        tty: terminals && !context.global.json,
        asks: context.global.asked_by_parent,
    })
}

/// Copies the snapshots that the verb left in the remote `folder` into the same folder here; each is verified before
/// it is listed.
fn bring_home(ran: &FinishedJob<'_>, folder: &Path, input: &mut LocalInput<'_>) -> Result<()> {
    let store = Store::new(folder);
    let scratch = store.scratch()?;
    let fetched = scratch.path().join("fetched");
    for name in ran.fetch_folder(&files::absolute(folder)?, &fetched, input)? {
        if Store::is_archive(&name) {
            let snapshot = store.adopt(&name, &fetched.join(&name), &scratch)?;
            input.say(&format!("downloaded and verified: {}", snapshot.location()));
        }
    }
    Ok(())
}
