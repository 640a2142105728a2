//! The tree of monitors: their parents, their paths, and the groups that exist only in paths.

use std::collections::HashMap;

use super::super::super::node::{At, Data, Node};
use super::{Draft, DraftMonitor, Parent, Place, Places, entry};

impl Draft {
    /// Resolves the parents of monitors and adds them to the fixture, groups first.
    pub(in super::super) fn place(&mut self) -> Places {
        let mut monitors = std::mem::take(&mut self.monitors);
        let mut parents = self.parents(&mut monitors);
        self.open_circles(&monitors, &mut parents);
        let depths: Vec<usize> = (0..monitors.len()).map(|at| depth(&parents, at)).collect();
        let mut order: Vec<usize> = (0..monitors.len()).collect();
        order.sort_by_key(|at| if is_group(&monitors[*at]) { (0, depths[*at]) } else { (1, 0) });
        // Parents come before children, also if the source has children in a monitor that is not a group.
        let mut placing = order.clone();
        placing.sort_by_key(|at| depths[*at]);
        let mut paths: Vec<String> = vec![String::new(); monitors.len()];
        for at in placing {
            let monitor = &mut monitors[at];
            let name = monitor.name.scalar().unwrap_or_default().trim().to_owned();
            let above = parents[at].map(|parent| paths[parent].clone());
            let prefix = above.map(|path| path + "/").unwrap_or_default();
            let path = self.unique("monitors", &format!("{prefix}{name}"));
            monitor.name = Node::new(monitor.name.at.clone(), &path[prefix.len()..]);
            paths[at] = path;
        }
        let mut places = HashMap::new();
        for (monitor, path) in monitors.iter().zip(&paths) {
            let url = monitor.fields.iter().find(|field| field.key == "url").and_then(|field| field.value.scalar());
            for key in &monitor.keys {
                places.entry(key.clone()).or_insert_with(|| Place { path: path.clone(), url: url.clone() });
            }
        }
        let mut nodes: Vec<Option<Node>> = monitors
            .into_iter()
            .zip(&parents)
            .map(|(monitor, parent)| Some(node(monitor, parent.map(|parent| paths[parent].as_str()))))
            .collect();
        for at in order {
            if let Some(node) = nodes[at].take() {
                self.add("monitors", node);
            }
        }
        Places(places)
    }

    /// The index of the parent of each monitor; groups that exist only in paths are appended.
    fn parents(&mut self, monitors: &mut Vec<DraftMonitor>) -> Vec<Option<usize>> {
        let mut keys: HashMap<String, usize> = HashMap::new();
        for (at, monitor) in monitors.iter().enumerate() {
            for key in &monitor.keys {
                keys.entry(key.clone()).or_insert(at);
            }
        }
        let mut parents = vec![None; monitors.len()];
        for at in 0..monitors.len() {
            let Parent::Key(key) = monitors[at].parent.clone() else { continue };
            parents[at] = key.text().and_then(|key| keys.get(key)).copied();
            if parents[at].is_none() {
                let id = key.scalar().unwrap_or_default();
                let id = id.split_once('/').map_or(id.as_str(), |(_, id)| id).to_owned();
                match id.parse::<i64>() {
                    Ok(_) => self.miss_group(&id, &key.at),
                    // A name refers to a group on the instance.
                    Err(_) => monitors[at].parent = Parent::Existing(Node::new(key.at, id)),
                }
            }
        }
        // Shorter paths first: `A/B` then finds `A` in any order of the source.
        let length = |monitor: &DraftMonitor| match &monitor.parent {
            Parent::Groups(names) => names.len(),
            _ => 0,
        };
        let mut order: Vec<usize> = (0..monitors.len()).collect();
        order.sort_by_key(|at| (!is_group(&monitors[*at]), length(&monitors[*at])));
        let mut groups: HashMap<(Option<usize>, String), usize> = HashMap::new();
        for at in order {
            if let Parent::Groups(names) = &monitors[at].parent {
                let names = names.clone();
                parents[at] = open_groups(&names, monitors, &mut parents, &mut groups);
            }
            if is_group(&monitors[at]) {
                let name = monitors[at].name.scalar().unwrap_or_default();
                groups.entry((parents[at], name)).or_insert(at);
            }
        }
        for names in std::mem::take(&mut self.opened) {
            open_groups(&names, monitors, &mut parents, &mut groups);
        }
        parents
    }

    fn miss_group(&mut self, id: &str, at: &At) {
        self.ledger.account(at);
        if self.missed.insert(("groups", self.key(id))) {
            self.skip(at, format!("group `{id}`"), "it is not in the file; its monitors are imported without a group");
        }
    }

    /// Removes monitors from groups that contain themselves.
    fn open_circles(&mut self, monitors: &[DraftMonitor], parents: &mut [Option<usize>]) {
        for at in 0..parents.len() {
            let mut above = parents[at];
            let mut steps = 0;
            while let Some(parent) = above {
                steps += 1;
                if parent == at || steps > parents.len() {
                    break;
                }
                above = parents[parent];
            }
            if above == Some(at) {
                parents[at] = None;
                let name = monitors[at].name.scalar().unwrap_or_default();
                let why = "the group contains itself; the monitor is imported without a group";
                self.skip(&monitors[at].at, format!("the parent of monitor `{name}`"), why);
            }
        }
    }
}

fn is_group(monitor: &DraftMonitor) -> bool {
    monitor.kind.text() == Some("group")
}

fn depth(parents: &[Option<usize>], at: usize) -> usize {
    std::iter::successors(parents[at], |parent| parents[*parent]).take(parents.len()).count()
}

/// The index of the last of `names`, each inside the one before; missing ones are created.
fn open_groups(
    names: &[Node],
    monitors: &mut Vec<DraftMonitor>,
    parents: &mut Vec<Option<usize>>,
    groups: &mut HashMap<(Option<usize>, String), usize>,
) -> Option<usize> {
    let mut above = None;
    for name in names {
        let key = (above, name.scalar().unwrap_or_default());
        let at = *groups.entry(key).or_insert_with(|| {
            let at = name.at.clone();
            monitors.push(DraftMonitor {
                at: at.clone(),
                name: name.clone(),
                kind: Node::new(at, "group"),
                keys: Vec::new(),
                parent: Parent::Root,
                fields: Vec::new(),
            });
            parents.push(above);
            monitors.len() - 1
        });
        above = Some(at);
    }
    above
}

/// A monitor of the native fixture.
fn node(monitor: DraftMonitor, parent: Option<&str>) -> Node {
    let at = match &monitor.parent {
        Parent::Key(name) | Parent::Existing(name) => name.at.clone(),
        Parent::Groups(names) => names.last().map_or(monitor.at.clone(), |name| name.at.clone()),
        Parent::Root => monitor.at.clone(),
    };
    let mut entries = vec![entry("name", monitor.name), entry("type", monitor.kind)];
    if let Parent::Existing(path) = &monitor.parent {
        entries.push(entry("parent", path.clone()));
    }
    entries.extend(parent.map(|path| entry("parent", Node::new(at, path))));
    entries.extend(monitor.fields);
    Node { at: monitor.at, data: Data::Map(entries) }
}
