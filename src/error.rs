//! Every error, its words, its hint and its exit code: the one voice of kumadb.
//!
//! The words are lower case, without a full stop, names in backticks. A hint is a command to type or a thing to do next.
//! Secrets never enter an error.
//!
//! It is long because it is one table: every error, its words, its exit code and its hint.

mod exit;
mod guard;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use exit::Exit;
pub use guard::guarded;

/// What the whole library answers with.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the words of each variant are its documentation")]
pub enum Error {
    // ---- input -----------------------------------------------------------------------------------------------------
    #[error("{0}")]
    Usage(String),
    #[error("{}", problems(.0))]
    Input(Vec<Problem>),
    #[error("no {kind} matches {what}")]
    NoMatch { kind: &'static str, what: String },
    #[error("{count} monitors match {what}, and this verb works on one")]
    Several { what: String, count: usize },
    #[error("this is not a terminal, and `--yes` was not given: nothing was changed")]
    NotAsked,
    #[error("stopped at the question: nothing was changed")]
    Declined,

    // ---- target ----------------------------------------------------------------------------------------------------
    #[error("no instance in sight: no container of Uptime Kuma on this Docker host, no data folder here")]
    NoTarget,
    #[error("no instance `{0}`: neither a folder, nor a container, nor a `mysql://` address")]
    NoSuchTarget(String),
    #[error("{} instances in sight, which one is meant? {}", .0.len(), .0.join(", "))]
    SeveralTargets(Vec<String>),
    #[error("`{}` holds no data of Uptime Kuma: {why}", path.display())]
    NotDataFolder { path: PathBuf, why: String },
    #[error("`{}` does not say which database the server uses: {why}", path.display())]
    DbConfig { path: PathBuf, why: String },
    #[error("two containers use the data folder `{folder}`: {}", containers.join(", "))]
    TwoContainers { folder: String, containers: Vec<String> },
    #[error("{cause}")]
    NotYet { cause: Box<Error>, hint: String },
    #[error("the store holds snapshots of {} instances, which one is meant? {}", .0.len(), .0.join(", "))]
    SeveralInstances(Vec<String>),
    #[error("the data folder of container `{container}` cannot be reached: {why}")]
    NoDataFolder { container: String, why: String },

    // ---- files -----------------------------------------------------------------------------------------------------
    #[error("cannot {act} `{}`: {}", path.display(), plain(source))]
    File { act: &'static str, path: PathBuf, source: io::Error },
    #[error("`{}` has {free} free, {needed} are needed", path.display(), free = bytes(*.free), needed = bytes(*.needed))]
    NoSpace { path: PathBuf, needed: u64, free: u64 },
    #[error("`{}` belongs to {owner}, and this is {user}", path.display())]
    WrongUser { path: PathBuf, owner: String, user: String, hint: String },
    #[error("cannot lock `{}`: this {kind} has no locks", path.display())]
    NoLocks { path: PathBuf, kind: String },
    #[error("the store `{store}` has {free} free, {needed} are needed for the undo snapshot of this write", free = bytes(*.free), needed = bytes(*.needed))]
    StoreFull { store: String, needed: u64, free: u64 },
    #[error("`{}` is held open by {}", path.display(), holders.join(", "))]
    HeldOpen { path: PathBuf, holders: Vec<String> },

    // ---- database --------------------------------------------------------------------------------------------------
    #[error("`{}` is empty (0 bytes)", .0.display())]
    EmptyFile(PathBuf),
    #[error("`{}` is not a SQLite database", .0.display())]
    NotADatabase(PathBuf),
    #[error("`{}` is encrypted, or its first page is damaged", .0.display())]
    Encrypted(PathBuf),
    #[error("`{}` is there without its database `kuma.db`", .0.display())]
    LoneWal(PathBuf),
    #[error("{database} is damaged: {}", .problems.join("; "))]
    Damaged { database: String, problems: Vec<String> },
    #[error("{database} holds no database of Uptime Kuma: {why}")]
    NotKuma { database: String, why: String },
    #[error("{database} is of an unknown release: {why}")]
    UnknownRelease { database: String, why: String },
    #[error("the release of the server cannot be told from what is left in `{}`", .0.display())]
    NoRelease(PathBuf),
    #[error("{database}: {message}")]
    Sql { database: String, message: String },
    #[error("{database} is locked by another writer")]
    Busy { database: String },
    #[error("a migration is running or was cut off in {database}: `knex_migrations_lock` is set")]
    MigrationLocked { database: String },
    #[error("no answer from MariaDB at {address}: {why}")]
    Unreachable { address: String, why: String },
    #[error("MariaDB at {address} refuses user `{user}`: {why}")]
    AccessDenied { address: String, user: String, why: String, shadowed: bool },
    #[error("no encrypted connection to MariaDB at {address}: {why}")]
    Tls { address: String, why: String },
    #[error("the connection to {database} broke during the commit: whether the change was made is not known")]
    InDoubt { database: String },
    #[error("the disk of the MariaDB that keeps {database} is full")]
    DiskFull { database: String },
    #[error("MariaDB does not let anybody write to {database}: {why}")]
    ReadOnly { database: String, why: String },
    #[error("database `{database}` at {address} does not exist")]
    NoSuchDatabase { address: String, database: String },
    #[error("database `{database}` has the character set {charset}, the server needs utf8mb4")]
    Charset { database: String, charset: String },
    #[error("{database} is not empty: {what}")]
    NotEmpty { database: String, what: String },
    #[error("{place} cannot take a new instance: {why}")]
    Occupied { place: String, why: String, hint: String },
    #[error("the tables of {database} cannot be exchanged for those of the snapshot: {why}")]
    NoShadow { database: String, why: String, hint: Option<String> },

    // ---- docker ----------------------------------------------------------------------------------------------------
    #[error("Docker cannot be reached at `{address}`: {why}")]
    NoDocker { address: String, why: String, hint: String },
    #[error("Docker could not {act} container `{container}`: {why}")]
    Docker { act: &'static str, container: String, why: String },
    #[error("container `{container}` {what}")]
    Removed { container: String, what: String, unfinished: bool, hint: Option<String> },
    #[error("container `{container}` did not stop within {seconds} s")]
    WouldNotStop { container: String, seconds: u64 },
    #[error("container `{container}` was started but is not up after {seconds} s: {why}{}", log_tail(log))]
    NotUp { container: String, seconds: u64, why: String, log: Vec<String> },
    #[error("the server in container `{container}` is busy migrating its database")]
    Migrating { container: String },
    #[error("container `{container}` is paused, and its MariaDB with it")]
    Paused { container: String },
    #[error(
        "the data of container `{container}`, in `{folder}` on the machine of the engine at `{engine}`, are out of reach for this \
         user on this one"
    )]
    Elsewhere { container: String, folder: String, engine: String },
    #[error("nothing can be run over there, at `{engine}`: {why}")]
    Far { engine: String, why: String },
    #[error("the connection to `{engine}` was lost ({why}); what was begun goes on there, in container `{container}`")]
    LostErrand { engine: String, container: String, why: String },
    #[error("the helper container for the database of `{container}` did not come up: {why}{}", log_tail(log))]
    Helper { container: String, why: String, log: Vec<String> },

    #[error("no answer of the server at {place}: {why}")]
    NoAnswer { place: String, why: String, hint: String },

    // ---- write path ------------------------------------------------------------------------------------------------
    #[error("another kumadb works on this instance{}", in_brackets(holder))]
    Locked { holder: String },
    #[error("another schedule works on job `{job}`{}", in_brackets(holder))]
    JobLocked { job: String, holder: String },
    #[error("`{instance}`: {cause}")]
    Job { instance: String, cause: Box<Error> },
    #[error("{what} failed: {why}")]
    Notice { what: String, why: String },
    #[error("an earlier `{verb}` of {started} is unfinished ({phase})")]
    Unfinished { verb: String, started: String, phase: String },
    #[error("the journal `{}` cannot be read: {why}", path.display())]
    Journal { path: PathBuf, why: String },
    #[error("there is no unfinished work on this instance")]
    NothingUnfinished,
    #[error("{what}")]
    Running { what: String },
    #[error("{} of others to {database}: a server seems to run on it, in a place that kumadb does not see", counted(*connections as usize, "connection"))]
    InUse { database: String, connections: u64 },
    #[error("the plan no longer fits: the configuration changed after the plan was made")]
    Stale,
    #[error("{subject}: what was written does not read back: `{column}` is {found} instead of {expected}")]
    ReadBack { subject: String, column: String, expected: String, found: String },
    #[error("the transaction was refused and rolled back: {}", .0.join("; "))]
    Unclean(Vec<String>),
    #[error("the snapshot did not pass its verification: {0}")]
    Snapshot(String),
    #[error("no undo snapshot `{0}`")]
    NoUndo(String),
    #[error("there is no change of `{instance}` left to undo")]
    NothingToUndo { instance: String },
    #[error("no snapshot `{0}`")]
    NoSnapshot(String),
    #[error("cannot {act} the store `{store}`: {why}")]
    Store { act: &'static str, store: String, why: String, hint: &'static str },
    #[error("`{archive}` cannot be decrypted: {why}")]
    Key { archive: String, why: String },
    #[error("the change was made, but the server did not come back, so everything was put back as it was: {cause}")]
    RolledBack { cause: Box<Error> },
    #[error("{cause}; putting it back failed too: {failure}")]
    RollbackFailed { cause: Box<Error>, failure: Box<Error> },
    #[error("internal error in {what}: {why}")]
    Panic { what: &'static str, why: String },
    #[error("interrupted: nothing was changed")]
    Interrupted { signal: i32 },
    #[error("{0}")]
    Refused(String),
}

/// Where something stands in a text that a person gave us.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct At {
    /// The file, as it was named; `-` for standard input.
    pub file: Arc<str>,
    /// Counted from 1; 0 when there is no line, because a program made the value.
    pub line: u32,
    /// Counted from 1, in characters; in CSV the number of the field.
    pub column: u32,
}

impl At {
    /// The place of something that stands nowhere: a program made it out of `source`.
    pub fn nowhere(source: &str) -> At {
        At { file: source.into(), line: 0, column: 0 }
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.file),
            line => write!(f, "{}:{line}:{}", self.file, self.column),
        }
    }
}

