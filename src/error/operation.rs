//! Why an operation that writes does not start, ends early or was rolled back.

use std::path::PathBuf;

use super::{DockerError, Error, ErrorReport, Exit, Hint, Problem};
use crate::text::counted;

/// The write path.
#[derive(Debug)]
#[allow(missing_docs, reason = "the report of each variant is its documentation")]
#[non_exhaustive]
pub enum OperationError {
    Locked {
        holder: String,
    },
    Unfinished {
        verb: String,
        started: String,
        phase: String,
    },
    /// An interrupted operation on another database.
    OtherDatabase {
        verb: String,
        origin: String,
        here: String,
    },
    Journal {
        path: PathBuf,
        why: String,
    },
    NothingUnfinished,
    ServerRunning {
        what: String,
    },
    /// Other connections to the database.
    InUse {
        database: String,
        connections: u64,
    },
    /// `--wait-beats` without a container.
    CannotWait {
        instance: String,
    },
    /// The server migrates its database, or was killed while it did.
    Migrating {
        instance: String,
        what: String,
    },
    StalePlan,
    /// The configuration changed while the question was on the screen.
    StaleDifference {
        instance: String,
    },
    /// A saved plan for another instance.
    OtherInstance {
        origin: String,
        instance: String,
    },
    ReadBack {
        subject: String,
        column: String,
        expected: String,
        found: String,
    },
    /// Checks of the transaction, which was rolled back.
    ChecksFailed(Vec<String>),
    /// `upgrade` to an older release.
    Downgrade {
        from: String,
        to: String,
        migrations: usize,
    },
    /// A database of a release without statistics, which are to be replaced.
    NoStatistics {
        release: String,
    },
    /// What has to be solved before an upgrade.
    CannotUpgrade(Vec<Problem>),
    /// The database is upgraded, and its container still has the old image.
    ImageNotChanged {
        container: String,
        image: String,
        release: String,
        /// How the image of the container is changed.
        change: String,
    },
    /// An upgrade that was rolled back while the container has the new image.
    UpgradeRolledBack {
        cause: Box<Error>,
        image: String,
        /// How the image of the container is changed.
        change: String,
    },
    /// A statement that cannot be rolled back.
    NotInTransaction {
        statement: String,
    },
    /// A statement that changes something, without `--write`.
    ReadOnly {
        statement: String,
    },
    /// What the doctor finds after the change and not before.
    NewFindings {
        findings: Vec<String>,
    },
    /// `vacuum --incremental` on a file that was not made for it.
    NoAutoVacuum {
        free_pages: u64,
    },
    /// A child process of a run over many instances.
    NoPipes,
    RolledBack {
        cause: Box<Error>,
    },
    /// Statements that are durable one by one, of which one failed after others.
    StatementsStay {
        cause: Box<Error>,
        done: usize,
        all: usize,
    },
    /// `is_back`: the database is as before, and only the rest failed.
    RollbackFailed {
        cause: Box<Error>,
        failure: Box<Error>,
        is_back: bool,
    },
    Panic {
        what: &'static str,
        why: String,
    },
    Interrupted {
        signal: i32,
    },
    /// An observer does not let the operation continue.
    Stopped {
        why: String,
    },
}

