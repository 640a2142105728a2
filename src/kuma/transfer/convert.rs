//! The unchanged copy of a database into one on the other engine, of the same release: what differs are the settings that only
//! one engine has, and how the time of a migration is stored.

use std::collections::{BTreeMap, BTreeSet};

use super::{Put, Refused, RefusedCell, Resolution, Transform};
use crate::engine::fit::{Loss, Misfit};
use crate::engine::{EngineKind, Reader};
use crate::error::Result;
use crate::schema::Recording;
use crate::value::{Value, server_text, stored_time};

/// What to do with a value that the other engine cannot store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OnConflict {
    /// Cut texts that are read by people, and leave out what the server creates again: responses in the history, and cached
    /// values.
    pub cut: bool,
    /// Give another name to a user, setting or page whose name is taken, or has characters that the column cannot store.
    pub rename: bool,
}

/// Texts that still have a meaning when their end is missing.
const CUTTABLE: &[(&str, &str)] = &[
    ("group", "name"),
    ("heartbeat", "msg"),
    ("incident", "content"),
    ("incident", "title"),
    ("maintenance", "description"),
    ("maintenance", "title"),
    ("monitor", "description"),
    ("monitor", "dns_last_result"),
    ("monitor", "name"),
    ("notification", "name"),
    ("status_page", "description"),
    ("status_page", "footer_text"),
    ("status_page", "title"),
    ("tag", "name"),
];

/// Columns that become empty: a part of a compressed response cannot be read.
const EMPTIED: &[(&str, &str)] = &[("heartbeat", "response")];

/// Tables whose rows the server creates again when they are missing.
const CACHES: &[&str] = &["domain_expiry", "monitor_tls_info", "notification_sent_history"];

/// Names that may be changed.
const NAMES: &[(&str, &str)] =
    &[("setting", "key"), ("status_page", "slug"), ("status_page_cname", "domain"), ("user", "username")];

/// References that SQLite requires and MariaDB does not: they get this.
const REQUIRED: &[(&str, &str)] = &[("notification", "user_id")];

/// A conversion.
pub struct Convert {
    from: EngineKind,
    to: EngineKind,
    on_conflict: OnConflict,
    /// Settings that the source must not pass on.
    without: BTreeSet<&'static str>,
    /// Settings that the target needs and the source does not have.
    added: BTreeMap<&'static str, &'static str>,
    first_user: Option<i64>,
    /// The highest id of a setting.
    last_setting: i64,
    /// New names so far, which make the next one of the same name differ.
    renamed: i64,
}

impl Convert {
    /// The conversion of the database of `source` for the target of `recording`.
    pub fn of(source: &mut dyn Reader, recording: &'static Recording, on_conflict: OnConflict) -> Result<Convert> {
        let (from, to) = (source.kind(), recording.engine);
        let there = source.query("SELECT `id`, `key`, `value` FROM `setting`", &[])?;
        let last_setting = there.iter().filter_map(|row| row.int("id")).max().unwrap_or(0);
        let has = |key: &str| {
            let mut values = there.iter().filter(|row| row.text("key") == Some(key)).map(|row| row.cell("value"));
            values.any(|value| !value.is_nothing())
        };
        let added: BTreeMap<_, _> = recording.settings().filter(|(key, _)| !has(key)).collect();
        let own = ["database_version", "databasePatchedFiles"];
        let mut without: BTreeSet<_> = if to == EngineKind::MariaDb { own.into() } else { BTreeSet::new() };
        without.extend(added.keys());
        let users = source.query("SELECT min(`id`) AS first FROM `user`", &[])?;
        let first_user = users.first().and_then(|row| row.int("first"));
        Ok(Convert { from, to, on_conflict, without, added, first_user, last_setting, renamed: 0 })
    }

    /// New settings get ids after `id`.
    pub(in crate::kuma) fn number_settings_after(&mut self, id: i64) {
        self.last_setting = self.last_setting.max(id);
    }

    fn rename(&mut self, cell: &RefusedCell<'_>, misfit: &Misfit) -> Option<String> {
        let text = cell.value.text()?;
        let narrow: String = text.chars().map(|letter| if letter > '\u{ffff}' { '_' } else { letter }).collect();
        let longest = cell.fit.longest().map_or(usize::MAX, |(longest, _)| longest);
        let suffix = match misfit {
            Misfit::Duplicate => {
                self.renamed += 1;
                format!("-{}", self.renamed + 1)
            }
            Misfit::WideCharacter | Misfit::TooLong { .. } => String::new(),
            _ => return None,
        };
        let length = longest.saturating_sub(suffix.len());
        let base = match misfit {
            // The suffix of an attempt before.
            Misfit::Duplicate => narrow.strip_suffix(&format!("-{}", self.renamed)).unwrap_or(&narrow).to_owned(),
            _ => narrow,
        };
        Some(base.chars().take(length).collect::<String>() + &suffix)
    }
}

