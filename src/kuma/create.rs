//! Fills a MariaDB database from a dump: checks first that it is empty, and removes the tables of an interrupted
//! attempt.

use std::path::Path;

use super::init::{MIGRATIONS, check_charset, write_schema};
use super::read::{read_fingerprint, read_last_beat};
use crate::engine::mariadb::{Address, PendingCreate, UNFINISHED};
use crate::engine::{Connect as _, Reader, WriteKey, quote};
use crate::error::Result;
use crate::schema::Recording;
use crate::text::counted;

/// The content of a database before it is filled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExistingTables {
    /// Empty.
    Nothing,
    /// Tables of an interrupted attempt.
    Unfinished(Vec<String>),
    /// Tables of a server; a message.
    Server(String),
    /// Other tables; a message.
    Other(String),
}

/// Checks the content of `database`; an earlier attempt has created only tables in `known`.
///
/// # Errors
/// [`DatabaseError::Charset`](crate::error::DatabaseError::Charset) unless its default character set is utf8mb4.
pub fn read_content(database: &Address, known: &dyn Fn(&str) -> bool) -> Result<ExistingTables> {
    let mut reader = database.reader()?;
    check_charset(&mut *reader)?;
    let sql = "SELECT TABLE_NAME AS name FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() ORDER BY 1";
    let rows = reader.query(sql, &[])?;
    let mut tables: Vec<String> = rows.iter().filter_map(|row| row.text("name").map(str::to_owned)).collect();
    let all = counted(tables.len(), "table");
    let has = |tables: &[String], name: &str| tables.iter().any(|table| table == name);
    if !has(&tables, UNFINISHED) {
        return Ok(match tables.first() {
            None => ExistingTables::Nothing,
            Some(_) if has(&tables, "monitor") && has(&tables, "setting") => {
                ExistingTables::Server(format!("it already contains {all} of Uptime Kuma"))
            }
            Some(first) => ExistingTables::Other(format!("it already contains {all}, for example `{first}`")),
        });
    }
    tables.retain(|table| table != UNFINISHED);
    if let Some(other) = tables.iter().find(|table| !known(table)) {
        return Ok(ExistingTables::Other(format!("it contains an interrupted restore and another table, `{other}`")));
    }
    // All tables exist while the dump is being created, and then there are no users yet; and after a transfer that was
    // interrupted at its end.
    let is_used = has(&tables, MIGRATIONS) && has(&tables, "user") && count(&mut *reader, "user")? > 0;
    if is_used && !is_as_loaded(&mut *reader)? {
        return Ok(ExistingTables::Server("it contains an interrupted restore, and a server has used it since".into()));
    }
    Ok(ExistingTables::Unfinished(tables))
}

/// Whether the database is as a transfer has left it: its mark has the configuration and the newest heartbeat.
fn is_as_loaded(reader: &mut dyn Reader) -> Result<bool> {
    let schema = reader.schema()?;
    if !schema.has(UNFINISHED, "fingerprint") {
        return Ok(false);
    }
    let rows = reader.query(&format!("SELECT `fingerprint`, `last_beat` FROM {}", quote(UNFINISHED)), &[])?;
    // Without a row, it was interrupted while it was loading.
    let Some(mark) = rows.first() else { return Ok(true) };
    let mut loaded = schema;
    loaded.tables.remove(UNFINISHED);
    Ok(mark.text("fingerprint") == Some(&read_fingerprint(reader, &loaded)?.0)
        && mark.int("last_beat") == Some(read_last_beat(reader)?))
}

fn count(reader: &mut dyn Reader, table: &str) -> Result<i64> {
    let rows = reader.query(&format!("SELECT count(*) AS n FROM {}", quote(table)), &[])?;
    Ok(rows.first().and_then(|row| row.int("n")).unwrap_or(0))
}

/// Removes the tables of an earlier attempt, as found by [`read_content`].
pub fn clear(database: &Address, tables: &[String]) -> Result<()> {
    database.drop_tables(&WriteKey::new(), tables)
}

/// Fills the empty `database` with the dump at `from`; it becomes one of the server by [`PendingCreate::finish`].
pub fn stage(database: &Address, from: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<PendingCreate> {
    database.stage(&WriteKey::new(), from, MIGRATIONS, progress)
}

/// Creates the tables of `recording` in the empty `database` temporarily, marked as unfinished, and runs `work`.
pub fn with_tables<T>(database: &Address, recording: &Recording, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let mut writer = database.writer(&WriteKey::new())?;
    writer.execute(&format!("CREATE TABLE {} (`id` int)", quote(UNFINISHED)), &[])?;
    let done = write_schema(&mut *writer, recording).and_then(|()| work());
    drop(writer);
    let tables: Vec<String> = recording.schema().tables.keys().cloned().collect();
    let cleared = clear(database, &tables);
    let done = done?;
    cleared.map(|()| done)
}

/// Creates the empty database `name` on the MariaDB at `server`, as the server creates its own.
pub fn make_database(server: &Address, name: &str) -> Result<()> {
    let sql = format!("CREATE DATABASE {} CHARACTER SET utf8mb4", quote(name));
    server.writer(&WriteKey::new())?.execute(&sql, &[]).map(drop)
}

/// Empties `database`, which kumadb filled with `tables`.
pub fn empty(database: &Address, tables: impl IntoIterator<Item = String>) -> Result<()> {
    clear(database, &tables.into_iter().collect::<Vec<_>>())
}
