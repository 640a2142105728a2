//! `kumadb restore --monitor`: restores selected monitors from a full snapshot.

use std::collections::BTreeSet;

use crate::backup::StagedCopy;
use crate::cli::Context;
use crate::cli::apply::carry_out_planned;
use crate::cli::document::{Read, plan_on, read_written, write_down};
use crate::cli::tally::report;
use crate::cli::write::{WriteArgs, read_from};
use crate::error::{Error, Exit, InputError, Problem, Result};
use crate::formats::export::ExportChoice;
use crate::instance::Instance;
use crate::kuma::read::{read_config, read_shown_state};
use crate::model::fixture::Fixture;
use crate::model::state::{ConfigRows, MonitorConfig};
use crate::model::view::existing_names;
use crate::plan::fixture::ApplyOptions;
use crate::plan::pick::Pick;

/// Restores the configuration of the monitors `names` from `staged`, with missing tags, notifications and groups.
pub fn restore(
    staged: &StagedCopy,
    names: &[String],
    write: &WriteArgs,
    instance: &Instance,
    context: &mut Context<'_>,
) -> Result<Exit> {
    let mut reader = staged.reader()?;
    let then = read_shown_state(&mut *reader, "the snapshot")?;
    let mut monitors = pick(names, &then, &staged.manifest.id)?;
    let groups: Vec<i64> = monitors.iter().flat_map(|id| then.ancestors(*id)).collect();
    let config = read_config(&mut *reader, "the snapshot")?;
    let now = read_from(instance, read_config)?;
    let missing = names_missing(&config, &now);
    let is_missing = |id: &i64| missing.contains(&("monitors", then.path(*id)));
    monitors.extend(groups.into_iter().filter(is_missing));
    let absent = monitors.iter().copied().filter(is_missing).flat_map(|id| memberships(&config, id, &then.path(id)));
    let absent: Vec<String> = absent.collect();
    let kinds = ["tags", "proxies", "docker_hosts", "remote_browsers", "notifications", "monitors"];
    let choice = ExportChoice {
        kinds: kinds.map(str::to_owned).into(),
        monitors: Some(monitors),
        source: format!("snapshot {}", staged.manifest.id),
        ..ExportChoice::default()
    };
    let mut read: Read = read_written(&[write_down(&config, &choice, context)])?;
    let named = names_of(&read.fixture);
    read.fixture.things.retain(|thing| {
        let name = (thing.entity.key, thing.name());
        thing.entity.key == "monitors" || named.contains(&name) && missing.contains(&name)
    });
    let options = ApplyOptions { skip_unsupported: true, ..ApplyOptions::default() };
    let mut planned = plan_on(now, read, &options)?;
    planned.report.warnings.extend(absent);
    report(&planned, context);
    carry_out_planned("restore", planned, write, instance, context)
}

/// The monitors that `names` select, each at least one.
fn pick(names: &[String], then: &MonitorConfig, snapshot: &str) -> Result<BTreeSet<i64>> {
    let (mut monitors, mut problems) = (BTreeSet::new(), Vec::new());
    for name in names {
        match (Pick { globs: vec![name.clone()], ..Pick::default() }).ids(then) {
            Ok(ids) => monitors.extend(ids),
            Err(Error::Input(InputError::NoMonitor { .. })) => {
                let message = format!("snapshot `{snapshot}` has no monitor `{name}`");
                let list = format!("kumadb backup show {snapshot} --monitors");
                problems.push(Problem::new("--monitor", message).command(list).not_found());
            }
            Err(error) => return Err(error),
        }
    }
    if problems.is_empty() { Ok(monitors) } else { Err(Error::input(problems)) }
}

/// Where the monitor `id` of the configuration `then`, which will be a new one, has to be added again.
fn memberships(then: &ConfigRows, id: i64, path: &str) -> Vec<String> {
    let of = |table: &'static str, parent: &'static str| {
        let links = then.rows(table).iter().filter(move |row| row.int("monitor_id") == Some(id));
        links.filter_map(move |row| row.int(parent)).collect::<Vec<i64>>()
    };
    let pages = of("monitor_group", "group_id").into_iter().filter_map(|group| {
        let page = then.row("status_page", then.row("group", group)?.int("status_page_id")?)?;
        Some(format!("status page `{}`", page.text("slug")?))
    });
    let windows = of("monitor_maintenance", "maintenance_id").into_iter();
    let windows = windows
        .filter_map(|window| Some(format!("maintenance window `{}`", then.row("maintenance", window)?.text("title")?)));
    pages.chain(windows).map(|place| format!("monitor `{path}` was part of {place}: add it there again")).collect()
}

/// What existed then and is missing now, by kind and name.
fn names_missing(then: &ConfigRows, now: &ConfigRows) -> BTreeSet<(&'static str, String)> {
    use crate::model::entities::ENTITIES;
    let names = |config: &ConfigRows| -> BTreeSet<(&'static str, String)> {
        let of = |entity: &'static crate::model::entities::Entity| {
            existing_names(entity, config).into_values().map(move |name| (entity.key, name))
        };
        ENTITIES.iter().copied().flat_map(of).collect()
    };
    &names(then) - &names(now)
}

/// What the monitors of `fixture` refer to, by kind and name.
fn names_of(fixture: &Fixture) -> BTreeSet<(&'static str, String)> {
    let monitors = fixture.things.iter().filter(|thing| thing.entity.key == "monitors");
    monitors.flat_map(|thing| thing.references()).collect()
}
