//! Why an instance cannot be converted to the other engine.

use std::path::PathBuf;

use super::{ErrorReport, Exit};
use crate::text::counted;

/// Why a conversion is refused; all of it is found before the server is stopped.
#[derive(Debug)]
#[allow(missing_docs, reason = "the report of each variant is its documentation")]
#[non_exhaustive]
pub enum ConvertError {
    SameEngine {
        instance: String,
        engine: &'static str,
    },
    /// A database without its data folder.
    NoFolder {
        instance: String,
    },
    /// A release of 1.x.
    NoMariaDb {
        release: String,
        newest: String,
    },
    /// Variables that set the database at every start.
    Environment {
        container: String,
        variables: Vec<String>,
        how: String,
    },
    /// The server would look for the database in its own container.
    Loopback {
        container: String,
        host: String,
    },
    /// A socket that would not be used from db-config.json: see [`TargetError`](crate::error::TargetError).
    Socket {
        socket: PathBuf,
    },
    /// The embedded MariaDB of an instance without a container.
    NoImage {
        instance: String,
    },
    /// A file or folder where the new database will be.
    Exists {
        path: PathBuf,
    },
    /// The statistics of 1.x were not converted yet.
    Statistics {
        state: String,
    },
    References {
        faults: Vec<String>,
    },
    /// The new database on an external MariaDB has tables.
    NotEmpty {
        database: String,
        what: String,
    },
    /// Values that the new database cannot store.
    CannotStore {
        total: usize,
        /// The first of them.
        cells: Vec<String>,
        /// What `--on-conflict` has to be for those that it resolves.
        choices: Option<String>,
        /// Whether it resolves all of them.
        all: bool,
    },
}

impl ConvertError {
    /// Message, exit code and hints.
    #[expect(clippy::too_many_lines, reason = "a table")]
    pub fn report(&self) -> ErrorReport {
        let refused = |message: String| ErrorReport::new(Exit::Refused, message);
        match self {
            Self::SameEngine { instance, engine } => refused(format!("`{instance}` already uses {engine}"))
                .hint(match *engine {
                    "SQLite" => "to convert it to MariaDB: `--to embedded` or `--to mariadb://user:password@host/database`",
                    "MariaDB (embedded)" => "to convert it: `--to sqlite` or `--to mariadb://user:password@host/database`",
                    _ => "to convert it: `--to sqlite`, `--to embedded` or another database on MariaDB",
                }),
            Self::NoFolder { instance } => refused(format!(
                "`{instance}` has no data folder here, and db-config.json in it has to be changed"
            ))
            .hint("select the instance by its data folder or container: kumadb -t FOLDER convert --to sqlite"),
            Self::NoMariaDb { release, newest } => refused(format!("release {release} does not support MariaDB"))
                .hint(format!("to upgrade the database on the way, add `--release {newest}`")),
            Self::Environment { container, variables, how } => refused(format!(
                "the environment of container `{container}` sets the database at every start ({}), so the server would \
                 return to the old one",
                variables.join(", ")
            ))
            .hint(
                "remove these variables and recreate the container: db-config.json already contains the same values, so \
                 nothing changes until it is converted",
            )
            .hint(how.clone()),
            Self::Loopback { container, host } => refused(format!(
                "container `{container}` cannot reach `{host}`: in the container, that is the container itself"
            ))
            .hint("use the name or address of the host or container with MariaDB, as the server will reach it"),
            Self::Socket { socket } => refused(format!(
                "`{}` is not in the data folder, and kumadb does not use such a socket from db-config.json",
                socket.display()
            ))
            .hint("give host and port instead: mariadb://user:password@host/database"),
            Self::NoImage { instance } => {
                refused(format!("`{instance}` has no container, so there is no image with an embedded MariaDB"))
                    .hint("to use an external MariaDB: kumadb convert --to mariadb://user:password@host/database")
            }
            Self::Exists { path } => refused(format!("`{}` exists, where the new database will be", path.display()))
                .hint("move it away if it is not used any more"),
            Self::Statistics { state } => refused(format!(
                "the statistics of this database are not complete (setting migrateAggregateTableState: {state})"
            ))
            .hint("a running server may still be computing them: wait until it has finished, then convert")
            .hint("if no server is running: kumadb doctor"),
            Self::References { faults } => refused(format!(
                "{} of the database {} broken: {}",
                counted(faults.len(), "reference"),
                if faults.len() == 1 { "is" } else { "are" },
                faults.join("; ")
            ))
            .command("kumadb doctor --fix"),
            Self::NotEmpty { database, what } => {
                refused(format!("cannot convert to {database}: it is not empty: {what}"))
                    .hint("create and use another database (CREATE DATABASE another CHARACTER SET utf8mb4)")
            }
            Self::CannotStore { total, cells, choices, all } => {
                let report = refused(format!(
                    "MariaDB cannot store {} of this database: {}",
                    counted(*total, "value"),
                    cells.join("; ")
                ));
                let report = match choices {
                    Some(choices) if *all => {
                        report.hint(format!("to change all of them in the new database: --on-conflict {choices}"))
                    }
                    Some(choices) => {
                        report.hint(format!("to change some of them in the new database: --on-conflict {choices}"))
                    }
                    None => report,
                };
                if *all { report } else { report.hint(
                        "change the values without a choice on the instance first, for example with `kumadb monitor edit`",
                    ) }
            }
        }
    }
}
