//! Undo snapshots: how many are kept, and which one rolls the newest write back.
//!
//! Pure: the clock is an argument.

use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::Manifest;
use super::retention::Span;

/// How long a full undo snapshot is the base of configuration-only ones.
const BASE_AGE: TimeDelta = TimeDelta::hours(24);

/// Limits of undo snapshots of one instance in one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// Number of the newest that are always kept.
    pub keep_last: u64,
    /// Maximum number.
    pub max_count: u64,
    /// Maximum age, in hours.
    pub max_age: u64,
    /// Maximum total size, in bytes.
    pub max_size: u64,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { keep_last: 3, max_count: 50, max_age: 30 * 24, max_size: 1 << 30 }
    }
}

/// The properties of an undo snapshot that the limits use.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// When it was created.
    pub created: DateTime<Utc>,
    /// Size of its archive, in bytes.
    pub size: u64,
    /// Whether it contains the full database.
    pub whole: bool,
}

impl Bounds {
    /// Why each of `all`, newest first, is kept; one without a reason is deleted.
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
                return Some("newest full one".into());
            }
            let bounded = (nth as u64) < self.max_count && one.created >= oldest && size <= self.max_size;
            bounded.then(|| "within the limits of `[undo]`".into())
        };
        all.iter().enumerate().map(judge).collect()
    }
}

/// An instance: its name and location. Two hosts may have data in folders of the same path.
pub type Of<'o> = (&'o str, &'o str);

/// The instance that a snapshot is of.
pub fn of(manifest: &Manifest) -> Of<'_> {
    (&manifest.instance, &manifest.origin)
}

/// Whether a configuration-only undo snapshot of `instance` may rely on this one for the rest.
pub fn is_base(manifest: &Manifest, instance: Of<'_>, now: DateTime<Utc>) -> bool {
    of(manifest) == instance && manifest.is_whole() && manifest.created >= now - BASE_AGE && manifest.created <= now
}

/// The one of `all`, oldest first, to restore for the next `kumadb undo`. One that `undo` made
/// leads to the state before the write that it rolled back, so repeated undos go back step by step. Writes that changed no row are skipped.
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

/// Parses a size: `500MB`, `1GiB`, `1048576`.
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

/// Parses an age in the form of policies, `30d`, `2m`, `12h`; in hours.
///
/// # Errors
/// In words.
pub fn parse_age(text: &str) -> Result<u64, String> {
    let span = Span::from_str(text)?;
    let now = DateTime::<Utc>::UNIX_EPOCH + TimeDelta::days(365_000);
    Ok((now - span.before(now, &Utc)).num_hours().unsigned_abs())
}
