//! Paths into a file: `$.services[*]`, `attributes.url`, `hosts[0]`, `["a.b"].c`.

use super::super::node::{Data, Node};

/// A parsed path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// The value of a key.
    Key(String),
    /// An item of a list.
    Item(usize),
    /// All items of a list, or all values of a map.
    All,
}

impl Path {
    /// The path in `text`; `None` if it is not one.
    pub(super) fn read(text: &str) -> Option<Path> {
        let mut rest = text.trim();
        rest = rest.strip_prefix('$').unwrap_or(rest);
        let mut steps = Vec::new();
        while !rest.is_empty() {
            if let Some(inner) = rest.strip_prefix('[') {
                let (step, after) = bracket(inner)?;
                steps.push(step);
                rest = after;
                continue;
            }
            rest = rest.strip_prefix('.').unwrap_or(rest);
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            let key = &rest[..end];
            match key {
                "" => return None,
                "*" => steps.push(Step::All),
                key => steps.push(Step::Key(key.to_owned())),
            }
            rest = &rest[end..];
        }
        Some(Path(steps))
    }

    /// Whether it may lead to several values.
    pub(super) fn is_many(&self) -> bool {
        self.0.contains(&Step::All)
    }

    /// The values it leads to.
    pub(super) fn find<'n>(&self, node: &'n Node) -> Vec<&'n Node> {
        let mut found = vec![node];
        for step in &self.0 {
            found = found.into_iter().flat_map(|node| step.find(node)).collect();
        }
        found
    }
}

impl Step {
    fn find<'n>(&self, node: &'n Node) -> Vec<&'n Node> {
        match (self, &node.data) {
            (Step::Key(key), _) => {
                // Headers of tables are often written in another case.
                let near = || node.entries().iter().find(|one| one.key.eq_ignore_ascii_case(key)).map(|one| &one.value);
                node.find(key).or_else(near).into_iter().collect()
            }
            (Step::Item(at), Data::List(items)) => items.get(*at).into_iter().collect(),
            (Step::All, Data::List(items)) => items.iter().collect(),
            (Step::All, Data::Map(entries)) => entries.iter().map(|one| &one.value).collect(),
            _ => Vec::new(),
        }
    }
}

/// The step in `0]…`, `*]…`, `"key"]…`, and what follows.
fn bracket(inner: &str) -> Option<(Step, &str)> {
    if let Some(quote) = inner.chars().next().filter(|first| matches!(first, '"' | '\'')) {
        let (key, after) = inner[1..].split_once(quote)?;
        return Some((Step::Key(key.to_owned()), after.strip_prefix(']')?));
    }
    let (text, after) = inner.split_once(']')?;
    match text.trim() {
        "*" => Some((Step::All, after)),
        number => Some((Step::Item(number.parse().ok()?), after)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::node::At;
    use super::*;

    #[test]
    fn a_path_leads_to_values() {
        let json = serde_json::json!({"a.b": [{"c": 1}, {"c": 2}], "d": {"x": {"e": 3}, "y": {"e": 4}}});
        let node = Node::from_json(&At::nowhere("-"), &json);
        for (path, expected) in [
            ("$[\"a.b\"][*].c", "[1,2]"),
            ("['a.b'][1].c", "[2]"),
            ("$.d.*.e", "[3,4]"),
            ("d.x.E", "[3]"),
            ("d.z", "[]"),
            ("a.b", "[]"),
        ] {
            let found: Vec<_> = Path::read(path).expect(path).find(&node).into_iter().map(Node::json).collect();
            assert_eq!(serde_json::json!(found).to_string(), expected, "{path}");
        }
        for path in ["a..b", "a[", "a[x]", "a."] {
            assert_eq!(Path::read(path), None, "{path}");
        }
    }
}