impl fmt::Debug for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One thing wrong with what a person gave us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The object or option it is about.
    pub subject: String,
    /// What is wrong with it, and what would be right.
    pub message: String,
    /// What to type instead, where there is one.
    pub hint: Option<String>,
    /// Where it stands, if in a document.
    pub at: Option<At>,
}

impl Problem {
    /// A problem without a hint.
    pub fn new(subject: impl Into<String>, message: impl Into<String>) -> Self {
        Problem { subject: subject.into(), message: message.into(), hint: None, at: None }
    }

    /// A problem with what stands in a document at `at`, as `path` of it.
    pub fn at(at: &At, path: &str, message: impl Into<String>) -> Self {
        let subject = if path.is_empty() { at.to_string() } else { format!("{at}: {path}") };
        Problem { at: Some(at.clone()), ..Problem::new(subject, message) }
    }

    /// The same problem with `hint`.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl Error {
    /// What is wrong with documents, in the order in which people read them.
    pub fn input(mut problems: Vec<Problem>) -> Error {
        problems.sort_by(|a, b| a.at.cmp(&b.at));
        Error::Input(problems)
    }

    /// The exit code of a run that ends with this error.
    pub fn exit(&self) -> Exit {
        use Error::*;
        match self {
            Usage(_) | Input(_) | Key { .. } => Exit::Usage,
            NoMatch { .. }
            | Several { .. }
            | NoTarget
            | NoSuchTarget(_)
            | SeveralTargets(_)
            | NotDataFolder { .. }
            | NotYet { .. }
            | SeveralInstances(_)
            | NoSnapshot(_)
            | NoUndo(_)
            | NothingToUndo { .. }
            | NoSuchDatabase { .. } => Exit::NotFound,
            Removed { unfinished: true, .. } => Exit::Locked,
            Locked { .. } | JobLocked { .. } | Unfinished { .. } | Journal { .. } | Busy { .. } => Exit::Locked,
            Snapshot(_) | Damaged { .. } | EmptyFile(_) | NotADatabase(_) | Encrypted(_) | LoneWal(_) => {
                Exit::Verification
            }
            NotAsked
            | TwoContainers { .. }
            | NoSpace { .. }
            | WrongUser { .. }
            | NoLocks { .. }
            | StoreFull { .. }
            | HeldOpen { .. }
            | UnknownRelease { .. }
            | NoRelease(_)
            | NotKuma { .. }
            | MigrationLocked { .. }
            | Charset { .. }
            | NotEmpty { .. }
            | Occupied { .. }
            | NoShadow { .. }
            | ReadOnly { .. }
            | Migrating { .. }
            | Paused { .. }
            | Running { .. }
            | InUse { .. }
            | Stale
            | Refused(_) => Exit::Refused,
            RolledBack { .. } => Exit::RolledBack,
            RollbackFailed { .. } | WouldNotStop { .. } => Exit::RollbackFailed,
            Job { cause, .. } => cause.exit(),
            Interrupted { signal: 15 } => Exit::Terminated,
            Interrupted { .. } => Exit::Interrupted,
            _ => Exit::Failed,
        }
    }

