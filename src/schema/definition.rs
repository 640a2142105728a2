//! Parses the definitions of a recorded file. They all have one format: a line for each column, key and index.

use std::collections::BTreeSet;

use super::{Column, ForeignKey, Index, Schema, Table};
use crate::schema::EngineKind;

/// The clauses that can follow the type of a column.
const CLAUSES: [&str; 7] =
    [" PRIMARY KEY", " NOT NULL", " NULL", " DEFAULT ", " COLLATE ", " CHECK ", " AUTO_INCREMENT"];

/// The schema that `statements` create on `engine`, as its reader describes it. On MariaDB the character set of a column is
/// there only where the definition names it, and its collation never: they come from the database.
pub(super) fn read<'a>(engine: EngineKind, statements: impl Iterator<Item = &'a str>) -> Schema {
    let mut schema = Schema::default();
    for statement in statements {
        if let Some(rest) = statement.strip_prefix("CREATE TABLE ") {
            let mut lines = rest.lines().map(|line| line.trim().trim_end_matches(','));
            let name = lines.next().and_then(quoted).unwrap_or_default();
            let lines = lines.take_while(|line| !line.starts_with(')'));
            schema.tables.insert(name.to_owned(), table(engine, name, lines));
        } else if let Some((kind, rest)) = statement.split_once("INDEX ").filter(|(kind, _)| kind.starts_with("CREATE"))
        {
            let table = rest.split_once(" ON ").and_then(|(_, on)| quoted(on)).unwrap_or_default();
            let index = index(quoted(rest).unwrap_or_default().to_owned(), kind.contains("UNIQUE"), rest);
            if let Some(table) = schema.tables.get_mut(table) {
                table.indexes.push(index);
            }
        }
    }
    for table in schema.tables.values_mut() {
        table.foreign_keys.sort_by(|a, b| (&a.column, &a.name, &a.table).cmp(&(&b.column, &b.name, &b.table)));
        table.indexes.sort();
    }
    schema
}

fn table<'a>(engine: EngineKind, name: &str, lines: impl Iterator<Item = &'a str>) -> Table {
    let mut table = Table::default();
    let mut primary = BTreeSet::new();
    for line in lines {
        if line.starts_with("PRIMARY KEY ") {
            let index = index("PRIMARY".into(), true, line);
            primary.extend(index.columns.clone());
            table.indexes.push(index);
        } else if line.starts_with("UNIQUE (") {
            // SQLite names the index of a constraint itself, with a number.
            let count = table.indexes.len() + 1;
            table.indexes.push(index(format!("sqlite_autoindex_{name}_{count}"), true, line));
        } else if let Some(rest) = line.strip_prefix("UNIQUE KEY ").or_else(|| line.strip_prefix("KEY ")) {
            table.indexes.push(index(quoted(rest).unwrap_or_default().to_owned(), line.starts_with("UNIQUE"), rest));
        } else if line.starts_with("CONSTRAINT ") || line.starts_with("FOREIGN KEY ") {
            table.foreign_keys.push(foreign_key(engine, line));
        } else {
            table.columns.push(column(engine, line));
        }
    }
    for column in table.columns.iter_mut().filter(|column| primary.contains(&column.name)) {
        column.primary_key = true;
    }
    table
}

fn column(engine: EngineKind, line: &str) -> Column {
    let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
    let end = CLAUSES.iter().filter_map(|clause| rest.find(clause)).min().unwrap_or(rest.len());
    let (sql_type, clauses) = rest.split_at(end);
    let default = clauses.split_once(" DEFAULT ").map(|(_, default)| {
        let default = default.split(" AUTO_INCREMENT").next().unwrap_or_default();
        let default = default.split(" CHECK (").next().unwrap_or_default();
        default.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')).unwrap_or(default).to_owned()
    });
    let extra = if clauses.ends_with(" AUTO_INCREMENT") { "auto_increment" } else { "" };
    // MariaDB does not distinguish a default of NULL from none.
    let default = default.filter(|default| engine == EngineKind::Sqlite || default != "NULL");
    let choices = match engine {
        EngineKind::Sqlite => checked_choices(line).into_iter().next().map(|(_, choices)| choices).unwrap_or_default(),
        EngineKind::MariaDb => enum_choices(sql_type),
    };
    Column {
        choices,
        name: name.trim_matches('`').to_owned(),
        sql_type: sql_type.to_owned(),
        not_null: clauses.contains(" NOT NULL"),
        default,
        primary_key: clauses.contains(" PRIMARY KEY"),
        extra: extra.to_owned(),
        charset: clauses.contains(" COLLATE utf8_general_ci").then(|| "utf8mb3".to_owned()),
        ..Column::default()
    }
}

