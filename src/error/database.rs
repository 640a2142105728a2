//! Why a database cannot be read or written. Long because it is a table: each variant with its message, exit code and hints.

use std::fmt;
use std::path::PathBuf;

use super::{Error, ErrorReport, Exit, Hint};
use crate::text::counted;

/// SQLite or MariaDB refuses, or what is in them is not usable.
#[derive(Debug)]
#[allow(missing_docs, reason = "the report of each variant is its documentation")]
#[non_exhaustive]
pub enum DatabaseError {
    NoFile(PathBuf),
    EmptyFile(PathBuf),
    NotSqlite(PathBuf),
    Encrypted(PathBuf),
    /// A file of another format, or a folder: what it is, and the command that helps.
    OtherFormat {
        path: PathBuf,
        what: String,
        command: String,
    },
    WalWithoutDatabase(PathBuf),
    /// A rollback journal that does not belong to the database beside it.
    ForeignJournal {
        journal: PathBuf,
        why: String,
    },
    Damaged {
        database: String,
        problems: Vec<String>,
    },
    NotKuma {
        database: String,
        why: String,
    },
    /// Known migrations, but those of no release: an upgrade was interrupted, or rows of `knex_migrations` are lost.
    UnknownRelease {
        database: String,
        why: String,
    },
    /// Migrations of no known release.
    UnknownMigrations {
        database: String,
        first: String,
        count: usize,
    },
    /// A column that a recorded migration creates.
    MissingColumn {
        table: String,
        column: String,
    },
    /// The image of the server does not have all migrations of a database or snapshot.
    OlderImage(Box<OlderImage>),
    /// A damaged database of which no release is known.
    ReleaseNotFound(PathBuf),
    /// A damaged database in which no row could be found.
    NoRows(PathBuf),
    /// Only SQLite files can be salvaged.
    NotSalvageable {
        database: String,
    },
    /// The error of the engine for a statement.
    Sql {
        database: String,
        message: String,
    },
    /// A row has or refers to the highest id that a table can have.
    NoFreeId {
        table: String,
        highest: i64,
    },
    Busy {
        database: String,
    },
    MigrationLocked {
        database: String,
    },
    Unreachable {
        address: String,
        why: String,
    },
    /// A view or a generated column in place of what a release creates: it could return any amount of data.
    Strange {
        database: String,
        what: String,
        /// The statement that removes it.
        drop: String,
    },
    /// A node of a Galera cluster that executes no statements.
    NodeNotReady {
        address: String,
    },
    /// A database server that Uptime Kuma does not support: MySQL.
    NotMariaDb {
        database: String,
        version: String,
    },
    AccessDenied {
        address: String,
        user: String,
        why: Denied,
    },
    Tls {
        address: String,
        why: TlsFault,
    },
    CommitInDoubt {
        database: String,
    },
    /// A commit of SQLite whose pages could not be moved from the WAL into the file.
    NotCheckpointed {
        database: String,
        cause: Box<Error>,
    },
    DiskFull {
        database: String,
    },
    ReadOnly {
        database: String,
        why: &'static str,
    },
    NoSuchDatabase {
        address: String,
        database: String,
    },
    Charset {
        database: String,
        charset: String,
    },
    NotEmpty {
        database: String,
        what: String,
    },
    Occupied {
        place: String,
        why: String,
        hint: Hint,
    },
    CannotSwapTables {
        database: String,
        why: String,
        hint: Option<Hint>,
    },
    /// A table whose engine has no transactions.
    NoTransactions {
        table: String,
        engine: String,
    },
    /// The tables of a copy are not those of the database.
    CopyDiffers {
        database: String,
        differences: Vec<String>,
    },
    /// Rows of a SQLite snapshot that MariaDB cannot store.
    CannotConvert {
        /// The number of all of them.
        total: usize,
        /// The first of them.
        cells: Vec<String>,
    },
    /// A program of MariaDB that this machine does not have.
    MariaDbNotInstalled {
        program: &'static str,
    },
    MariaDbSeries {
        version: String,
        series: &'static str,
    },
    MariaDbStart {
        why: String,
    },
    MariaDbStop {
        status: String,
    },
    PasswordHash {
        why: String,
    },
}

/// An image that is older than the data for its server.
///
/// Such a server starts: it only warns of the missing migrations, and applies none of its own. On SQLite it then never
/// turns foreign keys on (seen with 2.0.2 on data of 2.5.3; read in 2.0.0 to 2.5.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OlderImage {
    /// The image.
    pub image: String,
    /// Its release.
    pub of: Option<String>,
    /// What is newer, with its release.
    pub what: String,
    /// The migrations that the image does not have.
    pub lacking: Vec<String>,
    /// An image that has them.
    pub needed: String,
}

