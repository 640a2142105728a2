//! `kumadb upgrade`

mod statistics;

use std::time::Duration;

use chrono::Utc;
use chrono_tz::Tz;
use clap::Args;
use serde_json::{Value as Json, json};

use super::Context;
use super::restore::local_archive;
use super::store::KeyArgs;
use super::write::{WriteArgs, finish, outcome_json, read_from, with};
use crate::error::{Error, Exit, Hint, InputError, OperationError, Problem, Result};
use crate::instance::Instance;
use crate::kuma::read::read_database;
use crate::kuma::upgrade::{UpgradeOptions, Upgraded};
use crate::model::state::Database;
use crate::operation::upgrade::{self, UpgradeStart, change_of, fits_image, image_of, preflight};
use crate::operation::{self, Mode, Replacement, Settings, UpgradeResult, UpgradeWork};
use crate::schema::{Release, newest};
use crate::text::{self, bytes, counted, duration};
use crate::upgrade::Route;
use crate::upgrade::preflight::server_seconds;
use crate::upgrade::rules::{RULES, Style};
use crate::upgrade::settings::AggregationState;

/// How many heartbeats kumadb upgrades in a second, with the staged copy and all checks. Measured with `benches/upgrade` (a million
/// heartbeats, release build, two cores); an estimate for any other machine.
const RATE: f64 = 100_000.0;

#[derive(Args, Debug)]
pub struct UpgradeArgs {
    /// Upgrade to this release [default: that of the container's image, if it is newer; else the newest]
    #[arg(long, value_name = "RELEASE")]
    to: Option<Release>,
    /// Only check whether the upgrade is possible and what it changes; exit 20 if something prevents it
    #[arg(long, conflicts_with_all = ["dry_run", "as_server"])]
    check: bool,
    /// Replace the statistics that a server aggregated in another time zone than UTC, or not to the end, by right ones
    /// from a snapshot or a copy of kuma.db from before that
    #[arg(long, value_name = "SNAPSHOT", conflicts_with_all = ["to", "check", "as_server", "wait"])]
    pub stats_from: Option<String>,
    /// Do it exactly as the server does, with its mistakes: to compare
    #[arg(long)]
    as_server: bool,
    /// With --as-server: assume that the server runs in this time zone
    #[arg(long, value_name = "ZONE", requires = "as_server")]
    server_timezone: Option<Tz>,
    /// Set how long to wait for the container with the new image
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "1h")]
    wait: Duration,
    #[command(flatten)]
    keys: KeyArgs,
    #[command(flatten)]
    write: WriteArgs,
}

impl UpgradeArgs {
    /// Whether nothing is written.
    pub fn only_reads(&self) -> bool {
        self.check || self.write.is_dry_run()
    }

    /// The keys of the snapshot with the old heartbeats.
    pub fn keys(&self) -> &KeyArgs {
        &self.keys
    }

    /// The snapshot with the old heartbeats, of an instance at `origin`, where it is a file of this machine.
    pub fn local_archive(&self, origin: &str, context: &Context<'_>) -> Result<Option<String>> {
        match &self.stats_from {
            Some(snapshot) => local_archive(&statistics::database_in(snapshot), &self.keys, origin, context),
            None => Ok(None),
        }
    }
}

impl UpgradeArgs {
    /// Checks the options that need no data.
    pub fn check(&self) -> Result<()> {
        match self.write.settings("upgrade").mode {
            Mode::Stopped => Ok(()),
            _ => Err(Error::Input(InputError::NotFor {
                option: "`--live` or `--no-restart`".into(),
                subject: "an upgrade".into(),
                why: "the server must not use the database meanwhile".into(),
            })),
        }
    }
}

