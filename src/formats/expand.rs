//! Expands `${VARIABLE}` and `${file:path}` in the texts of a fixture.

use crate::text::At;

/// What a fixture can read from its environment.
pub trait Lookup {
    /// The value of the environment variable `name`.
    fn variable(&self, name: &str) -> Option<String>;
    /// The text of the file `path`, relative to the fixture `from`; the error is a message.
    fn file(&self, from: &str, path: &str) -> Result<String, String>;
    /// The text of `path`, which the fixture `file` includes; the error is a message.
    fn include(&self, _file: &str, path: &str) -> Result<String, String> {
        super::text::no_files(path)
    }
}

/// Without variables and files.
pub struct NoSources;

impl Lookup for NoSources {
    fn variable(&self, _name: &str) -> Option<String> {
        None
    }

    fn file(&self, _from: &str, _path: &str) -> Result<String, String> {
        Err("files cannot be read here".into())
    }
}

/// Which `${…}` in the texts of a fixture are expanded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expand {
    /// All: the file was written for kumadb.
    All,
    /// Variables: the file belongs to another tool, and the user asked for them. It never reads files.
    Variables,
    /// None: `${` is text.
    Nothing,
}

/// `text` with every `${…}` expanded; `$${` is an escaped `${`.
///
/// # Errors
/// A message about the first one that cannot be expanded.
pub fn expand(text: &str, at: &At, what: Expand, lookup: &dyn Lookup) -> Result<String, String> {
    if what == Expand::Nothing {
        return Ok(text.to_owned());
    }
    let (mut out, mut rest) = (String::new(), text);
    while let Some(start) = rest.find("${") {
        if rest[..start].ends_with('$') {
            out.push_str(&rest[..start]);
            out.push('{');
            rest = &rest[start + 2..];
            continue;
        }
        out.push_str(&rest[..start]);
        let inner = &rest[start + 2..];
        let end = inner.find('}').ok_or("has `${` without `}`; use `$${` for a literal `${`")?;
        out.push_str(&look_up(&inner[..end], at, what, lookup)?);
        rest = &inner[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

fn look_up(name: &str, at: &At, what: Expand, lookup: &dyn Lookup) -> Result<String, String> {
    if let Some(path) = name.strip_prefix("file:") {
        if what == Expand::Variables {
            return Err("`${file:…}` is only expanded in fixtures of kumadb".into());
        }
        let text = lookup.file(&at.file, path).map_err(|why| format!("requires the file `{path}`: {why}"))?;
        // The line break that editors add at the end of a file is removed.
        return Ok(text.strip_suffix('\n').map_or(text.as_str(), |text| text.trim_end_matches('\r')).to_owned());
    }
    let (name, other) = match name.split_once(":-") {
        Some((name, other)) => (name, Some(other)),
        // `${NAME:?message}`, as in a compose file.
        None => (name.split_once(":?").map_or(name, |(name, _)| name), None),
    };
    let is_name =
        |text: &str| !text.is_empty() && text.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    if !is_name(name) {
        return Err(format!("`${{{name}}}` is not a valid variable name; use `$${{` for a literal `${{`"));
    }
    match (lookup.variable(name).filter(|value| !value.is_empty()), other) {
        (Some(value), _) => Ok(value),
        (None, Some(other)) => Ok(other.to_owned()),
        (None, None) => Err(format!("requires the environment variable `{name}`, which is not set or empty")),
    }
}
