//! Undo snapshots: how many of them are kept, and which one undoes the newest write.
//!
//! Pure: the clock is an argument.

use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::Manifest;
use super::retention::Span;

/// A whole undo snapshot is the base of those of the configuration alone for so long.
const BASE_AGE: TimeDelta = TimeDelta::hours(24);

/// How many undo snapshots are kept of one instance in one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// So many of the newest are kept, whatever the other bounds say.
    pub keep_last: u64,
    /// No more than this.
    pub max_count: u64,
    /// None that is older; in hours.
    pub max_age: u64,
    /// All together no more than this, in bytes.
    pub max_size: u64,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { keep_last: 3, max_count: 50, max_age: 30 * 24, max_size: 1 << 30 }
    }
}

/// An undo snapshot, as far as the bounds ask.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// When it was taken.
    pub created: DateTime<Utc>,
    /// Size of its archive, in bytes.
    pub size: u64,
    /// All of the database is in it.
    pub whole: bool,
}

impl Bounds {
    /// Why each of `all`, newest first, is kept; the one for which no reason is given is removed.
    pub fn judge(&self, all: &[Entry], now: DateTime<Utc>) -> Vec<Option<String>> {
        let oldest = TimeDelta::try_hours(i64::try_from(self.max_age).unwrap_or(i64::MAX))
            .and_then(|age| now.checked_sub_signed(age))
            .unwrap_or(DateTime::<Utc>::MIN_UTC);
        let base = all.iter().position(|one| one.whole && one.created >= now - BASE_AGE);
        let mut size: u64 = 0;
        let judge = |(nth, one): (usize, &Entry)| {
            size = size.saturating_add(one.size);
            if (nth as u64) < self.keep_last {
                return Some(format!("one of the newest {}", self.keep_last));
            }
            if base == Some(nth) {
                return Some("newest whole one".into());
            }
            let bounded = (nth as u64) < self.max_count && one.created >= oldest && size <= self.max_size;
            bounded.then(|| "within the bounds of `[undo]`".into())
        };
        all.iter().enumerate().map(judge).collect()
    }
}

/// An instance: its name, and where it is. Two hosts may have data in folders of the same path.
pub type Of<'o> = (&'o str, &'o str);

/// The instance that a snapshot is of.
pub fn of(manifest: &Manifest) -> Of<'_> {
    (&manifest.instance, &manifest.origin)
}

/// Whether an undo snapshot of the configuration of `instance` alone may rely on this one for the rest.
pub fn is_base(manifest: &Manifest, instance: Of<'_>, now: DateTime<Utc>) -> bool {
    of(manifest) == instance && manifest.is_whole() && manifest.created >= now - BASE_AGE && manifest.created <= now
}

/// The one of `all`, oldest first, that undoes the newest write that is not undone yet. One that `undo` made leads to
/// before the write that it undid, so that undo after undo goes back step by step. Writes that changed no row are passed over.
pub fn next<'m>(all: &[&'m Manifest]) -> Option<&'m Manifest> {
    let mut at = all.len();
    while at > 0 {
        let one = all[at - 1];
        at = match &one.undoes {
            Some(undone) => all[..at - 1].iter().position(|other| other.id == *undone)?,
            None if one.changed == Some(super::Changed::Nothing) => at - 1,
            None => return Some(one),
        };
    }
    None
}

/// Reads a number of bytes: `500MB`, `1GiB`, `1048576`.
///
/// # Errors
/// In words.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not a size such as 500MB or 1GiB");
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let n: u64 = digits.trim().parse().map_err(|_| wrong())?;
    let unit: u64 = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        _ => return Err(wrong()),
    };
    n.checked_mul(unit).ok_or_else(wrong)
}

/// Reads an age as policies write it, `30d`, `2m`, `12h`; in hours.
///
/// # Errors
/// In words.
pub fn parse_age(text: &str) -> Result<u64, String> {
    let span = Span::from_str(text)?;
    let now = DateTime::<Utc>::UNIX_EPOCH + TimeDelta::days(365_000);
    Ok((now - span.before(now, &Utc)).num_hours().unsigned_abs())
}