pub fn run(args: &UpgradeArgs, context: &mut Context<'_>) -> Result<Exit> {
    let settings = Settings { patience: args.wait, ..args.write.settings("upgrade") };
    let instance = context.instance()?;
    if let Some(snapshot) = &args.stats_from {
        return statistics::replace(args, snapshot, &settings, &instance, context);
    }
    let database = read_from(&instance, read_database)?;
    let to = target(args, &instance, &database)?;
    let from = database.release.to_string();
    let route = Route::find(instance.engine(), &database.migrations, &from, to)
        .map_err(|why| upgrade::refuse(why, &from, &to.to_string()))?;
    let start = read_from(&instance, |reader, _| preflight(reader, database, &route))?;
    let is_interrupted = start.facts.state == Some(AggregationState::Interrupted);
    if route.is_current() && start.preflight.aggregates == 0 && !is_interrupted {
        let text = || format!("nothing to upgrade: the database is of release {from}");
        context.ui.result(&json!({"changes": []}), text)?;
        return Ok(Exit::Done);
    }
    let image = NeededImage::of(&instance, &route)?;
    // As before the write itself: what is not permitted is known before the server is stopped.
    upgrade::try_tables(&instance)?;
    let found = Found { route: &route, start: &start, image: &image, size: instance.size() };
    if args.check {
        context.ui.result(&found.json(), || found.text(&instance))?;
        return Ok(if start.preflight.blockers.is_empty() { Exit::Done } else { Exit::Changes });
    }
    if !start.preflight.blockers.is_empty() {
        return Err(OperationError::CannotUpgrade(start.preflight.blockers).into());
    }
    let style = if args.as_server { Style::AsServer } else { Style::Intended };
    let zone = args.as_server.then(|| args.server_timezone.unwrap_or(Tz::UTC));
    let order = UpgradeWork { route: &route, options: UpgradeOptions { style, zone, now: Utc::now() } };
    if args.write.is_dry_run() {
        let made = upgrade::dry_run_upgrade(&instance, &order, context.ui)?;
        let document = with(found.json(), json!({"dry_run": true, "changes": changes_json(&made)}));
        context.ui.result(&document, || {
            format!("{}\n{}\ndry run: nothing was changed", found.text(&instance), changes_text(&made))
        })?;
        return Ok(Exit::Done);
    }
    context.ui.say_text(&found.text(&instance));
    context.ui.ask(&format!("upgrade the database of `{}` to {to}?", instance.name))?;
    let outcome = operation::run(&instance, &context.store()?, Replacement::Upgrade(&order), &settings, context.ui)?;
    let changes = outcome.upgraded.as_ref();
    let document = with(found.json(), json!({"changes": changes.map(changes_json)}));
    context.ui.result(&with(document, Json::Object(outcome_json(&outcome))), || {
        let changes = changes.map(changes_text).unwrap_or_default();
        format!("{changes}\nupgraded the database of `{}` to {to}{}", instance.name, image.next(&outcome))
    })?;
    finish(&outcome, context.ui)
}

/// The release to upgrade to: that of the image, where it is newer than the database.
fn target(args: &UpgradeArgs, instance: &Instance, database: &Database) -> Result<Release> {
    if let Some(to) = args.to {
        return Ok(to);
    }
    let shipped = match &instance.container {
        Some(server) => server.shipped()?.and_then(|shipped| shipped.release?.parse::<Release>().ok()),
        None => None,
    };
    let is_newer = |release: &Release| {
        let route = Route::find(instance.engine(), &database.migrations, "", *release);
        route.is_ok_and(|route| !route.is_current())
    };
    Ok(shipped.filter(is_newer).unwrap_or(newest()))
}

/// The image that the server needs afterwards.
pub(super) struct NeededImage {
    /// Its name; none without a container.
    needed: Option<String>,
    /// Whether the container has it already.
    is_set: bool,
    /// Whether the engine has it.
    is_pulled: bool,
    /// The line of a compose file, or of the command line, to change.
    line: Option<String>,
    release: Release,
}

impl NeededImage {
    pub(super) fn of(instance: &Instance, route: &Route) -> Result<NeededImage> {
        let release = route.target.release;
        let Some(server) = &instance.container else {
            return Ok(NeededImage { needed: None, is_set: false, is_pulled: false, line: None, release });
        };
        let container = server.container();
        let needed = image_of(&container.image, &release.to_string());
        let is_set = fits_image(server, route)?.unwrap_or(false);
        let is_pulled = is_set || server.has_image(&needed)?;
        Ok(NeededImage { line: Some(change_of(server, &needed)), needed: Some(needed), is_set, is_pulled, release })
    }

    /// The image that the container does not have yet, and how it is changed.
    pub(super) fn lines(&self) -> Vec<String> {
        let (Some(needed), false) = (&self.needed, self.is_set) else { return Vec::new() };
        let pull = if self.is_pulled { String::new() } else { format!("; pull it now: docker pull {needed}") };
        let change = self.line.iter().map(|line| format!("when kumadb asks for it: {line}"));
        [format!("needs the image {needed}{pull}")].into_iter().chain(change).collect()
    }

    /// What to do after the upgrade where the server was not started.
    pub(super) fn next(&self, outcome: &operation::Outcome) -> String {
        match (&self.needed, &self.line) {
            _ if outcome.downtime.is_some() => String::new(),
            (Some(_), Some(line)) if !self.is_set => format!("; before you start the server: {line}"),
            (Some(_), _) => "; to start the server: kumadb restart".to_owned(),
            (None, _) => format!("; start Uptime Kuma {} on it", self.release),
        }
    }
}

/// What was found before the upgrade.
struct Found<'a> {
    route: &'a Route,
    start: &'a UpgradeStart,
    image: &'a NeededImage,
    size: u64,
}

