//! Why a snapshot cannot be made, found, opened or restored.

use std::path::PathBuf;

use super::{Error, ErrorReport, Exit, Hint};

/// Snapshots and their encryption.
#[derive(Debug)]
#[allow(missing_docs, reason = "the report of each variant is its documentation")]
#[non_exhaustive]
pub enum SnapshotError {
    /// An archive, a manifest or a member of one is not as it was written.
    Invalid {
        name: String,
        why: String,
    },
    /// A staged copy that was not finished.
    Unfinished {
        folder: PathBuf,
    },
    /// A file of a copy that is not the one that was written.
    Changed {
        path: PathBuf,
    },
    /// A file that reads back otherwise than it was written.
    ReadBack {
        path: PathBuf,
    },
    /// The copy and the database it was made of.
    Differs {
        what: String,
    },
    /// A dump does not load as it was written.
    RestoreTest {
        table: String,
    },
    /// A dump without a table that it must have.
    NoTable {
        path: PathBuf,
        table: String,
    },
    /// The database after a restore, an undo or a salvage.
    RestoredDiffers {
        what: String,
    },
    /// A table that cannot be a part of a stream.
    NotAsSql {
        table: String,
        why: String,
    },
    /// Files that are not those of a database.
    NotRaw,
    NotFound(String),
    /// A store without snapshots, and what it has of other instances.
    NothingToVerify {
        what: String,
        others: Option<String>,
    },
    /// The path of an archive or a database.
    NoFile(PathBuf),
    NoUndo(String),
    NothingToUndo {
        instance: String,
        /// The stores that were searched.
        stores: Vec<String>,
        /// The store that the newest undo snapshot was put into, if it is none of these.
        elsewhere: Option<String>,
    },
    /// The newest change replaced a database that could not be read.
    RawChange {
        /// The snapshot of its files.
        id: String,
        reason: String,
        created: String,
        /// The undo snapshot of the change before it.
        before: Option<String>,
    },
    /// It is damaged, and the hint names an older one.
    Damaged {
        cause: Box<Error>,
        hint: Hint,
    },
    SeveralInstances(Vec<String>),
    /// A snapshot of the files of a database that could not be read.
    Raw {
        id: String,
    },
    /// It is of before a conversion.
    OfConversion {
        id: String,
        /// The engine of that time.
        engine: String,
    },
    /// It is of another engine than the instance.
    OtherEngine {
        id: String,
        engine: String,
        here: String,
    },
    /// It is of another release than the instance.
    OtherRelease {
        id: String,
        release: String,
        here: String,
        hint: Option<Hint>,
    },
    /// The tables of its release are not known on the other engine.
    UnknownTables {
        id: String,
        release: String,
        engine: String,
    },
    /// The tables of the database have keys or columns that its rows do not fit.
    RowsRejected {
        id: String,
        why: Vec<String>,
        /// Whether it can be restored with its own tables.
        is_whole: bool,
    },
    /// It has tables or columns that its release does not have.
    OtherTables {
        id: String,
        release: String,
    },
    /// What has to be solved in its database before it can be upgraded.
    CannotUpgrade {
        id: String,
        from: String,
        to: String,
        problems: Vec<String>,
    },
    /// Its statistics cannot be made: it is not from before the upgrade of the server.
    NotBefore {
        id: String,
        why: String,
    },
    /// It is not of the database whose statistics are to be replaced.
    OtherHistory {
        id: String,
        why: String,
    },
    /// The location of the new database is not specified.
    NoDestination {
        instance: String,
    },
    /// A newer one contains only the configuration. A warning.
    NewerConfiguration {
        newest: String,
        id: String,
    },
    /// There is no backup, so that `latest` is an undo snapshot. A warning.
    OnlyUndo {
        id: String,
        reason: String,
    },
    /// Snapshots of several instances with one name, each with its newest snapshot.
    SeveralOrigins {
        instance: String,
        found: Vec<String>,
        origin: String,
    },
    /// A pending snapshot that cannot be stored.
    Pending {
        folder: PathBuf,
        why: String,
    },
    /// A pending snapshot that is stored unencrypted or otherwise than it was made. A warning.
    PendingEncryption {
        folder: PathBuf,
        why: String,
    },
    Key {
        archive: String,
        why: &'static str,
    },
    /// A secret key where a recipient is expected.
    SecretKey,
    /// A text that is not a valid age recipient.
    Recipient {
        text: String,
        why: String,
    },
    NoRecipient,
    /// A line of an identity file.
    Identity {
        why: String,
    },
}