pub(super) fn checked_choices(create: &str) -> Vec<(String, Vec<String>)> {
    let word = |text: &str, word: &str| text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    let starts = create.match_indices(['c', 'C']).filter(|(at, _)| word(&create[*at..], "CHECK"));
    let check = |at: usize| {
        let inner = create[at + "CHECK".len()..].trim_start().strip_prefix('(')?.trim_start();
        let end = inner.find(|c: char| c.is_whitespace() || c == '(')?;
        let (column, rest) = inner.split_at(end);
        let rest = rest.trim_start();
        let list = word(rest, "IN").then(|| rest["IN".len()..].trim_start().strip_prefix('(')).flatten()?;
        let (choices, rest) = literals(list)?;
        // Nothing else may make it true.
        rest.trim_start().starts_with(')').then(|| (column.trim_matches(['`', '"', '[', ']']).to_owned(), choices))
    };
    starts.filter_map(|(at, _)| check(at)).collect()
}

pub(super) fn enum_choices(sql_type: &str) -> Vec<String> {
    sql_type.strip_prefix("enum(").and_then(literals).map(|(choices, _)| choices).unwrap_or_default()
}

/// The texts of a list that is closed by a parenthesis, and what follows it.
fn literals(list: &str) -> Option<(Vec<String>, &str)> {
    let (mut texts, mut rest) = (Vec::new(), list.trim_start());
    loop {
        let mut text = String::new();
        rest = rest.strip_prefix('\'')?;
        loop {
            let (part, after) = rest.split_once('\'')?;
            text.push_str(part);
            rest = after;
            // A quote in the text is doubled.
            match rest.strip_prefix('\'') {
                Some(after) => {
                    text.push('\'');
                    rest = after;
                }
                None => break,
            }
        }
        texts.push(text);
        rest = rest.trim_start();
        match rest.strip_prefix(',') {
            Some(after) => rest = after.trim_start(),
            None => return Some((texts, rest.strip_prefix(')')?)),
        }
    }
}

fn foreign_key(engine: EngineKind, line: &str) -> ForeignKey {
    let (head, tail) = line.split_once(" REFERENCES ").unwrap_or((line, ""));
    let (name, column) = head.split_once("FOREIGN KEY (").unwrap_or((head, ""));
    let action = |when: &str| {
        let found = tail.split_once(when).map(|(_, action)| action.split(" ON ").next().unwrap_or_default());
        // The defaults of both engines.
        found.unwrap_or(if engine == EngineKind::Sqlite { "NO ACTION" } else { "RESTRICT" }).to_owned()
    };
    ForeignKey {
        name: quoted(name).map(str::to_owned),
        column: column.trim_matches(['`', ')']).to_owned(),
        table: quoted(tail).unwrap_or_default().to_owned(),
        to: tail.split_once('(').and_then(|(_, to)| quoted(to)).unwrap_or("id").to_owned(),
        on_update: action(" ON UPDATE "),
        on_delete: action(" ON DELETE "),
    }
}

fn index(name: String, unique: bool, line: &str) -> Index {
    let columns = line.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map_or("", |(columns, _)| columns);
    Index { name, unique, columns: columns.split(", ").map(|column| column.trim_matches('`').to_owned()).collect() }
}

/// The first name between backticks.
fn quoted(text: &str) -> Option<&str> {
    text.split('`').nth(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choices_of_a_check_and_of_an_enum_are_read() {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let create = "CREATE TABLE t (`a` text CHECK (`a` in ('1', '2c')) null, b text check(b IN('it''s')), c INTEGER \
                      CHECK (c > 0), d text CHECK (d in ('x') or d = 'y'), \"e\" CHECK (\"e\" in ('é','')), f CHECK (f in (1, 2)))";
        assert_eq!(
            checked_choices(create),
            [("a".to_owned(), texts(&["1", "2c"])), ("b".into(), texts(&["it's"])), ("e".into(), texts(&["é", ""]))]
        );
        assert_eq!(enum_choices("enum('1','2c','it''s')"), texts(&["1", "2c", "it's"]));
        for other in ["varchar(255)", "enum(", "enum('a", "set('a')"] {
            assert_eq!(enum_choices(other), texts(&[]), "{other}");
        }
    }
}