impl fmt::Display for OlderImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = self.of.as_deref().unwrap_or("unknown release");
        let first = self.lacking.first().map_or("", String::as_str);
        write!(
            f,
            "image `{}` ({of}) is older than {}: it does not have {} of it (`{first}`); its server would start, but \
             apply no migrations, and on SQLite not check foreign keys",
            self.image,
            self.what,
            counted(self.lacking.len(), "migration"),
        )
    }
}

/// Why MariaDB denies access.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// No password was given, and one is required.
    NoPassword,
    /// User or password is wrong.
    WrongPassword,
    /// The account logs in through the socket, as the user of the operating system.
    SocketOnly,
    /// No right to use this database.
    Database(String),
    /// An anonymous account takes precedence over the user.
    Shadowed,
    /// A privilege is missing; the message of MariaDB.
    Privilege(String),
    /// No account for this host.
    Host,
    /// An authentication method that is not supported.
    Method(String),
    /// The password has expired.
    Expired,
    /// The account is locked.
    Locked,
    /// MariaDB takes connections with TLS only.
    TlsOnly,
}

/// Why there is no TLS connection to MariaDB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsFault {
    /// The server does not offer TLS.
    NotOffered,
    /// The certificate is not signed by a trusted authority, or not valid now.
    Certificate(String),
    /// The certificate cannot be used by any client: made for another host, for no host, for an authority, in an old
    /// version.
    Unusable(String),
    /// The handshake failed otherwise.
    Handshake(String),
    /// The authority that was given cannot be used.
    Authority(String),
}

const OWN_CERTIFICATE: &str =
    "give MariaDB a certificate of its own, signed by the authority, with its host name as subjectAltName";

