//! Parses text to nodes: YAML, JSON, TOML and CSV, each with its own crate.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use granit_parser::{Event, Parser, ScalarStyle, Span};
use jsonc_parser::ast;
use toml::de::{DeTable, DeValue};

use super::lines::Lines;
use super::node::{At, Data, Entry, Node};
use super::table::read_csv;
use crate::error::Problem;

/// The syntax of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// YAML 1.2, with merge keys and `!include`.
    Yaml,
    /// JSON, strict.
    Json,
    /// TOML 1.0.
    Toml,
    /// Comma, semicolon or tab separated, with a line of headers.
    Csv,
}

impl Syntax {
    /// The syntax for a file name.
    pub fn of(file: &str) -> Option<Syntax> {
        let (_, ending) = file.rsplit_once('.')?;
        Some(match ending.to_ascii_lowercase().as_str() {
            "yaml" | "yml" => Syntax::Yaml,
            "json" => Syntax::Json,
            "toml" => Syntax::Toml,
            "csv" | "tsv" => Syntax::Csv,
            _ => return None,
        })
    }

    /// The probable syntax of a text without a known file name. YAML if nothing else is certain: nearly every text is
    /// valid YAML.
    pub fn guess(text: &str) -> Syntax {
        let text = text.trim_start_matches('\u{feff}');
        let is_json =
            text.trim_start().starts_with(['{', '[']) && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
        if is_json { Syntax::Json } else { Syntax::Yaml }
    }
}

/// Reads an included file by the name that [`beside`] returns; the error is a message.
pub type IncludedFiles<'f> = &'f dyn Fn(&str) -> Result<String, String>;

/// The path of `path`, which is relative to the file `from`.
pub fn beside(from: &str, path: &str) -> String {
    let folder = Path::new(from).parent().filter(|_| from != "-").unwrap_or(Path::new(""));
    folder.join(path).display().to_string()
}

/// Without includes.
pub fn no_files(path: &str) -> Result<String, String> {
    Err(format!("`{path}` cannot be included from here"))
}

/// Maximum nesting of values.
const DEEPEST: usize = 100;

/// Maximum nesting of includes.
const INCLUDES: usize = 20;

/// Maximum number of values from aliases and repeated includes, for a file of any size.
const COPIES: usize = 1_000_000;

/// Parses `text`: one node, or several for YAML documents separated by `---`.
///
/// # Errors
/// The first syntax error.
pub fn read(file: &str, text: &str, syntax: Syntax, files: IncludedFiles<'_>) -> Result<Vec<Node>, Problem> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match syntax {
        Syntax::Yaml => {
            Yaml { files, included: vec![file.to_owned()], seen: HashSet::new(), copies: 0 }.read(file, text)
        }
        Syntax::Json => read_json(file, text).map(|node| vec![node]),
        Syntax::Toml => read_toml(file, text).map(|node| vec![node]),
        Syntax::Csv => match read_csv(file, text)? {
            (node, problems) if problems.is_empty() => Ok(vec![node]),
            (_, problems) => Err(problems.into_iter().next().unwrap_or_else(|| Problem::new(file, "is not a table"))),
        },
    }
}

/// The same, with the lines of a table that have a wrong number of fields as problems.
///
/// # Errors
/// A text that is not valid.
pub(super) fn read_lines(
    file: &str,
    text: &str,
    syntax: Syntax,
    files: IncludedFiles<'_>,
) -> Result<(Vec<Node>, Vec<Problem>), Problem> {
    match syntax {
        Syntax::Csv => read_csv(file, text).map(|(node, problems)| (vec![node], problems)),
        other => read(file, text, other, files).map(|nodes| (nodes, Vec::new())),
    }
}

pub(super) fn wrong(at: &At, message: impl Into<String>) -> Problem {
    Problem::at(at, "", message)
}

// ---- YAML ------------------------------------------------------------------------------------------------------------

struct Yaml<'f> {
    files: IncludedFiles<'f>,
    /// The file that is being read and those that include it.
    included: Vec<String>,
    /// Files that have been included.
    seen: HashSet<String>,
    /// Values that were repeated so far.
    copies: usize,
}

/// A list or a map that is being read.
struct Open {
    node: Node,
    anchor: usize,
    /// In a map, the key whose value is next.
    key: Option<(Key, At)>,
}

enum Key {
    Name(String),
    /// `<<` without quotes.
    Merge,
}

