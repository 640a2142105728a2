//! Plans for monitors: add, edit, clone, pause, resume, delete.

use std::collections::{BTreeMap, BTreeSet};

use super::names::{find_notification, find_tag};
use super::{Assignment, Cell, Plan};
use crate::error::Problem;
use crate::model::state::{Monitor, MonitorConfig, TagLink};
use crate::model::{check_accepted, field};
use crate::value::{Cells, Row, Value};

/// The default color of a tag on the server's page: the first of its palette in 2.5.3.
const TAG_COLOR: &str = "#4B5563";

/// A tag to attach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagRequest {
    /// Name of the tag.
    pub name: String,
    /// Value on this monitor; empty for none.
    pub value: String,
}

impl TagRequest {
    /// Reads `name` or `name=value`.
    pub fn parse(text: &str) -> TagRequest {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        TagRequest { name: name.trim().to_owned(), value: value.trim().to_owned() }
    }
}

/// Which notifications a new monitor gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Notify {
    /// Those marked as default, as the server's page does.
    #[default]
    Defaults,
    /// None at all.
    Nothing,
    /// These, by name or id, and no others.
    Only(Vec<String>),
}

/// A new monitor.
#[derive(Clone, Debug, Default)]
pub struct New {
    /// Its row, without an id.
    pub row: Cells,
    /// Its tags.
    pub tags: Vec<TagRequest>,
    /// Its notifications.
    pub notify: Notify,
}

/// Changes of existing monitors.
#[derive(Clone, Debug, Default)]
pub struct Edit {
    /// Cells.
    pub set: Cells,
    /// Tags to attach; an attached tag with another value gets the new value.
    pub add_tags: Vec<TagRequest>,
    /// Tags to remove, by name.
    pub remove_tags: Vec<String>,
    /// Notifications to attach.
    pub add_notifications: Vec<String>,
    /// Notifications to remove.
    pub remove_notifications: Vec<String>,
}

/// Plans to create `monitors`, and the tags that do not exist yet if `create_tags` is set.
pub fn plan_add(state: &MonitorConfig, monitors: &[New], create_tags: bool) -> Result<Plan, Vec<Problem>> {
    let mut plan = Plan::of(&state.fingerprint);
    let mut problems = Vec::new();
    let mut tags = Tags::new(state, create_tags);
    let mut links = Vec::new();
    let mut tokens: BTreeSet<&str> =
        state.monitors.values().filter_map(|monitor| monitor.row.text("push_token")).collect();
    // Tags first, then all monitors, then all links: consecutive rows of one table are written together.
    for new in monitors {
        let mut wished: Vec<(Cell, String)> = Vec::new();
        for request in new.tags.iter().filter_map(|request| tags.want(request, &mut plan, &mut problems)) {
            // The same tag with the same value twice is one.
            if !wished.contains(&request) {
                wished.push(request);
            }
        }
        links.push((wished, notifications(state, &new.notify, owner_of(state, new), &mut problems)));
    }
    let mut made = Vec::new();
    for new in monitors {
        let text = |column: &str| new.row.text(column).unwrap_or_default();
        let name = text("name").to_owned();
        let token = text("push_token");
        if !token.is_empty() && !tokens.insert(token) {
            problems.push(token_taken(state, token));
        }
        let owner = owner_of(state, new);
        let cell = |column: &String, value: &Value| match (column.as_str(), owner) {
            ("user_id", Some(owner)) => owner.into(),
            _ => Cell::Is(value.clone()),
        };
        let row = new.row.iter().map(|(column, value)| (column.clone(), cell(column, value))).collect();
        made.push((plan.insert("monitor", format!("monitor `{name}`"), row), name));
    }
    for ((at, name), (wished, _)) in made.iter().zip(&links) {
        for (tag, value) in wished {
            let row = vec![
                ("monitor_id".to_owned(), Cell::IdOf(*at)),
                ("tag_id".to_owned(), tag.clone()),
                ("value".to_owned(), value.clone().into()),
            ];
            plan.insert("monitor_tag", format!("tag of monitor `{name}`"), row);
        }
    }
    for ((at, name), (_, notified)) in made.iter().zip(&links) {
        for id in notified {
            let row = vec![
                ("monitor_id".to_owned(), Cell::IdOf(*at)),
                ("notification_id".to_owned(), Cell::Is(Value::Int(*id))),
            ];
            plan.insert("monitor_notification", format!("notification of monitor `{name}`"), row);
        }
    }
    if problems.is_empty() { Ok(plan) } else { Err(problems) }
}