impl DatabaseError {
    /// Message, exit code and hints.
    #[expect(clippy::too_many_lines, reason = "a table")]
    pub fn report(&self) -> ErrorReport {
        let failed = |message: String| ErrorReport::new(Exit::Failed, message);
        let refused = |message: String| ErrorReport::new(Exit::Refused, message);
        let unreadable = |message: String| {
            ErrorReport::new(Exit::Verification, message).hint("kumadb backup list, then `kumadb restore ID`")
        };
        match self {
            Self::NoFile(path) => unreadable(format!("`{}` does not exist", path.display())),
            Self::EmptyFile(path) => unreadable(format!("`{}` is empty (0 bytes)", path.display())),
            Self::NotSqlite(path) => unreadable(format!("`{}` is not a SQLite database", path.display())),
            Self::Encrypted(path) => ErrorReport::new(
                Exit::Verification,
                format!("`{}` is encrypted, and Uptime Kuma does not encrypt its database", path.display()),
            )
            .hint("decrypt it with the program that encrypted it, for example SQLCipher"),
            Self::OtherFormat { path, what, command } => ErrorReport::new(
                Exit::Verification,
                format!("`{}` is not a SQLite database but {what}", path.display()),
            )
            .command(command.clone()),
            Self::WalWithoutDatabase(path) => {
                unreadable(format!("`{}` exists, but its database `kuma.db` is missing", path.display()))
            }
            Self::ForeignJournal { journal, why } => ErrorReport::new(
                Exit::Verification,
                format!("`{}` does not belong to its database: {why}", journal.display()),
            )
            .command("kumadb doctor"),
            Self::Damaged { database, problems } => {
                unreadable(format!("{database} is damaged: {}", problems.join("; ")))
            }
            Self::NotKuma { database, why } => {
                refused(format!("{database} is not a database of Uptime Kuma: {why}")).command("kumadb find")
            }
            Self::UnknownRelease { database, why } => {
                refused(format!("unrecognised Uptime Kuma release in {database}: {why}"))
                    .hint("an upgrade was interrupted, or rows of `knex_migrations` are lost: check with kumadb doctor")
            }
            Self::UnknownMigrations { database, first, count } => refused(format!(
                "{database} has {} that kumadb does not know (`{first}`): it is of a newer release, a beta, a nightly build \
                 or a fork of Uptime Kuma, and kumadb only reads it",
                counted(*count, "migration")
            ))
            .hint("a newer kumadb may know this release; `kumadb backup create` and `kumadb export` work")
            .hint("to go back to an older release: `kumadb backup list`, then `kumadb restore ID`"),
            Self::MissingColumn { table, column } => refused(format!(
                "cannot add rows to table `{table}`: column `{column}` is missing, although the migration that adds it is \
                 recorded as applied"
            ))
            .command("kumadb doctor --fix K009"),
            Self::OlderImage(older) => refused(older.to_string())
                .command(format!("docker pull {}", older.needed))
                .hint("then create the container again with this image or a newer one"),
            Self::ReleaseNotFound(path) => {
                refused(format!("cannot determine the Uptime Kuma release of the damaged `{}`", path.display()))
                    .hint("add `--release` with the release of the server's image, such as 2.5.3")
            }
            Self::NoRows(path) => {
                refused(format!("no rows of Uptime Kuma found in `{}`", path.display())).command("kumadb backup list")
            }
            Self::NotSalvageable { database } => {
                refused(format!("cannot salvage `{database}`: only a SQLite database can be salvaged"))
                    .command("kumadb backup list")
            }
            Self::Sql { database, message } => failed(format!("{database}: {message}")),
            Self::NoFreeId { table, highest } => ErrorReport::new(
                Exit::Refused,
                format!(
                    "no free id in table `{table}`: id {highest}, the highest possible id, is already used or \
                     referenced"
                ),
            )
            .command("kumadb doctor"),
            Self::Busy { database } => ErrorReport::new(Exit::Locked, format!("{database} is locked by another writer"))
                .hint("wait until the other writer has finished, then run the same command again"),
            Self::MigrationLocked { database } => refused(format!(
                "a migration of {database} is running or was interrupted: `knex_migrations_lock` is set"
            ))
            .hint(
                "if a server is migrating the database now, wait; otherwise start the server once with its own image",
            ),
            Self::Unreachable { address, why } => failed(format!("cannot connect to MariaDB at {address}: {why}"))
                .hint("check host and port, and that MariaDB is running: systemctl status mariadb"),
            Self::Strange { database, what, drop } => refused(format!(
                "{database} has {what}, which no release of Uptime Kuma creates and which could return any amount of data: \
                 kumadb does not read it"
            ))
            .hint(format!("if you added it, remove it: {drop}")),
            Self::NodeNotReady { address } => failed(format!(
                "the Galera node at {address} does not execute statements: it is not synchronized, or the cluster has no \
                 quorum"
            ))
            .hint("connect to a node where `SHOW STATUS LIKE 'wsrep_ready'` is ON, or start the other nodes"),
            Self::NotMariaDb { database, version } => {
                refused(format!("{database} is not MariaDB: Uptime Kuma does not support MySQL ({version})"))
                    .hint("use a database on MariaDB")
            }
            Self::AccessDenied { address, user, why } => {
                let report =
                    failed(format!("access denied for user `{user}` on MariaDB at {address}: {}", why.words()));
                report.with([why.hint(user)])
            }
            Self::Tls { address, why } => {
                failed(format!("cannot connect to MariaDB at {address} with TLS: {}", why.words())).hint(why.hint())
            }
            Self::CommitInDoubt { database } => failed(format!(
                "connection to {database} lost during the commit: it is unknown whether the change was made"
            ))
            .hint("check whether the change was made before you repeat it"),
            Self::NotCheckpointed { database, cause } => {
                failed(format!("the change of {database} was committed, but its WAL cannot be written into the file: {cause}"))
                    .hint("check the disk: `df -h`, `dmesg | tail`")
            }
            Self::DiskFull { database } => {
                refused(format!("cannot write to {database}: disk full on the MariaDB host"))
                    .hint("free disk space on the MariaDB host, then run the same command again")
            }
            Self::ReadOnly { database, why } => {
                refused(format!("cannot write to {database}: MariaDB is read-only: {why}"))
                    .hint("connect to the primary server, or set read_only=OFF")
            }
            Self::NoSuchDatabase { address, database } => {
                ErrorReport::new(Exit::NotFound, format!("database `{database}` not found on MariaDB at {address}"))
                    .command(format!("CREATE DATABASE `{database}` CHARACTER SET utf8mb4"))
            }
            Self::Charset { database, charset } => refused(format!(
                "database `{database}` has the character set {charset}, but the server requires utf8mb4"
            ))
            .command(format!("ALTER DATABASE `{database}` CHARACTER SET utf8mb4")),
            Self::NotEmpty { database, what } => {
                refused(format!("{database} is not empty: {what}")).hint("use an empty database")
            }
            Self::Occupied { place, why, hint } => {
                refused(format!("cannot create a new instance in {place}: {why}")).with([hint.clone()])
            }
            Self::CannotSwapTables { database, why, hint } => {
                refused(format!("cannot exchange the tables of {database}: {why}"))
                    .with(hint.clone())
            }
            Self::NoTransactions { table, engine } => {
                refused(format!("table `{table}` uses the engine {engine}, which does not support transactions"))
                    .command(format!("ALTER TABLE `{table}` ENGINE=InnoDB"))
            }
            Self::CopyDiffers { database, differences } => {
                refused(format!("the copy does not match {database}: {}", differences.join("; ")))
                    .hint("first start the server with an image of the release that the copy is from")
            }
            Self::CannotConvert { total, cells } => refused(format!(
                "the new database cannot store {}: {}",
                counted(*total, "value"),
                cells.join("; ")
            ))
            .hint("change these values on the instance first; of a snapshot, then create a new one"),
            Self::MariaDbNotInstalled { program } => {
                refused(format!("`{program}` not found: MariaDB is required to load a dump"))
                    .command("apt-get install mariadb-server")
            }
            Self::MariaDbSeries { version, series } => refused(format!(
                "`mariadbd` on this machine is version {version}, but the server's images use {series}x"
            ))
            .hint(format!("install MariaDB {series}x, or use an image of the server that contains it")),
            Self::MariaDbStart { why } => {
                refused(format!("cannot start MariaDB: {why}")).hint("check that `mariadbd` starts on this machine")
            }
            Self::MariaDbStop { status } => refused(format!("MariaDB did not stop cleanly: {status}"))
                .hint("check the disk space and the log of MariaDB"),
            Self::PasswordHash { why } => failed(format!("cannot hash the password: {why}")),
        }
    }
}