impl OperationError {
    /// Message, exit code and hints.
    #[expect(clippy::too_many_lines, reason = "a table")]
    pub fn report(&self) -> ErrorReport {
        let refused = |message: String| ErrorReport::new(Exit::Refused, message);
        match self {
            Self::Locked { holder } => ErrorReport::new(
                Exit::Locked,
                format!("another kumadb process is using this instance{}", in_brackets(holder)),
            )
            .hint("wait until it has finished, or stop it"),
            Self::Unfinished { verb, started, phase } => {
                ErrorReport::new(Exit::Locked, format!("an earlier `{verb}`, started {started}, was interrupted ({phase})"))
                    .command("kumadb recover")
            }
            Self::OtherDatabase { verb, origin, here } => refused(format!(
                "the interrupted `{verb}` worked on the database at {origin}, but this instance uses the database at \
                 {here}"
            ))
            .hint("configure the server to use that database again, then run `kumadb recover`"),
            Self::Journal { path, why } => {
                ErrorReport::new(Exit::Locked, format!("cannot read the journal `{}`: {why}", path.display()))
                    .hint(format!("check the database and the server, then: mv {0} {0}.old", path.display()))
            }
            Self::NothingUnfinished => ErrorReport::new(Exit::Failed, "no interrupted operation on this instance"),
            Self::ServerRunning { what } => refused(what.clone())
                .hint("leave out `--no-restart` and `--live`, so that the server is stopped for the write"),
            Self::InUse { database, connections } => refused(format!(
                "{database} has {}: a server that kumadb did not find may be using it",
                counted(*connections as usize, "other connection")
            ))
            .hint("stop that server first, or add `--no-restart` and restart it afterwards"),
            Self::CannotWait { instance } => refused(format!(
                "cannot wait for heartbeats: kumadb does not know the container of `{instance}`, so it cannot restart the server"
            ))
            .hint("leave out `--wait-beats`, or select the container: -t CONTAINER"),
            Self::Migrating { instance, what } => refused(format!(
                "the server of `{instance}` is migrating its database, or the migration was interrupted: {what}"
            ))
            .hint(
                "wait until the migration is done; if no server is running, start the server once with its own image",
            ),
            Self::StalePlan => {
                refused("the configuration changed after the plan was created".into()).command("kumadb plan FILE -o PLAN")
            }
            Self::StaleDifference { instance } => {
                refused(format!("the configuration of `{instance}` changed after the difference was shown"))
                    .hint("run the same command again")
            }
            Self::OtherInstance { origin, instance } => {
                refused(format!("the plan was created for the instance at {origin}, not for `{instance}`"))
                    .command("kumadb plan FILE -o PLAN")
            }
            Self::ReadBack { subject, column, expected, found } => ErrorReport::new(
                Exit::Failed,
                format!("{subject}: `{column}` reads back as {found} instead of {expected}; rolled back"),
            ),
            Self::ChecksFailed(problems) => ErrorReport::new(
                Exit::Failed,
                format!("the transaction failed its checks and was rolled back: {}", problems.join("; ")),
            ),
            Self::Downgrade { from, to, migrations } => refused(format!(
                "cannot upgrade from {from} to the older release {to}: a server of {to} would start with this database, \
                 ignore {} that it does not know, and on SQLite run without foreign keys, so that deleted monitors leave \
                 their rows behind",
                counted(*migrations, "migration")
            ))
            .hint("restore a snapshot from before the upgrade instead: kumadb restore"),
            Self::NoStatistics { release } => {
                refused(format!("the database is of release {release}, which has no statistics")).command("kumadb upgrade")
            }
            Self::CannotUpgrade(problems) => {
                let all: Vec<String> =
                    problems.iter().map(|problem| format!("{}: {}", problem.subject, problem.message)).collect();
                let hints = problems.iter().filter_map(|problem| problem.hint.clone());
                refused(format!("the upgrade is not possible yet: {}", all.join("; ")))
                    .with(hints)
                    .command("kumadb upgrade --check")
            }
            Self::ImageNotChanged { container, image, release, change } => ErrorReport::new(
                Exit::Partial,
                format!(
                    "the database is upgraded to {release}, but container `{container}` does not have the image `{image}` or \
                     another one of this release yet, so it was not started"
                ),
            )
            .hint(format!("{change}; then run: kumadb recover"))
            .hint("to go back to the old release instead: kumadb recover --roll-back"),
            Self::UpgradeRolledBack { cause, image, change } => ErrorReport::new(
                Exit::RolledBack,
                format!("the upgrade was rolled back, and the server is stopped: {cause}"),
            )
            .hint(format!(
                "its container has the image of the new release, which would migrate the database again: go back to the \
                 image `{image}`: {change}"
            )),
            Self::NotInTransaction { statement } => refused(format!("`{statement}` cannot be rolled back"))
                .hint("use INSERT, UPDATE, DELETE, REPLACE or WITH"),
            Self::ReadOnly { statement } => {
                refused(format!("read-only mode: {statement} requires `--write`")).hint("add `--write` to change rows")
            }
            Self::NewFindings { findings } => {
                refused(format!("the change would cause new findings: {}", findings.join("; ")))
                    .hint("add `--allow-findings` to make the change anyway")
            }
            Self::NoAutoVacuum { free_pages } => refused(format!(
                "cannot reclaim {} incrementally: the database has auto_vacuum = NONE",
                counted(*free_pages as usize, "free page")
            ))
            .command("kumadb vacuum --auto-vacuum incremental"),
            Self::NoPipes => ErrorReport::new(Exit::Failed, "cannot read the output of a child process"),
            Self::RolledBack { cause } => rolled_back(cause),
            Self::StatementsStay { cause, done, all } => ErrorReport::new(
                Exit::Partial,
                format!("{cause}; {done} of {} were executed and stay", counted(*all, "statement")),
            )
            .with(cause.hints())
            .hint("each is harmless to keep; to see what is left: kumadb doctor"),
            Self::RollbackFailed { cause, failure, is_back: false } => {
                ErrorReport::new(Exit::RollbackFailed, format!("{cause}; the rollback failed too: {failure}"))
                    .with(recovery(failure))
            }
            Self::RollbackFailed { cause, failure, is_back: true } => ErrorReport::new(
                Exit::RollbackFailed,
                format!("{cause}; the database is as before, but the rollback could not be completed: {failure}"),
            )
            .with(recovery(failure)),
            Self::Panic { what, why } => ErrorReport::new(Exit::Failed, format!("internal error in {what}: {why}"))
                .hint("this is a bug in kumadb: report it with the output above"),
            Self::Interrupted { signal } => {
                let exit = if *signal == 15 { Exit::Terminated } else { Exit::Interrupted };
                ErrorReport::new(exit, "interrupted; nothing was changed")
            }
            Self::Stopped { why } => refused(why.clone()),
        }
    }
}

/// A change that was committed and rolled back because of `cause`.
fn rolled_back(cause: &Error) -> ErrorReport {
    let report = |what: &str| ErrorReport::new(Exit::RolledBack, format!("{what}: {cause}"));
    match cause {
        Error::Docker(_) => report("the server did not become ready after the change; everything was rolled back")
            .command("kumadb logs"),
        Error::Operation(OperationError::StatementsStay { .. }) => {
            report("the changes of rows were rolled back").with(cause.hints())
        }
        Error::Operation(OperationError::Interrupted { .. }) => cause.report(),
        _ => report("everything was rolled back").with(cause.hints()),
    }
}

/// What to do after a rollback that failed.
fn recovery(failure: &Error) -> Vec<Hint> {
    match failure {
        Error::Docker(DockerError::Removed { hint: Some(hint), .. }) => vec![hint.clone()],
        Error::Docker(DockerError::Removed { hint: None, .. }) => {
            vec![Hint::advice("create the container again on the same data folder, then run `kumadb recover`")]
        }
        _ => match failure.hints() {
            hints if hints.is_empty() => vec![Hint::command("kumadb recover")],
            mut hints => {
                hints.push(Hint::advice("when this is repaired, run `kumadb recover`"));
                hints
            }
        },
    }
}

fn in_brackets(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(" ({text})") }
}
