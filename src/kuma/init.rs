//! Creates a new instance: the rows and files that the server creates at its first start and setup.
//!
//! Compared with fresh instances of 1.23.0, 1.23.17, 2.0.2 and 2.5.3. The server adds other settings
//! (`keepDataPeriodDays`, `tlsExpiryNotifyDays`, …) with its defaults later.

use std::io::Write as _;
use std::path::Path;

use crate::engine::sqlite::SqliteFile;
use crate::engine::{Connect, EngineKind, Reader, WriteKey, Writer};
use crate::error::{DatabaseError, Error, FileError, Hint, InputError, Problem, Result};
use crate::files;
use crate::schema::{self, Recording, Release};
use crate::value::{Secret, Value};

/// Cost of every bcrypt hash of the server.
const BCRYPT_COST: u32 = 10;

/// Files in a data folder that a server has used.
pub const TRACES: [&str; 6] = ["kuma.db", "kuma.db-wal", "kuma.db-shm", "kuma.db-journal", "db-config.json", "mariadb"];

/// The table of applied migrations.
pub(super) const MIGRATIONS: &str = "knex_migrations";

/// The folders that the server creates next to its database (1.23 to 2.5).
const FOLDERS: [&str; 3] = ["upload", "screenshots", "docker-tls"];

/// Options of a new instance.
#[derive(Clone, Debug)]
pub struct NewInstance {
    /// The release of its schema; a newer server upgrades it automatically.
    pub release: Release,
    /// Name and password of its only user. Without one the server asks for them on its setup page.
    pub admin: Option<(String, Secret)>,
    /// The server's time zone, `Europe/Berlin`. Without one the server uses that of the first browser.
    pub timezone: Option<String>,
}

impl NewInstance {
    /// All problems for `engine`, or the recording that creates its tables.
    pub fn check(&self, engine: EngineKind) -> Result<&'static Recording> {
        let mut problems = Vec::new();
        if let Some((name, password)) = &self.admin {
            problems.extend(check_name(name, engine));
            problems.extend(check_password(password));
        }
        if let Some(zone) = &self.timezone {
            problems.extend(check_timezone(zone));
        }
        let recording = schema::recording(engine, self.release);
        if recording.is_none() {
            problems.push(schema::not_recorded(engine, self.release));
        }
        match recording {
            Some(recording) if problems.is_empty() => Ok(recording),
            _ => Err(Error::Input(InputError::Problems(problems))),
        }
    }
}

/// The problem of a user name. The server itself accepts any name, also an empty one.
pub fn check_name(name: &str, engine: EngineKind) -> Option<Problem> {
    let message = if name.trim().is_empty() {
        "is empty"
    } else if name.trim() != name {
        "starts or ends with a space, which is not visible at login"
    } else if name.chars().count() > 255 {
        "is longer than 255 characters"
    } else if engine == EngineKind::MariaDb && name.chars().any(|letter| letter > '\u{ffff}') {
        "has a character that the column `username` cannot store on MariaDB"
    } else {
        return None;
    };
    Some(Problem::new("user name", message))
}

/// The problem of a password: the server (1.23 to 2.5) rejects passwords that are "too weak".
pub fn check_password(password: &Secret) -> Option<Problem> {
    let text = password.reveal();
    let kinds: [fn(&char) -> bool; 4] =
        [char::is_ascii_lowercase, char::is_ascii_uppercase, char::is_ascii_digit, char::is_ascii_punctuation];
    let different = kinds.iter().filter(|kind| text.chars().any(|letter| kind(&letter))).count();
    // The server counts in UTF-16, as JavaScript does.
    let message = match (text.encode_utf16().count(), different) {
        (0, _) => {
            return Some(
                Problem::new("password", "is empty")
                    .hint("enter it, pipe it in, or use --password-file or KUMADB_ADMIN_PASSWORD"),
            );
        }
        (length, _) if length < 6 => format!("has {length} characters, but the server requires 6 or more"),
        (_, different) if different < 2 => {
            "is too weak for the server: it requires two of lower case, upper case, digits and ASCII symbols".to_owned()
        }
        _ => return None,
    };
    Some(Problem::new("password", message))
}

/// The problem of a time zone name.
fn check_timezone(zone: &str) -> Option<Problem> {
    let fits = |part: &str| {
        !part.is_empty() && part.chars().all(|letter| letter.is_ascii_alphanumeric() || "_+-".contains(letter))
    };
    (!zone.split('/').all(fits) || !zone.starts_with(|first: char| first.is_ascii_alphabetic()))
        .then(|| Problem::new("time zone", format!("`{zone}` is not a valid name; examples: Europe/Berlin, UTC")))
}

