//! What is wrong with a value that a person gave.

use super::Hint;
use crate::text::At;

/// One problem of a fixture, an option or a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The object or option it is about.
    pub subject: String,
    /// What is wrong with it, and what would be right.
    pub message: String,
    /// What to type instead, where there is one.
    pub hint: Option<Hint>,
    /// Its position, if in a fixture.
    pub at: Option<At>,
    /// Whether the release of the server is too old for it.
    pub unsupported: bool,
    /// Whether it is about a name that is of nothing in the database, or of several.
    pub not_found: bool,
}

impl Problem {
    /// A problem without a hint.
    pub fn new(subject: impl Into<String>, message: impl Into<String>) -> Self {
        let (subject, message) = (subject.into(), message.into());
        Problem { subject, message, hint: None, at: None, unsupported: false, not_found: false }
    }

    /// A problem with the value at `at` of a fixture, as `path` of it.
    pub fn at(at: &At, path: &str, message: impl Into<String>) -> Self {
        let subject = if path.is_empty() { at.to_string() } else { format!("{at}: {path}") };
        Problem { at: Some(at.clone()), ..Problem::new(subject, message) }
    }

    /// The same problem, because the release of the server is too old.
    pub fn unsupported(self) -> Self {
        Problem { unsupported: true, ..self }
    }

    /// The same problem, because the name is of nothing in the database, or of several.
    pub fn not_found(self) -> Self {
        Problem { not_found: true, ..self }
    }

    /// The same problem with a sentence to follow.
    pub fn hint(self, text: impl Into<String>) -> Self {
        Problem { hint: Some(Hint::advice(text)), ..self }
    }

    /// The same problem with a command, or a part of one, to type.
    pub fn command(self, text: impl Into<String>) -> Self {
        Problem { hint: Some(Hint::command(text)), ..self }
    }
}
