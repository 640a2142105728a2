//! Colours, and characters that are escaped.

use std::io::IsTerminal as _;

use super::environment::value;
use crate::text::{for_terminal, one_line};

/// Whether standard output shows colours.
pub fn shows_colors() -> bool {
    std::io::stdout().is_terminal() && value("NO_COLOR").is_none()
}

/// A colour of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Color {
    /// Up.
    Green,
    /// Down.
    Red,
    /// Pending.
    Yellow,
    /// Maintenance.
    Blue,
    /// Paused.
    Dim,
}

impl Color {
    fn code(self) -> &'static str {
        match self {
            Color::Green => "32",
            Color::Red => "31",
            Color::Yellow => "33",
            Color::Blue => "34",
            Color::Dim => "2",
        }
    }
}

/// `text` in this colour, where standard output shows colours.
pub fn painted(text: &str, color: Option<Color>) -> String {
    match color.filter(|_| !text.is_empty() && shows_colors()) {
        Some(color) => format!("\u{1b}[{}m{}\u{1b}[0m", color.code(), one_line(text)),
        None => one_line(text).into_owned(),
    }
}

/// `text` for stdout. What goes into a file or another program stays as it is.
pub fn for_stdout(text: &str) -> std::borrow::Cow<'_, str> {
    if std::io::stdout().is_terminal() { for_terminal(text) } else { text.into() }
}