/// Fails with [`DatabaseError::Occupied`] where a server has used `folder` before.
pub fn check_unused(folder: &Path) -> Result<()> {
    match TRACES.iter().find(|name| files::exists(&folder.join(name))) {
        None => Ok(()),
        Some(found) => Err(Error::Database(DatabaseError::Occupied {
            place: format!("`{}`", folder.display()),
            why: format!("it already contains `{found}`"),
            hint: Hint::advice("use another folder"),
        })),
    }
}

/// Creates the data folder of a new SQLite instance in `folder`, which is created if missing. Completely or not at all:
/// `kuma.db` is renamed into the folder when complete, and without `db-config.json` the server uses an existing
/// `kuma.db`.
///
/// The files get the owner of the folder. `kuma.db` and `db-config.json` have mode 0600 (the server leaves 0644).
///
/// # Errors
/// [`InputError::Problems`] for what [`NewInstance::check`] finds, [`DatabaseError::Occupied`] where a server has been before.
pub fn make_folder(folder: &Path, new: &NewInstance) -> Result<()> {
    let recording = new.check(EngineKind::Sqlite)?;
    check_unused(folder)?;
    let rows = Rows::of(new)?;
    files::make_folder(folder)?;
    // Owners are changed without following links.
    let folder = &files::real(folder);
    let (uid, gid) = files::about_target(folder)?.owner();
    let give = |path: &Path, mode: u32| files::set_owner(path, uid, gid).and_then(|()| files::set_mode(path, mode));

    let workshop = files::temp_folder(".kumadb-init-", Some(folder))?;
    let made = SqliteFile::new(workshop.path().join("kuma.db"));
    write_all(&mut made.create()?, recording, &rows)?;
    give(made.path(), files::PRIVATE)?;
    for path in FOLDERS.map(|name| folder.join(name)).iter().filter(|path| !files::exists(path)) {
        files::make_folder(path)?;
        give(path, 0o755)?;
    }
    files::rename(made.path(), &folder.join("kuma.db"))?;
    if new.release.major >= 2 {
        let config = folder.join("db-config.json");
        files::replace(&config, files::PRIVATE, |file| file.write_all(b"{\n    \"type\": \"sqlite\"\n}"))?;
        give(&config, files::PRIVATE)?;
    }
    Ok(())
}

/// Creates a new instance in the MariaDB database at `database`.
///
/// MariaDB commits each CREATE immediately; after an error the tables created so far are dropped.
///
/// # Errors
/// [`InputError::Problems`] for what [`NewInstance::check`] finds, [`DatabaseError::NotEmpty`] when there is any table,
/// [`DatabaseError::Charset`] unless the database's default character set is utf8mb4.
pub fn fill_database(database: &dyn Connect, new: &NewInstance) -> Result<()> {
    let recording = new.check(EngineKind::MariaDb)?;
    // An empty database has nothing to restore.
    let mut writer = database.writer(&WriteKey::new())?;
    check_empty(&mut *writer)?;
    let rows = Rows::of(new)?;
    write_all(&mut *writer, recording, &rows).inspect_err(|_| {
        // The first error is reported; a failure here appears in the next run as `NotEmpty`.
        let _ = writer.rollback();
        for table in tables(recording).into_iter().rev() {
            let _ = writer.execute(&format!("DROP TABLE IF EXISTS {table}"), &[]);
        }
    })
}

/// Creates the tables of `recording` and their initial rows in the empty database of `writer`.
pub fn write_schema(writer: &mut dyn Writer, recording: &Recording) -> Result<()> {
    write_all(writer, recording, &Rows::default())
}

/// Fails unless [`fill_database`] could fill the MariaDB database that `database` leads to; only reads.
///
/// # Errors
/// [`DatabaseError::NotEmpty`], [`DatabaseError::Charset`].
pub fn check_fillable(database: &dyn Connect) -> Result<()> {
    check_empty(&mut *database.reader()?)
}

fn check_empty<R: Reader + ?Sized>(reader: &mut R) -> Result<()> {
    let sql =
        "SELECT DATABASE() AS name, count(*) AS taken FROM information_schema.tables WHERE table_schema = DATABASE()";
    let found = reader.query(sql, &[])?;
    let name = found.first().and_then(|row| row.text("name")).unwrap_or_default();
    match found.first().and_then(|row| row.int("taken")) {
        Some(0) | None => check_charset(reader),
        Some(1) => Err(not_empty(name, "it already contains a table".into())),
        Some(taken) => Err(not_empty(name, format!("it already contains {taken} tables"))),
    }
}

