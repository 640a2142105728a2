//! One monitor per line: `ping:host`, `http://host, keyword`, `tcp:host:port`, `dns:host`.

use super::super::node::{At, Data, Entry, Node};
use super::SourceFile;
use super::address::ParsedAddress;
use super::columns::KeptFields;
use super::draft::{Draft, entry};
use super::listed::{self, ListContext};
use crate::text::without_credentials;

/// A parsed line.
pub(super) struct Line<'t> {
    address: ParsedAddress,
    keyword: Option<&'t str>,
}

pub(super) fn convert(draft: &mut Draft, sources: &[SourceFile]) {
    for source in sources {
        draft.root(Node::new(At::nowhere(&source.file), Data::Null));
        for (number, line) in (1..).zip(source.text.lines()) {
            let text = line.trim().trim_start_matches('\u{feff}');
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let column = line.chars().take_while(|letter| letter.is_whitespace()).count() as u32 + 1;
            let at = At { file: source.file.as_str().into(), line: number, column };
            let bare = || ParsedAddress::read(text).map(|address| Line { address, keyword: None });
            match read(text).or_else(bare) {
                Some(line) => {
                    let node = Node::new(at, text);
                    let row = Node { at: node.at.clone(), data: Data::Map(line.entries(&node)) };
                    listed::monitor(draft, &row, &ListContext { above: &[], inherited: &[], keep: KeptFields::All });
                }
                None => {
                    let forms = "`ping:host`, `http://host, keyword`, `tcp:host:port`, `dns:host`, `host`, `host:port`";
                    draft.wrong(&at, &format!("`{}`", without_credentials(text)), format!("is not one of {forms}"));
                }
            }
        }
    }
}

/// Parses a line.
pub(super) fn read(text: &str) -> Option<Line<'_>> {
    if ["http://", "https://", "ws://", "wss://"].iter().any(|scheme| text.starts_with(scheme)) {
        // A comma may be part of a URL, but not before a space.
        let split =
            text.char_indices().find(|(at, letter)| *letter == ',' && text[at + 1..].starts_with(char::is_whitespace));
        let (url, keyword) = split.map_or((text, None), |(at, _)| (&text[..at], Some(text[at + 1..].trim())));
        return ParsedAddress::read(url)
            .map(|address| Line { address, keyword: keyword.filter(|word| !word.is_empty()) });
    }
    let (scheme, rest) = text.split_once(':')?;
    let rest = rest.trim_start_matches("//").trim();
    let address = match scheme {
        "ping" | "tcp" | "dns" => ParsedAddress::read(&format!("{scheme}://{rest}"))?,
        _ => return None,
    };
    Some(Line { address, keyword: None })
}

impl Line<'_> {
    /// Name, type and columns of the monitor of the line `node`.
    pub(super) fn entries(&self, node: &Node) -> Vec<Entry> {
        let text = |key: &str, text: &str| entry(key, Node::new(node.at.clone(), text));
        let kind = match (&self.address, self.keyword) {
            (ParsedAddress::Web(_), Some(_)) => "keyword",
            (address, _) => address.kind(),
        };
        let mut entries = vec![text("name", &self.address.name()), text("type", kind)];
        entries.extend(self.address.columns(node));
        entries.extend(self.keyword.map(|word| text("keyword", word)));
        entries
    }
}