/// The user of a new monitor: that of its group, because the page shows users only their own monitors (2.5.3), or else the
/// one it was made for.
fn owner_of(state: &MonitorConfig, new: &New) -> Option<i64> {
    new.row.int("parent").and_then(|group| state.user_of(group)).or_else(|| new.row.int("user_id"))
}

/// Plans to give `monitor` and all monitors in it to the user of the group `parent`.
fn plan_follow(plan: &mut Plan, state: &MonitorConfig, monitor: i64, parent: Option<i64>) {
    let Some(owner) = parent.and_then(|parent| state.user_of(parent)) else { return };
    for id in state.family(monitor) {
        let Some(monitor) = state.monitors.get(&id) else { continue };
        let set = Assignment::of("monitor", &monitor.row, &[("user_id", owner.into())]);
        plan.update("monitor", format!("monitor `{}`", state.path(id)), id, set);
    }
}

/// Plans `edit` on `monitors`, whose rows contain every column.
pub fn plan_edit(
    state: &MonitorConfig,
    monitors: &BTreeMap<i64, Monitor>,
    edit: &Edit,
    create_tags: bool,
) -> Result<Plan, Vec<Problem>> {
    let mut plan = Plan::of(&state.fingerprint);
    let mut problems = Vec::new();
    let links = LinkEdit::find(state, edit, create_tags, &mut plan, &mut problems);
    for (column, value) in &edit.set {
        let table = state.database.schema.table("monitor");
        problems.extend(table.and_then(|table| check_accepted(table, column, value)));
        match (column.as_str(), value.int(), value.text()) {
            ("parent", Some(parent), _) => problems.extend(check_parent(state, monitors, parent)),
            ("push_token", _, Some(token)) if !token.is_empty() => {
                let other = uses_token(state, token).filter(|id| !monitors.contains_key(id));
                if monitors.len() > 1 || other.is_some() {
                    problems.push(token_taken(state, token));
                }
            }
            _ => {}
        }
    }
    for monitor in monitors.values() {
        let subject = format!("monitor `{}`", state.path(monitor.id));
        let set = edit
            .set
            .iter()
            .filter(|(column, value)| !monitor.row.cell(column).same(value))
            .map(|(column, value)| Assignment {
                column: column.clone(),
                old: monitor.row.cell(column).clone(),
                new: Cell::Is(value.clone()),
                secret: field(column).is_some_and(|field| field.secret),
            })
            .collect();
        plan.update("monitor", &subject, monitor.id, set);
        if let Some(parent) = edit.set.get("parent") {
            plan_follow(&mut plan, state, monitor.id, parent.int());
        }
        links.plan(&mut plan, state, monitor);
    }
    if problems.is_empty() { Ok(plan) } else { Err(problems) }
}

/// The tags and notifications of an edit.
struct LinkEdit {
    attach: Vec<(Cell, String)>,
    detach: Vec<i64>,
    notify: Vec<i64>,
    hush: Vec<i64>,
}

