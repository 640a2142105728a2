//! `kumadb backup prune`

use chrono::{Local, Utc};
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use serde_json::{Value as Json, json};

use super::environment::state_folder;
use super::fleet::{self, Fleet, GroupArgs};
use super::instance::are_ambiguous;
use super::store::KeyArgs;
use super::table::Header;
use super::{Context, Ui};
use crate::backup::retention::{CalendarUnit, Policy};
use crate::backup::store::Orphan;
use crate::error::{Error, Exit, Result};
use crate::operation::prune::{Judged, PruneChoice, Pruning};
use crate::text::{bytes, counted, lines, one_line};
use crate::value::local_time;

#[derive(Args, Debug)]
pub struct PruneArgs {
    #[command(flatten)]
    keep: KeepArgs,
    /// Prune only snapshots of this instance
    #[arg(long, value_name = "NAME", conflicts_with_all = ["groups", "all"])]
    instance: Option<String>,
    /// Prune only snapshots of the target instance; without --keep options, use its retention policy from the config
    /// file [default with -t]
    #[arg(long, conflicts_with = "instance")]
    own: bool,
    /// Prune undo snapshots instead of backups; without --keep options, use `[undo]` of the config file
    #[arg(long, conflicts_with = "raw")]
    undo: bool,
    /// Also prune raw copies of unreadable databases, which are otherwise kept
    #[arg(long)]
    raw: bool,
    /// Show what would be deleted, without deleting anything
    #[arg(short = 'n', long)]
    dry_run: bool,
    #[command(flatten)]
    pub keys: KeyArgs,
    #[command(flatten)]
    groups: GroupArgs,
}

impl PruneArgs {
    /// Whether only the snapshots of one instance are considered: selecting an instance must not affect others.
    pub fn is_own(&self, context: &Context<'_>) -> bool {
        self.own || context.global.target.is_some() && self.instance.is_none()
    }

    /// Whether it is for several instances.
    pub fn is_for_many(&self) -> bool {
        self.groups.fleet().is_many()
    }

    /// The policy of the config file, where it applies.
    pub fn configured(&self, context: &Context<'_>) -> Result<Option<Policy>> {
        if self.is_own(context) && !self.undo && self.keep.0.is_empty() {
            Ok(context.named()?.and_then(|named| named.target.policy))
        } else {
            Ok(None)
        }
    }
}

/// The rules, each an option under its own name.
#[derive(Debug)]
struct KeepArgs(Policy);

impl Args for KeepArgs {
    fn augment_args(command: Command) -> Command {
        let command =
            Policy::rules().fold(command.next_help_heading("Retention"), |command, (rule, bucket, within)| {
                let arg = Arg::new(rule.clone()).long(rule).value_name(if within { "DURATION" } else { "N" });
                command.arg(arg.help(help(bucket, within)).allow_negative_numbers(true).hide_short_help(within))
            });
        command.next_help_heading(None::<&str>)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for KeepArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<KeepArgs, clap::Error> {
        let mut policy = Policy::default();
        for (rule, ..) in Policy::rules() {
            if let Some(text) = matches.get_one::<String>(&rule) {
                policy.set(&rule, text).map_err(|why| {
                    clap::Error::raw(clap::error::ErrorKind::ValueValidation, format!("--{rule}: {why}\n"))
                })?;
            }
        }
        Ok(KeepArgs(policy))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = KeepArgs::from_arg_matches(matches)?;
        Ok(())
    }
}

fn help(bucket: CalendarUnit, within: bool) -> String {
    let unit = match bucket {
        CalendarUnit::Last => "",
        CalendarUnit::Hourly => "hour",
        CalendarUnit::Daily => "day",
        CalendarUnit::Weekly => "week",
        CalendarUnit::Monthly => "month",
        CalendarUnit::Yearly => "year",
    };
    match (bucket, within) {
        (CalendarUnit::Last, false) => {
            "Keep the newest N snapshots; `unlimited` keeps all (every rule with N accepts `unlimited`)".into()
        }
        (CalendarUnit::Last, true) => "Keep all snapshots taken within this duration of the newest: 2y5m7d3h".into(),
        (_, false) => format!("Keep the newest of each {unit}, for the last N {unit}s that have one"),
        (_, true) => {
            format!("Keep the newest snapshot of each {unit}, for snapshots taken within this duration of the newest")
        }
    }
}

pub fn run(args: &PruneArgs, context: &mut Context<'_>) -> Result<Exit> {
    let fleet = args.groups.fleet();
    if fleet.is_many() {
        return fleet::run(&Fleet { args: fleet, more: &["--own"], words }, context);
    }
    let own = if args.is_own(context) { Some(context.origin()?) } else { None };
    let policy = args.configured(context)?.unwrap_or(args.keep.0);
    let stores = context.stores()?.with_keys(&args.keys.keys()?);
    let owner = args.instance.as_ref().map(|name| context.owner(name)).transpose()?;
    let about = |manifest: &crate::backup::Manifest| {
        owner.as_ref().is_none_or(|owner| owner.has(manifest))
            && own.as_ref().is_none_or(|origin| stores.is_of(manifest, origin))
    };
    let undo = if args.undo { Some(context.undo_bounds()?) } else { None };
    let choice = PruneChoice { policy, undo, raw: args.raw, proven: None, about: &about };
    let mut pruning = Pruning::plan(&stores, &choice, Utc::now(), &Local, &state_folder())?;
    let has_several_stores = stores.iter().count() > 1;
    let asks = pruning.removed().count() > 0 && !args.dry_run;
    if asks {
        context.ui.say_text(&table(&pruning, has_several_stores));
        context.ui.ask(&format!("delete {}?", removed_words(&pruning)))?;
    }
    let places = |is_young: bool| {
        pruning.orphans.iter().filter(|orphan| orphan.young == is_young).map(Orphan::location).collect()
    };
    let (young, mut leftovers): (Vec<String>, Vec<String>) = (places(true), places(false));
    let mut failed = Vec::new();
    if !args.dry_run {
        leftovers.extend(stores.clear()?.iter().map(|folder| folder.display().to_string()));
        failed = pruning.carry_out(&stores, context.ui)?;
    }
    let pruned = Pruned {
        is_dry_run: args.dry_run,
        leftovers,
        young,
        warnings: pruning.warnings.iter().chain(&failed).map(Error::to_string).collect(),
    };
    context.ui.result(&pruned.json(&pruning), || {
        let all = (!asks && !pruning.judged.is_empty()).then(|| table(&pruning, has_several_stores));
        all.into_iter().chain([lines(pruned.lines(&pruning))]).collect::<Vec<_>>().join("\n")
    })?;
    for warning in &pruned.warnings {
        context.ui.warn(warning);
    }
    Ok(if pruned.warnings.is_empty() { Exit::Done } else { Exit::Partial })
}

/// What was done besides the deletion of snapshots.
struct Pruned {
    is_dry_run: bool,
    /// What interrupted runs have left.
    leftovers: Vec<String>,
    /// What another run may be storing.
    young: Vec<String>,
    warnings: Vec<String>,
}

impl Pruned {
    fn json(&self, pruning: &Pruning) -> Json {
        json!({
            "dry_run": self.is_dry_run,
            "deleted": pruning.removed().count(),
            "deleted_bytes": pruning.bytes(),
            "snapshots": pruning.judged.iter().map(document).collect::<Vec<_>>(),
            "leftovers": self.leftovers,
            "young_leftovers": self.young,
            "warnings": self.warnings,
        })
    }