impl Found<'_> {
    fn json(&self) -> Json {
        let UpgradeStart { preflight, facts, .. } = self.start;
        let problems = |problems: &[Problem]| -> Vec<Json> {
            let hint = |problem: &Problem| problem.hint.clone().map(crate::error::Hint::into_text);
            problems
                .iter()
                .map(|one| json!({"subject": one.subject, "message": one.message, "hint": hint(one)}))
                .collect()
        };
        json!({
            "from": self.route.from, "to": self.route.target.release.to_string(),
            "migrations": self.route.missing().len(), "heartbeat_rows": facts.beats,
            "aggregates": preflight.aggregates, "blockers": problems(&preflight.blockers),
            "notes": problems(&preflight.notes), "size_bytes": self.size,
            "server_seconds": server_seconds(preflight.aggregates).round(),
            "kumadb_seconds": own_seconds(facts.beats).ceil(),
            "image": self.image.needed, "image_present": self.image.needed.as_ref().map(|_| self.image.is_pulled),
            "image_set": self.image.needed.as_ref().map(|_| self.image.is_set),
        })
    }

    fn text(&self, instance: &Instance) -> String {
        let UpgradeStart { preflight, facts, .. } = self.start;
        let many = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        // The size of an external database is not known.
        let size = if self.size > 0 { format!(", {}", bytes(self.size)) } else { String::new() };
        let mut lines = vec![format!(
            "`{}`: {} → {} ({}{size})",
            instance.name,
            self.route.from,
            self.route.target.release,
            counted(self.route.missing().len(), "missing migration"),
        )];
        if preflight.aggregates > 0 {
            let (own, server) = (own_seconds(facts.beats), server_seconds(preflight.aggregates));
            let compared =
                if server > own { format!(", about {} if the server did it", time(server)) } else { String::new() };
            let beats = counted(many(preflight.aggregates), "heartbeat");
            lines.push(format!("{beats} to aggregate: about {}{compared}", time(own)));
        }
        lines.extend(self.image.lines());
        lines.extend(preflight.notes.iter().map(|note| format!("note: {} {}", note.subject, note.message)));
        for one in &preflight.blockers {
            lines.push(format!("problem: {}: {}", one.subject, one.message));
            lines.extend(one.hint.clone().map(|hint| match hint {
                Hint::Try(command) => format!("  try: {command}"),
                Hint::Advice(advice) => format!("  hint: {advice}"),
            }));
        }
        if preflight.blockers.is_empty() {
            lines.push("nothing prevents the upgrade".into());
        }
        text::lines(lines)
    }
}

fn own_seconds(beats: u64) -> f64 {
    1.0 + beats as f64 / RATE
}

fn time(seconds: f64) -> String {
    match seconds {
        s if s < 90.0 => format!("{} s", s.ceil()),
        s if s < 5400.0 => format!("{} min", (s / 60.0).round()),
        s => format!("{:.1} h", s / 3600.0),
    }
}

fn changes_json(made: &UpgradeResult) -> Json {
    json!({
        "rules": made.upgraded.rules, "statistics": made.upgraded.statistics,
        "heartbeats_deleted": made.upgraded.deleted_beats, "rows": made.transfer.counts(),
        "rounded": made.transfer.losses.iter().map(|loss| loss.words()).collect::<Vec<_>>(),
        "left_out": made.transfer.left_out.iter().map(|left| left.words()).collect::<Vec<_>>(),
    })
}

fn changes_text(made: &UpgradeResult) -> String {
    let mut lines = upgraded_lines(&made.upgraded);
    lines.extend(made.transfer.losses.iter().map(|loss| format!("~ {}", loss.words())));
    lines.extend(made.transfer.left_out.iter().map(|left| format!("- {}", left.words())));
    text::lines(lines)
}

/// What the migrations and the aggregation change.
pub(super) fn upgraded_lines(upgraded: &Upgraded) -> Vec<String> {
    let many = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    let rows = |(what, count): (&&str, &u64)| format!("~ {what} ({})", counted(many(*count), "row"));
    // In the order of the migrations: a later one may change what an earlier one has set.
    let order = |what: &str| RULES.iter().position(|rule| rule.what == what);
    let mut rules: Vec<_> = upgraded.rules.iter().collect();
    rules.sort_by_key(|(what, _)| order(what));
    let mut lines: Vec<String> = rules.into_iter().map(rows).collect();
    let statistics = upgraded.statistics.iter();
    lines.extend(statistics.map(|(table, count)| format!("+ {table}: {}", counted(many(*count), "row"))));
    if upgraded.deleted_beats > 0 {
        let deleted = counted(many(upgraded.deleted_beats), "heartbeat");
        lines.push(format!(
            "- {deleted} that 2.x does not keep: older than a day, not important, counted in the statistics"
        ));
    }
    lines
}
