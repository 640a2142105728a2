//! Options that are made when the verb that has them is typed: to make those of every verb is most of what a short command does.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};

use clap::{ArgMatches, Args, Command, Error, FromArgMatches};

thread_local! {
    static IS_LAZY: Cell<bool> = const { Cell::new(false) };
}

/// What `read` returns, in which the options of verbs are made when they are typed. Help pages need those of all verbs: they are
/// made without this.
pub fn lazily<T>(read: impl FnOnce() -> T) -> T {
    IS_LAZY.set(true);
    let result = read();
    IS_LAZY.set(false);
    result
}

/// `command` with what `options` adds to it: now, or when it is typed.
pub fn with_options(command: Command, options: fn(Command) -> Command) -> Command {
    if IS_LAZY.get() { command.defer(options) } else { options(command) }
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
        with_options(command, T::augment_args)
    }

    fn augment_args_for_update(command: Command) -> Command {
        with_options(command, T::augment_args_for_update)
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
