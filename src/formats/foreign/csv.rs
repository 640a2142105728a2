//! A table of monitors, one per line; the columns are identified by their headers.

use super::super::node::{At, Data, Entry, Node};
use super::super::text::{self, Syntax};
use super::SourceFile;
use super::columns::{KeptFields, field_of};
use super::draft::{Draft, Places};
use super::listed::{self, ListContext};
use crate::model::fields::FIELDS;

/// Headers that are not columns of the database.
const HEADERS: [&str; 11] =
    ["client", "name", "url", "type", "group", "parent", "tags", "notifications", "status_page", "public_group", "tag"];

/// A monitor on a status page.
struct Shown {
    key: String,
    page: Node,
    group: Node,
}

pub(super) fn convert(draft: &mut Draft, sources: &[SourceFile]) {
    let mut shown = Vec::new();
    for (scope, source) in sources.iter().enumerate() {
        draft.scope = scope;
        for table in tables(draft, source) {
            check_headers(draft, &table);
            for row in table.list() {
                shown.extend(monitor(draft, &canonical(row)));
            }
        }
    }
    let places = draft.place();
    status_pages(draft, &shown, &places);
}

/// The tables in a source; a text whose file name did not identify it as CSV is parsed now.
pub(super) fn tables(draft: &mut Draft, source: &SourceFile) -> Vec<Node> {
    let is_table =
        |node: &Node| matches!(&node.data, Data::List(rows) if rows.iter().all(|row| matches!(row.data, Data::Map(_))));
    let tables = if !source.documents.is_empty() && source.documents.iter().all(is_table) {
        source.documents.clone()
    } else {
        let read = text::read_lines(&source.file, &source.text, Syntax::Csv, &text::no_files);
        let (tables, problems) = read.unwrap_or_else(|wrong| (Vec::new(), vec![wrong]));
        problems.into_iter().for_each(|wrong| draft.problem(wrong));
        tables
    };
    tables.iter().for_each(|table| draft.root(table.clone()));
    tables
}

/// Rejects unknown headers, once per table.
fn check_headers(draft: &mut Draft, table: &Node) {
    let mut seen = Vec::new();
    for one in table.list().iter().flat_map(Node::entries).filter(|one| header(&one.key).is_none()) {
        if seen.contains(&&one.key) {
            draft.account(&one.value)
        } else {
            let known = HEADERS.into_iter().chain(FIELDS.iter().map(|field| field.column));
            let at = At { line: table.at.line, ..one.at.clone() };
            draft.unknown(&Entry { at, ..one.clone() }, "the header", known);
            seen.push(&one.key);
        }
    }
}

/// The field of a header, ignoring case and spaces.
fn header(text: &str) -> Option<String> {
    let flat = text.trim().to_lowercase().replace([' ', '-'], "_");
    if HEADERS.contains(&flat.as_str()) {
        return Some(flat);
    }
    let squeezed = flat.replace('_', "");
    if let Some(known) = HEADERS.into_iter().find(|known| known.replace('_', "") == squeezed) {
        return Some(known.to_owned());
    }
    let known = field_of(&flat).or_else(|| field_of(text.trim())).or_else(|| {
        let is_meant = |name: &str| name.to_lowercase().replace('_', "") == squeezed;
        FIELDS.iter().find(|field| is_meant(field.column) || is_meant(field.api))
    });
    known.map(|field| field.column.to_owned())
}

/// The row with kumadb's names; unknown headers have been rejected already.
fn canonical(row: &Node) -> Node {
    let known = |one: &Entry| Some(Entry { key: header(&one.key)?, at: one.at.clone(), value: one.value.clone() });
    Node { at: row.at.clone(), data: Data::Map(row.entries().iter().filter_map(known).collect()) }
}

fn monitor(draft: &mut Draft, row: &Node) -> Option<Shown> {
    let given = |key: &str| row.find(key).filter(|value| value.text().is_some_and(|text| !text.is_empty()));
    // Spreadsheets often end with lines of commas.
    if row.entries().is_empty() {
        return None;
    }
    let around = ListContext { above: &[], inherited: &[], keep: KeptFields::newest() };
    let key = listed::monitor(draft, row, &around)?;
    let page = given("status_page")?.clone();
    let group = given("public_group").cloned().unwrap_or_else(|| Node::new(page.at.clone(), "Services"));
    Some(Shown { key, page, group })
}

/// A group of a status page: its name, and paths of monitors.
type Group<'t> = (&'t Node, Vec<Node>);

/// The status pages of the column `status_page`, with the groups of `public_group`, in the order of the lines.
fn status_pages(draft: &mut Draft, shown: &[Shown], places: &Places) {
    let text = |node: &Node| node.scalar().unwrap_or_default();
    let mut pages: Vec<(&Node, Vec<Group<'_>>)> = Vec::new();
    for one in shown {
        draft.account(&one.group);
        let at = pages.iter().position(|(page, _)| text(page) == text(&one.page)).unwrap_or_else(|| {
            pages.push((&one.page, Vec::new()));
            pages.len() - 1
        });
        let groups = &mut pages[at].1;
        let at = groups.iter().position(|(group, _)| text(group) == text(&one.group)).unwrap_or_else(|| {
            groups.push((&one.group, Vec::new()));
            groups.len() - 1
        });
        groups[at].1.extend(places.of(&one.key).map(|place| Node::new(one.page.at.clone(), place.path.as_str())));
    }
    for (page, groups) in pages {
        let group = |(name, monitors): Group<'_>| {
            let list = Node::new(name.at.clone(), monitors);
            Node::map(name.at.clone(), [("name", name.clone()), ("monitors", list)])
        };
        let groups = Node::new(page.at.clone(), groups.into_iter().map(group).collect::<Vec<_>>());
        let slug = Node::new(page.at.clone(), slug(&text(page)));
        draft.add(
            "status_pages",
            Node::map(page.at.clone(), [("slug", slug), ("title", page.clone()), ("groups", groups)]),
        );
    }
}

/// `Our Shop` as a slug: `our-shop`.
fn slug(title: &str) -> String {
    let words: Vec<String> = title
        .to_lowercase()
        .split(|letter: char| !letter.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect();
    words.join("-")
}
