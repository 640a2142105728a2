//! Undo snapshots: how many are kept, and which one rolls the newest write back.
//!
//! Pure: the clock is an argument.

use std::collections::BTreeMap;
use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::Manifest;
use super::retention::CalendarSpan;

/// How long a full undo snapshot is the base of configuration-only ones.
const BASE_AGE: TimeDelta = TimeDelta::hours(24);

/// Limits of undo snapshots of one instance in one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// Number of the newest that are always kept.
    pub keep_last: u64,
    /// Maximum number of changes that can be undone, and of snapshots that undos have used.
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

impl Bounds {
    /// Why each of `all`, the undo snapshots of one instance with the sizes of their archives, oldest first, is kept; one
    /// without a reason is removed. The number counts changes that can still be undone: what undos have used has a number
    /// of its own and is removed first, the undo before it last.
    pub fn judge(&self, all: &[(&Manifest, u64)], now: DateTime<Utc>) -> Vec<Option<String>> {
        let oldest = self.oldest(now);
        let manifests: Vec<&Manifest> = all.iter().map(|(manifest, _)| *manifest).collect();
        let chain = UndoHistory::of(&manifests);
        let base = manifests.iter().rposition(|one| one.is_whole() && one.created >= now - BASE_AGE);
        let mut reasons: Vec<Option<String>> = vec![None; all.len()];
        let mut size: u64 = 0;
        for (nth, at) in chain.steps.iter().copied().rev().enumerate() {
            size = size.saturating_add(all[at].1);
            let bounded = (nth as u64) < self.max_count && manifests[at].created >= oldest && size <= self.max_size;
            reasons[at] = match bounded {
                _ if (nth as u64) < self.keep_last => Some(format!("one of the newest {}", self.keep_last)),
                _ if base == Some(at) => Some(NEWEST_FULL.into()),
                true => Some(WITHIN.into()),
                false => None,
            };
        }
        let (mut count, mut fits, mut redo) = (0, true, true);
        for (undo, members) in chain.groups().iter().rev() {
            count += members.len() as u64;
            size = members.iter().fold(size, |size, at| size.saturating_add(all[*at].1));
            fits = fits && count <= self.max_count && size <= self.max_size && manifests[*undo].created >= oldest;
            for at in members {
                reasons[*at] = if base == Some(*at) { Some(NEWEST_FULL.into()) } else { fits.then(|| WITHIN.into()) };
            }
            // Without the undo, what it has used would count as a change that can be undone.
            if members.iter().any(|at| reasons[*at].is_some()) {
                reasons[*undo].get_or_insert_with(|| WITHIN.into());
            }
            if redo && manifests[*undo].undoes.is_some() {
                reasons[*undo] = Some("redo of the newest undo".into());
                redo = false;
            }
        }
        reasons
    }

    /// Whether an undo snapshot of an instance that has another name now is removed: `nth` newest of those with its name.
    pub fn outlives(&self, nth: u64, created: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        nth < self.keep_last || created >= self.oldest(now)
    }

    fn oldest(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        TimeDelta::try_hours(i64::try_from(self.max_age).unwrap_or(i64::MAX))
            .and_then(|age| now.checked_sub_signed(age))
            .unwrap_or(DateTime::<Utc>::MIN_UTC)
    }
}

const NEWEST_FULL: &str = "newest full one";
const WITHIN: &str = "within the limits of `[undo]`";

/// The undo snapshots of one instance as a history of changes: which of them can still be undone, and which an undo has used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UndoHistory {
    /// Positions of the undo snapshots that undo after undo would restore, oldest first.
    pub steps: Vec<usize>,
    /// For each of the others, the position of the undo that used it; its own for an undo and for a write that changed no row.
    used: Vec<Option<usize>>,
}

impl UndoHistory {
    /// That of `all`, oldest first. The snapshot that an undo makes leads to before the change that it undid, also where the
    /// snapshot of that change was removed.
    pub fn of(all: &[&Manifest]) -> UndoHistory {
        let mut steps: Vec<usize> = Vec::new();
        let mut before: Vec<Vec<usize>> = Vec::new();
        let mut used = vec![None; all.len()];
        let find = |id: &String, end: usize| all[..end].iter().position(|other| other.id == *id);
        for (at, one) in all.iter().enumerate() {
            before.push(steps.clone());
            let Some(undone) = &one.undoes else {
                match one.changed {
                    Some(super::Changed::Nothing) => used[at] = Some(at),
                    _ => steps.push(at),
                }
                continue;
            };
            used[at] = Some(at);
            let (mut then, redoes) = match (find(undone, at), one.undoes_taken) {
                // Where it redoes a change whose own snapshot was removed, the redo itself is what can be undone.
                (Some(target), _) => {
                    let removed = all[target].undoes.as_ref().is_some_and(|id| find(id, target).is_none());
                    (before[target].clone(), removed)
                }
                (None, Some(taken)) => {
                    let then = steps.iter().copied().filter(|step| all[*step].created < taken).collect();
                    (then, one.redoes.as_ref().is_some_and(|id| find(id, at).is_none()))
                }
                (None, None) => (Vec::new(), false),
            };
            steps.iter().filter(|step| !then.contains(step)).for_each(|step| used[*step] = Some(at));
            then.extend(redoes.then_some(at));
            steps = then;
        }
        steps.iter().for_each(|step| used[*step] = None);
        UndoHistory { steps, used }
    }

    /// What undos have used, by the position of the undo, which is the last of its group.
    fn groups(&self) -> BTreeMap<usize, Vec<usize>> {
        let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (at, undo) in self.used.iter().enumerate() {
            if let Some(undo) = undo {
                groups.entry(*undo).or_default().push(at);
            }
        }
        groups
    }

    /// All positions in the order in which they are removed where disk space is short, but `kept` and the newest one.
    pub fn removal_order(&self, kept: Option<usize>) -> Vec<usize> {
        let mut order: Vec<usize> = self.groups().into_values().flatten().collect();
        order.extend(&self.steps);
        let undo = kept.and_then(|at| self.used[at]);
        order.retain(|at| Some(*at) != kept && Some(*at) != undo && at + 1 < self.used.len());
        order
    }
}

/// An instance: its name and location. Two hosts may have data in folders of the same path.
pub type Of<'o> = (&'o str, &'o str);

/// The instance that a snapshot was taken of.
pub fn of(manifest: &Manifest) -> Of<'_> {
    (&manifest.instance, &manifest.origin)
}

/// Whether a configuration-only undo snapshot of `instance` may rely on this one for the rest.
pub fn is_base(manifest: &Manifest, instance: Of<'_>, now: DateTime<Utc>) -> bool {
    of(manifest) == instance && manifest.is_whole() && manifest.created >= now - BASE_AGE && manifest.created <= now
}

/// The position of the one of `all`, oldest first, to restore for the next `kumadb undo`. Repeated undos go back step by step. Writes that
/// changed no row are skipped.
pub fn next(all: &[&Manifest]) -> Option<usize> {
    UndoHistory::of(all).steps.last().copied()
}

/// Parses a size: `500MB`, `1GiB`, `1048576`.
///
/// # Errors
/// In words.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not a valid size: write 500MB or 1GiB");
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
    let span = CalendarSpan::from_str(text)?;
    let now = DateTime::<Utc>::UNIX_EPOCH + TimeDelta::days(365_000);
    Ok((now - span.before(now, &Utc)).num_hours().unsigned_abs())
}