/// Fails unless the default character set of the database of `reader` is utf8mb4.
pub(super) fn check_charset<R: Reader + ?Sized>(reader: &mut R) -> Result<()> {
    let sql = "SELECT schema_name AS name, default_character_set_name AS charset FROM information_schema.schemata \
               WHERE schema_name = DATABASE()";
    let found = reader.query(sql, &[])?;
    let Some(row) = found.first() else {
        return Err(Error::Input(InputError::NoDatabaseName));
    };
    match row.text("charset") {
        Some("utf8mb4") => Ok(()),
        other => Err(Error::Database(DatabaseError::Charset {
            database: row.text("name").unwrap_or_default().to_owned(),
            charset: other.unwrap_or_default().to_owned(),
        })),
    }
}

fn not_empty(name: &str, what: String) -> Error {
    Error::Database(DatabaseError::NotEmpty { database: format!("database `{name}`"), what })
}

/// The tables that `recording` creates, in order and quoted.
fn tables(recording: &Recording) -> Vec<&'static str> {
    schema::script(recording.sql)
        .filter_map(|sql| sql.strip_prefix("CREATE TABLE ")?.split_once(" ("))
        .map(|(name, _)| name)
        .collect()
}

fn write_all(writer: &mut dyn Writer, recording: &Recording, rows: &Rows) -> Result<()> {
    let mut definitions = Vec::new();
    let mut seeds = Vec::new();
    for statement in schema::script(recording.sql) {
        if statement.starts_with("PRAGMA") {
            writer.query(statement, &[])?;
        } else if statement.starts_with("CREATE") {
            definitions.push(statement);
        } else {
            seeds.push(statement);
        }
    }
    // SQLite rolls a CREATE back with its transaction; on MariaDB it would end the transaction.
    let inside = writer.kind() == EngineKind::Sqlite;
    if inside {
        writer.begin()?;
    }
    for statement in definitions {
        writer.execute(statement, &[])?;
    }
    if !inside {
        writer.begin()?;
    }
    for statement in seeds {
        writer.execute(statement, &[])?;
    }
    rows.write(writer)?;
    writer.commit()
}

/// A new `jwtSecret`. The server signs sessions with the hash of a random text, and stores only the hash.
pub fn session_secret() -> Result<String> {
    hash(&Secret::new(random_text(64)?))
}

/// The individual rows of a new instance.
#[derive(Default)]
struct Rows {
    user: Option<[Value; 2]>,
    settings: Vec<[Value; 3]>,
}

impl Rows {
    fn of(new: &NewInstance) -> Result<Rows> {
        let secret = session_secret()?;
        let mut settings = vec![["jwtSecret".into(), secret.into(), Value::Null]];
        if let Some(zone) = &new.timezone {
            settings.push(["initServerTimezone".into(), "true".into(), Value::Null]);
            settings.push(["serverTimezone".into(), format!("\"{zone}\"").into(), "general".into()]);
        }
        let user = match &new.admin {
            Some((name, password)) => Some([name.as_str().into(), hash(password)?.into()]),
            None => None,
        };
        Ok(Rows { user, settings })
    }

    fn write(&self, writer: &mut dyn Writer) -> Result<()> {
        // Every other column of the first user has its default: active, no time zone, no two-factor authentication.
        if let Some(user) = &self.user {
            writer.insert("user", &["username", "password"], &mut std::iter::once(user.to_vec()))?;
        }
        if !self.settings.is_empty() {
            let mut rows = self.settings.iter().map(|row| row.to_vec());
            writer.insert("setting", &["key", "value", "type"], &mut rows)?;
        }
        Ok(())
    }
}

/// The bcrypt hash of `text` as the server writes it: `$2a$10$…`. As on the server, only the first 72 bytes count.
pub fn hash(text: &Secret) -> Result<String> {
    bcrypt::hash_with_result(text.reveal(), BCRYPT_COST)
        .map(|parts| parts.format_for_version(bcrypt::Version::TwoA))
        .map_err(|error| Error::Database(DatabaseError::PasswordHash { why: error.to_string() }))
}

/// Whether `hash` is the hash of `text`.
pub fn fits(text: &Secret, hash: &str) -> bool {
    bcrypt::verify(text.reveal(), hash).unwrap_or(false)
}

/// `length` random letters and digits, as in a token of the server's page (2.5.3).
pub fn random_text(length: usize) -> Result<String> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    // Bytes beyond the last multiple of 62 would make some letters more likely than others.
    const FAIR: usize = 256 / LETTERS.len() * LETTERS.len();
    let mut text = String::with_capacity(length);
    while text.len() < length {
        let mut bytes = [0; 96];
        getrandom::fill(&mut bytes).map_err(|error| Error::File(FileError::Random { why: error.to_string() }))?;
        let fair = bytes.iter().map(|byte| usize::from(*byte)).filter(|byte| *byte < FAIR);
        let desired = length - text.len();
        text.extend(fair.map(|byte| char::from(LETTERS[byte % LETTERS.len()])).take(desired));
    }
    Ok(text)
}
