//! The table of all checks: what each looks for, in words for people. One row here and one function is a check.

use super::Severity::{Critical, Error, Info, Warning};
use super::{Check, files, history, kinds, maintenance, migrations, monitors, place, settings};

/// All checks, by code.
pub const CHECKS: &[Check] = &[
    Check {
        code: "K001",
        title: "a JSON column of a monitor cannot be read",
        severity: Critical,
        explanation: "The login spins for ever and the list of monitors is empty, while the container is \"healthy\": the \
                      server reads all monitors at once, and one bad cell spoils the whole list. Mostly left by a \
                      conversion between databases or by an insert by hand. Headers that are no JSON hurt their own \
                      monitor only.",
        cure: "the column gets what the page writes for an empty field: `[\"200-299\"]`, `[]`, `{\"mechanism\":\"None\"}`; \
               headers are only reported",
        explains: &[],
        find: monitors::find_bad_json,
    },
    Check {
        code: "K002",
        title: "a maintenance window cannot be computed",
        severity: Critical,
        explanation: "State changes of all monitors are not stored and alerts repeat, with \"invalid time value\" in the \
                      log: every beat asks every maintenance window whether it is open, and one that cannot be computed \
                      ends the storing.",
        cure: "a time zone becomes that of the server, lists become empty; what had no date, time of day, line of cron or \
               strategy is switched off as well",
        explains: &[],
        find: maintenance::find_bad_windows,
    },
    Check {
        code: "K003",
        title: "the database file is damaged",
        severity: Critical,
        explanation: "\"database disk image is malformed\": pages of the file do not hold together, after a full disk, a \
                      network file system, or two programs that wrote to it at once.",
        cure: "where only indexes are hurt they are made anew; else a new database is made of the rows that the pages still \
               hold. The damaged files are kept. `kumadb restore` puts a good snapshot back instead",
        explains: &[],
        find: files::find_damage,
    },
    Check {
        code: "K004",
        title: "the database and its WAL do not belong together",
        severity: Critical,
        explanation: "\"database disk image is malformed\", or rows are missing, after somebody copied or put back `kuma.db` \
                      alone: `kuma.db-wal` is a part of the database, and that of another moment spoils it.",
        cure: "with the WAL or without it, whichever makes a whole database with the newest beat; else as K003. The files \
               are kept",
        explains: &[],
        find: files::find_wrong_wal,
    },
    Check {
        code: "K005",
        title: "the upgrade of the statistics was cut off",
        severity: Critical,
        explanation: "\"Aggregate table migration is already in progress\", and the container starts again and again: the \
                      upgrade from 1.x counts up old beats for minutes to hours, and when it is cut off meanwhile it \
                      refuses to begin again.",
        cure: "the half-made statistics go and the state is emptied, so that the next start counts again; the beats stay",
        explains: &[],
        find: settings::find_stuck_statistics,
    },
    Check {
        code: "K006",
        title: "beats have a status that does not exist",
        severity: Error,
        explanation: "The upgrade to 2.x ends with \"Invalid status\": a beat is down (0), up (1), pending (2) or \
                      maintenance (3), and the server stops at any other.",
        cure: "these beats are deleted",
        explains: &["K005"],
        find: history::find_odd_statuses,
    },
    Check {
        code: "K007",
        title: "rows point to rows that are not there",
        severity: Error,
        explanation: "\"FOREIGN KEY constraint failed\" in upgrades and when things are deleted: rows were left behind by a \
                      delete that did not look at references.",
        cure: "a thing that can do without what it pointed to keeps the rest; other rows are deleted",
        explains: &["K005"],
        find: history::find_orphans,
    },
    Check {
        code: "K008",
        title: "the lock of migrations is set",
        severity: Critical,
        explanation: "\"Migration table is already locked\" at each start: a migration was cut off, by a stop that did not \
                      wait or by a power cut.",
        cure: "the lock becomes one row that is open; refused while a server runs, which may be migrating",
        explains: &["K009"],
        find: migrations::find_lock,
    },
    Check {
        code: "K009",
        title: "a migration was cut off half-way",
        severity: Critical,
        explanation: "\"Duplicate column name\", \"already exists\" or \"Unknown column\" at the start: tables are not as the \
                      migrations that are noted say. MariaDB makes each change of a table durable at once, so a migration \
                      that is cut off stays half done.",
        cure: "what is missing is made as its release has it, and the migration is noted as done; nothing that is there is \
               touched. The server then goes on with the next one: run `kumadb doctor` again. Where a migration also renames \
               or reckons, nothing by itself: put back the backup from before the upgrade",
        explains: &[],
        find: migrations::find_half_migrated,
    },
    Check {
        code: "K010",
        title: "text is not kept as utf8mb4",
        severity: Error,
        explanation: "MariaDB: \"Row size too large (> 8126)\" in an upgrade. The server needs utf8mb4; a database that was \
                      made with latin1 has columns that cannot all be stored in one row.",
        cure: "the table is converted; no cell changes",
        explains: &["K009"],
        find: migrations::find_narrow_text,
    },
    Check {
        code: "K011",
        title: "the disk is nearly full",
        severity: Critical,
        explanation: "\"database or disk is full\", \"disk I/O error\", \"cannot rollback - no transaction is active\": there \
                      is less room than the database takes itself, which every upgrade, clean-up and backup needs.",
        cure: "none by itself: what can go is named, with the commands for it, and nothing is deleted",
        explains: &["K003"],
        find: files::find_full_disk,
    },
    Check {
        code: "K012",
        title: "the history is too long",
        severity: Warning,
        explanation: "A slow page, and monitors that seem down because the server waited in vain for its own database \
                      (\"Knex: Timeout acquiring a connection\").",
        cure: "none by itself: keep fewer days",
        explains: &[],
        find: history::find_long_history,
    },
    Check {
        code: "K013",
        title: "indexes or foreign keys are missing",
        severity: Warning,
        explanation: "Slow since somebody converted the database: some ways to do that lose indexes and foreign keys, and \
                      rows of deleted monitors then stay for ever.",
        cure: "they are made, foreign keys on MariaDB only: SQLite cannot add one to a table",
        explains: &["K007"],
        find: migrations::find_lost_keys,
    },
    Check {
        code: "K014",
        title: "groups of monitors go in a circle",
        severity: Critical,
        explanation: "The login hangs and one core is busy: a monitor is its own group, or groups are in each other, and the \
                      server follows them for ever. Or a monitor is in one that is no group.",
        cure: "one monitor is taken out of its group",
        explains: &[],
        find: monitors::find_circles,
    },
    Check {
        code: "K015",
        title: "monitors that nobody sees",
        severity: Error,
        explanation: "They run and alert, and no page shows them: they belong to nobody, to a user who is not there, or to a \
                      group that is not there.",
        cure: "they get the first active user, and leave the group",
        explains: &[],
        find: monitors::find_ghosts,
    },
    Check {
        code: "K016",
        title: "locked out",
        severity: Error,
        explanation: "Nobody can log in: no user is active, a password is stored in a form that the server cannot check, or a \
                      second factor is asked for whose secret is not there. Never delete the user: the next one gets another \
                      id, and nobody sees the monitors any more.",
        cure: "the first user is activated, the second factor switched off, a new password asked for",
        explains: &[],
        find: settings::find_locked_out,
    },
    Check {
        code: "K017",
        title: "the key of sessions is empty",
        severity: Critical,
        explanation: "Each login ends with \"secretOrPrivateKey must have a value\": `jwtSecret` is there and empty.",
        cure: "the row is deleted, and the server makes a new key when it starts; everybody logs in again",
        explains: &[],
        find: settings::find_empty_secret,
    },
    Check {
        code: "K018",
        title: "the entry page is not there",
        severity: Critical,
        explanation: "`/` hangs and health checks fail: `entryPage` is a number or something else that is no text. Or it \
                      names a status page that was deleted, and `/` leads nowhere.",
        cure: "the entry page becomes the dashboard",
        explains: &[],
        find: settings::find_lost_entry,
    },
    Check {
        code: "K019",
        title: "a monitor has numbers that no timer takes",
        severity: Error,
        explanation: "A flood of checks, or a monitor that never starts: `interval`, `retry_interval`, `timeout` or `active` \
                      is text, negative, zero or too large.",
        cure: "the number becomes the nearest that the server takes",
        explains: &[],
        find: monitors::find_bad_numbers,
    },
    Check {
        code: "K020",
        title: "the database is newer than kumadb, or than its image",
        severity: Error,
        explanation: "\"The migration directory is corrupt, the following files are missing\": a newer image has upgraded the \
                      database, and an older one refuses it. `latest` is still 1.x: who pulls it for data of 2.x gets an \
                      older server.",
        cure: "none by itself: run an image that is new enough, the oldest one is named; nothing is written to a database \
               that kumadb does not know",
        explains: &["K009"],
        find: migrations::find_foreign_migrations,
    },
    Check {
        code: "K021",
        title: "this is not the data folder, or it holds two databases",
        severity: Error,
        explanation: "The set-up page comes again, as if all data were gone: another folder or volume is mounted, or \
                      `db-config.json` is lost or wrong. An old `kuma.db` beside a MariaDB is what the server boots on then.",
        cure: "a stale `kuma.db` gets another name; nothing else by itself",
        explains: &[],
        find: files::find_wrong_folder,
    },
    Check {
        code: "K022",
        title: "the server cannot write its files",
        severity: Critical,
        explanation: "EACCES or SQLITE_READONLY: files belong to another user than the server runs as, mostly to root after \
                      a copy or a restore, or the volume is read-only.",
        cure: "the files get the owner and group that the server runs as, and may be read and written by it",
        explains: &[],
        find: files::find_wrong_owners,
    },
    Check {
        code: "K023",
        title: "the embedded MariaDB was never installed to the end",
        severity: Critical,
        explanation: "\"Waiting for Embedded MariaDB to start\" for ever: the first start was cut off and left a folder \
                      `mariadb/` that is no database, or the image has no MariaDB inside.",
        cure: "the half-made folder gets another name, and the next start installs anew",
        explains: &[],
        find: files::find_half_installed,
    },
    Check {
        code: "K024",
        title: "alerts are not sent, or sent twice",
        severity: Warning,
        explanation: "The configuration of a notification cannot be read or names no type; or a monitor has the same \
                      notification twice.",
        cure: "the second of two like links is deleted; a broken configuration is only reported",
        explains: &[],
        find: monitors::find_mute,
    },
    Check {
        code: "K025",
        title: "statistics of the future",
        severity: Error,
        explanation: "\"Duplicate entry\", \"UNIQUE constraint failed: stat_minutely\", and wrong charts: the clock was wrong \
                      for a while, and rows were written for days to come.",
        cure: "these rows are deleted",
        explains: &[],
        find: history::find_future_statistics,
    },
    Check {
        code: "K026",
        title: "a monitor lacks what its type needs",
        severity: Error,
        explanation: "One monitor stays down with an error of the server itself: a DNS monitor without a name server, a Kafka \
                      producer without brokers or options of its login, as an insert by hand leaves them.",
        cure: "the cell gets what the page writes: `1.1.1.1`, `[]`, `{\"mechanism\":\"None\"}`",
        explains: &[],
        find: kinds::find_lacking,
    },
    Check {
        code: "K027",
        title: "a monitor of a type that no release has",
        severity: Error,
        explanation: "One monitor stays down for ever with \"Unknown Monitor Type\", or cannot be opened in the page.",
        cure: "none by itself: only a person knows what was meant",
        explains: &[],
        find: kinds::find_unknown_kinds,
    },
    Check {
        code: "K028",
        title: "a monitor with the id 0",
        severity: Error,
        explanation: "It is in the list, and the page cannot open, change or pause it: 0 is nothing to it.",
        cure: "none by itself: make a copy, which gets an id of its own, and delete it",
        explains: &[],
        find: kinds::find_zero,
    },
    Check {
        code: "K029",
        title: "a setting is there twice",
        severity: Warning,
        explanation: "A setting does not stay as it is set, or a conversion to MariaDB ends with \"Duplicate entry\": its key is \
                      there in capital and in small letters, which SQLite keeps apart.",
        cure: "the one that the server does not read is deleted; where both could be, they are only reported",
        explains: &[],
        find: settings::find_doubled,
    },
    Check {
        code: "K030",
        title: "a status page has the host name of the dashboard",
        severity: Warning,
        explanation: "`/` shows a status page in the place of the dashboard, and nobody finds the login.",
        cure: "none by itself: take the domain off the status page",
        explains: &[],
        find: settings::find_taken_host,
    },
    Check {
        code: "K031",
        title: "beats of the future",
        severity: Error,
        explanation: "A monitor seems to stand still, and its state changes are missed: the clock was wrong for a while, and \
                      the newest beat is always one of days to come.",
        cure: "these beats are deleted",
        explains: &["K025"],
        find: history::find_future_beats,
    },
    Check {
        code: "K032",
        title: "the file moves pages at every delete",
        severity: Info,
        explanation: "Clean-ups at night take long: `auto_vacuum` is FULL, as in files of early 1.x.",
        cure: "none by itself: `kumadb vacuum --auto-vacuum incremental` writes the file anew",
        explains: &[],
        find: history::find_eager_vacuum,
    },
    Check {
        code: "K033",
        title: "two servers on one data folder",
        severity: Critical,
        explanation: "Every alert comes twice, beats are stored twice, and a SQLite file gets damaged: two containers have the \
                      same volume.",
        cure: "none by itself: stop one of them",
        explains: &["K003"],
        find: place::find_second_server,
    },
    Check {
        code: "K034",
        title: "MySQL in the place of MariaDB",
        severity: Warning,
        explanation: "Upgrades end with errors of SQL syntax: the server is made for MariaDB, and MySQL differs.",
        cure: "none by itself: move the data to a MariaDB",
        explains: &["K009"],
        find: place::find_mysql,
    },
    Check {
        code: "K035",
        title: "an image that crowds its own database",
        severity: Warning,
        explanation: "\"SQLITE_BUSY: database is locked\", and beats are missing: 2.2.0 to 2.3.1 open twenty connections to one \
                      SQLite file.",
        cure: "none by itself: run a newer image",
        explains: &[],
        find: place::find_crowding_image,
    },
    Check {
        code: "K036",
        title: "pictures that nothing shows",
        severity: Info,
        explanation: "Room on the disk: logos of status pages and screenshots that were replaced or whose monitor is gone are \
                      never deleted by the server.",
        cure: "none by itself: kumadb deletes no pictures",
        explains: &[],
        find: place::find_lost_pictures,
    },
    Check {
        code: "K037",
        title: "SQLite on a network file system",
        severity: Warning,
        explanation: "\"database is locked\", \"disk I/O error\", \"database disk image is malformed\": SQLite needs locks and shared \
                      memory that a network file system does not have for certain, and Uptime Kuma does not support one.",
        cure: "none by itself: move the data folder to a disk of the machine, or to MariaDB",
        explains: &[],
        find: place::find_network,
    },
];
