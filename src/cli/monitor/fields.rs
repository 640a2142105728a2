//! Options that set one field each, `--interval 30`, as `monitor add` has them for its type and other verbs for all.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use crate::model::fields::{Field, ValueShape};
use crate::model::kinds;
use crate::schema;

/// Fields that verbs with filters set in other ways: their options are filters there.
const OTHERWISE: [&str; 2] = ["name", "active"];

/// Field and text, as they were typed.
#[derive(Clone, Debug, Default)]
pub struct FieldArgs {
    /// Column and text.
    pub typed: BTreeMap<&'static str, String>,
}

/// How the ids of options begin that set a field: no other argument of any verb does.
pub const PREFIX: &str = "field:";

/// The id of the option that sets `column`.
pub fn id(column: &str) -> String {
    format!("{PREFIX}{column}")
}

/// The option that sets `field`.
pub fn option(field: &'static Field) -> Arg {
    Arg::new(id(field.column))
        .long(field.option())
        .value_name(placeholder(field))
        // What follows a flag may be the next option.
        .allow_hyphen_values(field.shape != ValueShape::Flag)
        .num_args(if field.shape == ValueShape::Flag { 0..=1 } else { 1..=1 })
        .default_missing_value("true")
}

/// What is typed behind the option of `field`.
pub fn placeholder(field: &Field) -> &'static str {
    match field.shape {
        ValueShape::Whole(..) => "N",
        ValueShape::Real => "SECONDS",
        ValueShape::Flag => "true|false",
        ValueShape::Choice(_) => "CHOICE",
        ValueShape::StatusCodes => "CODES",
        ValueShape::Texts => "LIST",
        ValueShape::Array | ValueShape::Object => "JSON",
        ValueShape::Reference(_) => "NAME",
        _ => "TEXT",
    }
}

/// `text` as a line of help.
pub fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

/// Every field that some type has, in the order in which types name them.
pub fn all() -> &'static [&'static Field] {
    static ALL: LazyLock<Vec<&Field>> = LazyLock::new(|| {
        let newest = schema::newest();
        let mut all: Vec<&Field> = Vec::new();
        for field in kinds(newest).flat_map(|kind| kind.fields(newest)) {
            if !OTHERWISE.contains(&field.column) && !all.iter().any(|known| known.column == field.column) {
                all.push(field);
            }
        }
        all
    });
    &ALL
}

/// The description of a field with its example, which is put before the first semicolon; without the example where the
/// description contains it already.
pub(super) fn described(field: &Field) -> String {
    let help = sentence(field.help);
    if field.example.is_empty() || help.contains(field.example) {
        return help;
    }
    match help.split_once(';') {
        Some((first, rest)) => format!("{first}, such as {};{rest}", field.example),
        None => format!("{help}, such as {}", field.example),
    }
}

impl Args for FieldArgs {
    fn augment_args(command: Command) -> Command {
        let command = all().iter().copied().fold(command.next_help_heading("Fields"), |command, field| {
            command.arg(option(field).help(described(field)).hide_short_help(true))
        });
        command.next_help_heading(None::<&str>)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for FieldArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<FieldArgs, clap::Error> {
        let typed = |field: &'static Field| Some((field.column, matches.get_one::<String>(&id(field.column))?.clone()));
        Ok(FieldArgs { typed: all().iter().copied().filter_map(typed).collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = FieldArgs::from_arg_matches(matches)?;
        Ok(())
    }
}
