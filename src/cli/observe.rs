//! Shared by the verbs that show status and history: what is read, from an instance in any state or from a snapshot.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Args;

use super::inputs::Inputs;
use super::paint::Color;
use super::snapshots::find;
use super::store::KeyArgs;
use super::write::read_from;
use super::{Context, Ui};
use crate::backup::unpack_first;
use crate::engine::Reader;
use crate::error::{Exit, Result};
use crate::instance::RemoteData;
use crate::kuma::beats::read_last_beats;
use crate::kuma::read::read_shown_state;
use crate::model::state::MonitorConfig;
use crate::plan::pick::Pick;
use crate::report::status::{BeatStatus, Freshness, LastBeat, MonitorStatus};
use crate::report::strip::mark;
use crate::text::age_words;
use crate::wait::Deadline;

/// Where to read from.
#[derive(Args, Debug)]
pub struct SourceArgs {
    /// Read this snapshot instead of the instance: an id or an id prefix, a path, or `latest`
    #[arg(long, value_name = "SNAPSHOT")]
    at: Option<String>,
    #[command(flatten)]
    keys: KeyArgs,
}

impl SourceArgs {
    /// Packs the files of these options for a remote job.
    pub fn pack(&self, inputs: &mut Inputs) -> Result<()> {
        self.keys.pack(inputs)
    }

    /// Reads from the snapshot, or else from the instance. `read` gets the name for messages, and the time to which ages
    /// and windows relate: the present, or that of the snapshot.
    pub fn read<T>(
        &self,
        context: &mut Context<'_>,
        read: impl FnOnce(&mut dyn Reader, &str, DateTime<Utc>) -> Result<T>,
    ) -> Result<T> {
        let Some(desired) = &self.at else {
            let instance = context.instance()?;
            return read_from(&instance, |reader, name| read(reader, name, Utc::now()));
        };
        let keys = self.keys.keys_or_ask(context.ui)?;
        let stores = context.stores()?.with_keys(&keys);
        let copies = find(&stores, desired, context)?;
        let scratch = stores.scratch()?;
        let warn = &mut |error: &_| context.ui.warn(&format!("{error}"));
        let staged = unpack_first(&copies, &scratch.path().join("staged"), warn)?;
        let manifest = &staged.manifest;
        if manifest.without.iter().any(|table| table == "heartbeat") {
            context.ui.warn(&format!("snapshot {} was taken without the history: it has no heartbeats", manifest.id));
        }
        let created = manifest.created;
        read(&mut *staged.reader()?, "the snapshot", created)
    }

    /// The data to read, where that is on another machine.
    pub fn remote_data(&self, context: &Context<'_>) -> Result<Option<RemoteData>> {
        match &self.at {
            Some(snapshot) => context.selected_remote(std::slice::from_ref(snapshot)),
            None => Ok(context.instance_remote()),
        }
    }

    /// Whether a snapshot is read.
    pub fn is_snapshot(&self) -> bool {
        self.at.is_some()
    }
}

/// Filters by status.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Filters")]
pub struct StatusFilter {
    /// Select monitors that are down
    #[arg(long)]
    down: bool,
    /// Select monitors that are up
    #[arg(long)]
    up: bool,
    /// Select monitors that are pending: the last check failed and is repeated
    #[arg(long)]
    pending: bool,
    /// Select monitors in a maintenance window
    #[arg(long)]
    maintenance: bool,
    /// Select monitors with one of these statuses: down, pending, maintenance, up, paused, never-checked
    #[arg(long = "status", value_name = "STATUS", value_delimiter = ',', value_parser = statuses)]
    statuses: Vec<MonitorStatus>,
}

fn statuses(text: &str) -> Result<MonitorStatus, String> {
    let known = |status: &&MonitorStatus| status.word().replace(' ', "-") == text.to_lowercase();
    MonitorStatus::ALL.iter().find(known).copied().ok_or_else(|| {
        let words: Vec<String> = MonitorStatus::ALL.iter().map(|status| status.word().replace(' ', "-")).collect();
        let meant = crate::text::did_you_mean(text, &words);
        format!("unknown status `{text}`{meant}; use {}", words.join(", "))
    })
}

impl StatusFilter {
    /// Whether no option is set.
    pub fn is_empty(&self) -> bool {
        let flags = [self.down, self.up, self.pending, self.maintenance];
        self.statuses.is_empty() && !flags.contains(&true)
    }

    /// The selected statuses; empty for all. `--paused` of `pick` is one of them here.
    fn desired(&self, pick: &mut Pick) -> Vec<MonitorStatus> {
        let mut desired = self.statuses.clone();
        let flags = [
            (self.down, MonitorStatus::Down),
            (self.up, MonitorStatus::Up),
            (self.pending, MonitorStatus::Pending),
            (self.maintenance, MonitorStatus::Maintenance),
            (pick.active.take_if(|active| !*active).is_some(), MonitorStatus::Paused),
        ];
        desired.extend(flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, status)| status));
        if desired.contains(&MonitorStatus::Paused) {
            desired.push(MonitorStatus::PausedByGroup);
        }
        desired
    }
}