impl Yaml<'_> {
    fn read(&mut self, file: &str, text: &str) -> Result<Vec<Node>, Problem> {
        let file: Arc<str> = file.into();
        let place = |span: &Span| At {
            file: file.clone(),
            line: span.start.line() as u32,
            column: span.start.col() as u32 + 1,
        };
        let options = granit_parser::options! { emit_comments: false };
        let mut documents = Vec::new();
        let mut open: Vec<Open> = Vec::new();
        let mut anchors: HashMap<usize, (Node, usize)> = HashMap::new();
        for next in Parser::new_from_str_with_options(text, options) {
            let (event, span) = next.map_err(|error| {
                let mark = error.marker();
                let at = At { file: file.clone(), line: mark.line() as u32, column: mark.col() as u32 + 1 };
                wrong(&at, format!("is not valid YAML: {}", error.info()))
            })?;
            let at = place(&span);
            if open.len() > DEEPEST {
                return Err(wrong(&at, format!("is nested deeper than {DEEPEST} levels")));
            }
            let merge = matches!(&event, Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<");
            let (node, anchor) = match event {
                Event::DocumentStart(..) => {
                    anchors.clear();
                    continue;
                }
                Event::Scalar(text, style, anchor, tag) => {
                    let tag = tag.as_ref().map(|tag| (tag.handle(), tag.suffix()));
                    (self.scalar(at, text.into_owned(), style, tag)?, anchor)
                }
                Event::SequenceStart(_, anchor, _) => {
                    open.push(Open { node: Node { at, data: Data::List(Vec::new()) }, anchor, key: None });
                    continue;
                }
                Event::MappingStart(_, anchor, _) => {
                    open.push(Open { node: Node { at, data: Data::Map(Vec::new()) }, anchor, key: None });
                    continue;
                }
                Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                    Some(done) => (done.node, done.anchor),
                    None => continue,
                },
                Event::Alias(id) => match anchors.get(&id) {
                    Some((node, size)) => {
                        self.repeat(&at, *size)?;
                        (node.clone(), 0)
                    }
                    // An anchor that contains itself would be endless.
                    None => return Err(wrong(&at, "is an alias of a value that contains it")),
                },
                _ => continue,
            };
            if anchor > 0 {
                anchors.insert(anchor, (node.clone(), count(&node)));
            }
            match open.last_mut() {
                None => documents.push(node),
                Some(outer) => outer.take(node, merge)?,
            }
        }
        Ok(documents)
    }

    /// A single value, with its `tag`.
    fn scalar(&mut self, at: At, text: String, style: ScalarStyle, tag: Option<(&str, &str)>) -> Result<Node, Problem> {
        match tag {
            Some(("!", "include")) => self.include(&at, &text),
            Some(("tag:yaml.org,2002:", "str")) => Ok(Node::new(at, text)),
            Some(("tag:yaml.org,2002:", _)) | None => Ok(Node { data: scalar(text, style), at }),
            Some((handle, name)) => Err(wrong(&at, format!("has the unsupported tag `{handle}{name}`"))),
        }
    }

    /// Counts repeated values: a few lines can expand to more than fits in memory.
    fn repeat(&mut self, at: &At, values: usize) -> Result<(), Problem> {
        self.copies += values;
        if self.copies > COPIES { Err(wrong(at, format!("expands to more than {COPIES} values"))) } else { Ok(()) }
    }

    fn include(&mut self, at: &At, written: &str) -> Result<Node, Problem> {
        let path = beside(&at.file, written);
        let fail = |why: String| wrong(at, format!("includes `{written}`{why}"));
        if self.included.contains(&path) {
            return Err(fail(", which includes itself".into()));
        }
        if self.included.len() > INCLUDES {
            return Err(fail(format!(" with more than {INCLUDES} nested includes")));
        }
        let text = (self.files)(&path).map_err(|why| fail(format!(": {why}")))?;
        self.included.push(path.clone());
        let mut documents = match Syntax::of(&path) {
            Some(syntax @ (Syntax::Json | Syntax::Toml | Syntax::Csv)) => read(&path, &text, syntax, self.files)?,
            _ => self.read(&path, text.strip_prefix('\u{feff}').unwrap_or(&text))?,
        };
        self.included.pop();
        let node = match (documents.pop(), documents.is_empty()) {
            (Some(node), true) => node,
            (None, _) => Node { at: at.clone(), data: Data::Null },
            _ => return Err(fail(", which contains several YAML documents".into())),
        };
        if !self.seen.insert(path) {
            self.repeat(at, count(&node))?;
        }
        Ok(node)
    }
}

