//! Tables for people and for pipes.

use std::borrow::Cow;
use std::io::IsTerminal as _;

use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement, Table, presets};
use unicode_width::UnicodeWidthStr as _;

use super::Ui;
use super::paint::{Color, painted, shows_colors};
use super::ui::terminal_width;
use crate::text::one_line;

/// A cell of a table.
pub trait Tabular {
    /// Its text.
    fn text(&self) -> &str;

    /// The colour of all of it.
    fn color(&self) -> Option<Color> {
        None
    }

    /// A part of it, with colours where the output has them.
    fn paint(&self, part: &str) -> String {
        one_line(part).into_owned()
    }
}

impl Tabular for String {
    fn text(&self) -> &str {
        self
    }
}

/// A cell with a colour.
#[derive(Clone, Debug, Default)]
pub struct Painted {
    text: String,
    color: Paint,
}

#[derive(Clone, Copy, Debug, Default)]
enum Paint {
    #[default]
    None,
    All(Color),
    /// Each character has the colour that this gives it.
    Each(fn(char) -> Option<Color>),
}

impl Painted {
    /// A cell in one colour.
    pub fn new(text: impl Into<String>, color: Option<Color>) -> Painted {
        Painted { text: text.into(), color: color.map_or(Paint::None, Paint::All) }
    }

    /// A cell with a colour for each character.
    pub fn each(text: String, color: fn(char) -> Option<Color>) -> Painted {
        Painted { text, color: Paint::Each(color) }
    }
}

impl From<String> for Painted {
    fn from(text: String) -> Painted {
        Painted { text, color: Paint::None }
    }
}

impl Tabular for Painted {
    fn text(&self) -> &str {
        &self.text
    }

    fn color(&self) -> Option<Color> {
        if let Paint::All(color) = self.color { Some(color) } else { None }
    }

    fn paint(&self, part: &str) -> String {
        match self.color {
            Paint::None => painted(part, None),
            Paint::All(color) => painted(part, Some(color)),
            Paint::Each(color) => {
                let mut text = String::new();
                let letters: Vec<char> = part.chars().collect();
                for run in letters.chunk_by(|a, b| color(*a) == color(*b)) {
                    text.push_str(&painted(&run.iter().collect::<String>(), color(run[0])));
                }
                text
            }
        }
    }
}

impl Ui {
    /// A table for people; on a terminal, long cells are wrapped.
    pub fn table<'h, T: Tabular>(headers: &[impl Into<Header<'h>> + Copy], rows: Vec<Vec<T>>) -> String {
        if !std::io::stdout().is_terminal() {
            return Ui::wide_table(headers, &rows);
        }
        let (headers, numeric) = head(headers, &rows);
        let align = |at: usize, text: &str| {
            if numeric[at] {
                Cell::new(one_line(text)).set_alignment(CellAlignment::Right)
            } else {
                Cell::new(one_line(text))
            }
        };
        let paint = |cell: Cell, color: Option<Color>| match color.filter(|_| shows_colors()) {
            None => cell,
            Some(Color::Dim) => cell.add_attribute(Attribute::Dim),
            Some(Color::Green) => cell.fg(comfy_table::Color::DarkGreen),
            Some(Color::Red) => cell.fg(comfy_table::Color::DarkRed),
            Some(Color::Yellow) => cell.fg(comfy_table::Color::DarkYellow),
            Some(Color::Blue) => cell.fg(comfy_table::Color::DarkBlue),
        };
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(u16::try_from(terminal_width()).unwrap_or(u16::MAX));
        table.set_header(headers.iter().enumerate().map(|(at, text)| align(at, text)));
        for row in rows {
            table.add_row(row.iter().enumerate().map(|(at, cell)| paint(align(at, cell.text()), cell.color())));
        }
        let text = table.to_string();
        text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
    }

    /// The same, each row on one line, however long.
    pub fn wide_table<'h, T: Tabular>(headers: &[impl Into<Header<'h>> + Copy], rows: &[Vec<T>]) -> String {
        let (headers, numeric) = head(headers, rows);
        columns(&headers, rows, &numeric)
    }
}

