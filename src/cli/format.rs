//! How a list is printed.

use std::path::PathBuf;

use clap::builder::{PathBufValueParser, TypedValueParser};
use clap::{Args, ValueEnum};

use super::Ui;
use super::paint::for_stdout;
use super::table::{Header, Tabular};

#[derive(Args, Clone, Copy, Debug)]
pub struct FormatArgs {
    /// Set the output format
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub format: OutputFormat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// Table that fits the terminal
    #[default]
    Table,
    /// Table with one line per row, however long
    Wide,
    /// The same as --json
    Json,
    /// Comma-separated values with a header line
    Csv,
}

/// A file to write to, instead of standard output.
pub fn output_file() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| {
        if path.as_os_str() == "-" {
            Err("to write to standard output, leave out this option; a file of this name is ./-")
        } else {
            Ok(path)
        }
    })
}

impl FormatArgs {
    /// `rows` below `headers`; `around` makes what people read of the table. For JSON, see [`Ui::result`].
    pub fn text<'h, T: Tabular>(
        self,
        headers: &[impl Into<Header<'h>> + Copy],
        rows: Vec<Vec<T>>,
        around: impl FnOnce(String) -> String,
    ) -> String {
        match self.format {
            OutputFormat::Csv => for_stdout(&csv(headers, &rows)).into_owned(),
            OutputFormat::Wide => around(Ui::wide_table(headers, &rows)),
            OutputFormat::Table | OutputFormat::Json => around(Ui::table(headers, rows)),
        }
    }
}

fn csv<'h, T: Tabular>(headers: &[impl Into<Header<'h>> + Copy], rows: &[Vec<T>]) -> String {
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let quoted: Vec<String> = cells.map(csv_cell).collect();
        quoted.join(",") + "\n"
    };
    let head = line(&mut headers.iter().map(|header| (*header).into().name));
    head + &rows.iter().map(|row| line(&mut row.iter().map(Tabular::text))).collect::<String>()
}

/// One cell of CSV, in quotes where it must be (RFC 4180).
pub(super) fn csv_cell(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}
