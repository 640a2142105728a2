//! `kumadb convert`

use std::path::Path;

use clap::{Args, ValueEnum};
use serde_json::{Value as Json, json};

use super::environment::variable;
use super::inputs::Inputs;
use super::upgrade::{NeededImage, upgraded_lines};
use super::write::{WriteArgs, finish, outcome_json, with};
use super::{Context, Ui};
use crate::engine::mariadb::Address;
use crate::error::{ConvertError, DatabaseError, Error, Exit, InputError, Result};
use crate::instance::target::reached_by_container;
use crate::instance::{DbLocation, Instance, RemoteData};
use crate::kuma::transfer::convert::{self, choice_for};
use crate::kuma::transfer::{Refused, TransferReport};
use crate::operation::Mode;
use crate::operation::convert::{Conversion, ConversionTarget, Destination, check_instance};
use crate::schema::Release;
use crate::text::{self, counted};

#[derive(Args, Debug)]
pub struct ConvertArgs {
    /// Set the new database: sqlite, embedded (the MariaDB in the container), or an empty database
    /// mariadb://user:password@host/database, as the server reaches it
    #[arg(long, value_name = "DATABASE", env = variable("KUMADB_CONVERT_TO"), hide_env_values = true)]
    to: String,
    /// Set what happens to values that the new database cannot store
    #[arg(long, value_name = "CHOICES", value_delimiter = ',', default_value = "refuse")]
    on_conflict: Vec<OnConflict>,
    /// Also upgrade the database to this release; a server in a container is started when it has the new image
    #[arg(long, value_name = "RELEASE")]
    release: Option<Release>,
    #[command(flatten)]
    write: WriteArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnConflict {
    /// List them and change nothing
    Refuse,
    /// Cut long names and messages; leave out responses in the history, and what the server creates again
    Cut,
    /// Rename users, status pages and settings whose name is taken or has characters that the column cannot store
    Rename,
}

impl ConvertArgs {
    /// Whether nothing is written.
    pub fn is_dry_run(&self) -> bool {
        self.write.is_dry_run()
    }

    /// Checks the options that need no data.
    pub fn check(&self) -> Result<()> {
        if self.write.settings("convert").mode != Mode::Stopped {
            return Err(Error::Input(InputError::NotFor {
                option: "`--live` or `--no-restart`".into(),
                subject: "`convert`".into(),
                why: "the server has to open the new database".into(),
            }));
        }
        destination(&self.to).map(drop)
    }

    /// The data of `instance`, where only its container reaches the new database.
    pub fn remote_data(&self, instance: &Instance) -> Option<RemoteData> {
        match destination(&self.to).ok()? {
            to @ Destination::External(_) if check_instance(instance, &to).is_err() => None,
            Destination::External(address) => reached_by_container(instance, &DbLocation::External(address)),
            Destination::Sqlite | Destination::Embedded => None,
        }
    }

