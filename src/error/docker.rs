//! Why a Docker engine or a container does not do what is asked.

use std::path::PathBuf;

use super::{ErrorReport, Exit, Hint};
use crate::text::QUOTE;

/// The engine or a container.
#[derive(Debug)]
#[allow(missing_docs, reason = "the report of each variant is its documentation")]
#[non_exhaustive]
pub enum DockerError {
    Unreachable {
        address: String,
        why: String,
        hint: Hint,
    },
    /// A call of the API failed.
    Action {
        act: &'static str,
        container: String,
        why: String,
        /// Whether the engine, or a proxy in front of it, does not allow it.
        forbidden: bool,
    },
    Image {
        image: String,
        why: String,
    },
    /// An image that cannot start an embedded MariaDB.
    ImageWithoutMariaDb {
        image: String,
    },
    /// Nothing here can make an embedded MariaDB.
    NoMariaDb {
        image: String,
        why: String,
    },
    /// It was removed. `unfinished`: after the change was made.
    Removed {
        container: String,
        what: String,
        unfinished: bool,
        hint: Option<Hint>,
    },
    /// It was restarted or recreated by another program.
    Replaced {
        container: String,
    },
    StopTimeout {
        container: String,
        seconds: u64,
    },
    NotUp {
        container: String,
        seconds: u64,
        why: String,
        log: Vec<String>,
    },
    Migrating {
        container: String,
    },
    Paused {
        container: String,
    },
    RestartLoop {
        container: String,
    },
    /// It was started with `--rm`.
    AutoRemove {
        container: String,
    },
    Swarm {
        container: String,
        service: String,
    },
    Kubernetes {
        container: String,
        namespace: String,
        pod: String,
    },
    /// The helper container that starts the server's MariaDB.
    Helper {
        container: String,
        why: String,
        log: Vec<String>,
    },
    /// Output that would land in the server's data.
    OutputInData {
        path: PathBuf,
    },
}

impl DockerError {
    /// Message, exit code and hints.
    #[expect(clippy::too_many_lines, reason = "a table")]
    pub fn report(&self) -> ErrorReport {
        let failed = |message: String| ErrorReport::new(Exit::Failed, message);
        let refused = |message: String| ErrorReport::new(Exit::Refused, message);
        match self {
            Self::Unreachable { address, why, hint } => {
                failed(format!("cannot connect to Docker at `{address}`: {why}")).with([hint.clone()])
            }
            Self::Action { act, container, why, forbidden } => {
                let hint = "behind a socket proxy, allow the requests that docs/install.md lists";
                let hint = forbidden.then(|| Hint::advice(hint));
                failed(format!("cannot {act} container `{container}`: {why}")).with(hint)
            }
            Self::Image { image, why } => {
                refused(format!("cannot inspect image `{image}`: {why}")).command(format!("docker pull {image}"))
            }
            Self::ImageWithoutMariaDb { image } => refused(format!("image `{image}` does not contain MariaDB"))
                .hint("use an image with a tag that does not end in `-slim`"),
            Self::NoMariaDb { image, why } => refused(format!("cannot create an embedded MariaDB here: {why}"))
                .command(format!("docker pull {image}"))
                .hint(
                    "or use `--image IMAGE` (not `-slim`), `--engine sqlite`, or `--to mysql://user@host/database` \
                     with an \
                     empty database",
                ),
            Self::Removed { container, what, unfinished, hint } => {
                let exit = if *unfinished { Exit::Locked } else { Exit::Failed };
                ErrorReport::new(exit, format!("container `{container}` {what}")).with(hint.clone())
            }
            Self::Replaced { container } => refused(format!(
                "container `{container}` was restarted or recreated by another program; nothing was changed"
            ))
            .hint("run the same command again"),
            Self::StopTimeout { container, seconds } => ErrorReport::new(
                Exit::RollbackFailed,
                format!("container `{container}` did not stop within {seconds} s"),
            )
            .command("kumadb recover")
            .hint("this waits until the container has stopped, then starts it"),
            Self::NotUp { container, seconds, why, log } => failed(format!(
                "container `{container}` was started but is not ready after {seconds} s: {why}{}",
                tail(log)
            ))
            .command(format!("docker logs --tail 50 {container}")),
            Self::Migrating { container } => {
                refused(format!("the server in container `{container}` is migrating its database"))
                    .hint("wait until the migration is done, however long it takes, then run `kumadb recover`")
            }
            Self::Paused { container } => refused(format!("container `{container}` is paused, and so is its MariaDB"))
                .command(format!("docker unpause {container}")),
            Self::RestartLoop { container } => {
                refused(format!("container `{container}` keeps restarting, and so does its MariaDB"))
                    .command(format!("docker stop {container}"))
                    .hint("then run the same command again")
            }
            Self::AutoRemove { container } => refused(format!(
                "cannot stop container `{container}`: it was started with `--rm`, so the engine deletes it when it \
                 stops"
            ))
            .hint("create the container again without `--rm`"),
            Self::Swarm { container, service } => refused(format!(
                "cannot stop container `{container}`: the swarm service `{service}` would start a replacement"
            ))
            .command(format!("docker service scale {service}=0"))
            .hint("then select the data folder with `-t`"),
            Self::Kubernetes { container, namespace, pod } => refused(format!(
                "cannot stop container `{container}` of pod `{pod}`: Kubernetes would start a replacement"
            ))
            .command(format!("kubectl -n {namespace} scale --replicas=0 deployment/NAME"))
            .hint("then select the data folder with `-t`"),
            Self::Helper { container, why, log } => failed(format!(
                "cannot start the helper container for the database of `{container}`: {why}{}",
                tail(log)
            ))
            .command(format!("docker logs --tail 50 {container}")),
            Self::OutputInData { path } => {
                refused(format!("cannot write `{}`: the file would be inside the server's data folder", path.display()))
                    .hint("choose another folder")
            }
        }
    }
}

/// The end of a log, for the end of a message.
fn tail(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{QUOTE}{line}")).collect()
}