    /// What to type or do next.
    pub fn hint(&self) -> Option<String> {
        use Error::*;
        Some(match self {
            Input(problems) => return hints(problems),
            NoMatch { kind: "monitor", .. } => "kumadb monitor list".into(),
            Several { .. } => "name it by its id or path, see `kumadb monitor list`".into(),
            NotAsked => "add `--yes` to do it, or `--dry-run` to see it".into(),
            NoTarget | NoSuchTarget(_) => "kumadb find".into(),
            SeveralTargets(names) => format!("kumadb -t {} …", names.first().map_or("NAME", String::as_str)),
            NotDataFolder { path, .. } => format!("kumadb init {}", path.display()),
            NotYet { hint, .. } | Occupied { hint, .. } => return Some(hint.clone()).filter(|hint| !hint.is_empty()),
            SeveralInstances(names) => format!("add `--of {}`", names.first().map_or("NAME", String::as_str)),
            TwoContainers { containers, .. } => {
                format!("docker stop {}", containers.last().map_or("", String::as_str))
            }
            NoDataFolder { container, why } if why.contains("dies with") => {
                format!("docker cp {container}:/app/data ./kuma-data, then run it again with a volume at /app/data")
            }
            NoDataFolder { .. } => {
                "run kumadb on the Docker host itself, as a user who can read the data folder".into()
            }
            DbConfig { .. } => "its `type` must be `sqlite`, `embedded-mariadb` or `mariadb`".into(),
            File { source, .. } if source.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                "mount it so that it can be written to".into()
            }
            File { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "run it again as root, or as the user the server runs as".into()
            }
            NoSpace { path, .. } => format!("df -h {}", path.display()),
            WrongUser { hint, .. } => hint.clone(),
            NoLocks { .. } => {
                "mount it with locks (NFS: without `nolock`, with lockd running), or move the data folder to a disk of this \
                 machine"
                    .into()
            }
            StoreFull { .. } => {
                "kumadb backup prune --keep-last 7, or name a store on another disk: --store FOLDER".into()
            }
            HeldOpen { .. } => "stop that process, then run the same command again".into(),
            EmptyFile(_) | NotADatabase(_) | Encrypted(_) | LoneWal(_) | Damaged { .. } => {
                "kumadb backup list, then `kumadb restore ID`".into()
            }
            UnknownRelease { .. } => "add `--allow-unknown-release` if the columns in question are the same".into(),
            NoRelease(_) => "add `--release` with the release of the server's image, such as 2.5.3".into(),
            Unreachable { .. } => "is MariaDB running, and are host and port right?".into(),
            AccessDenied { shadowed: true, user, .. } => format!(
                "an anonymous user `''@'localhost'` hides `{user}`@`%`; as root of MariaDB: DROP USER ''@'localhost'"
            ),
            AccessDenied { .. } => "check user and password in db-config.json or in the address".into(),
            Tls { why, .. }
                if why.contains("its certificate names") || why.contains("itself") || why.contains("version 1,") =>
            {
                "give MariaDB a certificate of its own, signed by the authority, with its host name as subjectAltName"
                    .into()
            }
            Tls { .. } => "give the authority that signed the certificate, as PEM, in `ca`".into(),
            InDoubt { .. } => "look whether the change is there before you make it again".into(),
            DiskFull { .. } => "make room on the machine MariaDB runs on, then run the same command again".into(),
            NoSuchDatabase { database, .. } => {
                format!("CREATE DATABASE `{database}` CHARACTER SET utf8mb4")
            }
            NoShadow { hint, .. } => return hint.clone(),
            Charset { database, .. } => format!("ALTER DATABASE `{database}` CHARACTER SET utf8mb4"),
            NoDocker { hint, .. } => hint.clone(),
            Removed { hint, .. } => return hint.clone(),
            WouldNotStop { .. } => "kumadb recover, which waits for it again and starts it".into(),
            NotUp { container, .. } => format!("docker logs --tail 50 {container}"),
            Migrating { .. } => "wait until the migration is over, however long it takes, then `kumadb recover`".into(),
            Paused { container } => format!("docker unpause {container}"),
            Elsewhere { .. } => "run kumadb there, as root".into(),
            LostErrand { .. } => {
                "kumadb status, when the line is there again, and `kumadb recover` if it asks for that".into()
            }
            MigrationLocked { .. } => {
                "if a server is migrating right now, wait; otherwise start it once with its own image".into()
            }
            Locked { .. } | JobLocked { .. } => "wait for it, or end it".into(),
            Unfinished { .. } => "kumadb recover".into(),
            Journal { path, .. } => {
                format!("see that database and server are as they should be, then: mv {0} {0}.old", path.display())
            }
            Running { .. } => {
                "leave out `--no-restart` and `--live`, so that the server is stopped for the write".into()
            }
            InUse { .. } => "stop that server first, or add `--no-restart` and restart it afterwards".into(),
            Stale => "make the plan again".into(),
            NoSnapshot(_) => "kumadb backup list".into(),
            NoUndo(_) | NothingToUndo { .. } => "kumadb backup list --undo".into(),
            Store { hint, .. } => (*hint).into(),
            Panic { .. } => "this is a bug of kumadb: please report it with the lines above".into(),
            NoAnswer { hint, .. } => hint.clone(),
            Key { .. } => "add `--identity FILE` or `--passphrase-file FILE`".into(),
            RolledBack { .. } => "kumadb logs".into(),
            RollbackFailed { failure, .. } if matches!(**failure, Removed { .. }) => failure
                .hint()
                .unwrap_or_else(|| "create the container again on the same data folder, then: kumadb recover".into()),
            RollbackFailed { .. } => "kumadb recover".into(),
            _ => return None,
        })
    }

    /// Whether this says that a file holds no database that could be read: then only another one in its place helps.
    pub fn is_unreadable(&self) -> bool {
        use Error::*;
        matches!(self, Damaged { .. } | EmptyFile(_) | NotADatabase(_) | Encrypted(_) | LoneWal(_) | NotKuma { .. })
    }

    /// Whether this says that a disk is full.
    pub fn is_full(&self) -> bool {
        matches!(self, Error::File { source, .. } if source.kind() == io::ErrorKind::StorageFull)
            || matches!(self, Error::NoSpace { .. })
    }

    /// Wraps an I/O error of `act` on `path`.
    pub fn file(act: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Error {
        let path = path.as_ref().to_owned();
        move |source| Error::File { act, path, source }
    }
}