impl SnapshotError {
    /// Message, exit code and hints.
    #[expect(clippy::too_many_lines, reason = "a table")]
    pub fn report(&self) -> ErrorReport {
        let failed =
            |message: String| ErrorReport::new(Exit::Verification, format!("snapshot verification failed: {message}"));
        let refused = |message: String| ErrorReport::new(Exit::Refused, message);
        let missing = |message: String| ErrorReport::new(Exit::NotFound, message);
        let usage = |message: String| ErrorReport::new(Exit::Usage, message);
        match self {
            Self::Invalid { name, why } => failed(format!("`{name}`: {why}")).command("kumadb backup list"),
            Self::Unfinished { folder } => failed(format!("`{}` is incomplete", folder.display())),
            Self::Changed { path } => failed(format!("`{}` was changed after it was written", path.display())),
            Self::ReadBack { path } => {
                failed(format!("the data read back from `{}` differ from the data written", path.display()))
                    .hint("check the disk: `dmesg | tail`")
            }
            Self::Differs { what } => {
                failed(format!("{what} differ between the database and its copy")).hint("run the same command again")
            }
            Self::RestoreTest { table } => failed(format!("table `{table}` differs after the dump was loaded")),
            Self::NoTable { path, table } => failed(format!("`{}` has no table `{table}`", path.display())),
            Self::RestoredDiffers { what } => {
                failed(format!("{what} of the restored database differ from the snapshot"))
            }
            Self::NotAsSql { table, why } => refused(format!("cannot write table `{table}` as SQL: {why}"))
                .hint("create the snapshot without `--stdout`: it has the file itself"),
            Self::NotRaw => failed("the snapshot does not contain database files".into()),
            Self::NotFound(what) => missing(if what.is_empty() { "no snapshot found".into() } else { format!("no snapshot matches `{what}`") })
            .command("kumadb backup list"),
            Self::NothingToVerify { what, others } => match others {
                Some(others) => missing(what.clone()).hint(others.clone()),
                None => missing(what.clone()).command("kumadb backup create"),
            },
            Self::NoFile(path) => {
                missing(format!("snapshot `{}` not found: no such file", path.display())).command("kumadb backup list")
            }
            Self::NoUndo(id) => {
                missing(format!("no undo snapshot matches `{id}`")).command("kumadb backup list --undo")
            }
            Self::NothingToUndo { instance, stores, elsewhere: None } => {
                missing(format!("no change of `{instance}` left to undo; searched stores: {}", stores.join(", ")))
                    .command("kumadb backup list --undo")
            }
            Self::NothingToUndo { instance, stores, elsewhere: Some(store) } => {
                missing(format!("no change of `{instance}` left to undo; searched stores: {}", stores.join(", ")))
                    .command(format!("kumadb --store {store} undo"))
                    .hint(format!("the newest undo snapshot was stored in `{store}`"))
            }
            Self::RawChange { id, reason, created, before } => {
                let report = refused(format!(
                    "cannot undo `{reason}` of {created}: it replaced a database that could not be read; snapshot `{id}` contains its files"
                ));
                match before {
                    Some(before) => report.hint(format!("to undo the change before it as well: kumadb undo {before}")),
                    None => report.hint("to restore another snapshot: kumadb backup list, then `kumadb restore ID`"),
                }
            }
            Self::Damaged { cause, hint } => cause.report().with([hint.clone()]),
            Self::SeveralInstances(names) => missing(format!(
                "the store has snapshots of {} instances; choose one with --of: {}",
                names.len(),
                names.join(", ")
            ))
            .hint(format!("add `--of {}`", names.first().map_or("NAME", String::as_str))),
            Self::Raw { id } => refused(format!(
                "cannot restore snapshot `{id}`: it contains the files of a database that could not be read"
            ))
            .hint("extract its files with `tar`, or choose another snapshot"),
            Self::OfConversion { id, engine } => {
                refused(format!("cannot undo `convert` with `{id}`: the server has used the new database since"))
                    .hint(match engine.as_str() {
                        "SQLite" => "to return to SQLite with all rows: kumadb convert --to sqlite",
                        _ => {
                            "to return to MariaDB with all rows: kumadb convert --to embedded, or --to \
                     mariadb://user:password@host/database (an empty database)"
                        }
                    })
                    .hint(format!("to restore the rows of that time in the present database: kumadb restore {id}"))
            }
            Self::OtherEngine { id, engine, here } => refused(format!(
                "cannot undo with `{id}`: the snapshot is of {engine}, but the instance now uses {here}"
            ))
            .command(format!("kumadb restore {id}")),
            Self::OtherRelease { id, release, here, hint } => {
                refused(format!("snapshot `{id}` is of release {release}, but the database is of release {here}"))
                    .with(hint.clone())
            }
            Self::UnknownTables { id, release, engine } if release.starts_with("1.") => refused(format!(
                "cannot convert snapshot `{id}` to {engine}: release {release} does not support it"
            ))
            .hint("add `--image louislam/uptime-kuma:2`, which upgrades it, or restore it to a data folder"),
            Self::UnknownTables { id, release, engine } => refused(format!(
                "cannot convert snapshot `{id}`: this kumadb does not know the tables of release {release} on {engine}"
            ))
            .hint("restore the snapshot on its own engine, or use a newer kumadb"),
            Self::RowsRejected { id, why, is_whole } => {
                let what =
                    format!("cannot restore the rows of snapshot `{id}`: the tables of the database changed since");
                let report = refused(format!("{what}, and reject them: {}", why.join("; ")));
                if *is_whole { report
                        .command(format!("kumadb restore {id}"))
                        .hint("this restores the tables too; heartbeats since the snapshot are lost") } else { report
                        .hint("it contains only the configuration: restore a full snapshot (kumadb backup list --undo)") }
            }
            Self::OtherTables { id, release } => refused(format!(
                "cannot convert snapshot `{id}` to SQLite: it has tables or columns that release {release} does not \
                 have"
            ))
            .hint("restore it on MariaDB"),
            Self::CannotUpgrade { id, from, to, problems } => refused(format!(
                "cannot upgrade snapshot `{id}` from {from} to {to}, the release of the image: {}",
                problems.join("; ")
            ))
            .hint(format!(
                "fix and upgrade it in a folder first, then restore that: kumadb restore {id} --to ./old, kumadb -t ./old \
                 doctor --fix, kumadb -t ./old upgrade"
            ))
            .hint("or let the server try to migrate it: add `--no-upgrade`"),
            Self::NotBefore { id, why } => refused(format!("cannot replace the statistics from `{id}`: {why}"))
                .hint("give a snapshot or a copy of kuma.db from before the first start of 2.x: kumadb backup list"),
            Self::OtherHistory { id, why } => refused(format!(
                "cannot replace the statistics from `{id}`: it is not a copy of this database from before its upgrade ({why})"
            ))
            .hint("give a snapshot or a copy of kuma.db from before the first start of 2.x: kumadb backup list"),
            Self::NoDestination { instance } => {
                refused(format!("the database of `{instance}` was on an external MariaDB: no destination given")).hint(
                    "add `--to mysql://user@host/database --data-folder FOLDER`, `--engine embedded-mariadb` or \
                         `--engine \
                         sqlite`",
                )
            }
            Self::NewerConfiguration { newest, id } => {
                refused(format!("snapshot `{newest}` is newer than `{id}`, but contains only the configuration"))
                    .command(format!("kumadb restore {newest} --config-only"))
                    .hint("run this when the server is running")
            }
            Self::OnlyUndo { id, reason } => {
                refused(format!("there is no backup: `latest` is the undo snapshot `{id}`, from before `{reason}`"))
                    .command("kumadb backup create")
            }
            Self::SeveralOrigins { instance, found, origin } => missing(format!(
                "the store has snapshots of {} instances with the name `{instance}`: {}",
                found.len(),
                found.join(", ")
            ))
            .hint(format!("specify the id of a snapshot, or the instance: `--of {origin}`")),
            Self::Pending { folder, why } => {
                refused(format!("cannot store the pending snapshot `{}`: {why}", folder.display()))
                    .hint("check its contents, then move it away")
            }
            Self::PendingEncryption { folder, why } => {
                refused(format!("the pending snapshot `{}` is {why}", folder.display()))
            }
            Self::Key { archive, why } => usage(format!("cannot decrypt `{archive}`: {why}"))
                .hint("add `--identity FILE` or `--passphrase-file FILE`"),
            Self::SecretKey => usage("cannot encrypt to a secret key".into())
                .hint("use the recipient, which begins with `age1`: age-keygen -y FILE"),
            Self::Recipient { text, why } => usage(format!("`{text}` is not a valid age recipient: {why}"))
                .hint("use a recipient that begins with `age1`: age-keygen -y FILE"),
            Self::NoRecipient => usage("no recipient to encrypt to".into())
                .hint("add `--recipient age1…`, or add one to the recipients file"),
            Self::Identity { why } => usage(format!("the identity file has an invalid line: {why}"))
                .hint("use a file created by `age-keygen`"),
        }
    }
}
