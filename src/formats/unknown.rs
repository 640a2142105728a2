//! Files that are not read: what they are, and what to do with them.

use super::foreign::{ForeignFormat, SourceFile};
use super::node::{At, Data, Node};
use crate::error::Problem;
use crate::model::entities::ENTITIES;
use crate::text::{nearest, quoted};

/// The problem of a text that is known and not read.
pub(super) fn by_text(file: &str, text: &str) -> Option<Problem> {
    let head = text.trim_start();
    let starts = |words: &[&str]| words.iter().any(|word| head.starts_with(word));
    let lines = || text.lines().map(str::trim);
    let is_sql = starts(&["-- MariaDB dump", "-- MySQL dump", "/*M!", "PRAGMA foreign_keys"])
        || lines().any(|line| line.starts_with("INSERT INTO ") && line.contains(" VALUES"))
        || file.ends_with(".sql");
    let is_block = |line: &str| line.starts_with("resource \"") && line.ends_with('{');
    match () {
        () if is_sql => {
            let is_dump = text.contains("MariaDB dump") || text.contains("MySQL dump") || head.starts_with("/*M!");
            let path = quoted(file);
            let load = match text.contains("CREATE TABLE") {
                _ if is_dump => {
                    format!("mariadb NEW_EMPTY_DATABASE < {path}, then kumadb apply mysql://…/NEW_EMPTY_DATABASE")
                }
                true => format!("sqlite3 kuma.db < {path}, then kumadb apply kuma.db"),
                // It fills tables that are there.
                false => format!("kumadb init new && sqlite3 new/kuma.db < {path}, then kumadb apply new"),
            };
            Some(
                Problem::new(file, "is a SQL script, not a list of monitors: load it into a new database first")
                    .command(load),
            )
        }
        () if file.ends_with(".tf") || lines().any(is_block) => Some(
            Problem::new(file, "is a Terraform configuration, which only Terraform can evaluate: apply its state")
                .command("terraform show -json > state.json, then kumadb plan state.json"),
        ),
        () => None,
    }
}

/// The problem of a file that is known and not read, or in no known format.
pub(super) fn by_content(source: &SourceFile) -> Option<Problem> {
    let document = source.documents.iter().find(|document| !document.is_null())?;
    let problem = |message: &str| Problem::at(&document.at, "", message);
    let has = |key: &str| document.find(key).is_some();
    match () {
        () if is_ansible(document) => {
            let message = "is an Ansible playbook, whose variables only Ansible can evaluate";
            let hint =
                "copy the arguments of each task into a list, without `api_*` and `state`: monitors: [{name: …}]";
            Some(problem(message).hint(hint))
        }
        () if has("heartbeat.monitors") => Some(
            problem("is a configuration of Elastic Heartbeat, whose monitors check several hosts each")
                .command("--each '$[\"heartbeat.monitors\"][*]' --map name=name --map url=hosts[0] --type auto"),
        ),
        () if document.find("report").and_then(|report| report.find("plan")).is_some() => {
            let apply = format!("kumadb apply {}", quoted(&source.file));
            Some(problem("is a saved plan, which is only applied").command(apply))
        }
        () if is_native(document) => None,
        () => Some(unknown(document)),
    }
}

/// Whether a file has a key of native fixtures, or nothing but near ones.
fn is_native(document: &Node) -> bool {
    let keys = || ENTITIES.iter().map(|entity| entity.key).chain(["version", "defaults", "$schema"]);
    let is_own = |key: &str| key.starts_with("x-") || keys().any(|own| own == key);
    let is_near = |key: &str| key == "version" || nearest(key, keys()).is_some();
    document.entries().iter().any(|entry| is_own(&entry.key) && entry.key != "version")
        || matches!(document.data, Data::Map(_)) && document.entries().iter().all(|entry| is_near(&entry.key))
}

fn is_ansible(document: &Node) -> bool {
    let is_play =
        |one: &Node| one.find("hosts").is_some() && (one.find("tasks").is_some() || one.find("roles").is_some());
    let is_task = |one: &Node| one.entries().iter().any(|entry| entry.key.contains("uptime_kuma."));
    !document.list().is_empty() && document.list().iter().all(|one| is_play(one) || is_task(one))
}

/// The problem of a file in no known format: what it looks like, and how it can be read.
fn unknown(document: &Node) -> Problem {
    let list = first_list(document, "$");
    let looks = match &document.data {
        Data::List(items) => format!("a list of {} items", items.len()),
        Data::Map(entries) => {
            let keys: Vec<String> = entries.iter().take(5).map(|entry| format!("`{}`", entry.key)).collect();
            format!("a map with {}{}", keys.join(", "), if entries.len() > 5 { ", …" } else { "" })
        }
        _ => document.noun().to_owned(),
    };
    let names: Vec<&str> = ForeignFormat::ALL.iter().map(|format| format.name()).collect();
    let message = format!("is in no known format: it is {looks}; formats for `--from`: {}", names.join(", "));
    let problem = Problem::at(&document.at, "", message);
    match list {
        Some((path, item)) => {
            let key = |words: &[&str], default: &str| {
                let near =
                    item.entries().iter().find(|one| words.iter().any(|word| one.key.to_lowercase().contains(word)));
                near.map_or(default.to_owned(), |one| one.key.clone())
            };
            let (name, url) =
                (key(&["name", "title", "label"], "NAME"), key(&["url", "link", "address", "host"], "ADDRESS"));
            problem.command(format!("--each '{path}[*]' --map name={name} --map url={url} --type auto"))
        }
        None => problem.hint("`kumadb formats` describes the formats"),
    }
}

/// The path of the first list of maps in a file, with its first item.
fn first_list<'n>(node: &'n Node, path: &str) -> Option<(String, &'n Node)> {
    match &node.data {
        Data::List(items) => {
            items.first().filter(|item| !item.entries().is_empty()).map(|item| (path.to_owned(), item))
        }
        Data::Map(entries) => {
            entries.iter().find_map(|entry| first_list(&entry.value, &format!("{path}.{}", entry.key)))
        }
        _ => None,
    }
}

/// The problem of a text that cannot be parsed, if that is because it is a template.
pub(super) fn template(file: &str, text: &str, problem: Problem) -> Problem {
    let is_template = |line: &str| line.contains("{{") || line.contains("{%");
    let found = (1..).zip(text.lines()).find(|(_, line)| is_template(line));
    match found {
        Some((number, line)) => {
            let column = line.find('{').map_or(0, |at| line[..at].chars().count()) as u32 + 1;
            let at = At { file: file.into(), line: number, column };
            Problem::at(&at, "", "is a template: render it first (`helm template`, `ansible`, `jinja2`)")
        }
        None => problem,
    }
}
