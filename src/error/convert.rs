//! Why an instance cannot be converted to the other engine.

use std::path::PathBuf;

use super::{Exit, Report};
use crate::text::counted;

/// Why a conversion is refused; all of it is found before the server is stopped.
#[derive(Debug)]
#[allow(missing_docs, reason = "the report of each variant is its documentation")]
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
    /// A database server that is not MariaDB.
    NotMariaDb {
        database: String,
        version: String,
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
}

impl ConvertError {
    /// Message, exit code and hints.
    pub fn report(&self) -> Report {
        let refused = |message: String| Report::new(Exit::Refused, message);
        match self {
            Self::SameEngine { instance, engine } => refused(format!("`{instance}` already uses {engine}"))
                .hint("choose another database: sqlite, embedded, or mariadb://user:password@host/database"),
            Self::NoFolder { instance } => refused(format!(
                "`{instance}` has no data folder here, and db-config.json in it has to be changed"
            ))
            .hint("select the instance by its data folder or container: kumadb -t FOLDER convert --to sqlite"),
            Self::NoMariaDb { release } => refused(format!("release {release} does not support MariaDB"))
                .hint("upgrade the server to 2.x first, then convert"),
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
            Self::NotMariaDb { database, version } => {
                refused(format!("{database} is not MariaDB: the server does not support {version}"))
                    .hint("use a database on MariaDB")
            }
            Self::NoImage { instance } => {
                refused(format!("`{instance}` has no container, so there is no image with an embedded MariaDB"))
                    .hint("to use an external MariaDB: kumadb convert --to mariadb://user:password@host/database")
            }
            Self::Exists { path } => refused(format!("`{}` exists, where the new database will be", path.display()))
                .hint("move it away if it is not used any more"),
            Self::Statistics { state } => refused(format!(
                "the statistics of this database are not complete (setting migrateAggregateTableState: {state})"
            ))
            .hint("start the server and wait until it has finished, then convert"),
            Self::References { faults } => refused(format!(
                "{} of the database {} broken: {}",
                counted(faults.len(), "reference"),
                if faults.len() == 1 { "is" } else { "are" },
                faults.join("; ")
            ))
            .command("kumadb doctor --fix"),
        }
    }
}