impl DatabaseError {
    /// [`DatabaseError::Strange`] for the view `table` in `database`, or for a generated `column` of it.
    pub(crate) fn strange(database: String, table: &str, column: Option<&str>) -> DatabaseError {
        let (what, drop) = match column {
            None => (format!("a view called `{table}`"), format!("DROP VIEW `{table}`")),
            Some(column) => (
                format!("the generated column `{column}` in table `{table}`"),
                format!("ALTER TABLE `{table}` DROP COLUMN `{column}`"),
            ),
        };
        DatabaseError::Strange { database, what, drop }
    }
}

impl Denied {
    fn words(&self) -> String {
        match self {
            Self::NoPassword => "no password given".into(),
            Self::WrongPassword => "wrong user or password".into(),
            Self::SocketOnly => {
                "this account only logs in through the socket, as the system user of the same name".into()
            }
            Self::Database(database) => format!("no privileges on database `{database}`"),
            Self::Shadowed => "an anonymous account is used instead".into(),
            Self::Privilege(message) => format!("missing privilege ({message})"),
            Self::Host => "connections from this machine are not allowed".into(),
            Self::Method(method) => format!("unsupported authentication method {method}"),
            Self::Expired => "the password has expired".into(),
            Self::Locked => "the account is locked".into(),
            Self::TlsOnly => "TLS is required".into(),
        }
    }

    fn hint(&self, user: &str) -> Hint {
        match self {
            Self::NoPassword => Hint::advice(format!(
                "give a password: mysql://{user}:PASSWORD@HOST:3306/DATABASE, or `password` in db-config.json"
            )),
            Self::WrongPassword => Hint::advice(
                "check user and password in db-config.json or in the URL; if the account requires TLS, add `?ssl=true`",
            ),
            Self::SocketOnly => Hint::advice(format!("run kumadb as the system user `{user}`, or use another account")),
            Self::Database(database) => Hint::command(format!("GRANT ALL ON `{database}`.* TO '{user}'@'%'")),
            Self::Shadowed => Hint::advice(format!(
                "the anonymous user `''@'localhost'` takes precedence over `{user}`@`%`; as root of MariaDB: DROP USER \
                 ''@'localhost'"
            )),
            Self::Privilege(_) => Hint::advice("grant the privilege to the account as root of MariaDB"),
            Self::Host => {
                Hint::advice("create the account for this host as root of MariaDB, or check its bind address")
            }
            Self::Method(_) => Hint::advice("use an account with mysql_native_password or ed25519"),
            Self::Expired => Hint::advice("set a new password as root of MariaDB: ALTER USER … IDENTIFIED BY …"),
            Self::Locked => Hint::advice("unlock it as root of MariaDB: ALTER USER … ACCOUNT UNLOCK"),
            Self::TlsOnly => Hint::advice("add `?ssl=true` to the URL, or set `ssl` in db-config.json"),
        }
    }
}

impl TlsFault {
    fn words(&self) -> String {
        match self {
            Self::NotOffered => "the server does not offer TLS".into(),
            Self::Certificate(why) | Self::Unusable(why) | Self::Handshake(why) => why.clone(),
            Self::Authority(why) => format!("cannot use the CA certificate: {why}"),
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::NotOffered => "enable TLS in MariaDB (ssl_cert, ssl_key), or connect without TLS",
            Self::Certificate(_) => "set `ca` to the CA certificate that signed it, as PEM",
            Self::Unusable(_) => OWN_CERTIFICATE,
            Self::Handshake(_) => "check that MariaDB offers TLS 1.2 or newer on that port",
            Self::Authority(_) => "set `ca` to a PEM file with at least one CERTIFICATE block",
        }
    }
}
