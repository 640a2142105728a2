//! Parses tables: CSV with a line of headers, also as spreadsheets and PowerShell write it.

use super::lines::Lines;
use super::node::{At, Data, Entry, Node};
use crate::error::Problem;

/// A list of maps, one per line; the column of a position is the number of the field, 0 for the line. Empty fields are
/// left out. Lines with a wrong number of fields are left out, too, and returned as problems.
///
/// # Errors
/// A text that is not a table.
pub(super) fn read_csv(file: &str, text: &str) -> Result<(Node, Vec<Problem>), Problem> {
    let lines = Lines::new(file, text);
    let (start, chosen) = preamble(text);
    let body = &text[start..];
    let head = body.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    // Spreadsheets use the separator of their locale.
    let counted =
        || [b';', b'\t', b','].into_iter().max_by_key(|byte| head.bytes().filter(|found| found == byte).count());
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(chosen.or_else(counted).unwrap_or(b','))
        .trim(csv::Trim::All)
        .flexible(true)
        .from_reader(body.as_bytes());
    // The reported start of a record includes the blank lines before it.
    let begin = |position: Option<&csv::Position>| {
        let from = body.get(position.map_or(0, |position| position.byte() as usize)..).unwrap_or_default();
        lines.at(text.len() - from.trim_start_matches(['\r', '\n']).len())
    };
    let field = |row: &At, column: usize| At { column: column as u32, ..row.clone() };
    let fail = |error: csv::Error| super::text::wrong(&begin(error.position()), format!("is not valid CSV: {error}"));
    let headers: Vec<String> = reader.headers().map_err(fail)?.iter().map(str::to_owned).collect();
    let (mut rows, mut problems) = (Vec::new(), Vec::new());
    for record in reader.records() {
        let record = record.map_err(fail)?;
        let at = begin(record.position());
        // Spreadsheets write empty fields and lines at the end.
        let len = record.iter().enumerate().filter(|(_, text)| !text.is_empty()).last().map_or(0, |(last, _)| last + 1);
        if len == 0 {
            continue;
        }
        if record.len() < headers.len() || len > headers.len() {
            let message = format!(
                "has {}, but the first line has {}",
                crate::text::counted(record.len(), "field"),
                headers.len()
            );
            problems.push(super::text::wrong(&at, message));
            continue;
        }
        let cells = headers.iter().zip(&record).enumerate().filter(|(_, (_, text))| !text.is_empty());
        let entries = cells.map(|(column, (key, text))| {
            let at = field(&at, column + 1);
            let key = if key.is_empty() { format!("column {}", column + 1) } else { key.clone() };
            Entry { key, at: at.clone(), value: Node::new(at, text) }
        });
        rows.push(Node { data: Data::Map(entries.collect()), at: field(&at, 0) });
    }
    let headers_at = text.len() - body.trim_start_matches(['\r', '\n']).len();
    Ok((Node { at: lines.at(headers_at), data: Data::List(rows) }, problems))
}

/// The end of the lines before the headers, and the separator that they name: `sep=;` of Excel, `#TYPE …` of PowerShell.
fn preamble(text: &str) -> (usize, Option<u8>) {
    let (mut start, mut chosen) = (0, None);
    for line in text.split_inclusive('\n') {
        let bare = line.trim_end();
        match bare.strip_prefix("sep=").or(bare.strip_prefix("SEP=")) {
            Some(separator) if separator.len() == 1 => chosen = Some(separator.as_bytes()[0]),
            None if bare.starts_with("#TYPE ") || bare.is_empty() => {}
            _ => break,
        }
        start += line.len();
    }
    (start, chosen)
}
