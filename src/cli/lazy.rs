//! Options that are made when the verb that has them is typed: to make those of every verb is most of what a short command does.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};

use clap::{ArgMatches, Args, Command, Error, FromArgMatches};

/// Which options are made when they are typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lazily {
    /// No options: help pages, manual pages and completion need all of them.
    Nothing,
    /// Those of the types of `monitor add`, which are more than all others together.
    Types,
    /// Those of every verb. Their global options come first then, so help pages are not made from it, and no verb may have an option
    /// that is called like a global one.
    Verbs,
}

thread_local! {
    static LAZILY: Cell<Lazily> = const { Cell::new(Lazily::Nothing) };
}

/// What `read` returns, while the options of `whose` are made when they are typed.
pub fn lazily<T>(whose: Lazily, read: impl FnOnce() -> T) -> T {
    LAZILY.set(whose);
    let result = read();
    LAZILY.set(Lazily::Nothing);
    result
}

/// `command` with what `options` adds to it: when it is typed, where `whose` options are made lazily.
pub fn add_options(command: Command, whose: Lazily, options: fn(Command) -> Command) -> Command {
    if LAZILY.get() >= whose { command.defer(options) } else { options(command) }
}

/// The options of a verb.
#[derive(Debug)]
pub struct Lazy<T>(T);

impl<T> Deref for Lazy<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Lazy<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: Args> Args for Lazy<T> {
    fn augment_args(command: Command) -> Command {
        add_options(command, Lazily::Verbs, T::augment_args)
    }

    fn augment_args_for_update(command: Command) -> Command {
        add_options(command, Lazily::Verbs, T::augment_args_for_update)
    }
}

impl<T: FromArgMatches> FromArgMatches for Lazy<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        T::from_arg_matches(matches).map(Lazy)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.0.update_from_arg_matches(matches)
    }
}