/// The header of a column of a table.
#[derive(Clone, Copy, Debug)]
pub struct Header<'h> {
    /// The text, in small letters.
    pub name: &'h str,
    is_text: bool,
}

impl<'h> Header<'h> {
    /// That of a column whose cells are text even if all of them look like numbers, as eight hex digits may.
    pub fn of_text(name: &'h str) -> Header<'h> {
        Header { name, is_text: true }
    }
}

impl<'h> From<&'h str> for Header<'h> {
    fn from(name: &'h str) -> Header<'h> {
        Header { name, is_text: false }
    }
}

/// A number, a percentage or a duration in milliseconds; `-` stands for none.
fn is_number(text: &str) -> bool {
    let bare = text.strip_suffix('%').or_else(|| text.strip_suffix(" ms")).unwrap_or(text);
    matches!(text, "" | "-") || bare.parse::<f64>().is_ok()
}

/// The headers as they are shown, and which of their columns contain only numbers.
fn head<'h, T: Tabular>(headers: &[impl Into<Header<'h>> + Copy], rows: &[Vec<T>]) -> (Vec<String>, Vec<bool>) {
    let head = headers.iter().enumerate().map(|(at, header)| {
        let header: Header<'h> = (*header).into();
        let is_numeric = !header.is_text && !rows.is_empty() && rows.iter().all(|row| is_number(row[at].text()));
        (header.name.to_uppercase(), is_numeric)
    });
    head.unzip()
}

/// A table for a pipe, without wrapping: each column as wide as its widest cell.
fn columns<T: Tabular>(headers: &[String], rows: &[Vec<T>], numeric: &[bool]) -> String {
    let mut widths: Vec<usize> = headers.iter().map(|header| header.width()).collect();
    for (width, at) in widths.iter_mut().zip(0..) {
        let cells = rows.iter().map(|row: &Vec<T>| one_line(row[at].text()).width());
        *width = cells.max().unwrap_or_default().max(*width);
    }
    let columns: Vec<(usize, bool)> = widths.into_iter().zip(numeric.iter().copied()).collect();
    // Asked once, because a long list has a hundred thousand cells.
    let is_terminal = std::io::stdout().is_terminal();
    let mut text = String::new();
    push_row(&mut text, headers, &columns, is_terminal);
    rows.iter().for_each(|row| push_row(&mut text, row, &columns, is_terminal));
    text.pop();
    text
}

/// Adds a row with columns of these widths, those with numbers aligned to the right.
fn push_row<T: Tabular>(text: &mut String, row: &[T], columns: &[(usize, bool)], is_terminal: bool) {
    for (cell, (width, numeric)) in row.iter().zip(columns) {
        let line = one_line(cell.text());
        let blanks = " ".repeat(width - line.width());
        let (left, right) = if *numeric { (blanks.as_str(), "") } else { ("", blanks.as_str()) };
        let shown = if is_terminal { Cow::Owned(cell.paint(&line)) } else { line };
        text.extend([" ", left, &shown, right, " "]);
    }
    text.truncate(text.trim_end_matches(' ').len());
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::{Header, Ui};

    #[test]
    fn numbers_are_aligned_to_the_right_and_text_that_looks_like_one_is_not() {
        let rows = |cells: [&str; 2]| cells.iter().map(|cell| vec![(*cell).to_owned()]).collect::<Vec<_>>();
        assert_eq!(Ui::wide_table(&["n"], &rows(["7", "1234"])), "    N\n    7\n 1234");
        assert_eq!(Ui::wide_table(&["up"], &rows(["-", "99.50%"])), "     UP\n      -\n 99.50%");
        assert_eq!(Ui::wide_table(&["day"], &rows(["2026-11-29", "2026-12-1"])), " DAY\n 2026-11-29\n 2026-12-1");
        for id in ["12345678", "1234e567"] {
            let shown = Ui::wide_table(&[Header::of_text("id")], &rows([id, id]));
            assert_eq!(shown, format!(" ID\n {id}\n {id}"));
        }
    }
}