impl Open {
    /// The next value of a list, or the next key or value of a map; `merge_key` if it is a plain `<<`.
    fn take(&mut self, node: Node, merge_key: bool) -> Result<(), Problem> {
        match &mut self.node.data {
            Data::List(items) => items.push(node),
            Data::Map(entries) => match self.key.take() {
                None => match node.scalar() {
                    Some(_) if merge_key => self.key = Some((Key::Merge, node.at)),
                    Some(key) => self.key = Some((Key::Name(key), node.at)),
                    None if node.is_null() => self.key = Some((Key::Name("null".into()), node.at)),
                    None => return Err(wrong(&node.at, format!("is {}, which cannot be a key", node.noun()))),
                },
                Some((Key::Merge, at)) => merge(entries, node, &at)?,
                Some((Key::Name(key), at)) => match entries.iter().position(|entry| entry.key == key) {
                    // Merged keys are overridden, duplicate keys are an error.
                    Some(before) if entries[before].at != at && !entries[before].merged(&self.node.at) => {
                        return Err(wrong(&at, format!("`{key}` is specified twice")));
                    }
                    Some(before) => entries[before] = Entry { key, at, value: node },
                    None => entries.push(Entry { key, at, value: node }),
                },
            },
            _ => {}
        }
        Ok(())
    }
}

impl Entry {
    /// Whether it was merged into the map that begins at `map`: anchors come before their aliases.
    fn merged(&self, map: &At) -> bool {
        self.at.file != map.file || (self.at.line, self.at.column) < (map.line, map.column)
    }
}

/// `<<: *base` or `<<: [*a, *b]`: keys that the map does not contain itself.
fn merge(entries: &mut Vec<Entry>, node: Node, at: &At) -> Result<(), Problem> {
    let sources = match node.data {
        Data::List(items) => items,
        _ => vec![node],
    };
    for source in sources {
        let Data::Map(more) = source.data else {
            return Err(wrong(at, "`<<` requires a map"));
        };
        for entry in more {
            if entries.iter().all(|known| known.key != entry.key) {
                entries.push(entry);
            }
        }
    }
    Ok(())
}

fn count(node: &Node) -> usize {
    match &node.data {
        Data::List(items) => 1 + items.iter().map(count).sum::<usize>(),
        Data::Map(entries) => 1 + entries.iter().map(|entry| count(&entry.value)).sum::<usize>(),
        _ => 1,
    }
}

/// A plain scalar by the core schema of YAML 1.2; `yes` and `no` are texts, which flags accept.
fn scalar(text: String, style: ScalarStyle) -> Data {
    if style != ScalarStyle::Plain {
        return Data::Text(text);
    }
    match text.as_str() {
        "" | "~" | "null" | "Null" | "NULL" => return Data::Null,
        "true" | "True" | "TRUE" => return Data::Bool(true),
        "false" | "False" | "FALSE" => return Data::Bool(false),
        _ => {}
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(&text);
    if !digits.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return Data::Text(text);
    }
    let whole = match (text.strip_prefix("0x"), text.strip_prefix("0o")) {
        (Some(hex), _) => i64::from_str_radix(hex, 16).ok(),
        (_, Some(octal)) => i64::from_str_radix(octal, 8).ok(),
        _ => text.parse().ok(),
    };
    let real = || text.parse::<f64>().ok().filter(|_| !digits.contains('_'));
    match (whole, real()) {
        (Some(n), _) => as_written(text, Data::Int(n)),
        (None, Some(x)) if x.is_finite() => as_written(text, Data::Real(x)),
        _ => Data::Text(text),
    }
}

/// `number`, with its text if that has another form: `1.10`, `0755`.
fn as_written(text: String, number: Data) -> Data {
    let usual = match &number {
        Data::Int(n) => n.to_string(),
        Data::Real(x) => x.to_string(),
        _ => return number,
    };
    if usual == text { number } else { Data::Written(text, Box::new(number)) }
}

// ---- JSON ------------------------------------------------------------------------------------------------------------

