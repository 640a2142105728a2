//! Why a command cannot run on the machine that has the data.

use std::path::PathBuf;

use super::{ErrorReport, Exit};

/// Running on another machine.
#[derive(Debug)]
#[allow(missing_docs, reason = "the report of each variant is its documentation")]
#[non_exhaustive]
pub enum RemoteError {
    /// The data are on the machine of the engine. Commands that can run there do so instead of failing.
    DataNotLocal {
        container: String,
        folder: String,
        engine: String,
    },
    /// The fixture of an instance on another machine.
    CannotExport {
        instance: String,
        why: String,
    },
    /// The snapshots of an instance on another machine.
    SnapshotsNotLocal {
        instance: String,
    },
    CannotRun {
        engine: String,
        why: String,
    },
    /// The executable for the remote host.
    NotForLinux {
        path: PathBuf,
    },
    /// It needs a loader and libraries, which other systems do not have, or not in the same versions.
    NotStatic {
        path: PathBuf,
        machine: &'static str,
    },
    /// It is for another system or processor.
    WrongMachine {
        engine: String,
        system: String,
        machine: String,
        ours: &'static str,
    },
    ConnectionLost {
        engine: String,
        container: String,
        why: String,
    },
    /// The description of the remote job that was sent along.
    JobSpec {
        path: PathBuf,
        why: String,
    },
    /// It cannot be written.
    WriteJobSpec {
        why: String,
    },
    /// The variable that a remote job reads.
    Overrides {
        name: &'static str,
        why: String,
    },
}

impl RemoteError {
    /// Message, exit code and hints.
    pub fn report(&self) -> ErrorReport {
        let failed = |message: String| ErrorReport::new(Exit::Failed, message);
        match self {
            Self::DataNotLocal { container, folder, engine } => failed(format!(
                "the data folder `{folder}` of container `{container}` is not accessible from this machine: Docker is \
                 at \
                 `{engine}`"
            ))
            .hint("run kumadb on that machine, as root"),
            Self::CannotExport { instance, why } => {
                ErrorReport::new(Exit::Refused, format!("cannot read the configuration of `{instance}`: {why}"))
                    .hint("run `kumadb export` on that machine, then apply the file")
            }
            Self::SnapshotsNotLocal { instance } => {
                ErrorReport::new(Exit::Usage, format!("the snapshots of `{instance}` are on its remote host"))
                    .command(format!("kumadb -t {instance} backup check"))
            }
            Self::CannotRun { engine, why } => failed(format!("cannot run a remote job at `{engine}`: {why}"))
                .hint("run kumadb on that machine, as root"),
            Self::NotForLinux { path } => {
                failed(format!("cannot run a remote job: `{}` is not a Linux executable", path.display()))
                    .hint("download the release for Linux, and set it with `--remote-binary FILE`")
            }
            Self::NotStatic { path, machine } => failed(format!(
                "cannot run a remote job: `{}` is not statically linked, so it may not run in the image of the server",
                path.display()
            ))
            .hint(format!(
                "download the release for Linux on {machine}: install it, or set it with `--remote-binary FILE`"
            )),
            Self::WrongMachine { engine, system, machine, ours } => failed(format!(
                "cannot run a remote job at `{engine}`: the host is {system} on {machine}, but this kumadb is for linux on {ours}"
            ))
            .hint(format!("download the release for {system} on {machine}, and set it with `--remote-binary FILE`")),
            Self::ConnectionLost { engine, container, why } => failed(format!(
                "connection to `{engine}` lost: {why}; the remote job continues in container `{container}`"
            ))
            .command("kumadb status")
            .hint(
                "run it when the connection is restored; if it reports an interrupted operation, run `kumadb recover`",
            ),
            Self::JobSpec { path, why } => {
                ErrorReport::new(Exit::Refused, format!("cannot read the remote job `{}`: {why}", path.display()))
                    .hint("run the command again from the machine where you typed it")
            }
            Self::WriteJobSpec { why } => ErrorReport::new(Exit::Refused, format!("cannot write the remote job: {why}")),
            Self::Overrides { name, why } => {
                ErrorReport::new(Exit::Usage, format!("invalid value of `{name}`: {why}")).command(format!("unset {name}"))
            }
        }
    }
}
