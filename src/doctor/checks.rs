//! The table of all checks and their texts. A check is one row here and one function.

use super::Severity::{Critical, Error, Info, Warning};
use super::{
    Check, access, books, files, history, kinds, maintenance, migrations, monitors, place, settings, startup, values,
};

/// All checks, by code.
pub const CHECKS: &[Check] = &[
    Check {
        code: "K001",
        title: "a JSON column of a monitor is invalid",
        severity: Critical,
        explanation: "Login hangs and the list of monitors is empty although the container is \"healthy\": the server \
                      loads all monitors together, and fails if one of them has an invalid value. The usual cause is a \
                      conversion between databases or a manual insert. Invalid headers affect only that monitor.",
        fix: "the column is set to the value that the web UI stores for an empty field: `[\"200-299\"]`, `[]`, \
               `{\"mechanism\":\"None\"}`; invalid headers are only reported",
        explains: &[],
        find: monitors::find_bad_json,
    },
    Check {
        code: "K002",
        title: "a maintenance window cannot be computed",
        severity: Critical,
        explanation: "The server does not store state changes of any monitor and repeats alerts, with \"invalid time \
                      value\" in the log: it evaluates every maintenance window for every heartbeat, and cannot store \
                      the heartbeat if one of the windows is invalid.",
        fix: "the time zone is set to that of the server, and an invalid list to an empty list; a window without a \
               valid date, time of day, cron expression or strategy is also disabled",
        explains: &[],
        find: maintenance::find_bad_windows,
    },
    Check {
        code: "K003",
        title: "the database file is damaged",
        severity: Critical,
        explanation: "\"database disk image is malformed\": pages of the file are inconsistent. Usual causes are a \
                      full disk, a network file system, or two programs that wrote to the file at the same time.",
        fix: "if only indexes are damaged, they are rebuilt; otherwise a new database is built from the rows that can \
               still be read. The damaged files are kept. To restore a snapshot instead: `kumadb restore`",
        explains: &[],
        find: files::find_damage,
    },
    Check {
        code: "K004",
        title: "the database and its WAL or journal do not match",
        severity: Critical,
        explanation: "\"database disk image is malformed\", or rows are missing, after `kuma.db` alone was copied or \
                      restored: `kuma.db-wal` and `kuma.db-journal` are parts of the database, and those of another \
                      point in time or of another database damage it.",
        fix: "the database is rebuilt without the journal, and with or without the WAL: kumadb chooses the complete \
               result with the newest heartbeat. If neither result is complete, the database is fixed as for K003. The original files are \
               kept",
        explains: &[],
        find: files::find_wrong_wal,
    },
    Check {
        code: "K005",
        title: "the upgrade of the statistics was interrupted",
        severity: Critical,
        explanation: "The server exits with \"Aggregate table migration is already in progress\", and the container \
                      restarts repeatedly: the upgrade from 1.x aggregates old heartbeats, which takes minutes to \
                      hours. After an interruption, the server refuses to start the aggregation again.",
        fix: "the partial statistics are deleted and the migration state is cleared, so that the server aggregates \
               again at its next start, or `kumadb upgrade` does it in seconds; the heartbeats are kept. If the server already began to delete old heartbeats, \
               the statistics are complete: they are kept, and the migration is recorded as done",
        explains: &[],
        find: settings::find_stuck_statistics,
    },
    Check {
        code: "K006",
        title: "heartbeats have an invalid status",
        severity: Error,
        explanation: "The upgrade to 2.x fails with \"Invalid status\": the valid values are 0 (down), 1 (up), 2 \
                      (pending) and 3 (maintenance), and the upgrade stops at any other value.",
        fix: "these heartbeats are deleted",
        explains: &["K005"],
        find: history::find_odd_statuses,
    },
    Check {
        code: "K007",
        title: "rows refer to rows that do not exist",
        severity: Error,
        explanation: "\"FOREIGN KEY constraint failed\" in upgrades and when items are deleted: earlier deletions did \
                      not check foreign keys and left dependent rows.",
        fix: "the reference is set to NULL if the row is valid without it; otherwise the row is deleted, and listed \
               before the confirmation prompt. Rows without a user are K015, and none of them is deleted",
        explains: &["K005"],
        find: history::find_orphans,
    },
    Check {
        code: "K008",
        title: "the migration lock is set",
        severity: Critical,
        explanation: "\"Migration table is already locked\" at each start: a migration was interrupted, for example by \
                      a power failure or because the container was stopped with too short a timeout.",
        fix: "the lock table is reset to one unlocked row; refused while a server is running, because it may be \
               migrating",
        explains: &["K009"],
        find: migrations::find_lock,
    },
    Check {
        code: "K009",
        title: "a migration was interrupted",
        severity: Critical,
        explanation: "\"Duplicate column name\", \"already exists\" or \"Unknown column\" at startup: the tables do \
                      not match the recorded migrations. MariaDB commits each schema change (DDL) immediately, so an \
                      interrupted migration is left incomplete. Or records in `knex_migrations` were lost.",
        fix: "the missing tables and columns are created as in that release, and the migrations are recorded as \
               applied; existing data is not changed. The server then continues with the next migration: run `kumadb \
               doctor` again. A migration that also renames columns or converts data is not completed automatically: \
               restore the snapshot from before the upgrade",
        explains: &[],
        find: migrations::find_half_migrated,
    },
    Check {
        code: "K010",
        title: "text is not stored as utf8mb4",
        severity: Error,
        explanation: "MariaDB: \"Row size too large (> 8126)\" in an upgrade. The server requires utf8mb4; a database \
                      that was created with latin1 has columns that do not all fit in one row.",
        fix: "the table is converted to utf8mb4; no value changes",
        explains: &["K009"],
        find: migrations::find_narrow_text,
    },
    Check {
        code: "K011",
        title: "the disk is nearly full",
        severity: Critical,
        explanation: "\"database or disk is full\", \"disk I/O error\", \"cannot rollback - no transaction is \
                      active\": the free disk space is less than the size of the database, which upgrades, clean-ups \
                      and backups require.",
        fix: "no automatic fix: files that can be deleted are listed with the commands to delete them",
        explains: &["K003"],
        find: files::find_full_disk,
    },
    Check {
        code: "K012",
        title: "the history is too long",
        severity: Warning,
        explanation: "The web UI is slow, and monitors are reported as down because the server timed out waiting for \
                      its own database (\"Knex: Timeout acquiring a connection\").",
        fix: "no automatic fix: keep fewer days of history",
        explains: &[],
        find: history::find_long_history,
    },
    Check {
        code: "K013",
        title: "indexes or foreign keys are missing",
        severity: Warning,
        explanation: "The server is slow since the database was converted: some conversion methods lose indexes and \
                      foreign keys. Without foreign keys, the rows of deleted monitors are never deleted.",
        fix: "the indexes and foreign keys are created; foreign keys on MariaDB only, because SQLite cannot add one \
               to an existing table",
        explains: &["K007"],
        find: migrations::find_lost_keys,
    },
    Check {
        code: "K014",
        title: "monitor groups form a cycle",
        severity: Critical,
        explanation: "Login hangs and one CPU core is busy: a monitor is its own parent, or groups contain each other, \
                      and the server loops endlessly. Or the parent of a monitor is not a group.",
        fix: "one monitor is removed from its group",
        explains: &[],
        find: monitors::find_circles,
    },
    Check {
        code: "K015",
        title: "items do not appear in the web UI",
        severity: Error,
        explanation: "Monitors run and send alerts, but the web UI does not show them; notifications, proxies, docker \
                      hosts, remote browsers, API keys and maintenance windows are used, but cannot be changed: they \
                      have no user, or their user does not exist, usually after the user was deleted and added again. Or \
                      the group of a monitor does not exist.",
        fix: "all of them are assigned to the only user; if there are several, choose one with `kumadb user adopt NAME`. \
               Monitors are removed from the missing group. Nothing is deleted",
        explains: &[],
        find: monitors::find_ghosts,
    },
    Check {
        code: "K016",
        title: "no user can log in",
        severity: Error,
        explanation: "No user is active, a password is stored in a format that the server cannot check, or two-factor \
                      authentication is enabled without a secret. Do not delete the user: a new user has another id, \
                      and the web UI then no longer shows the monitors.",
        fix: "the first user is activated, two-factor authentication is disabled, or a new password is requested",
        explains: &[],
        find: settings::find_locked_out,
    },
    Check {
        code: "K017",
        title: "the session key is empty",
        severity: Critical,
        explanation: "Each login fails with \"secretOrPrivateKey must have a value\": `jwtSecret` exists but is empty.",
        fix: "the row is deleted, and the server generates a new key at startup; all users must log in again",
        explains: &[],
        find: settings::find_empty_secret,
    },
    Check {
        code: "K018",
        title: "the entry page is invalid",
        severity: Critical,
        explanation: "`/` hangs and health checks fail: `entryPage` is a number or another value that is not text. Or \
                      it refers to a deleted status page, and `/` shows an error.",
        fix: "the entry page is set to the dashboard",
        explains: &[],
        find: settings::find_lost_entry,
    },
    Check {
        code: "K019",
        title: "a number or flag of a monitor is out of range",
        severity: Error,
        explanation: "The server checks the monitor without a pause, or never: `interval`, `retry_interval`, `timeout` \
                      or `active` is text, negative, zero or too large. Or another number or flag is text, which SQLite \
                      stores in any column: the server takes the flag `no` for true.",
        fix: "the number is set to the nearest value that the server accepts, or to the default; a flag to what its text means",
        explains: &[],
        find: values::find_bad_numbers,
    },
    Check {
        code: "K020",
        title: "the database is newer than kumadb or the server image",
        severity: Error,
        explanation: "\"The migration directory is corrupt, the following files are missing\" in the log: a newer image \
                      upgraded the database, and now an older image runs. It starts, but applies no migrations, and on \
                      SQLite does not check foreign keys, so that every deletion leaves rows behind. The tag `latest` is \
                      still 1.x. Or the database was made by a beta, a nightly build or a fork.",
        fix: "no automatic fix: run a new enough image (the oldest possible one is shown). kumadb does not write to a \
               database that is newer than its image, or has migrations that kumadb does not know; the rows of the \
               latter are not checked either",
        explains: &["K007", "K009"],
        find: migrations::find_foreign_migrations,
    },
    Check {
        code: "K021",
        title: "wrong data folder, or two databases in it",
        severity: Error,
        explanation: "The web UI shows its setup page, as if all data were lost: another folder or volume is mounted, \
                      or `db-config.json` is missing or wrong. If an old `kuma.db` exists although the server uses \
                      MariaDB, the server then starts with that file.",
        fix: "a stale `kuma.db` is renamed, but only by `kumadb doctor --fix K021`, and only if the other database was \
               read, has users and newer heartbeats; nothing else is changed automatically",
        explains: &[],
        find: files::find_wrong_folder,
    },
    Check {
        code: "K022",
        title: "the server cannot write its files",
        severity: Critical,
        explanation: "EACCES or SQLITE_READONLY: files are owned by a user other than the one that runs the server, \
                      usually by root after a copy or a restore, or the volume is read-only.",
        fix: "owner and group of the files are set to those of the server process, and the owner can read and write \
               them",
        explains: &[],
        find: files::find_wrong_owners,
    },
    Check {
        code: "K023",
        title: "the installation of the embedded MariaDB is incomplete",
        severity: Critical,
        explanation: "The server waits endlessly (\"Waiting for Embedded MariaDB to start\"): the first start was \
                      interrupted and left a folder `mariadb/` without a valid database, or the image does not contain \
                      MariaDB.",
        fix: "the incomplete folder is renamed, and the next start installs MariaDB again",
        explains: &[],
        find: files::find_half_installed,
    },
    Check {
        code: "K024",
        title: "alerts are not sent, or sent twice",
        severity: Warning,
        explanation: "The configuration of a notification is invalid or has no type; or a notification is linked to a \
                      monitor twice.",
        fix: "the duplicate link is deleted; an invalid configuration is only reported",
        explains: &[],
        find: monitors::find_mute,
    },
    Check {
        code: "K025",
        title: "statistics have timestamps in the future",
        severity: Error,
        explanation: "\"Duplicate entry\", \"UNIQUE constraint failed: stat_minutely\", and wrong charts: the system \
                      clock was wrong for some time, and the server stored rows with future dates.",
        fix: "these rows are deleted",
        explains: &[],
        find: history::find_future_statistics,
    },
    Check {
        code: "K026",
        title: "a required column of a monitor is empty",
        severity: Error,
        explanation: "One monitor stays down with an internal error of the server: for example a DNS monitor without a \
                      name server, or a Kafka producer without brokers or login options, after a manual insert.",
        fix: "the column is set to the value that the web UI stores: `1.1.1.1`, `[]`, `{\"mechanism\":\"None\"}`",
        explains: &[],
        find: kinds::find_lacking,
    },
    Check {
        code: "K027",
        title: "a monitor has an unknown type",
        severity: Error,
        explanation: "One monitor stays down with \"Unknown Monitor Type\", or cannot be opened in the web UI.",
        fix: "no automatic fix: set the intended type with `kumadb monitor edit ID --set type=TYPE`",
        explains: &[],
        find: kinds::find_unknown_kinds,
    },
    Check {
        code: "K028",
        title: "a monitor has the id 0",
        severity: Error,
        explanation: "The monitor is in the list, but the web UI cannot open, change or pause it, because the server \
                      treats the id 0 as missing.",
        fix: "no automatic fix: clone the monitor, which assigns a new id, and delete the original",
        explains: &[],
        find: kinds::find_zero,
    },
    Check {
        code: "K029",
        title: "a setting exists twice",
        severity: Warning,
        explanation: "A setting does not keep its value, or a conversion to MariaDB fails with \"Duplicate entry\": \
                      its key exists in upper and lower case, which only SQLite treats as different keys.",
        fix: "the row that the server does not read is deleted; if it is not certain which row the server reads, both \
               rows are only reported",
        explains: &[],
        find: settings::find_doubled,
    },
    Check {
        code: "K030",
        title: "a status page uses the host name of the dashboard",
        severity: Warning,
        explanation: "`/` shows a status page instead of the dashboard, so users do not find the login.",
        fix: "no automatic fix: remove the domain from the status page",
        explains: &[],
        find: settings::find_taken_host,
    },
    Check {
        code: "K031",
        title: "heartbeats have timestamps in the future",
        severity: Error,
        explanation: "A monitor does not seem to be updated, and its state changes are not detected: the system clock \
                      was wrong for some time, and a heartbeat with a future date remains the newest one.",
        fix: "these heartbeats are deleted",
        explains: &["K025"],
        find: history::find_future_beats,
    },
    Check {
        code: "K032",
        title: "SQLite moves pages at every deletion (`auto_vacuum` is FULL)",
        severity: Info,
        explanation: "Nightly clean-ups take long: `auto_vacuum` is FULL, as in database files of early 1.x releases.",
        fix: "no automatic fix: `kumadb vacuum --auto-vacuum incremental` rebuilds the file",
        explains: &[],
        find: history::find_eager_vacuum,
    },
    Check {
        code: "K033",
        title: "two servers use the same data folder",
        severity: Critical,
        explanation: "Every alert is sent twice, heartbeats are stored twice, and a SQLite database becomes damaged: \
                      two containers mount the same volume.",
        fix: "no automatic fix: stop one of them",
        explains: &["K003"],
        find: place::find_second_server,
    },
    Check {
        code: "K034",
        title: "MySQL is used instead of MariaDB",
        severity: Warning,
        explanation: "Upgrades fail with SQL syntax errors: the server supports MariaDB, and MySQL differs.",
        fix: "no automatic fix: move the data to MariaDB",
        explains: &["K009"],
        find: place::find_mysql,
    },
    Check {
        code: "K035",
        title: "the image opens too many database connections",
        severity: Warning,
        explanation: "\"SQLITE_BUSY: database is locked\", and heartbeats are missing: images 2.2.0 to 2.3.1 open \
                      twenty connections to one SQLite file.",
        fix: "no automatic fix: run a newer image",
        explains: &[],
        find: place::find_crowding_image,
    },
    Check {
        code: "K036",
        title: "uploaded images are not used",
        severity: Info,
        explanation: "Unused images take disk space: the server never deletes status page logos and screenshots that \
                      were replaced or whose monitor was deleted.",
        fix: "no automatic fix: kumadb does not delete images",
        explains: &[],
        find: place::find_lost_pictures,
    },
    Check {
        code: "K037",
        title: "SQLite on a network file system",
        severity: Warning,
        explanation: "\"database is locked\", \"disk I/O error\", \"database disk image is malformed\": SQLite needs \
                      locks and shared memory, which network file systems do not provide reliably, and Uptime Kuma \
                      does not support them.",
        fix: "no automatic fix: move the data folder to a local disk, or the database to MariaDB",
        explains: &[],
        find: place::find_network,
    },
    Check {
        code: "K038",
        title: "new rows would reuse the ids of deleted rows",
        severity: Error,
        explanation: "A monitor that was just added shows old heartbeats, uptime, tags or notifications: a row was \
                      deleted manually without the rows that refer to it, and the id counter was reset or lost, so the \
                      server assigns the id of the deleted row to a new row.",
        fix: "the counter is raised above every id that other rows still refer to; no row is changed",
        explains: &[],
        find: history::find_reused_ids,
    },
    Check {
        code: "K039",
        title: "db-config.json is invalid",
        severity: Critical,
        explanation: "The web UI shows the setup page or old data, or the server does not start (\"Unknown Database \
                      type\"): db-config.json was edited manually and contains a trailing comma, a byte order mark, a \
                      misspelled type, or a number where text is required. If a kuma.db exists in the same folder, the \
                      server replaces an invalid db-config.json and starts with that SQLite database.",
        fix: "no automatic fix: correct the file; until then kumadb does not write to the instance, because its \
               database is not certain",
        explains: &["K021"],
        find: files::find_invalid_config,
    },
    Check {
        code: "K050",
        title: "a transaction was interrupted",
        severity: Warning,
        explanation: "Rows are wrong or missing after `kuma.db` alone was copied: a program was killed while it wrote \
                      to the database, and `kuma.db-journal` has the pages as they were before. SQLite rolls the \
                      transaction back when it opens both files, and cannot without the journal.",
        fix: "no automatic fix: the server rolls the transaction back at its next start, and kumadb before it writes",
        explains: &[],
        find: files::find_open_transaction,
    },
    Check {
        code: "K051",
        title: "the patch records of 1.x are wrong",
        severity: Critical,
        explanation: "After the next start all monitors are gone, or the container restarts repeatedly with \"table \
                      already exists\" or \"duplicate column name\": the settings `database_version` and \
                      `databasePatchedFiles` were deleted or changed, for example by a conversion or a partial restore. \
                      On SQLite, servers of 2.x still read them, and apply the schema changes of 1.x that are not in \
                      them.",
        fix: "both settings are set to the values that belong to the tables of the database",
        explains: &["K020"],
        find: books::find_lost_books,
    },
    Check {
        code: "K052",
        title: "a push token cannot be used",
        severity: Error,
        explanation: "A push monitor stays down although its script runs: two monitors have the same token (a clone of \
                      1.21), or the token is missing, too long, or contains characters that end the URL.",
        fix: "the monitor gets a new token, to be used in its script (`kumadb monitor show ID --secrets`); of several \
               monitors with one token, the first keeps it",
        explains: &[],
        find: access::find_bad_tokens,
    },
    Check {
        code: "K053",
        title: "API keys are enabled, and none can be used",
        severity: Warning,
        explanation: "Prometheus or Home Assistant fails with 401 although the password is right: once a key was \
                      created, the server accepts only keys for `/metrics`, even if all keys were deleted, disabled or \
                      have expired. A key whose date of expiry is invalid never expires.",
        fix: "no automatic fix: create a key, or set `apiKeysEnabled` to false",
        explains: &[],
        find: access::find_unusable_keys,
    },
    Check {
        code: "K054",
        title: "the domain of a status page is not a host name",
        severity: Warning,
        explanation: "The domain shows the dashboard instead of the status page: a domain with `https://`, a port, a \
                      path, a space or capital letters never equals the host name of a request.",
        fix: "the domain is reduced to its host name, in lower case",
        explains: &[],
        find: access::find_bad_domains,
    },
    Check {
        code: "K055",
        title: "the timeout of a monitor is too long",
        severity: Warning,
        explanation: "A site that does not answer is never down: monitors that were inserted manually have the timeout \
                      0, for which the server waits 800 times the interval, or one of many intervals.",
        fix: "the timeout is set to 0.8 times the interval, as in the web UI",
        explains: &[],
        find: values::find_bad_timeouts,
    },
    Check {
        code: "K056",
        title: "a monitor accepts no status code",
        severity: Error,
        explanation: "The monitor is down although the site answers: its status codes are an empty list, or are not \
                      written as `404` or `200-299`.",
        fix: "`2xx` is set to `200-299`, several codes in one text are separated, and an empty list is set to \
               `200-299`; anything else is only reported",
        explains: &[],
        find: values::find_bad_codes,
    },
    Check {
        code: "K057",
        title: "the server does not have the provider of a notification",
        severity: Error,
        explanation: "Alerts are not sent (\"Notification type is not supported\"): the provider was removed (LINE \
                      Notify, in 2.1), is only in a newer release, or is misspelled, for example after an import of an \
                      old backup, a restore of a newer one, or a manual insert.",
        fix: "no automatic fix: set up another notification",
        explains: &[],
        find: values::find_missing_providers,
    },
    Check {
        code: "K058",
        title: "a group of monitors belongs to no status page",
        severity: Warning,
        explanation: "No page shows the group: it was inserted manually without a status page.",
        fix: "no automatic fix: add the group to a status page, or delete it",
        explains: &[],
        find: values::find_lost_groups,
    },
    Check {
        code: "K059",
        title: "a table refers to a missing table, or is from a recovery",
        severity: Error,
        explanation: "Rows cannot be written (\"no such table\"), or rows are missing: the database was restored or \
                      converted in part, or rebuilt with `.recover` of sqlite3.",
        fix: "no automatic fix: restore a snapshot",
        explains: &[],
        find: values::find_lost_tables,
    },
    Check {
        code: "K060",
        title: "another copy of the database can be restored",
        severity: Info,
        explanation: "The database is missing or cannot be read, and its folder has other copies of it: files that people, \
                      tools or an upgrade of 1.x left (`kuma.db.bak0`, `kuma.db.corrupt`), or snapshots. Each is shown \
                      with its release, monitors, users and newest heartbeat.",
        fix: "no automatic fix: choose the copy, and run the command that is shown with it",
        explains: &[],
        find: files::find_candidates,
    },
    Check {
        code: "K061",
        title: "a monitor has the id of a game of another release",
        severity: Error,
        explanation: "A game server is down although it answers: 2.1 renamed 133 ids of games (`tf2` is `teamfortress2` \
                      since then). The upgrade changes them once; rows that are inserted or imported later keep the old \
                      ids, and after a downgrade the new ones remain.",
        fix: "the id of the release is set",
        explains: &[],
        find: values::find_renamed_games,
    },
    Check {
        code: "K062",
        title: "the server does not start",
        severity: Critical,
        explanation: "The container restarts again and again, or waits for its MariaDB: the reason is read from its log, and \
                      names the finding that it belongs to.",
        fix: "no automatic fix of its own: the finding that is named has one, or the line of the log shows what to change",
        explains: &[],
        find: startup::find_crash_loop,
    },
    Check {
        code: "K063",
        title: "an operation of kumadb was interrupted",
        severity: Critical,
        explanation: "The server may be stopped, and kumadb refuses to write: a run was killed, or its rollback failed. The \
                      journal in the data folder records which steps were completed.",
        fix: "no automatic fix: `kumadb recover` finishes the operation or rolls it back",
        explains: &[],
        find: startup::find_unfinished,
    },
    Check {
        code: "K064",
        title: "id counters are missing",
        severity: Warning,
        explanation: "A new monitor gets the id of a deleted one, so that badges and links of the old one show the new one: \
                      the table `sqlite_sequence` was emptied, for example by a conversion or by hand.",
        fix: "the counters are set to the highest id of each table",
        explains: &[],
        find: history::find_lost_counters,
    },
];