fn read_json(file: &str, text: &str) -> Result<Node, Problem> {
    let lines = Lines::new(file, text);
    let options = jsonc_parser::ParseOptions {
        allow_comments: false,
        allow_loose_object_property_names: false,
        allow_trailing_commas: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    let parsed = jsonc_parser::parse_to_ast(text, &jsonc_parser::CollectOptions::default(), &options)
        .map_err(|error| wrong(&lines.at(error.range().start), format!("is not valid JSON: {}", error.kind())))?;
    let value = parsed.value.ok_or_else(|| wrong(&lines.at(0), "is empty"))?;
    json_node(&lines, value, 0)
}

fn json_node(lines: &Lines, value: ast::Value, depth: usize) -> Result<Node, Problem> {
    use jsonc_parser::common::Ranged;
    let at = lines.at(value.start());
    if depth > DEEPEST {
        return Err(wrong(&at, format!("is nested deeper than {DEEPEST} levels")));
    }
    let data = match value {
        ast::Value::NullKeyword(_) => Data::Null,
        ast::Value::BooleanLit(literal) => Data::Bool(literal.value),
        ast::Value::NumberLit(literal) => number(literal.value),
        ast::Value::StringLit(literal) => Data::Text(literal.value.into_owned()),
        ast::Value::Array(array) => Data::List(
            array.elements.into_iter().map(|item| json_node(lines, item, depth + 1)).collect::<Result<_, _>>()?,
        ),
        ast::Value::Object(object) => {
            let mut entries: Vec<Entry> = Vec::with_capacity(object.properties.len());
            for property in object.properties {
                let at = lines.at(property.name.start());
                let key = property.name.into_string();
                let value = json_node(lines, property.value, depth + 1)?;
                entries.push(Entry { key, at, value });
            }
            unique(&entries)?;
            Data::Map(entries)
        }
    };
    Ok(Node { at, data })
}

fn number(text: &str) -> Data {
    match (text.parse(), text.parse::<f64>()) {
        (Ok(n), _) => as_written(text.to_owned(), Data::Int(n)),
        (_, Ok(x)) if x.is_finite() => as_written(text.to_owned(), Data::Real(x)),
        _ => Data::Text(text.to_owned()),
    }
}

/// Rejects duplicate keys: it is unknown which of them is right.
fn unique(entries: &[Entry]) -> Result<(), Problem> {
    let mut keys: Vec<&Entry> = entries.iter().collect();
    keys.sort_by(|a, b| a.key.cmp(&b.key));
    match keys.windows(2).find(|pair| pair[0].key == pair[1].key) {
        Some(pair) => Err(wrong(&pair[1].at, format!("`{}` is specified twice", pair[1].key))),
        None => Ok(()),
    }
}

// ---- TOML ------------------------------------------------------------------------------------------------------------

fn read_toml(file: &str, text: &str) -> Result<Node, Problem> {
    let lines = Lines::new(file, text);
    let table = DeTable::parse(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        wrong(&lines.at(start), format!("is not valid TOML: {}", error.message()))
    })?;
    let at = lines.at(0);
    toml_table(&lines, at, table.into_inner(), 0)
}

fn toml_table(lines: &Lines, at: At, table: DeTable<'_>, depth: usize) -> Result<Node, Problem> {
    if depth > DEEPEST {
        return Err(wrong(&at, format!("is nested deeper than {DEEPEST} levels")));
    }
    // The table is sorted by key; the order of the file is restored.
    let mut entries: Vec<(Range<usize>, Entry)> = Vec::new();
    for (key, value) in table {
        let (place, span) = (lines.at(value.span().start), key.span());
        let entry = Entry {
            at: lines.at(span.start),
            value: toml_node(lines, place, value.into_inner(), depth + 1)?,
            key: key.into_inner().into_owned(),
        };
        entries.push((span, entry));
    }
    entries.sort_by_key(|(span, _)| span.start);
    Ok(Node { at, data: Data::Map(entries.into_iter().map(|(_, entry)| entry).collect()) })
}

fn toml_node(lines: &Lines, at: At, value: DeValue<'_>, depth: usize) -> Result<Node, Problem> {
    let data = match value {
        DeValue::String(text) => Data::Text(text.into_owned()),
        DeValue::Integer(n) => match i64::from_str_radix(n.as_str(), n.radix()) {
            Ok(n) => Data::Int(n),
            Err(_) => return Err(wrong(&at, "is too large")),
        },
        DeValue::Float(x) => match x.as_str().parse::<f64>() {
            Ok(real) if real.is_finite() => as_written(x.as_str().to_owned(), Data::Real(real)),
            _ => return Err(wrong(&at, "is not a number that can be stored")),
        },
        DeValue::Boolean(yes) => Data::Bool(yes),
        DeValue::Datetime(when) => Data::Text(when.to_string().replace('T', " ")),
        DeValue::Array(items) => Data::List(
            items
                .into_iter()
                .map(|item| toml_node(lines, lines.at(item.span().start), item.into_inner(), depth + 1))
                .collect::<Result<_, _>>()?,
        ),
        DeValue::Table(table) => return toml_table(lines, at, table, depth),
    };
    Ok(Node { at, data })
}
