//! Why there is no instance to work on.

use std::path::PathBuf;

use super::{Error, ErrorReport, Exit, Hint};

/// The instance is not found, or not complete.
#[derive(Debug)]
#[allow(missing_docs, reason = "the report of each variant is its documentation")]
#[non_exhaustive]
pub enum TargetError {
    NoneFound,
    NotFound(String),
    SeveralFound(Vec<String>),
    NotDataFolder {
        path: PathBuf,
        why: String,
    },
    /// `db-config.json` is invalid: the database is not known.
    DbConfig {
        path: PathBuf,
        why: String,
    },
    /// A socket that is named in a `db-config.json`, but is not in the data folder.
    Socket {
        config: PathBuf,
        socket: PathBuf,
        database: String,
    },
    /// An environment variable of the container.
    Environment {
        name: &'static str,
        value: String,
        why: &'static str,
    },
    TwoContainers {
        folder: String,
        containers: Vec<String>,
    },
    /// It does not exist, and a command makes it.
    NotCreatedYet {
        cause: Box<Error>,
        hint: Hint,
    },
    /// What `--to` names.
    NoPlace {
        place: String,
        why: String,
    },
    NoDataFolder {
        container: String,
        why: String,
    },
    /// The data are in the container's own file system.
    NotOnAVolume {
        container: String,
        folder: PathBuf,
    },
    /// A command that needs a container, for an instance without one.
    NoContainer {
        instance: String,
    },
    /// An embedded MariaDB that only a container can start.
    NoContainerForMariaDb {
        instance: String,
    },
    /// The setup page has not been completed.
    NoUser,
}

impl TargetError {
    /// Message, exit code and hints.
    #[expect(clippy::too_many_lines, reason = "a table")]
    pub fn report(&self) -> ErrorReport {
        let missing = |message: String| ErrorReport::new(Exit::NotFound, message);
        match self {
            Self::NoneFound => {
                missing("no Uptime Kuma instance found: no container on this Docker host, no data folder here".into())
                    .hint("select a folder, a container or a `mysql://` URL with `-t`")
            }
            Self::NotFound(target) => {
                missing(format!("instance `{target}` not found: no such folder, container or `mysql://` URL"))
                    .command("kumadb find")
            }
            Self::SeveralFound(names) => {
                missing(format!("found {} instances; choose one with -t: {}", names.len(), names.join(", ")))
                    .command(format!("kumadb -t {} …", names.first().map_or("NAME", String::as_str)))
            }
            Self::NotDataFolder { path, why } => {
                missing(format!("`{}` is not a data folder of Uptime Kuma: {why}", path.display()))
                    .command(format!("kumadb init {}", path.display()))
            }
            Self::DbConfig { path, why } => ErrorReport::new(Exit::Failed, format!("invalid `{}`: {why}", path.display()))
                .hint("correct the file; `type` must be `sqlite`, `embedded-mariadb` or `mariadb`"),
            Self::Socket { config, socket, database } => ErrorReport::new(
                Exit::Refused,
                format!(
                    "the socket in `{}`, `{}`, is not in the data folder or a folder of the container: through it, MariaDB \
                     would let kumadb in as the user that it runs as",
                    config.display(),
                    socket.display()
                ),
            )
            .hint(format!(
                "if this is the database of this server, name it yourself: kumadb -t \
                 'mysql://USER:PASSWORD@localhost/{database}?socket={}'",
                socket.display()
            )),
            Self::Environment { name, value, why } => {
                ErrorReport::new(Exit::Usage, format!("invalid value of `{name}` in the container: `{value}` {why}"))
                    .hint("create the container again with a valid value")
            }
            Self::TwoContainers { folder, containers } => ErrorReport::new(
                Exit::Refused,
                format!("two running containers use the data folder `{folder}`: {}", containers.join(", ")),
            )
            .command(format!("docker stop {}", containers.last().map_or("NAME", String::as_str))),
            Self::NoPlace { place, why } => missing(format!(
                "cannot restore to `{place}`: it is not a path, not a `mysql://` URL and not a container ({why})"
            ))
            .hint(format!("for a folder, use ./{place}"))
            .command("docker ps -a"),
            Self::NotCreatedYet { cause, hint } => missing(cause.to_string()).with([hint.clone()]),
            Self::NoDataFolder { container, why } => {
                ErrorReport::new(Exit::Failed, format!("cannot read the data folder of container `{container}`: {why}"))
                    .hint("run kumadb on the Docker host itself, as a user who can read the data folder")
            }
            Self::NotOnAVolume { container, folder } => ErrorReport::new(
                Exit::Failed,
                format!(
                    "the data folder `{}` of container `{container}` is not on a volume: it is deleted with the \
                     container",
                    folder.display()
                ),
            )
            .command(format!("docker cp {container}:{} ./kuma-data", folder.display()))
            .hint("then create the container again with a volume at that path"),
            Self::NoContainer { instance } => {
                ErrorReport::new(Exit::Refused, format!("no container found for `{instance}`"))
                    .hint("stop and start its server manually")
            }
            Self::NoContainerForMariaDb { instance } => ErrorReport::new(
                Exit::Refused,
                format!("cannot open the embedded MariaDB of `{instance}`: no container found for it"),
            )
            .hint("create the server's container first, or run kumadb on the host that has it"),
            Self::NoUser => ErrorReport::new(Exit::Refused, "the database has no user who could see the new monitor")
                .command("kumadb user add admin"),
        }
    }
}