impl LinkEdit {
    /// Finds them by their names; plans the tags that are to be created.
    fn find(
        state: &MonitorConfig,
        edit: &Edit,
        create_tags: bool,
        plan: &mut Plan,
        problems: &mut Vec<Problem>,
    ) -> LinkEdit {
        let mut tags = Tags::new(state, create_tags);
        let attach = edit.add_tags.iter().filter_map(|request| tags.want(request, plan, problems)).collect();
        problems.iter_mut().for_each(|problem| problem.subject = "--add-tag".into());
        let find = |name: &String| find_tag(state, name);
        let detach =
            edit.remove_tags.iter().filter_map(|name| find(name).map_err(|p| problems.push(not_there(p))).ok());
        let detach = detach.collect();
        let mut notifications = |option: &str, names: &[String]| -> Vec<i64> {
            let find = |name: &String| find_notification(state, name);
            let named = |problem: Problem| Problem { subject: option.to_owned(), ..problem };
            names.iter().filter_map(|name| find(name).map_err(|p| problems.push(named(p))).ok()).collect()
        };
        let notify = notifications("--add-notification", &edit.add_notifications);
        let hush = notifications("--remove-notification", &edit.remove_notifications);
        LinkEdit { attach, detach, notify, hush }
    }

    /// Plans them for `monitor`.
    fn plan(&self, plan: &mut Plan, state: &MonitorConfig, monitor: &Monitor) {
        let subject = format!("monitor `{}`", state.path(monitor.id));
        for (tag, value) in &self.attach {
            let id = tag.id();
            let there: Vec<&TagLink> = monitor.tags.iter().filter(|link| Some(link.tag) == id).collect();
            if there.iter().any(|link| link.value == *value) {
                continue;
            }
            plan_detach(plan, state, &subject, &there);
            let row = vec![
                ("monitor_id".to_owned(), monitor.id.into()),
                ("tag_id".to_owned(), tag.clone()),
                ("value".to_owned(), value.clone().into()),
            ];
            let name = tag.id().map_or_else(|| "new".to_owned(), |id| name_in(&state.tags, id));
            plan.insert("monitor_tag", format!("tag `{name}` of {subject}"), row);
        }
        let off: Vec<&TagLink> = monitor.tags.iter().filter(|link| self.detach.contains(&link.tag)).collect();
        plan_detach(plan, state, &subject, &off);
        let has = |id: i64| monitor.notifications.iter().any(|link| link.notification == id);
        for id in self.notify.iter().copied().filter(|id| !has(*id)) {
            let row = vec![
                ("monitor_id".to_owned(), monitor.id.into()),
                ("notification_id".to_owned(), Cell::Is(Value::Int(id))),
            ];
            let name = name_in(&state.notifications, id);
            plan.insert("monitor_notification", format!("notification `{name}` of {subject}"), row);
        }
        for link in monitor.notifications.iter().filter(|link| self.hush.contains(&link.notification)) {
            let name = name_in(&state.notifications, link.notification);
            plan.delete("monitor_notification", format!("notification `{name}` of {subject}"), ("id", link.id), 1);
        }
    }
}

/// A tag that is to be removed is not created first.
fn not_there(problem: Problem) -> Problem {
    Problem { hint: None, ..Problem { subject: "--remove-tag".into(), ..problem } }
}

/// Plans to delete `ids`. Children of a deleted group stay and lose their parent, as on the server's page, unless they are
/// among `ids` themselves. `dependents` counts, for each monitor, the rows of each table that go with it.
pub fn plan_delete(state: &MonitorConfig, ids: &[i64], dependents: &BTreeMap<i64, BTreeMap<String, u64>>) -> Plan {
    let mut plan = Plan::of(&state.fingerprint);
    for id in ids {
        let subject = format!("monitor `{}`", state.path(*id));
        for child in state.children(*id).filter(|child| !ids.contains(&child.id)) {
            let (old, new) = (Value::Int(*id), Cell::Is(Value::Null));
            let cleared = Assignment { column: "parent".into(), old, new, secret: false };
            plan.update("monitor", format!("monitor `{}`", state.path(child.id)), child.id, vec![cleared]);
        }
        // Table by table: converted databases may have lost the foreign keys that would delete these rows
        // automatically, and some tables never had one.
        for (table, rows) in dependents.get(id).into_iter().flatten() {
            plan.delete(table, format!("{table} of {subject}"), ("monitor_id", *id), *rows);
        }
    }
    // Children before parents, so that every reference stays valid.
    let mut order: Vec<i64> = ids.to_vec();
    order.sort_by_key(|id| std::cmp::Reverse(state.path(*id).matches('/').count()));
    for id in order {
        plan.delete("monitor", format!("monitor `{}`", state.path(id)), ("id", id), 1);
    }
    plan
}

