//! Helpers for messages: sizes, counts, the most similar name, and a position in a file.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;

/// `n` bytes as people read them: `61 KB`, `1.5 GB`.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KB", "MB", "GB", "TB"];
    let mut size = n as f64;
    let mut unit = 0;
    while size >= 1000.0 && unit + 1 < UNITS.len() {
        size /= 1000.0;
        unit += 1;
    }
    if unit == 0 || size >= 10.0 { format!("{size:.0} {}", UNITS[unit]) } else { format!("{size:.1} {}", UNITS[unit]) }
}

/// `1 row`, `2 rows`, `2 indexes`.
pub fn counted(n: usize, what: &str) -> String {
    let consonant = |stem: &str| !stem.ends_with(['a', 'e', 'i', 'o', 'u']);
    match what.strip_suffix('y').filter(|stem| consonant(stem)) {
        _ if n == 1 => format!("1 {what}"),
        Some(stem) => format!("{n} {stem}ies"),
        None if what.ends_with('x') => format!("{n} {what}es"),
        None => format!("{n} {what}s"),
    }
}

/// An age: `42 s`, `4 h`, `9 d`.
pub fn age_words(age: TimeDelta) -> String {
    match age.num_seconds().max(0) {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

/// Parses `90`, `90s`, `2m`, `1h`, `30d`; at most a hundred years, so that every date that follows has four digits.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let n: u64 = digits.parse().map_err(|_| format!("`{text}` is not a valid duration; examples: 30s, 2m"))?;
    let unit = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        other => return Err(format!("unknown unit `{other}`; use s, m, h or d")),
    };
    let seconds = n.checked_mul(unit).filter(|seconds| *seconds <= 36_500 * 86_400);
    seconds.map(Duration::from_secs).ok_or_else(|| format!("`{text}` is too long; at most 36500d"))
}

/// A duration with up to two units: `42 s`, `3 h 5 min`, `2 d`.
pub fn duration_words(span: TimeDelta) -> String {
    let seconds = span.num_seconds().max(0);
    let units = [(86_400, "d"), (3600, "h"), (60, "min"), (1, "s")];
    let at = units.iter().position(|(unit, _)| seconds >= *unit).unwrap_or(3);
    let (unit, name) = units[at];
    let rest = units.get(at + 1).map(|(next, name)| (seconds % unit / next, name)).filter(|(n, _)| *n > 0);
    match rest {
        Some((n, next)) => format!("{} {name} {n} {next}", seconds / unit),
        None => format!("{} {name}", seconds / unit),
    }
}

/// `text` as one word of a shell.
pub fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-:=@,+%…".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

/// How alike two names must be, from 0 to 1, to be taken for one with a typing error.
const ALIKE: f64 = 0.8;

/// The one of `known` that is most like `name`, if one is like it. Case, `-` and `_` do not count.
pub fn nearest<T: AsRef<str>>(name: &str, known: impl IntoIterator<Item = T>) -> Option<T> {
    let flat = |text: &str| text.to_lowercase().replace(['-', '_', ' '], "");
    let desired = flat(name);
    known
        .into_iter()
        .map(|known| (flat(known.as_ref()), known))
        .map(|(flat, known)| {
            let likeness = strsim::jaro_winkler(&desired, &flat);
            // One or two steps cannot make up for more letters.
            let is_near = likeness > ALIKE || flat.chars().count().abs_diff(desired.chars().count()) <= 2;
            let steps = if is_near { strsim::osa_distance(&desired, &flat) } else { usize::MAX };
            (likeness, steps, flat.len(), known)
        })
        // Short names with one slip are not alike by measure, but are by eye: `evn` and `env`.
        .filter(|(likeness, steps, length, _)| {
            *likeness > ALIKE || *steps == 1 && *length > 2 || *steps == 2 && *length > 4
        })
        // Of two that are as alike, the one with fewer letters to change.
        .max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)))
        .map(|(.., known)| known)
}

/// ` (did you mean `x`?)` for the end of a message about `name`, or nothing when none of `known` is like it.
pub fn did_you_mean<T: AsRef<str>>(name: &str, known: impl IntoIterator<Item = T>) -> String {
    nearest(name, known).map_or_else(String::new, |known| meant(known.as_ref()))
}

/// ` (did you mean `x`?)`, for a name that was found in another way.
pub fn meant(known: &str) -> String {
    format!(" (did you mean `{known}`?)")
}