impl Transform for Convert {
    fn copies(&self, table: &str) -> bool {
        !matches!(table, "setting" | "knex_migrations")
    }

    fn row(&mut self, table: &str, _feed: usize, mut row: Vec<Value>, put: Put<'_>) -> Result<()> {
        // The first columns of both are id, key, value; and id, name, batch, migration_time.
        match table {
            "setting" if row.get(1).and_then(Value::text).is_some_and(|key| self.without.contains(key)) => {
                return Ok(());
            }
            "knex_migrations" if self.from != self.to => {
                if let Some(time) = row.get_mut(3) {
                    *time = migration_time(time, self.to);
                }
            }
            _ => {}
        }
        put(row)
    }

    fn end(&mut self, table: &str, put: Put<'_>) -> Result<()> {
        if table != "setting" {
            return Ok(());
        }
        for (key, value) in &self.added {
            self.last_setting += 1;
            // As the server writes them: without a type.
            put(vec![Value::Int(self.last_setting), (*key).into(), (*value).into(), Value::Null])?;
        }
        Ok(())
    }

    fn resolve(&mut self, cell: &RefusedCell<'_>, misfit: &Misfit) -> Resolution {
        let refused = Resolution::Refuse;
        let replaced =
            |value: Option<Value>, loss| value.map_or(refused.clone(), |value| Resolution::Replace(value, loss));
        match way(cell.table, cell.column, misfit) {
            Some(Remedy::Fill) => replaced(self.first_user.map(Value::Int), Loss::Null),
            Some(Remedy::Rename) if self.on_conflict.rename => {
                replaced(self.rename(cell, misfit).map(Value::Text), Loss::Name)
            }
            Some(Remedy::Cut) if self.on_conflict.cut => replaced(cut(cell).map(Value::Text), Loss::End),
            Some(Remedy::Empty) if self.on_conflict.cut => Resolution::Replace(Value::Null, Loss::Value),
            Some(Remedy::LeaveOut) if self.on_conflict.cut => Resolution::LeaveOut,
            _ => refused,
        }
    }
}

/// How a value that the target cannot store could be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Remedy {
    Fill,
    Rename,
    Cut,
    Empty,
    LeaveOut,
}

fn way(table: &str, column: &str, misfit: &Misfit) -> Option<Remedy> {
    let at = (table, column);
    match misfit {
        Misfit::Null if REQUIRED.contains(&at) => Some(Remedy::Fill),
        // A domain of no page.
        Misfit::Null if at == ("status_page_cname", "status_page_id") => Some(Remedy::LeaveOut),
        Misfit::Duplicate | Misfit::WideCharacter | Misfit::TooLong { .. } if NAMES.contains(&at) => {
            Some(Remedy::Rename)
        }
        Misfit::TooLong { .. } if CUTTABLE.contains(&at) => Some(Remedy::Cut),
        Misfit::TooLong { .. } if EMPTIED.contains(&at) => Some(Remedy::Empty),
        // Neither the server nor kumadb can show a heartbeat without a time.
        Misfit::NotDate if at == ("heartbeat", "time") => Some(Remedy::LeaveOut),
        _ if CACHES.contains(&table) => Some(Remedy::LeaveOut),
        _ => None,
    }
}

/// The word for `--on-conflict` that resolves a refused value, if there is one.
pub fn choice_for(refused: &Refused) -> Option<&'static str> {
    Some(match way(&refused.table, &refused.column, &refused.misfit)? {
        Remedy::Rename => "rename",
        Remedy::Cut | Remedy::Empty | Remedy::LeaveOut => "cut",
        Remedy::Fill => return None,
    })
}

/// The beginning of the text of `cell` that the column can store.
fn cut(cell: &RefusedCell<'_>) -> Option<String> {
    let (text, (longest, in_bytes)) = (cell.value.text()?, cell.fit.longest()?);
    Some(if in_bytes {
        text[..(0..=longest).rev().find(|end| text.is_char_boundary(*end))?].to_owned()
    } else {
        text.chars().take(longest).collect()
    })
}

/// When a migration ran: milliseconds since 1970 on SQLite, a TIMESTAMP on MariaDB.
fn migration_time(time: &Value, to: EngineKind) -> Value {
    let found = match time {
        Value::Int(milliseconds) => chrono::DateTime::from_timestamp_millis(*milliseconds),
        Value::Text(text) => stored_time(text).map(|time| time.and_utc()),
        _ => None,
    };
    match (found, to) {
        (Some(at), EngineKind::MariaDb) => server_text(&at).into(),
        (Some(at), EngineKind::Sqlite) => Value::Int(at.timestamp_millis()),
        (None, _) => time.clone(),
    }
}