    fn lines(&self, pruning: &Pruning) -> Vec<String> {
        let left = self.leftovers.iter().map(|place| format!("left by an interrupted run: {}", one_line(place)));
        let words = "incomplete: another run may be storing it; a later run deletes it";
        let young = self.young.iter().map(|place| format!("{words}: {}", one_line(place)));
        let sum = removed_words(pruning);
        let last = match (pruning.removed().count(), self.is_dry_run) {
            (0, _) => "no snapshots to delete".into(),
            (_, true) => format!("dry run: would delete {sum}; nothing was deleted"),
            (_, false) => format!("deleted {sum}"),
        };
        left.chain(young).chain([last]).collect()
    }
}

/// The snapshots that are deleted: their number and size.
fn removed_words(pruning: &Pruning) -> String {
    format!("{} ({})", counted(pruning.removed().count(), "snapshot"), bytes(pruning.bytes()))
}

fn table(pruning: &Pruning, has_several_stores: bool) -> String {
    let ambiguous = are_ambiguous(pruning.judged.iter().map(|one| &one.snapshot.manifest));
    let row = |one: &Judged| {
        let manifest = &one.snapshot.manifest;
        let mut row = vec![
            manifest.id.clone(),
            local_time(manifest.created),
            manifest.instance.clone(),
            bytes(one.snapshot.size),
            outcome(one).to_owned(),
            one.reasons.join(", "),
        ];
        row.extend(ambiguous.then(|| manifest.origin.clone()));
        if has_several_stores {
            row.push(one.snapshot.store().address());
        }
        row
    };
    let mut headers = vec![Header::of_text("id")];
    headers.extend(["created", "instance", "size", "action", "reason"].map(Header::from));
    headers.extend(ambiguous.then(|| Header::from("origin")));
    headers.extend(has_several_stores.then(|| Header::from("store")));
    Ui::table(&headers, pruning.judged.iter().map(row).collect())
}

fn outcome(one: &Judged) -> &'static str {
    if one.reasons.is_empty() { "delete" } else { "keep" }
}

fn document(one: &Judged) -> Json {
    let manifest = &one.snapshot.manifest;
    json!({
        "id": manifest.id,
        "path": one.snapshot.location(),
        "created": manifest.created,
        "instance": manifest.instance,
        "origin": manifest.origin,
        "size_bytes": one.snapshot.size,
        "action": outcome(one),
        "reasons": one.reasons,
    })
}

/// Summary of one instance for the table of many.
fn words(document: &Json) -> String {
    let removed = document["deleted"].as_u64().unwrap_or(0) as usize;
    let verb = if document["dry_run"] == true { "would delete" } else { "deleted" };
    format!("{verb} {}", counted(removed, "snapshot"))
}