/// `n` bytes as people read them: `61 KB`, `1.5 GB`.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KB", "MB", "GB", "TB"];
    let mut size = n as f64;
    let mut unit = 0;
    while size >= 1000.0 && unit + 1 < UNITS.len() {
        size /= 1000.0;
        unit += 1;
    }
    if unit == 0 || size >= 10.0 { format!("{size:.0} {}", UNITS[unit]) } else { format!("{size:.1} {}", UNITS[unit]) }
}

/// `1 row`, `2 rows`, `2 indexes`.
pub fn counted(n: usize, what: &str) -> String {
    let ending = match (n, what.ends_with('x')) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{n} {what}{ending}")
}

/// The one of `known` that is meant by `name`, as the end of a message; nothing when none is like it.
pub fn nearest(name: &str, known: &[&str]) -> String {
    let like = |one: &&&str| strsim::jaro(one, name);
    let nearest = known.iter().max_by(|a, b| like(a).total_cmp(&like(b))).filter(|one| like(one) > 0.75);
    nearest.map_or_else(String::new, |nearest| format!(", `{nearest}` is meant?"))
}

/// An I/O error in words, without the number that the operating system adds.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_lowercase(),
        None => text,
    }
}

fn in_brackets(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(" ({text})") }
}

fn log_tail(lines: &[String]) -> String {
    lines.iter().map(|line| format!("\n  | {line}")).collect()
}

/// How many problems are shown.
const SHOWN: usize = 20;

/// What to do about the problems that are shown, each thing once and on a line of its own.
fn hints(all: &[Problem]) -> Option<String> {
    let mut hints: Vec<&str> = Vec::new();
    for hint in all.iter().take(SHOWN).filter_map(|problem| problem.hint.as_deref()) {
        if !hints.contains(&hint) {
            hints.push(hint);
        }
    }
    (!hints.is_empty()).then(|| hints.join("\n"))
}

fn problems(all: &[Problem]) -> String {
    let mut text: Vec<String> =
        all.iter().take(SHOWN).map(|problem| format!("{}: {}", problem.subject, problem.message)).collect();
    if all.len() > SHOWN {
        text.push(format!("… and {} more", all.len() - SHOWN));
    }
    text.join("\n")
}