/// A position in a text that a person gave us.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct At {
    /// The file, as it was named; `-` for standard input.
    pub file: Arc<str>,
    /// Counted from 1; 0 when there is no line, because a program made the value.
    pub line: u32,
    /// Counted from 1, in characters; in CSV the number of the field, and 0 for the whole line.
    pub column: u32,
}

impl At {
    /// The position of a value that a program made out of `source`.
    pub fn nowhere(source: &str) -> At {
        At { file: source.into(), line: 0, column: 0 }
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.column) {
            (0, _) => f.write_str(&self.file),
            (line, 0) => write!(f, "{}:{line}", self.file),
            (line, column) => write!(f, "{}:{line}:{column}", self.file),
        }
    }
}

impl fmt::Debug for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `text` as it may reach a terminal: characters that control it, or that change the order in which others are shown, are
/// written as escapes, those of JSON. Names of monitors, messages of servers and journals may come from an attacker.
pub fn for_terminal(text: &str) -> std::borrow::Cow<'_, str> {
    if !text.contains(is_unseen) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unseen(c) { shown.push_str(&format!("\\u{:04x}", u32::from(c))) } else { shown.push(c) }
    }
    shown.into()
}

/// `text` as a part of one line: as [`for_terminal`], and line breaks and tabs are written as escapes too. A name with a line break
/// could otherwise begin a line that looks like one of ours, or like a command of a CI system.
pub fn one_line(text: &str) -> std::borrow::Cow<'_, str> {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return text.into();
    }
    for_terminal(&text.replace('\n', "\\n").replace('\t', "\\t")).into_owned().into()
}

/// `text` without the credentials of the URLs in it, such as those of a monitor; and of an address without a scheme, such as
/// `user:password@host:50051`, where that is all of it.
pub fn without_credentials(text: &str) -> String {
    if let Some((login, host)) = text.trim().rsplit_once('@')
        && !text.contains("://")
        && login.contains(':')
        && !login.starts_with(':')
        && !text.trim().contains(char::is_whitespace)
        && !host.contains('/')
    {
        return format!("***@{host}");
    }
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        clean.push_str(before);
        // Servers accept every other character in a password. Only a text that begins with a URL may be nothing else.
        let is_in_text = clean.contains(char::is_whitespace);
        let end = after.find(|c: char| "/?#\\".contains(c) || is_in_text && c.is_whitespace()).unwrap_or(after.len());
        rest = match after[..end].rfind('@') {
            Some(at) => {
                clean.push_str("***");
                &after[at..]
            }
            None => after,
        };
    }
    clean + rest
}

/// Whether a URL in `text` has a login.
pub fn has_credentials(text: &str) -> bool {
    without_credentials(text) != text
}

/// The start of a line of a log in a message.
pub const QUOTE: &str = "\n  | ";

/// A message as one line, apart from the lines of a log that it quotes.
pub fn message(text: &str) -> String {
    text.split(QUOTE).map(one_line).collect::<Vec<_>>().join(QUOTE)
}

/// These lines as text: nothing in a line begins another one.
pub fn lines<T: AsRef<str>>(lines: impl IntoIterator<Item = T>) -> String {
    lines.into_iter().map(|line| one_line(line.as_ref()).into_owned()).collect::<Vec<_>>().join("\n")
}

/// Whether `c` is a control character other than a tab or a line break, a mark of direction, or a character without a width that joins
/// no others: two names that look the same must not differ.
fn is_unseen(c: char) -> bool {
    c.is_control() && !matches!(c, '\n' | '\t')
        || matches!(c, '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_in_urls_are_left_out() {
        for (text, clean) in [
            ("cannot reach https://ann:s3cr3t@example.com/a@b", "cannot reach https://***@example.com/a@b"),
            ("mongodb://u:p@w@db:27017/admin failed", "mongodb://***@db:27017/admin failed"),
            ("https://example.com/?q=a@b and x://y", "https://example.com/?q=a@b and x://y"),
            ("see http://example.com or a@b", "see http://example.com or a@b"),
            ("http://ann:it's <a> \"word\"@host:80/", "http://***@host:80/"),
            ("amqp://a:b@c,amqp://d:e@f", "amqp://***@c,amqp://***@f"),
            ("ann:s3cr3t@host:50051", "***@host:50051"),
            ("write to ann:x@example.com", "write to ann:x@example.com"),
            ("ann@example.com", "ann@example.com"),
        ] {
            assert_eq!(without_credentials(text), clean);
        }
    }
}