    /// Adds the file with the certificate authority of the new database, if it has one.
    pub fn pack(&self, inputs: &mut Inputs) -> Result<()> {
        let options = self.to.split_once('?').map_or("", |(_, options)| options).split('&');
        options.filter_map(|option| option.strip_prefix("ca=")).try_for_each(|path| inputs.take(Path::new(path)))
    }
}

pub fn run(args: &ConvertArgs, context: &mut Context<'_>) -> Result<Exit> {
    let settings = args.write.settings("convert");
    let to = destination(&args.to)?;
    let instance = context.instance()?;
    check_instance(&instance, &to)?;
    let has = |choice| args.on_conflict.contains(&choice);
    let on_conflict = convert::OnConflict { cut: has(OnConflict::Cut), rename: has(OnConflict::Rename) };
    let goal = ConversionTarget { to: to.clone(), on_conflict, release: args.release };
    let conversion = Conversion::prepare_for(&instance, goal, &settings, context.ui)?;
    let image = conversion.route.as_ref().map(|route| NeededImage::of(&instance, route)).transpose()?;
    if args.write.is_dry_run() {
        return dry_run(&instance, &to, &conversion, context);
    }
    refuse(&conversion, context.ui)?;
    context.ui.say_text(&lines(&instance, &to, &conversion));
    image.iter().flat_map(NeededImage::lines).for_each(|line| context.ui.say(&line));
    context.ui.ask(&format!("Convert `{}` to {}?", instance.name, to.words()))?;
    let store = context.store()?;
    let outcome = conversion.run(&instance, &store, &settings, context.ui)?;
    let report = outcome.converted.as_ref().unwrap_or(&conversion.report);
    let document = with(describe(&instance, &to, &conversion, report), Json::Object(outcome_json(&outcome)));
    context.ui.result(&document, || {
        let rows = counted(usize::try_from(report.rows()).unwrap_or(usize::MAX), "row");
        let tables = counted(report.tables.len(), "table");
        let next = image.as_ref().map(|image| image.next(&outcome)).unwrap_or_default();
        format!("converted `{}` to {}: {rows} in {tables} loaded and compared{next}", instance.name, to.words())
    })?;
    finish(&outcome, context.ui)
}

/// Loads a temporary database; or lists what cannot be stored.
fn dry_run(instance: &Instance, to: &Destination, conversion: &Conversion, context: &mut Context<'_>) -> Result<Exit> {
    let report = &conversion.report;
    let is_refused = report.refused_total > 0;
    let loaded = !is_refused && conversion.dry_run(instance, context.ui)?;
    let mut document = describe(instance, to, conversion, report);
    document["dry_run"] = true.into();
    document["loaded"] = loaded.into();
    context.ui.result(&document, || {
        let mut text = lines(instance, to, conversion);
        let how = match (is_refused, loaded) {
            (true, _) => {
                text += &format!("\n{}", refusals(conversion));
                "the conversion would be refused"
            }
            (false, true) => "loaded into a temporary database and compared",
            (false, false) => "read and checked; this machine has no MariaDB to load it into",
        };
        format!("{text}\ndry run: {how}; nothing was changed")
    })?;
    Ok(if is_refused { Exit::Refused } else { Exit::Done })
}

fn destination(text: &str) -> Result<Destination> {
    match text {
        "sqlite" => Ok(Destination::Sqlite),
        "embedded" | "embedded-mariadb" => Ok(Destination::Embedded),
        url if url.starts_with("mysql://") || url.starts_with("mariadb://") => {
            Address::parse(url).map(Destination::External)
        }
        // It may be a mistyped URL with a password.
        _ => Err(Error::problem("--to", "must be `sqlite`, `embedded` or `mariadb://user:password@host/database`")),
    }
}

/// Fails where values cannot be stored, after listing them with the choice that helps.
fn refuse(conversion: &Conversion, ui: &mut Ui) -> Result<()> {
    let report = &conversion.report;
    if report.refused_total > 0 {
        ui.say_text(&refusals(conversion));
    }
    report.check().map_err(|error| match error {
        Error::Database(DatabaseError::CannotConvert { total, cells }) => {
            let (choices, all) = choices(conversion);
            Error::Convert(ConvertError::CannotStore { total, cells, choices, all })
        }
        other => other,
    })
}

/// Each value that cannot be stored, and the option that resolves it.
fn refusals(conversion: &Conversion) -> String {
    let report = &conversion.report;
    let line = |refused: &Refused| {
        let choice = choice_for(refused).map_or(String::new(), |choice| format!(" (--on-conflict {choice})"));
        format!("! {}{choice}", refused.words())
    };
    let mut lines: Vec<String> = report.refused.iter().map(line).collect();
    let more = report.refused_total.saturating_sub(report.refused.len() as u64);
    lines.extend(
        (more > 0).then(|| format!("! and {} more", counted(usize::try_from(more).unwrap_or(usize::MAX), "value"))),
    );
    text::lines(lines)
}

/// What `--on-conflict` has to be, with what it is already; and whether that resolves all that is known.
fn choices(conversion: &Conversion) -> (Option<String>, bool) {
    let report = &conversion.report;
    let mut choices: Vec<&str> = report.refused.iter().filter_map(choice_for).collect();
    let all = choices.len() == report.refused.len();
    if choices.is_empty() {
        return (None, all);
    }
    let given = conversion.on_conflict();
    choices.extend(given.cut.then_some("cut"));
    choices.extend(given.rename.then_some("rename"));
    choices.sort_unstable();
    choices.dedup();
    (Some(choices.join(",")), all)
}

/// The conversion for people.
fn lines(instance: &Instance, to: &Destination, conversion: &Conversion) -> String {
    let report = &conversion.report;
    let rows = counted(usize::try_from(report.rows()).unwrap_or(usize::MAX), "row");
    let mut lines = vec![format!(
        "~ database of `{}`: {} → {}, {} ({rows} in {})",
        instance.name,
        instance.engine_words(),
        to.words(),
        conversion.place(),
        counted(report.tables.len(), "table")
    )];
    if let (Some(route), Some(upgraded)) = (&conversion.route, &conversion.upgraded) {
        lines.push(format!("~ upgraded on the way: {} → {}", route.from, route.target.release));
        lines.extend(upgraded_lines(upgraded));
    }
    lines.extend(report.losses.iter().map(|loss| format!("~ {}", loss.words())));
    lines.extend(report.rows_left_out.iter().map(|row| format!("- row left out: {}", row.words())));
    lines.extend(report.left_out.iter().map(|left| format!("- not in the new database: {}", left.words())));
    text::lines(lines)
}

/// The same for programs.
fn describe(instance: &Instance, to: &Destination, conversion: &Conversion, report: &TransferReport) -> Json {
    let mut document = json!({
        "instance": instance.name,
        "from": instance.engine_words(),
        "to": to.words(),
        "database": conversion.place().replace('`', ""),
        "rows": report.rows(),
    });
    if let (Json::Object(document), Ok(Json::Object(all))) = (&mut document, serde_json::to_value(report)) {
        document.extend(all);
    }
    if let Some(route) = &conversion.route {
        document["upgraded"] = json!({"from": route.from, "to": route.target.release.to_string()});
    }
    for (at, refused) in report.refused.iter().enumerate() {
        document["refused"][at]["choice"] = choice_for(refused).into();
    }
    document
}
