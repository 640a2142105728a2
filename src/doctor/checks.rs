//! The table of all checks and their texts. A check is one row here and one function.

use super::Severity::{Critical, Error, Info, Warning};
use super::{Check, files, history, kinds, maintenance, migrations, monitors, place, settings};

/// All checks, by code.
pub const CHECKS: &[Check] = &[
    Check {
        code: "K001",
        title: "a JSON column of a monitor is invalid",
        severity: Critical,
        explanation: "Login hangs and the list of monitors is empty while the container is \"healthy\": the server reads \
                      all monitors at once, and one invalid cell breaks the whole list. Usually left by a conversion \
                      between databases or by a manual insert. Invalid headers affect only their own monitor.",
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
                      log: every heartbeat checks every maintenance window, and one that cannot be computed prevents the \
                      heartbeat from being stored.",
        cure: "the time zone is set to that of the server, lists become empty; a window without a valid date, time of day, \
               cron expression or strategy is also disabled",
        explains: &[],
        find: maintenance::find_bad_windows,
    },
    Check {
        code: "K003",
        title: "the database file is damaged",
        severity: Critical,
        explanation: "\"database disk image is malformed\": pages of the file are inconsistent, after a full disk, on a \
                      network file system, or because two programs wrote to the file at the same time.",
        cure: "if only indexes are damaged, they are rebuilt; otherwise a new database is built from the rows that can \
               still be read. The damaged files are kept. To use a good snapshot instead: `kumadb restore`",
        explains: &[],
        find: files::find_damage,
    },
    Check {
        code: "K004",
        title: "the database and its WAL do not match",
        severity: Critical,
        explanation: "\"database disk image is malformed\", or rows are missing, after `kuma.db` alone was copied or \
                      restored: `kuma.db-wal` is part of the database, and a WAL from another point in time damages it.",
        cure: "the database is built with or without the WAL, whichever gives a complete database with the newest \
               heartbeat; otherwise as for K003. The files are kept",
        explains: &[],
        find: files::find_wrong_wal,
    },
    Check {
        code: "K005",
        title: "the upgrade of the statistics was interrupted",
        severity: Critical,
        explanation: "\"Aggregate table migration is already in progress\", and the container restarts again and again: \
                      the upgrade from 1.x aggregates old heartbeats for minutes to hours; if it is interrupted, it \
                      refuses to start again.",
        cure: "the partial statistics are deleted and the migration state is cleared, so that the next start aggregates \
               again; the heartbeats are kept",
        explains: &[],
        find: settings::find_stuck_statistics,
    },
    Check {
        code: "K006",
        title: "heartbeats have an invalid status",
        severity: Error,
        explanation: "The upgrade to 2.x fails with \"Invalid status\": a heartbeat is down (0), up (1), pending (2) or \
                      maintenance (3), and the server stops at any other value.",
        cure: "these heartbeats are deleted",
        explains: &["K005"],
        find: history::find_odd_statuses,
    },
    Check {
        code: "K007",
        title: "rows refer to rows that do not exist",
        severity: Error,
        explanation: "\"FOREIGN KEY constraint failed\" in upgrades and when items are deleted: earlier deletes ignored \
                      references and left rows behind.",
        cure: "a row that is valid without the reference keeps its other columns; other rows are deleted",
        explains: &["K005"],
        find: history::find_orphans,
    },
    Check {
        code: "K008",
        title: "the migration lock is set",
        severity: Critical,
        explanation: "\"Migration table is already locked\" at each start: a migration was interrupted, by a stop with too \
                      short a timeout or by a power failure.",
        cure: "the lock table is reset to one unlocked row; refused while a server is running, because it may be migrating",
        explains: &["K009"],
        find: migrations::find_lock,
    },
    Check {
        code: "K009",
        title: "a migration was interrupted",
        severity: Critical,
        explanation: "\"Duplicate column name\", \"already exists\" or \"Unknown column\" at startup: the tables do not \
                      match the recorded migrations. MariaDB commits each change of a table immediately, so an interrupted \
                      migration stays incomplete.",
        cure: "the missing tables and columns are created as in that release, and the migration is recorded as applied; \
               existing data is not changed. The server then continues with the next migration: run `kumadb doctor` again. \
               A migration that also renames or computes is not completed automatically: restore the backup from before \
               the upgrade",
        explains: &[],
        find: migrations::find_half_migrated,
    },
    Check {
        code: "K010",
        title: "text is not stored as utf8mb4",
        severity: Error,
        explanation: "MariaDB: \"Row size too large (> 8126)\" in an upgrade. The server requires utf8mb4; a database that \
                      was created with latin1 has columns that do not all fit in one row.",
        cure: "the table is converted; no cell changes",
        explains: &["K009"],
        find: migrations::find_narrow_text,
    },
    Check {
        code: "K011",
        title: "the disk is nearly full",
        severity: Critical,
        explanation: "\"database or disk is full\", \"disk I/O error\", \"cannot rollback - no transaction is active\": \
                      less disk space is free than the size of the database, which every upgrade, clean-up and backup \
                      needs.",
        cure: "no automatic fix: files that may be deleted are listed with the commands for it; nothing is deleted",
        explains: &["K003"],
        find: files::find_full_disk,
    },
    Check {
        code: "K012",
        title: "the history is too long",
        severity: Warning,
        explanation: "The page is slow, and monitors seem down because the server timed out waiting for its own database \
                      (\"Knex: Timeout acquiring a connection\").",
        cure: "no automatic fix: keep fewer days of history",
        explains: &[],
        find: history::find_long_history,
    },
    Check {
        code: "K013",
        title: "indexes or foreign keys are missing",
        severity: Warning,
        explanation: "Slow since the database was converted: some conversion methods lose indexes and foreign keys, and \
                      rows of deleted monitors are then never deleted.",
        cure: "they are created; foreign keys on MariaDB only, because SQLite cannot add one to an existing table",
        explains: &["K007"],
        find: migrations::find_lost_keys,
    },
    Check {
        code: "K014",
        title: "monitor groups form a cycle",
        severity: Critical,
        explanation: "Login hangs and one CPU core is busy: a monitor is its own group, or groups contain each other, and \
                      the server follows them endlessly. Or the parent of a monitor is not a group.",
        cure: "one monitor is removed from its group",
        explains: &[],
        find: monitors::find_circles,
    },
    Check {
        code: "K015",
        title: "monitors do not appear on any page",
        severity: Error,
        explanation: "They run and send alerts, but no page shows them: they have no user, or their user or group does not \
                      exist.",
        cure: "they are assigned to the first active user, and removed from the missing group",
        explains: &[],
        find: monitors::find_ghosts,
    },
    Check {
        code: "K016",
        title: "no user can log in",
        severity: Error,
        explanation: "No user is active, a password is stored in a format that the server cannot check, or two-factor \
                      authentication is enabled without a secret. Never delete the user: a new one gets another id, and \
                      the monitors no longer appear.",
        cure: "the first user is activated, two-factor authentication is disabled, a new password is requested",
        explains: &[],
        find: settings::find_locked_out,
    },
    Check {
        code: "K017",
        title: "the session key is empty",
        severity: Critical,
        explanation: "Each login fails with \"secretOrPrivateKey must have a value\": `jwtSecret` exists but is empty.",
        cure: "the row is deleted, and the server generates a new key at startup; all users must log in again",
        explains: &[],
        find: settings::find_empty_secret,
    },
    Check {
        code: "K018",
        title: "the entry page is invalid",
        severity: Critical,
        explanation: "`/` hangs and health checks fail: `entryPage` is a number or another value that is not text. Or it \
                      names a deleted status page, and `/` shows an error.",
        cure: "the entry page is set to the dashboard",
        explains: &[],
        find: settings::find_lost_entry,
    },
    Check {
        code: "K019",
        title: "a monitor has an interval or timeout out of range",
        severity: Error,
        explanation: "A flood of checks, or a monitor that never starts: `interval`, `retry_interval`, `timeout` or \
                      `active` is text, negative, zero or too large.",
        cure: "the number is set to the nearest value that the server accepts",
        explains: &[],
        find: monitors::find_bad_numbers,
    },
    Check {
        code: "K020",
        title: "the database is newer than kumadb or than its image",
        severity: Error,
        explanation: "\"The migration directory is corrupt, the following files are missing\": a newer image upgraded the \
                      database, and an older one refuses it. `latest` is still 1.x: pulling it for data of 2.x gives an \
                      older server.",
        cure: "no automatic fix: run a new enough image (the oldest possible one is shown); kumadb does not write to a \
               database of an unknown release",
        explains: &["K009"],
        find: migrations::find_foreign_migrations,
    },
    Check {
        code: "K021",
        title: "wrong data folder, or two databases in it",
        severity: Error,
        explanation: "The setup page appears, as if all data were lost: another folder or volume is mounted, or \
                      `db-config.json` is missing or wrong. If an old `kuma.db` exists next to a MariaDB, the server then \
                      starts with that file.",
        cure: "a stale `kuma.db` is renamed; nothing else is changed automatically",
        explains: &[],
        find: files::find_wrong_folder,
    },
    Check {
        code: "K022",
        title: "the server cannot write its files",
        severity: Critical,
        explanation: "EACCES or SQLITE_READONLY: files belong to a user other than the one that runs the server, usually \
                      to root after a copy or a restore, or the volume is read-only.",
        cure: "the files get the owner and group of the server process, and its read and write permissions",
        explains: &[],
        find: files::find_wrong_owners,
    },
    Check {
        code: "K023",
        title: "the installation of the embedded MariaDB is incomplete",
        severity: Critical,
        explanation: "\"Waiting for Embedded MariaDB to start\" endlessly: the first start was interrupted and left a \
                      folder `mariadb/` without a valid database, or the image does not contain MariaDB.",
        cure: "the incomplete folder is renamed, and the next start installs MariaDB again",
        explains: &[],
        find: files::find_half_installed,
    },
    Check {
        code: "K024",
        title: "alerts are not sent, or sent twice",
        severity: Warning,
        explanation: "The configuration of a notification is invalid or has no type; or a notification is linked to a \
                      monitor twice.",
        cure: "the duplicate link is deleted; an invalid configuration is only reported",
        explains: &[],
        find: monitors::find_mute,
    },
    Check {
        code: "K025",
        title: "statistics have timestamps in the future",
        severity: Error,
        explanation: "\"Duplicate entry\", \"UNIQUE constraint failed: stat_minutely\", and wrong charts: the clock was \
                      wrong for a while, and rows were written with future dates.",
        cure: "these rows are deleted",
        explains: &[],
        find: history::find_future_statistics,
    },
    Check {
        code: "K026",
        title: "a required column of a monitor is empty",
        severity: Error,
        explanation: "One monitor stays down with an internal error of the server: for example a DNS monitor without a \
                      name server, or a Kafka producer without brokers or login options, after a manual insert.",
        cure: "the cell gets what the page writes: `1.1.1.1`, `[]`, `{\"mechanism\":\"None\"}`",
        explains: &[],
        find: kinds::find_lacking,
    },
    Check {
        code: "K027",
        title: "a monitor has an unknown type",
        severity: Error,
        explanation: "One monitor stays down with \"Unknown Monitor Type\", or cannot be opened in the page.",
        cure: "no automatic fix: the intended type is unknown",
        explains: &[],
        find: kinds::find_unknown_kinds,
    },
    Check {
        code: "K028",
        title: "a monitor has the id 0",
        severity: Error,
        explanation: "It is in the list, but the page cannot open, change or pause it, because the server treats the id 0 \
                      as missing.",
        cure: "no automatic fix: clone the monitor, which assigns a new id, and delete the original",
        explains: &[],
        find: kinds::find_zero,
    },
    Check {
        code: "K029",
        title: "a setting exists twice",
        severity: Warning,
        explanation: "A setting does not keep its value, or a conversion to MariaDB fails with \"Duplicate entry\": its \
                      key exists in upper and lower case, which only SQLite treats as different keys.",
        cure: "the row that the server does not read is deleted; if that is not certain, both are only reported",
        explains: &[],
        find: settings::find_doubled,
    },
    Check {
        code: "K030",
        title: "a status page uses the host name of the dashboard",
        severity: Warning,
        explanation: "`/` shows a status page instead of the dashboard, so users do not find the login.",
        cure: "no automatic fix: remove the domain from the status page",
        explains: &[],
        find: settings::find_taken_host,
    },
    Check {
        code: "K031",
        title: "heartbeats have timestamps in the future",
        severity: Error,
        explanation: "A monitor does not seem to update, and its state changes are missed: the clock was wrong for a \
                      while, and the newest heartbeat always has a future date.",
        cure: "these heartbeats are deleted",
        explains: &["K025"],
        find: history::find_future_beats,
    },
    Check {
        code: "K032",
        title: "the database file moves pages at every delete",
        severity: Info,
        explanation: "Nightly clean-ups take long: `auto_vacuum` is FULL, as in files of early 1.x.",
        cure: "no automatic fix: `kumadb vacuum --auto-vacuum incremental` rebuilds the file",
        explains: &[],
        find: history::find_eager_vacuum,
    },
    Check {
        code: "K033",
        title: "two servers use the same data folder",
        severity: Critical,
        explanation: "Every alert is sent twice, heartbeats are stored twice, and a SQLite file gets damaged: two \
                      containers mount the same volume.",
        cure: "no automatic fix: stop one of them",
        explains: &["K003"],
        find: place::find_second_server,
    },
    Check {
        code: "K034",
        title: "MySQL is used instead of MariaDB",
        severity: Warning,
        explanation: "Upgrades fail with SQL syntax errors: the server supports MariaDB, and MySQL differs.",
        cure: "no automatic fix: move the data to MariaDB",
        explains: &["K009"],
        find: place::find_mysql,
    },
    Check {
        code: "K035",
        title: "the image opens too many database connections",
        severity: Warning,
        explanation: "\"SQLITE_BUSY: database is locked\", and heartbeats are missing: 2.2.0 to 2.3.1 open twenty \
                      connections to one SQLite file.",
        cure: "no automatic fix: run a newer image",
        explains: &[],
        find: place::find_crowding_image,
    },
    Check {
        code: "K036",
        title: "images are not used",
        severity: Info,
        explanation: "They take disk space: the server never deletes status page logos and screenshots that were replaced \
                      or whose monitor was deleted.",
        cure: "no automatic fix: kumadb does not delete images",
        explains: &[],
        find: place::find_lost_pictures,
    },
    Check {
        code: "K037",
        title: "SQLite on a network file system",
        severity: Warning,
        explanation: "\"database is locked\", \"disk I/O error\", \"database disk image is malformed\": SQLite needs locks \
                      and shared memory, which network file systems do not provide reliably, and Uptime Kuma does not \
                      support them.",
        cure: "no automatic fix: move the data folder to a local disk, or to MariaDB",
        explains: &[],
        find: place::find_network,
    },
    Check {
        code: "K038",
        title: "a new row would inherit what a deleted one left",
        severity: Error,
        explanation: "A monitor that was just added shows old heartbeats, uptime, tags or notifications: a row was deleted by \
                      hand without the rows that refer to it, and the counter of ids was set back or lost, so the server \
                      gives the id of the deleted row to a new one.",
        cure: "the counter is raised above every id that is still referred to; no row changes",
        explains: &[],
        find: history::find_reused_ids,
    },
    Check {
        code: "K039",
        title: "db-config.json is invalid",
        severity: Critical,
        explanation: "The server shows its set-up page, old data, or \"Unknown Database type\": db-config.json was edited by \
                      hand and has a trailing comma, a byte order mark, a misspelt type or a number where text is required. \
                      Beside a kuma.db the server throws such a file away and starts on that SQLite database.",
        cure: "none by itself: correct the file; kumadb does not write to an instance whose database is uncertain",
        explains: &["K021"],
        find: files::find_invalid_config,
    },
];
