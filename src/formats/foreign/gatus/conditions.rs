//! Conditions of Gatus: `[STATUS] == any(200, 429)`, `[BODY].status == UP`, `[CERTIFICATE_EXPIRATION] > 48h`.

use super::super::super::node::{At, Entry, Node};
use super::super::draft::{Draft, entry};

/// The conditions that Uptime Kuma can check.
#[derive(Default)]
pub(super) struct Conditions {
    codes: Vec<Node>,
    /// A text in the body, and whether it must be missing.
    keyword: Option<(Node, bool)>,
    /// A value in the body: path, operator, value.
    query: Option<[Node; 3]>,
    certificate: Option<Node>,
    domain: Option<Node>,
}

impl Conditions {
    /// Reads conditions, and reports those without a counterpart.
    pub(super) fn read(draft: &mut Draft, what: &str, list: &[Node]) -> Conditions {
        let mut conditions = Conditions::default();
        for one in list {
            let text = one.scalar().unwrap_or_default();
            if let Err(why) = conditions.add(draft, one, &text) {
                draft.skip(&one.at, format!("`{text}` of {what}"), why);
            }
        }
        conditions
    }

    /// Adds one condition.
    ///
    /// # Errors
    /// Why there is nothing like it.
    fn add(&mut self, draft: &mut Draft, one: &Node, text: &str) -> Result<(), String> {
        let none = || Err("Uptime Kuma has no such condition".to_owned());
        let Some((left, operator, right)) = split(text) else { return none() };
        let node = |text: &str| Node::new(one.at.clone(), text);
        match left {
            "[CONNECTED]" if right == "true" => draft.account(one),
            "[DNS_RCODE]" if right == "NOERROR" => draft.account(one),
            "[STATUS]" => match codes(operator, right) {
                Some(codes) => self.codes.extend(codes.iter().map(|code| node(code))),
                None => return none(),
            },
            "[CERTIFICATE_EXPIRATION]" if operator.starts_with('>') => self.certificate = Some(node("true")),
            "[DOMAIN_EXPIRATION]" if operator.starts_with('>') => self.domain = Some(node("true")),
            "[BODY]" => match (pattern(right), self.has_body()) {
                (Some(word), false) => self.keyword = Some((node(word), operator == "!=")),
                (Some(_), true) => return Err("a monitor checks one condition of the body".into()),
                (None, _) => return none(),
            },
            _ => match left.strip_prefix("[BODY]").filter(|path| !path.is_empty()) {
                Some(_) if self.has_body() => return Err("a monitor checks one condition of the body".into()),
                Some(_) if right.contains('(') => return none(),
                Some(path) => {
                    let path = path.strip_prefix('.').unwrap_or(path);
                    self.query = Some([node(path), node(operator), node(right.trim_matches('"'))]);
                }
                None => return none(),
            },
        }
        Ok(())
    }

    fn has_body(&self) -> bool {
        self.keyword.is_some() || self.query.is_some()
    }

    /// The type of a monitor with these conditions; adds their fields.
    pub(super) fn of_request(&self, fields: &mut Vec<Entry>, at: &At) -> &'static str {
        // Gatus accepts every status that no condition refuses.
        let codes = if self.codes.is_empty() { vec![Node::new(at.clone(), "100-599")] } else { self.codes.clone() };
        fields.push(entry("accepted_statuscodes_json", Node::new(codes[0].at.clone(), codes)));
        let flag = |node: &Node| Node::new(node.at.clone(), true);
        fields.extend(self.certificate.as_ref().map(|node| entry("expiry_notification", flag(node))));
        fields.extend(self.domain.as_ref().map(|node| entry("domain_expiry_notification", flag(node))));
        match (&self.query, &self.keyword) {
            (Some([path, operator, value]), _) => {
                let names = ["json_path", "json_path_operator", "expected_value"];
                fields.extend(
                    names.into_iter().zip([path, operator, value]).map(|(name, node)| entry(name, node.clone())),
                );
                "json-query"
            }
            (None, Some((word, is_missing))) => {
                fields.push(entry("keyword", word.clone()));
                fields.push(entry("invert_keyword", Node::new(word.at.clone(), *is_missing)));
                "keyword"
            }
            (None, None) => "http",
        }
    }

    /// Reports conditions that only requests can have.
    pub(super) fn refuse_request(&self, draft: &mut Draft, what: &str) {
        let queried = self.query.iter().map(|[path, ..]| path);
        let others = self.codes.iter().chain(&self.certificate).chain(&self.domain);
        for node in others.chain(self.keyword.iter().map(|(word, _)| word)).chain(queried) {
            draft.skip(&node.at, format!("a condition of {what}"), "its type does not check it");
        }
    }
}

/// The parts of `[STATUS] == 200`.
fn split(text: &str) -> Option<(&str, &str, &str)> {
    ["==", "!=", "<=", ">=", "<", ">"].into_iter().find_map(|operator| {
        let (left, right) = text.split_once(&format!(" {operator} "))?;
        Some((left.trim(), operator, right.trim()))
    })
}

/// Status codes and ranges.
fn codes(operator: &str, right: &str) -> Option<Vec<String>> {
    let number = |text: &str| text.trim().parse::<u16>().ok().filter(|code| (100..1000).contains(code));
    let range = |from: u16, to: u16| Some(vec![format!("{from}-{to}")]);
    match (operator, right.strip_prefix("any(").and_then(|list| list.strip_suffix(')'))) {
        ("==", Some(list)) => list.split(',').map(|code| number(code).map(|code| code.to_string())).collect(),
        ("==", None) => Some(vec![number(right)?.to_string()]),
        // Below 200, no response is complete.
        ("<", None) => range(200, number(right)?.checked_sub(1).filter(|to| *to >= 200)?),
        ("<=", None) => range(200, number(right).filter(|to| *to >= 200)?),
        (">=", None) => range(number(right)?, 599),
        (">", None) => range(number(right)? + 1, 599),
        _ => None,
    }
}

/// The text in `pat(*text*)`.
fn pattern(right: &str) -> Option<&str> {
    let inner = right.strip_prefix("pat(*")?.strip_suffix("*)")?;
    (!inner.is_empty() && !inner.contains('*')).then_some(inner)
}
