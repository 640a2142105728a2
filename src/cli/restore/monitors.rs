//! `kumadb restore --monitor`: restores selected monitors from a full snapshot.

use std::collections::BTreeSet;

use crate::backup::StagedCopy;
use crate::cli::Context;
use crate::cli::apply::carry_out_planned;
use crate::cli::document::{Read, plan_on, read_written, write_down};
use crate::cli::tally::report;
use crate::cli::write::{WriteArgs, read_from};
use crate::error::{Exit, Result};
use crate::formats::export::ExportChoice;
use crate::instance::Instance;
use crate::kuma::read::{read_config, read_shown_state};
use crate::model::fixture::Fixture;
use crate::model::state::ConfigRows;
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
    let pick = Pick { globs: names.to_vec(), ..Pick::default() };
    let then = read_shown_state(&mut *reader, "the snapshot")?;
    let mut monitors: BTreeSet<i64> = pick.ids(&then)?.into_iter().collect();
    let groups: Vec<i64> = monitors.iter().flat_map(|id| then.ancestors(*id)).collect();
    let config = read_config(&mut *reader, "the snapshot")?;
    let now = read_from(instance, read_config)?;
    let missing = names_missing(&config, &now);
    monitors.extend(groups.into_iter().filter(|group| missing.contains(&("monitors", then.path(*group)))));
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
    let planned = plan_on(now, read, &options)?;
    report(&planned, context);
    carry_out_planned("restore", planned, write, instance, context)
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