/// What is wrong with `parent` as the parent of `monitors`.
fn check_parent(state: &MonitorConfig, monitors: &BTreeMap<i64, Monitor>, parent: i64) -> Vec<Problem> {
    let below = |id: &&i64| state.family(**id).contains(&parent);
    let wrong = |id: &i64| {
        let name = state.path(*id);
        let message = if *id == parent {
            format!("`{name}` cannot be its own parent")
        } else {
            format!("`{}` is inside `{name}`: the groups would form a cycle", state.path(parent))
        };
        Problem::new("--parent", message)
    };
    monitors.keys().filter(below).map(wrong).collect()
}

fn plan_detach(plan: &mut Plan, state: &MonitorConfig, subject: &str, links: &[&TagLink]) {
    for link in links {
        let name = name_in(&state.tags, link.tag);
        plan.delete("monitor_tag", format!("tag `{name}` of {subject}"), ("id", link.id), 1);
    }
}

/// The name of the one with this id.
fn name_in(rows: &[Row], id: i64) -> String {
    let found = rows.iter().find(|row| row.int("id") == Some(id));
    found.and_then(|row| row.text("name")).unwrap_or_default().to_owned()
}

fn uses_token(state: &MonitorConfig, token: &str) -> Option<i64> {
    let uses = |monitor: &&Monitor| monitor.row.text("push_token") == Some(token);
    state.monitors.values().find(uses).map(|monitor| monitor.id)
}

fn token_taken(state: &MonitorConfig, token: &str) -> Problem {
    let owner = uses_token(state, token).map_or("another monitor".into(), |id| format!("`{}`", state.path(id)));
    Problem::new("--push-token", format!("this push token belongs to {owner} already"))
        .hint("omit `--push-token` to generate a new one")
}

fn notifications(state: &MonitorConfig, notify: &Notify, owner: Option<i64>, problems: &mut Vec<Problem>) -> Vec<i64> {
    match notify {
        Notify::Nothing => Vec::new(),
        // The page offers users only their own.
        Notify::Defaults => state
            .notifications
            .iter()
            .filter(|row| row.cell("is_default").truthy() && row.int("user_id").is_none_or(|user| Some(user) == owner))
            .filter_map(|row| row.int("id"))
            .collect(),
        Notify::Only(names) => {
            let mut ids: Vec<i64> = Vec::new();
            for name in names {
                match find_notification(state, name) {
                    Ok(id) if !ids.contains(&id) => ids.push(id),
                    Ok(_) => {}
                    Err(problem) => problems.push(problem),
                }
            }
            ids
        }
    }
}

/// Tags by name, including those that the plan itself creates.
struct Tags<'a> {
    state: &'a MonitorConfig,
    create: bool,
    made: BTreeMap<String, usize>,
    missed: BTreeSet<String>,
}

impl<'a> Tags<'a> {
    fn new(state: &'a MonitorConfig, create: bool) -> Self {
        Tags { state, create, made: BTreeMap::new(), missed: BTreeSet::new() }
    }

    fn want(&mut self, request: &TagRequest, plan: &mut Plan, problems: &mut Vec<Problem>) -> Option<(Cell, String)> {
        let cell = match (find_tag(self.state, &request.name), self.made.get(&request.name)) {
            (Ok(id), _) => Cell::Is(Value::Int(id)),
            (Err(_), Some(at)) => Cell::IdOf(*at),
            (Err(_), None) if self.create && !request.name.is_empty() => {
                let row =
                    vec![("name".to_owned(), request.name.clone().into()), ("color".to_owned(), TAG_COLOR.into())];
                let at = plan.insert("tag", format!("tag `{}`", request.name), row);
                self.made.insert(request.name.clone(), at);
                Cell::IdOf(at)
            }
            (Err(problem), None) => {
                if self.missed.insert(request.name.clone()) {
                    problems.push(problem);
                }
                return None;
            }
        };
        Some((cell, request.value.clone()))
    }
}
