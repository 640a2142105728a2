//! What people and scripts see of an error.

use super::Exit;

/// What to do about an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// A command, or a part of one, to type as it is.
    Try(String),
    /// A sentence.
    Advice(String),
}

impl Hint {
    /// A command to type as it is.
    pub fn command(text: impl Into<String>) -> Hint {
        Hint::Try(text.into())
    }

    /// A sentence in the imperative.
    pub fn advice(text: impl Into<String>) -> Hint {
        Hint::Advice(text.into())
    }

    /// The word before it on the screen.
    pub fn label(&self) -> &'static str {
        match self {
            Hint::Try(_) => "try",
            Hint::Advice(_) => "hint",
        }
    }

    /// The text alone.
    pub fn text(&self) -> &str {
        match self {
            Hint::Try(text) | Hint::Advice(text) => text,
        }
    }

    /// The text alone.
    pub fn into_text(self) -> String {
        match self {
            Hint::Try(text) | Hint::Advice(text) => text,
        }
    }
}

impl std::fmt::Display for Hint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.label(), self.text())
    }
}

/// What people and scripts see of an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorReport {
    /// The exit code.
    pub exit: Exit,
    /// What failed, on what, and why.
    pub message: String,
    /// Further lines of the message.
    pub more: Vec<String>,
    /// What to do next.
    pub hints: Vec<Hint>,
}

impl ErrorReport {
    pub(super) fn new(exit: Exit, message: impl Into<String>) -> ErrorReport {
        ErrorReport { exit, message: message.into(), more: Vec::new(), hints: Vec::new() }
    }

    /// The same with further lines.
    pub(super) fn lines(self, more: impl IntoIterator<Item = String>) -> ErrorReport {
        ErrorReport { more: more.into_iter().collect(), ..self }
    }

    /// The whole message.
    pub(super) fn text(&self) -> String {
        std::iter::once(&self.message).chain(&self.more).map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    /// The same with a sentence to follow.
    pub(super) fn hint(self, text: impl Into<String>) -> ErrorReport {
        self.with([Hint::Advice(text.into())])
    }

    /// The same with a command to type.
    pub(super) fn command(self, text: impl Into<String>) -> ErrorReport {
        self.with([Hint::Try(text.into())])
    }

    /// The same with these hints, those without a text left out.
    pub(super) fn with(mut self, hints: impl IntoIterator<Item = Hint>) -> ErrorReport {
        self.hints.extend(hints.into_iter().filter(|hint| !hint.text().is_empty()));
        self
    }
}