/// Does `round` again after each `pause`, until a signal comes. What fails later than at first is a warning: the server may be
/// restarted in between.
pub fn repeat(
    pause: Duration,
    context: &mut Context<'_>,
    round: impl Fn(&mut Context<'_>) -> Result<Exit>,
) -> Result<Exit> {
    let mut is_first = true;
    loop {
        context.ui.begin_round();
        let done = round(context);
        context.ui.end_round();
        if let Some(exit) = context.ui.signal_exit() {
            return Ok(exit);
        }
        match done {
            Err(error) if !is_first && error.exit() == Exit::Failed => context.ui.warn(&error.to_string()),
            done => drop(done?),
        }
        is_first = false;
        let next = Deadline::after(pause, Duration::from_millis(20));
        while next.wait() {
            if let Some(exit) = context.ui.signal_exit() {
                return Ok(exit);
            }
        }
    }
}

/// The same on a screen where each result replaces the one before.
pub fn watch(
    pause: Duration,
    context: &mut Context<'_>,
    show: impl Fn(&mut Context<'_>) -> Result<Exit>,
) -> Result<Exit> {
    context.ui.watch();
    repeat(pause, context, show)
}

/// Monitors with their status.
pub struct Observed {
    /// All monitors.
    pub state: MonitorConfig,
    /// Their last heartbeats.
    pub last: BTreeMap<i64, LastBeat>,
    /// Ids of the selected monitors, in ascending order.
    pub ids: Vec<i64>,
    /// The time to which ages relate.
    pub now: DateTime<Utc>,
    /// Whether the server checks them.
    pub freshness: Freshness,
}

impl Observed {
    /// Reads the monitors that `pick` and `filter` select.
    pub fn read(
        reader: &mut dyn Reader,
        name: &str,
        now: DateTime<Utc>,
        (mut pick, filter): (Pick, &StatusFilter),
    ) -> Result<Observed> {
        let state = read_shown_state(reader, name)?;
        let desired = filter.desired(&mut pick);
        let mut ids = pick.ids(&state)?;
        let last = read_last_beats(reader)?;
        ids.retain(|id| desired.is_empty() || desired.contains(&MonitorStatus::of(&state, *id, last.get(id))));
        let freshness = Freshness::of(&state, &last);
        Ok(Observed { state, last, ids, now, freshness })
    }

    /// The status of monitor `id`.
    pub fn status(&self, id: i64) -> MonitorStatus {
        MonitorStatus::of(&self.state, id, self.last.get(&id))
    }

    /// For how long monitor `id` has had its status, as far as the server has seen.
    pub fn lasting(&self, id: i64) -> Option<chrono::TimeDelta> {
        // When a monitor was paused, no server notes.
        if matches!(self.status(id), MonitorStatus::Paused | MonitorStatus::PausedByGroup) {
            return None;
        }
        let seen = if self.freshness.overdue(self.now).is_some() { self.freshness.newest? } else { self.now };
        let since = self.last.get(&id)?.since?;
        Some(seen.max(since) - since)
    }

    /// Warns if the server does not check its monitors, so that their status is an old one.
    pub fn warn(&self, source: &SourceArgs, ui: &mut Ui) {
        if let Some(age) = self.freshness.overdue(self.now).filter(|_| !source.is_snapshot()) {
            ui.warn(&format!(
                "the server is not checking: the newest heartbeat is {} old; each status is that of the last check",
                age_words(age)
            ));
        }
    }
}

/// The colour of a status.
pub fn color(status: MonitorStatus) -> Option<Color> {
    match status {
        MonitorStatus::Up => Some(Color::Green),
        MonitorStatus::Down => Some(Color::Red),
        MonitorStatus::Pending => Some(Color::Yellow),
        MonitorStatus::Maintenance => Some(Color::Blue),
        MonitorStatus::Paused | MonitorStatus::PausedByGroup => Some(Color::Dim),
        MonitorStatus::NeverChecked | MonitorStatus::Unknown => None,
    }
}

/// The colour of a character of a bar.
pub fn mark_color(letter: char) -> Option<Color> {
    let statuses = [
        (BeatStatus::Up, Color::Green),
        (BeatStatus::Down, Color::Red),
        (BeatStatus::Pending, Color::Yellow),
        (BeatStatus::Maintenance, Color::Blue),
    ];
    statuses.into_iter().find(|(status, _)| mark(Some(*status)) == letter).map(|(_, color)| color)
}
